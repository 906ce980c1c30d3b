//! Groups as `/v2/groups` prints them: a tree, made of objects that know nothing of each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    AppView, Definition, Embed, TaskCounts,
    answer::{member, ok, separated, write, write_app},
    pods::PodParts,
    select::AppParts,
};
use crate::{
    definition::App, group::Group, path::PathId, response::Response, timestamp::Timestamp,
};

/// What `embed` asked for of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupEmbed {
    /// `group.groups`.
    pub groups: bool,
    /// `group.apps`, with or without more behind it.
    pub apps: bool,
    /// `group.pods`.
    pub pods: bool,
    /// What is asked for of each app.
    pub app: Embed,
}

impl GroupEmbed {
    /// Reads the values of the query parameter. No value at all means groups, apps and pods.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut embed = Self {
            groups: false,
            apps: false,
            pods: false,
            app: Embed::default(),
        };
        let mut none = true;
        let mut of_apps = Vec::new();
        for value in values {
            none = false;
            match value {
                "group.groups" => embed.groups = true,
                "group.apps" => embed.apps = true,
                "group.pods" => embed.pods = true,
                value if value.starts_with("group.apps.") => {
                    embed.apps = true;
                    of_apps.push(value);
                }
                _ => {}
            }
        }
        if none {
            (embed.groups, embed.apps, embed.pods) = (true, true, true);
        }
        embed.app = Embed::parse(of_apps);
        embed
    }
}

/// A group with all below it.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) id: PathId,
    pub(super) groups: BTreeMap<PathId, Arc<Group>>,
    pub(super) apps: Vec<AppParts>,
    pub(super) pods: Vec<PodParts>,
    pub(super) embed: GroupEmbed,
}

impl Tree {
    pub(super) fn render(&self, now: Timestamp) -> Response {
        let mut children: BTreeMap<PathId, Vec<&PathId>> = BTreeMap::new();
        for id in self.groups.keys().filter(|id| **id != self.id) {
            children.entry(id.parent()).or_default().push(id);
        }
        let mut apps: BTreeMap<PathId, Vec<&AppParts>> = BTreeMap::new();
        for app in &self.apps {
            apps.entry(app.app.definition.app.id.parent())
                .or_default()
                .push(app);
        }
        let mut body = String::new();
        self.write(&mut body, &self.id, &children, &apps, now);
        ok(body)
    }

    /// As deep as ids have segments.
    fn write(
        &self,
        body: &mut String,
        id: &PathId,
        children: &BTreeMap<PathId, Vec<&PathId>>,
        apps: &BTreeMap<PathId, Vec<&AppParts>>,
        now: Timestamp,
    ) {
        let Some(group) = self.groups.get(id) else {
            return;
        };
        body.push_str("{\"id\":");
        write(body, id);
        body.push_str(",\"apps\":[");
        let apps_here = apps.get(id).filter(|_| self.embed.apps);
        separated(body, apps_here.map_or(&[], Vec::as_slice), |body, app| {
            write_app(body, app, self.embed.app, now);
        });
        body.push_str("],\"pods\":[");
        let here = self.pods.iter();
        let pods_here: Vec<&PodParts> = here
            .filter(|pod| pod.pod.definition.app.id.parent() == *id)
            .collect();
        separated(body, &pods_here, |body, pod| write(body, &pod.status()));
        body.push_str("],\"groups\":[");
        let groups_here = children.get(id).filter(|_| self.embed.groups);
        separated(
            body,
            groups_here.map_or(&[], Vec::as_slice),
            |body, child| {
                self.write(body, child, children, apps, now);
            },
        );
        body.push(']');
        member(body, "dependencies", &group.dependencies);
        member(body, "version", &group.version);
        if let Some(enforce) = group.enforce_role {
            member(body, "enforceRole", &enforce);
        }
        body.push('}');
    }
}

/// The answer for a group as it was at some version.
pub(crate) fn past_group(
    id: &PathId,
    apps: &BTreeMap<PathId, Arc<App>>,
    groups: &BTreeMap<PathId, Arc<Group>>,
) -> Response {
    let view = |app: &Arc<App>| {
        Arc::new(AppView {
            definition: Arc::new(Definition::new(app.clone())),
            counts: TaskCounts::default(),
            deployments: Vec::new(),
            last_task_failure: None,
        })
    };
    let (pods, apps_only): (Vec<_>, Vec<_>) = apps.values().partition(|app| app.pod.is_some());
    // Of the group itself the record tells when it last changed; what lies below may be newer.
    let mut dated = groups.clone();
    let below: BTreeSet<(PathId, Timestamp)> = apps
        .values()
        .map(|app| (app.id.clone(), app.version))
        .collect();
    for (id, version) in below {
        let mut above = id.parent();
        loop {
            if let Some(group) = dated.get_mut(&above)
                && group.version < version
            {
                Arc::make_mut(group).version = version;
            }
            if above.is_root() {
                break;
            }
            above = above.parent();
        }
    }
    let tree = Tree {
        id: id.clone(),
        groups: dated,
        apps: apps_only
            .into_iter()
            .map(|app| AppParts {
                app: view(app),
                tasks: Vec::new(),
            })
            .collect(),
        pods: pods
            .into_iter()
            .map(|pod| PodParts {
                pod: view(pod),
                instances: Vec::new(),
            })
            .collect(),
        embed: GroupEmbed::parse([]),
    };
    tree.render(Timestamp::default())
}

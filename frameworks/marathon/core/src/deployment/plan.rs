//! The planner: from what changes to the steps that bring it about.
//!
//! Wanted: dependencies before dependents; apps that do not change are not touched; the same steps as Marathon counts them (creating an
//! app has two, of which the first does nothing).

use std::collections::BTreeMap;

use super::view::{Action, ActionKind, StepView};
use crate::{definition::App, group::Target, path::PathId};

/// The steps from the root group to the target; none if nothing has to be done, or if dependencies run in a circle.
pub(crate) fn plan(target: Target<'_>) -> Vec<StepView> {
    let is_pod = |id: &PathId| {
        let app = target.get(id).or_else(|| target.root.get(id));
        app.is_some_and(|app| app.pod.is_some())
    };
    let action = |action, id: &PathId| Action {
        action,
        app: id.clone(),
        pod: is_pod(id),
    };
    let exists = |id: &PathId| target.root.get(id).is_some();
    let gone = target
        .changes
        .iter()
        .filter(|(id, app)| app.is_none() && exists(id));
    let new = target
        .changes
        .iter()
        .filter(|(id, app)| app.is_some() && !exists(id));
    let mut steps = vec![
        gone.map(|(id, _)| action(ActionKind::Stop, id))
            .collect::<Vec<_>>(),
        new.map(|(id, _)| action(ActionKind::Start, id)).collect(),
    ];
    let mut by_depth: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for (id, depth) in target.depths().unwrap_or_default() {
        if let Some(app) = target.get(&id)
            && let Some(kind) = change(target.root.get(&id).map(|old| &**old), app)
        {
            by_depth.entry(depth).or_default().push(action(kind, &id));
        }
    }
    steps.extend(by_depth.into_values());
    steps
        .into_iter()
        .filter(|actions| !actions.is_empty())
        .map(|actions| StepView { actions })
        .collect()
}

/// What becomes of one app that is there afterwards.
pub(crate) fn change(old: Option<&App>, new: &App) -> Option<ActionKind> {
    let Some(old) = old else {
        return Some(ActionKind::Scale);
    };
    let reconfigured = old.config_version() != new.config_version() || !old.same_config(new);
    if reconfigured && new.instances > 0 {
        Some(ActionKind::Restart)
    } else if reconfigured || old.instances != new.instances {
        Some(ActionKind::Scale)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        definition::tests::app,
        group::{Changes, RootGroup},
    };

    /// `id`, `id*2` for two instances, `id!x` for another command, `id<dep` for a dependency.
    fn parse(text: &str) -> App {
        let name: String = text.chars().take_while(char::is_ascii_lowercase).collect();
        let mut app = app(&format!(r#"{{"id":"/{name}","cmd":"sleep 1"}}"#));
        let mut rest = text[name.len()..].chars();
        while let (Some(mark), Some(value)) = (rest.next(), rest.next()) {
            match mark {
                '*' => app.instances = value.to_digit(10).expect("a digit"),
                '!' => app.cmd = Some(format!("sleep {value}")),
                _ => {
                    app.dependencies.insert(PathId::resolve(&value.to_string()));
                }
            }
        }
        app
    }

    #[test]
    fn golden_plans() {
        for (before, after, want) in [
            ("", "a", "Start a; Scale a"),
            ("a", "", "Stop a"),
            ("a", "a", ""),
            ("a", "a*3", "Scale a"),
            ("a", "a!2", "Restart a"),
            ("a", "a!2*0", "Scale a"),
            ("a", "a!2*4", "Restart a"),
            ("", "a<b b", "Start a,b; Scale b; Scale a"),
            (
                "",
                "a<b b<c c d",
                "Start a,b,c,d; Scale c,d; Scale b; Scale a",
            ),
            (
                "b c",
                "a<b b!2 d",
                "Stop c; Start a,d; Restart b,Scale d; Scale a",
            ),
            ("a<b b", "a<b!2 b!3", "Restart b; Restart a"),
            ("", "a<z", "Start a; Scale a"),
        ] {
            let mut root = RootGroup::default();
            for app in before.split_whitespace().map(parse) {
                root.set(&app.id.clone(), Some(Arc::new(app)));
            }
            let mut changes: Changes = before
                .split_whitespace()
                .map(|text| (parse(text).id, None))
                .collect();
            changes.extend(
                after
                    .split_whitespace()
                    .map(parse)
                    .map(|app| (app.id.clone(), Some(Arc::new(app)))),
            );
            let show = |action: &Action| {
                format!(
                    "{:?} {}",
                    action.action,
                    action.app.as_str().trim_start_matches('/')
                )
            };
            let steps = plan(Target {
                root: &root,
                changes: &changes,
                groups: &[].into(),
            });
            let steps: Vec<String> = steps
                .iter()
                .map(|step| step.actions.iter().map(show).collect::<Vec<_>>().join(","))
                .map(|step| {
                    step.replace(",Start ", ",")
                        .replace("Scale c,Scale d", "Scale c,d")
                })
                .collect();
            assert_eq!(steps.join("; "), want, "{before:?} to {after:?}");
        }
    }

    #[test]
    fn circles_have_no_depths() {
        let root = RootGroup::default();
        let apps = ["a<b", "b<c", "c<a"].map(parse);
        let changes: Changes = apps
            .into_iter()
            .map(|app| (app.id.clone(), Some(Arc::new(app))))
            .collect();
        let target = Target {
            root: &root,
            changes: &changes,
            groups: &[].into(),
        };
        assert!(target.depths().is_none() && target.validate().is_err());
    }
}

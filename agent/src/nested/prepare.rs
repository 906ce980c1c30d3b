//! From an operator's call to what the containerizer is told: sandbox, image, volumes, URIs, command, user, limits.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tepui_agent_core::Launch;
use tepui_model::ContainerId as CoreId;
use tepui_proto::mesos::v1::{
    CommandInfo, ContainerInfo, ExecutorInfo, FrameworkInfo, Resource, TaskInfo, value::Scalar,
};

use super::tree::{Class, ancestors};
use super::{Inner, Note};
use crate::containerizer::beneath::{Beneath, open_without_links, through};
use crate::containerizer::{ContainerId, LaunchSpec, Limits, Namespaces, Within};
use crate::networks::wanted;
use crate::provision::plan;
use crate::provision::volumes::Around;
use crate::sandbox::give;
use crate::sharing::{Ipc, Sharing};
use crate::spec::{limits_of, variables, what_runs};

/// What an operator wants launched.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: CoreId,
    pub(crate) class: Class,
    pub(crate) command: Option<CommandInfo>,
    pub(crate) container: Option<ContainerInfo>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) limits: Vec<(String, Scalar)>,
}

/// Whose containers these are.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) framework: Arc<FrameworkInfo>,
    pub(super) executor: Arc<ExecutorInfo>,
    /// The outermost container's.
    pub(super) sandbox: PathBuf,
    /// Whom the container runs as that is asked about.
    pub(super) user: String,
}

impl Inner {
    /// Whose the outermost container of this one is; `None` if it is not the core's.
    pub(super) fn owner(&self, id: &CoreId) -> Option<Owner> {
        let view = self.view.read();
        let root = id.root();
        let (framework, executor) = view.frameworks.values().find_map(|framework| {
            let mut executors = framework.executors.values();
            let executor = executors.find(|executor| executor.state.container == *root)?;
            Some((framework, executor))
        })?;
        // Of a task that runs by itself, or in a group, the task's command says who runs it.
        let task = executor.tasks.values().find(|task| {
            let known = task.statuses.iter().rev().find_map(|status| {
                let status = status.container_status.as_ref()?;
                status.container_id.as_ref()
            });
            task.command
                || known.is_some_and(|known| {
                    let of_task = core_id(known);
                    ancestors(id)
                        .chain([id])
                        .any(|above| of_task.as_ref() == Some(above))
                        && known.parent.is_some()
                })
        });
        let command = match task {
            Some(task) => task.info.command.as_ref(),
            None => executor.state.info.command.as_ref(),
        };
        let user = command
            .and_then(|command| command.user.clone())
            .filter(|user| !user.is_empty())
            .unwrap_or_else(|| framework.info.user.clone());
        let sandbox = self.layout.sandbox(
            &self.agent.read(),
            framework.id.as_str(),
            executor.state.id.as_str(),
            root.value(),
        );
        Some(Owner {
            framework: Arc::clone(&framework.info),
            executor: Arc::clone(&executor.state.info),
            sandbox,
            user,
        })
    }

    /// The sandbox of one of the core's containers.
    pub(super) fn sandbox_of(&self, id: &CoreId) -> Option<PathBuf> {
        let mut sandbox = self.owner(id)?.sandbox;
        let mut chain: Vec<_> = ancestors(id).chain([id]).collect();
        chain.sort_by_key(|id| super::tree::levels(id));
        for above in chain.iter().skip(1) {
            sandbox = sandbox.join("containers").join(above.value());
        }
        Some(sandbox)
    }

    /// Makes everything that the container needs, and says how it is launched.
    pub(super) async fn prepare(
        &self,
        wanted: &Wanted,
        container: &ContainerId,
    ) -> Result<LaunchSpec, String> {
        let command = wanted.command.clone().unwrap_or_else(|| CommandInfo {
            // Without a command it is the image that says what runs.
            shell: Some(false),
            ..CommandInfo::default()
        });
        let owner = self.owner(&wanted.id);
        let user = self.user(wanted, &command, owner.as_ref());
        if let Some(node) = self.room.lock().tree.get_mut(&wanted.id) {
            user.clone_into(&mut node.user);
        }
        match wanted.class {
            Class::Session => self.session(wanted, container, &command),
            Class::Plain => {
                let given = CommandInfo {
                    user: Some(user),
                    ..command
                };
                self.plain(wanted, container, given, owner).await
            }
        }
    }

    /// The command's user, or its parent's.
    fn user(&self, wanted: &Wanted, command: &CommandInfo, owner: Option<&Owner>) -> String {
        let own = command.user.clone().filter(|user| !user.is_empty());
        own.or_else(|| {
            let room = self.room.lock();
            let parent = wanted.id.parent()?;
            room.tree.get(parent).map(|node| node.user.clone())
        })
        .or_else(|| owner.map(|owner| owner.user.clone()))
        .unwrap_or_default()
    }

    /// A command that shares all that its parent has.
    fn session(
        &self,
        wanted: &Wanted,
        container: &ContainerId,
        command: &CommandInfo,
    ) -> Result<LaunchSpec, String> {
        let parent = wanted.id.parent().ok_or("a session needs a parent")?;
        if !command.uris.is_empty() {
            return Err(
                "a session has no sandbox of its own: its command cannot have URIs".to_owned(),
            );
        }
        let info = wanted.container.as_ref();
        if info.is_some_and(|info| {
            info.mesos
                .as_ref()
                .is_some_and(|mesos| mesos.image.is_some())
                || info.docker.is_some()
                || !info.volumes.is_empty()
                || !info.network_infos.is_empty()
        }) {
            return Err(
                "a session has its parent's root, volumes and networks, and no others".to_owned(),
            );
        }
        if share_cgroups(info) == Some(false) {
            return Err("a session shares its parent's cgroups".to_owned());
        }
        if matches!(Sharing::read(info)?.ipc, Ipc::Private(_)) {
            return Err("a session shares its parent's IPC namespace and /dev/shm".to_owned());
        }
        let mut spec = LaunchSpec::new(container.clone(), what_runs(command)?, "/");
        spec.environment = variables(command.environment.as_ref()).collect();
        spec.environment
            .extend(crate::spec::secrets(command.environment.as_ref())?);
        let own = command.user.as_deref().filter(|user| !user.is_empty());
        spec.user = self.surroundings.switched(own.unwrap_or_default());
        spec.namespaces = Namespaces::NONE;
        spec.terminal = info.and_then(crate::spec::terminal);
        spec.ephemeral = true;
        spec.within = Some(Within {
            parent: super::runtime_id(parent),
            name: wanted.id.value().to_owned(),
            cgroups: true,
            inherit: true,
        });
        spec.note = Some(Note::of(wanted, None, "").to_text());
        Ok(spec)
    }

    async fn plain(
        &self,
        wanted: &Wanted,
        container: &ContainerId,
        command: CommandInfo,
        owner: Option<Owner>,
    ) -> Result<LaunchSpec, String> {
        let info = wanted.container.as_ref();
        let networks = wanted::wanted(info, &wanted.resources)?;
        if !networks.is_empty() {
            return Err("a container that an operator launches is on its parent's networks, or the host's, and cannot join others".to_owned());
        }
        let limits = own_limits(wanted, self.surroundings.config.cgroups_enable_cfs)?;
        let user = self
            .surroundings
            .switched(command.user.as_deref().unwrap_or_default());
        let (sandbox, parent) = self.make_sandbox(&wanted.id, owner.as_ref(), user.as_deref())?;
        if let Some(node) = self.room.lock().tree.get_mut(&wanted.id) {
            node.sandbox = Some(sandbox.clone());
        }
        let around = Around {
            sandbox: &sandbox,
            parent: parent.as_deref(),
            parents_volumes: &[],
            make_host_paths: false,
        };
        let mut plan = plan::plan(info, &around)?;
        let pulled = self.surroundings.provisioner.pull(&plan).await?;
        // The image may have taken minutes, in which the sandbox's owner may have put a link in its place.
        let place = open_without_links(&sandbox)
            .map_err(|errno| format!("Failed to open the sandbox: {}", io::Error::from(errno)))?;
        let fetched = self
            .surroundings
            .fetcher
            .fetch(&command.uris, &through(&place), user.as_deref())
            .await;
        fetched.map_err(|error| {
            format!(
                "Failed to fetch all URIs for container '{}': {error}",
                wanted.id
            )
        })?;
        let external = &self.surroundings.external_volumes;
        external
            .mount(container.as_str(), &mut plan.volumes, &sandbox)
            .await?;
        let mounted =
            self.surroundings
                .provisioner
                .lay_out(container.as_str(), plan.volumes, pulled)?;
        let own_user = command.user.clone().unwrap_or_default();
        // As a task of its own would be: the same variables, volumes and users.
        let launch = Launch {
            container: wanted.id.clone(),
            framework: owner
                .as_ref()
                .map(|owner| Arc::clone(&owner.framework))
                .unwrap_or_default(),
            executor: owner.map(|owner| owner.executor).unwrap_or_default(),
            task: Some(Arc::new(TaskInfo {
                command: Some(command),
                container: wanted.container.clone().map(Into::into),
                ..TaskInfo::default()
            })),
            group_ports: Vec::new(),
            group_limits: tepui_agent_core::Limits::default(),
            limits: tepui_agent_core::Limits::default(),
        };
        let agent = self.agent.read().clone();
        let mut spec = self.surroundings.spec_of(
            container.clone(),
            &agent,
            &launch,
            &sandbox,
            &plan.settings,
            mounted,
            None,
        )?;
        spec.limits = limits;
        spec.note = Some(Note::of(wanted, Some(&sandbox), &own_user).to_text());
        if let Some(parent) = wanted.id.parent() {
            plan.settings.sharing.with_parent(&mut spec);
            // The host name is its parent's.
            spec.hostname = None;
            spec.within = Some(Within {
                parent: super::runtime_id(parent),
                name: wanted.id.value().to_owned(),
                cgroups: true,
                inherit: false,
            });
        } else {
            let allowed = &self.surroundings.config.isolation;
            plan.settings.sharing.with_agent(&mut spec, allowed)?;
        }
        Ok(spec)
    }

    /// Makes the sandbox of a container: `containers/<id>` in its parent's, or in the work directory. Also says where the parent's is.
    fn make_sandbox(
        &self,
        id: &CoreId,
        owner: Option<&Owner>,
        user: Option<&str>,
    ) -> Result<(PathBuf, Option<PathBuf>), String> {
        let failed = |error: io::Error| format!("Failed to create the sandbox: {error}");
        let root = match owner {
            Some(owner) => owner.sandbox.clone(),
            None => {
                let own = self.layout.standalone(id.root().value());
                std::fs::create_dir_all(&own).map_err(failed)?;
                own
            }
        };
        // What is below may be somebody else's work: links in it are not followed.
        let root = root.canonicalize().map_err(failed)?;
        let mut chain: Vec<_> = ancestors(id).chain([id]).collect();
        chain.sort_by_key(|id| super::tree::levels(id));
        let mut sandbox = root;
        let mut parent = None;
        for above in chain.iter().skip(1) {
            parent = Some(sandbox.clone());
            sandbox = sandbox.join("containers").join(above.value());
        }
        if let Some(parent) = &parent {
            let made = Beneath::without_links(parent).and_then(|beneath| {
                beneath.directory_without_links(&Path::new("containers").join(id.value()))
            });
            let place = made.map_err(|errno| failed(errno.into()))?;
            prepare_directory(&through(&place), user).map_err(failed)?;
        } else {
            prepare_directory(&sandbox, user).map_err(failed)?;
        }
        Ok((sandbox, parent))
    }
}

fn prepare_directory(sandbox: &Path, user: Option<&str>) -> io::Result<()> {
    std::fs::set_permissions(sandbox, std::fs::Permissions::from_mode(0o750))?;
    give(sandbox, user)
}

/// From the message to the id; `None` if it breaks the rules.
pub(crate) fn core_id(id: &tepui_proto::mesos::v1::ContainerId) -> Option<CoreId> {
    match &id.parent {
        None => CoreId::new(&id.value).ok(),
        Some(parent) => core_id(parent)?.nested(&id.value).ok(),
    }
}

fn share_cgroups(info: Option<&ContainerInfo>) -> Option<bool> {
    info?.linux_info.as_ref()?.share_cgroups
}

/// Its own limits: of one that stands alone, or that does not share its parent's cgroups.
fn own_limits(wanted: &Wanted, enable_cfs: bool) -> Result<Limits, String> {
    let shared = share_cgroups(wanted.container.as_ref());
    let deep = super::tree::levels(&wanted.id) > 2;
    let limited = !(wanted.resources.is_empty() && wanted.limits.is_empty());
    match (wanted.id.parent(), shared) {
        (None, Some(true)) => {
            Err("a container without a parent cannot share its parent's cgroups".to_owned())
        }
        (Some(_), Some(false)) if deep => Err(
            "only a container right below a task's or executor's may have cgroups of its own"
                .to_owned(),
        ),
        (Some(_), _) if deep && limited => Err(
            "only a container right below a task's or executor's may have resources or limits"
                .to_owned(),
        ),
        (Some(_), Some(true) | None) => Ok(Limits::default()),
        (None, _) | (Some(_), Some(false)) => {
            Ok(limits_of(&wanted.resources, &wanted.limits, enable_cfs))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tepui_proto::mesos::v1::LinuxInfo;

    fn wanted(id: &str, shared: Option<bool>, mem: Option<f64>) -> Wanted {
        Wanted {
            id: id.parse().unwrap(),
            class: Class::Plain,
            command: None,
            container: shared.map(|share| ContainerInfo {
                linux_info: Some(Box::new(LinuxInfo {
                    share_cgroups: Some(share),
                    ..LinuxInfo::default()
                })),
                ..ContainerInfo::default()
            }),
            resources: mem
                .map(|mem| crate::resources::scalar("mem", mem))
                .into_iter()
                .collect(),
            limits: Vec::new(),
        }
    }

    #[test]
    fn limits_are_for_those_with_cgroups_of_their_own() {
        const MIB: u64 = 1 << 20;
        for (id, shared, mem, expected) in [
            ("a", None, Some(64.0), Ok(Some(64 * MIB))),
            ("a", None, None, Ok(None)),
            ("a", Some(false), Some(64.0), Ok(Some(64 * MIB))),
            ("a", Some(true), None, Err("without a parent")),
            ("e.a", None, Some(64.0), Ok(None)),
            ("e.a", Some(true), Some(64.0), Ok(None)),
            ("e.a", Some(false), Some(64.0), Ok(Some(64 * MIB))),
            ("e.a.b", None, None, Ok(None)),
            ("e.a.b", None, Some(64.0), Err("resources")),
            ("e.a.b", Some(false), None, Err("cgroups of its own")),
        ] {
            let found = own_limits(&wanted(id, shared, mem), false);
            match (&found, expected) {
                (Ok(limits), Ok(bytes)) => assert_eq!(limits.memory_bytes, bytes, "{id}"),
                (Err(told), Err(part)) => assert!(told.contains(part), "{told}"),
                _ => panic!("{id} {shared:?} {mem:?}: {found:?}"),
            }
        }
    }
}

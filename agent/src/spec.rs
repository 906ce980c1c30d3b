//! From what the core wants started to what the containerizer is told: command, user, environment, limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tepui_agent_core::{Launch, Limits as Wanted};
use tepui_images::ImageConfig;
use tepui_proto::mesos::v1::r_limit_info::r_limit::Type as RlimitType;
use tepui_proto::mesos::v1::value::Scalar;
use tepui_proto::mesos::v1::{CommandInfo, ContainerInfo, Environment, Resource};

use crate::config::{Config, format_duration};
use crate::containerizer::{
    Command, ContainerId, LaunchSpec, Limits, Rlimit, RlimitKind, RootFilesystem, Window,
};
use crate::external_volumes::ExternalVolumes;
use crate::fetcher::Fetcher;
use crate::isolation::IsolationConfig;
use crate::networks::{Attached, Networks};
use crate::provision::plan::{Settings, network_files};
use crate::provision::{Provisioned, Provisioner, merge, resolve_secret};
use crate::volumes::VolumesRoom;

/// No memory limit, in a form that the kernel takes.
const NO_MEMORY_LIMIT_BYTES: u64 = 1 << 60;

/// What every container of this agent is told about it.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) config: Arc<Config>,
    /// Where executors find the agent: `ip:port`.
    pub(crate) endpoint: String,
    pub(crate) volumes: VolumesRoom,
    pub(crate) provisioner: Provisioner,
    pub(crate) fetcher: Fetcher,
    pub(crate) networks: Networks,
    pub(crate) external_volumes: ExternalVolumes,
}

impl Surroundings {
    /// The user to run as: `None` is the agent's own.
    pub(crate) fn user<'a>(&self, launch: &'a Launch) -> Option<&'a str> {
        let own = launch.command().and_then(|command| command.user.as_deref());
        let user = own
            .filter(|user| !user.is_empty())
            .unwrap_or(&launch.framework.user);
        self.switches(user).then_some(user)
    }

    /// This user, if it is another than the agent's own and the agent may become it.
    pub(crate) fn switched(&self, user: &str) -> Option<String> {
        self.switches(user).then(|| user.to_owned())
    }

    /// This user, if the agent may become it; the agent's own too.
    pub(crate) fn named(&self, user: &str) -> Option<String> {
        let root = nix::unistd::geteuid().is_root();
        (self.config.switch_user && root && !user.is_empty()).then(|| user.to_owned())
    }

    fn switches(&self, user: &str) -> bool {
        self.named(user).is_some() && user != "root"
    }

    /// What the containerizer is told. Says what is asked for and not built yet. `mounted`: what was made for the container.
    pub(crate) fn spec(
        &self,
        agent: &str,
        launch: &Launch,
        sandbox: &Path,
        plan: &Settings,
        mounted: Provisioned,
        attached: Option<&Attached>,
    ) -> Result<LaunchSpec, String> {
        let id =
            ContainerId::new(launch.container.to_string()).map_err(|error| error.to_string())?;
        self.spec_of(id, agent, launch, sandbox, plan, mounted, attached)
    }

    /// The same of a container that goes by this name.
    #[allow(clippy::too_many_arguments, reason = "all of it is one launch")]
    pub(crate) fn spec_of(
        &self,
        id: ContainerId,
        agent: &str,
        launch: &Launch,
        sandbox: &Path,
        plan: &Settings,
        mounted: Provisioned,
        attached: Option<&Attached>,
    ) -> Result<LaunchSpec, String> {
        let command = launch.command().ok_or("the executor has no command")?;
        let container = launch.container_info();
        let inside = &self.config.images.sandbox_directory;
        let image = mounted.root.as_ref().map(|(_, image)| &image.config);
        let runs = match image {
            None => what_runs(command)?,
            Some(image) if plan.docker => {
                merge::of_docker(command, image, plan.entrypoint.as_deref())?
            }
            Some(image) => merge::of_mesos(command, image)?,
        };
        let seen = if image.is_some() { inside } else { sandbox };
        let mut spec = LaunchSpec::new(id, runs, seen);
        spec.user = self.user(launch).map(str::to_owned);
        spec.environment =
            self.environment(agent, launch, command, (sandbox, seen), image, plan)?;
        spec.limits = limits_in(launch.limits, &self.config);
        spec.terminal = container.and_then(terminal);
        spec.limits.processes = plan.processes;
        spec.cpuset.clone_from(&plan.cpuset);
        spec.block_io = IsolationConfig::block_io(plan)?;
        spec.oom_score_adj = plan.oom_score_adj;
        spec.hostname.clone_from(&plan.hostname);
        spec.namespaces.network = plan.no_network || attached.is_some();
        if let Some(attached) = attached {
            spec.hostname = Some(attached.hostname.clone());
            spec.network = Some(attached.namespace.clone());
        }
        spec.capabilities = plan.capabilities;
        spec.seal = self.config.isolation.seal(plan, image.is_some())?;
        spec.gpus = self.config.isolation.gpus.wanted(launch.resources())?;
        spec.devices = self.config.isolation.devices(plan, image.is_some())?;
        spec.rlimits.clone_from(&plan.rlimits);
        if let Some(container) = container {
            spec.rlimits.extend(rlimits(container));
        }
        if let Some(devices) = &mut spec.devices {
            for (device, read_only) in &mounted.devices {
                devices.permit(device, (true, !read_only, false))?;
            }
        }
        spec.volumes = mounted.volumes;
        if let (Some(attached), true) = (attached, mounted.root.is_none()) {
            spec.volumes.extend(attached.mounts());
        }
        if let Some((overlay, image)) = mounted.root {
            let config = &image.config;
            spec.sandbox = working_directory(plan, config, inside);
            let named = plan
                .docker
                .then(|| user_inside(command, plan, config))
                .flatten();
            if plan.docker {
                spec.user = None;
            }
            spec.root = Some(RootFilesystem {
                overlay,
                sandbox: sandbox.to_owned(),
                sandbox_inside: inside.clone(),
                files: network_files(plan, attached),
                directories: vec![spec.sandbox.clone()],
                shm_bytes: plan.shm_bytes,
                privileged: plan.privileged,
                read_only: plan.read_only,
                // Who is not root becomes nobody else.
                user: named.filter(|_| nix::unistd::geteuid().is_root()),
            });
        }
        Ok(spec)
    }

    fn environment(
        &self,
        agent: &str,
        launch: &Launch,
        command: &CommandInfo,
        (directory, sandbox): (&Path, &Path),
        image: Option<&ImageConfig>,
        plan: &Settings,
    ) -> Result<Vec<(String, String)>, String> {
        let config = &self.config;
        let mut all: BTreeMap<String, String> = config.executor_environment.clone();
        let mut set = |name: &str, value: String| all.insert(name.to_owned(), value);
        let executor = &launch.executor;
        let grace = executor
            .shutdown_grace_period
            .as_ref()
            .map_or(config.executor_shutdown_grace_period, |grace| {
                std::time::Duration::from_nanos(u64::try_from(grace.nanoseconds).unwrap_or(0))
            });
        set(
            "MESOS_FRAMEWORK_ID",
            launch
                .framework
                .id
                .as_ref()
                .map(|id| id.value.clone())
                .unwrap_or_default(),
        );
        set("MESOS_EXECUTOR_ID", executor.executor_id.value.clone());
        set("MESOS_SLAVE_ID", agent.to_owned());
        set("MESOS_AGENT_ENDPOINT", self.endpoint.clone());
        set("MESOS_SLAVE_PID", format!("slave(1)@{}", self.endpoint));
        set("MESOS_DIRECTORY", directory.display().to_string());
        set("MESOS_SANDBOX", sandbox.display().to_string());
        // Everything is checkpointed here, whatever the framework asked for.
        set("MESOS_CHECKPOINT", "1".to_owned());
        set(
            "MESOS_RECOVERY_TIMEOUT",
            format_duration(config.recovery_timeout),
        );
        set(
            "MESOS_SUBSCRIPTION_BACKOFF_MAX",
            format_duration(config.executor_reregistration_timeout),
        );
        set(
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
            format_duration(grace),
        );
        set("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned());
        set("LIBPROCESS_PORT", "0".to_owned());
        let task = launch.task.as_ref();
        if let Some(role) = task.and_then(|task| allocation_role(&task.resources)) {
            set("MESOS_ALLOCATION_ROLE", role.to_owned());
        }
        all.extend(image.into_iter().flat_map(merge::variables));
        all.extend(plan.environment.iter().cloned());
        all.extend(variables(command.environment.as_ref()));
        all.extend(secrets(command.environment.as_ref())?);
        Ok(all.into_iter().collect())
    }
}

/// The command that a launch runs.
pub(crate) trait HasCommand {
    fn command(&self) -> Option<&CommandInfo>;
    /// What the container is started with.
    fn resources(&self) -> &[Resource];
    fn container_info(&self) -> Option<&ContainerInfo>;
}

impl HasCommand for Launch {
    fn command(&self) -> Option<&CommandInfo> {
        match &self.task {
            Some(task) => task.command.as_ref(),
            None => self.executor.command.as_ref(),
        }
    }

    fn resources(&self) -> &[Resource] {
        match &self.task {
            Some(task) => &task.resources,
            None => &self.executor.resources,
        }
    }

    fn container_info(&self) -> Option<&ContainerInfo> {
        self.task
            .as_ref()
            .map_or(&self.executor.container, |task| &task.container)
            .as_deref()
    }
}

/// Where a program in an image starts: where it is told to, or else in its sandbox, or, of type DOCKER, at the top.
fn working_directory(plan: &Settings, image: &ImageConfig, sandbox: &Path) -> PathBuf {
    let told = plan.working_dir.as_deref().unwrap_or(&image.working_dir);
    if !told.is_empty() {
        return Path::new("/").join(told);
    }
    if plan.docker {
        "/".into()
    } else {
        sandbox.to_owned()
    }
}

/// The user of a container of type DOCKER: the task's, the parameters', the image's, or root.
fn user_inside(command: &CommandInfo, plan: &Settings, image: &ImageConfig) -> Option<String> {
    [
        command.user.as_deref(),
        plan.user.as_deref(),
        Some(image.user.as_str()),
    ]
    .into_iter()
    .flatten()
    .find(|user| !user.is_empty())
    .filter(|user| !matches!(*user, "root" | "0" | "0:0" | "root:root"))
    .map(str::to_owned)
}

/// The variables whose values are secrets.
pub(crate) fn secrets(environment: Option<&Environment>) -> Result<Vec<(String, String)>, String> {
    let variables = environment
        .map(|it| it.variables.as_slice())
        .unwrap_or_default();
    variables
        .iter()
        .filter_map(|variable| Some((variable, variable.secret.as_ref()?)))
        .map(|(variable, secret)| {
            let value = resolve_secret(secret)
                .map_err(|problem| format!("the variable '{}': {problem}", variable.name))?;
            let text = std::str::from_utf8(value)
                .ok()
                .filter(|text| !text.contains('\0'))
                .ok_or_else(|| {
                    format!(
                        "the variable '{}': its secret is no text without NUL",
                        variable.name
                    )
                })?;
            Ok((variable.name.clone(), text.to_owned()))
        })
        .collect()
}

/// The plain variables of an environment, the last of a name.
pub(crate) fn variables(
    environment: Option<&Environment>,
) -> impl Iterator<Item = (String, String)> {
    environment
        .map(|environment| environment.variables.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|variable| {
            (
                variable.name.clone(),
                variable.value.clone().unwrap_or_default(),
            )
        })
}

pub(crate) fn what_runs(command: &CommandInfo) -> Result<Command, String> {
    let value = command
        .value
        .clone()
        .filter(|value| !value.is_empty())
        .ok_or("the command is empty")?;
    Ok(if command.shell() {
        Command::Shell(value)
    } else {
        Command::Exec {
            executable: value,
            arguments: command.arguments.clone(),
        }
    })
}

fn allocation_role(resources: &[Resource]) -> Option<&str> {
    resources.iter().find_map(|resource| {
        resource
            .allocation_info
            .as_ref()
            .and_then(|info| info.role.as_deref())
    })
}

/// The terminal that a container wants.
pub(crate) fn terminal(container: &ContainerInfo) -> Option<Window> {
    let wanted = container.tty_info.as_ref()?;
    let size = wanted.window_size.unwrap_or_default();
    let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    Some(Window {
        rows: small(size.rows),
        columns: small(size.columns),
    })
}

/// The limits of a container under this agent's rules.
pub(crate) fn limits_in(wanted: Wanted, config: &Config) -> Limits {
    Limits {
        low_priority: wanted.revocable_cpus && config.oversubscription.revocable_cpu_low_priority,
        ..limits(wanted, config.cgroups_enable_cfs)
    }
}

fn limits(wanted: Wanted, enable_cfs: bool) -> Limits {
    Limits {
        cpu_millis: wanted.cpus_milli,
        cpu_limit_millis: match wanted.cpus_limit_milli {
            Some(u64::MAX) => None,
            Some(limit) => Some(limit),
            None => enable_cfs
                .then_some(wanted.cpus_milli)
                .filter(|limit| *limit > 0),
        },
        memory_bytes: Some(wanted.mem_bytes).filter(|bytes| *bytes > 0),
        memory_limit_bytes: match wanted.mem_limit_bytes {
            0 => None,
            limit => Some(limit.min(NO_MEMORY_LIMIT_BYTES)),
        },
        processes: None,
        low_priority: false,
    }
}

/// The limits of a container with these resources, some of which may have limits of their own.
pub(crate) fn limits_of(
    resources: &[Resource],
    own: &[(String, Scalar)],
    enable_cfs: bool,
) -> Limits {
    const MIB: f64 = 1_048_576.0;
    let asked = |name: &str| -> f64 {
        let named = resources.iter().filter(|resource| resource.name == name);
        named
            .filter_map(|resource| resource.scalar.as_ref())
            .map(|scalar| scalar.value)
            .sum()
    };
    let limit = |name: &str| {
        own.iter()
            .find(|(limited, _)| limited == name)
            .map(|(_, scalar)| scalar.value)
    };
    // A float that is too large, or no number, becomes the nearest that there is.
    let bytes = |mib: f64| (mib * MIB) as u64;
    let milli = |cpus: f64| (cpus * 1000.0).round() as u64;
    limits(
        Wanted {
            cpus_milli: milli(asked("cpus")),
            cpus_limit_milli: limit("cpus").map(milli),
            mem_bytes: bytes(asked("mem")),
            mem_limit_bytes: limit("mem").map_or(bytes(asked("mem")), bytes),
            // Operators' own containers cannot have what is revocable.
            revocable_cpus: false,
        },
        enable_cfs,
    )
}

fn rlimits(container: &ContainerInfo) -> Vec<Rlimit> {
    let limits = container
        .rlimit_info
        .as_ref()
        .map(|info| info.rlimits.as_slice())
        .unwrap_or_default();
    let kind = |kind| {
        Some(match kind {
            RlimitType::RlmtAs => RlimitKind::As,
            RlimitType::RlmtCore => RlimitKind::Core,
            RlimitType::RlmtCpu => RlimitKind::Cpu,
            RlimitType::RlmtData => RlimitKind::Data,
            RlimitType::RlmtFsize => RlimitKind::Fsize,
            RlimitType::RlmtLocks => RlimitKind::Locks,
            RlimitType::RlmtMemlock => RlimitKind::Memlock,
            RlimitType::RlmtMsgqueue => RlimitKind::Msgqueue,
            RlimitType::RlmtNice => RlimitKind::Nice,
            RlimitType::RlmtNofile => RlimitKind::Nofile,
            RlimitType::RlmtNproc => RlimitKind::Nproc,
            RlimitType::RlmtRss => RlimitKind::Rss,
            RlimitType::RlmtRtprio => RlimitKind::Rtprio,
            RlimitType::RlmtRttime => RlimitKind::Rttime,
            RlimitType::RlmtSigpending => RlimitKind::Sigpending,
            RlimitType::RlmtStack => RlimitKind::Stack,
            RlimitType::Unknown => return None,
        })
    };
    let one = |limit: &tepui_proto::mesos::v1::r_limit_info::RLimit| {
        kind(limit.r#type()).map(|kind| Rlimit {
            kind,
            soft: limit.soft,
            hard: limit.hard,
        })
    };
    limits.iter().filter_map(one).collect()
}

//! How strictly containers are kept in, decided before anything starts: the flags that are about isolation, under Mesos' names.
//!
//! Containers are isolated as well as the machine allows whatever `--isolation` lists. What the list can do is make it stricter (`linux/nnp`, `cgroups/devices`) or have more measured (`cgroups/blkio`, `disk/du`, `network/ports`); a name that nobody knows, or that asks for what is not built, stops the start, so that nobody counts on it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;

use crate::config::ConfigError;
use crate::containerizer::Seal;
use crate::containerizer::devices::Devices;
use crate::containerizer::seccomp::{Filter, MAX_PROFILE_BYTES, Situation, available};
use crate::provision::plan::Settings;

mod block_io;
mod devices;
mod gpus;

pub(crate) use block_io::RateWish;
pub(crate) use block_io::weight as block_weight;
pub use devices::AllowedDevice;
pub use gpus::GpuConfig;

/// The flags about isolation.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct IsolationFlags {
    /// Isolators as in Mesos. All that is built is on; 'linux/nnp' and 'cgroups/devices' make it stricter for all containers, 'cgroups/blkio', 'disk/du' and 'network/ports' measure more; 'volume/csi' needs --csi_plugin_config_dir
    #[arg(long)]
    pub isolation: Option<String>,
    /// Directory of seccomp profiles, which containers name
    #[arg(long, alias = "seccomp-config-dir")]
    pub seccomp_config_dir: Option<PathBuf>,
    /// JSON of devices (DeviceWhitelist) that all containers may use besides the usual; those with a path are in /dev of images
    #[arg(long, alias = "allowed-devices")]
    pub allowed_devices: Option<String>,
    /// Numbers of the GPUs that may be used: '0,1' for /dev/nvidia0 and /dev/nvidia1 [default: all that there are]
    #[arg(long, alias = "nvidia-gpu-devices")]
    pub nvidia_gpu_devices: Option<String>,
    /// No container may be in the agent's pid namespace, whatever its 'share_pid_namespace' says
    #[arg(long, alias = "disallow-sharing-agent-pid-namespace", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub disallow_sharing_agent_pid_namespace: bool,
    /// No container may have the agent's IPC namespace and /dev/shm, whatever its 'ipc_mode' says
    #[arg(long, alias = "disallow-sharing-agent-ipc-namespace", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub disallow_sharing_agent_ipc_namespace: bool,
    /// The profile of containers that name none: a file below --seccomp_config_dir, or 'unconfined' [default: the built-in one, for containers with an image]
    #[arg(long, alias = "seccomp-profile-name")]
    pub seccomp_profile_name: Option<String>,
}

impl IsolationFlags {
    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let path = |path: &PathBuf| path.display().to_string();
        let all = [
            ("isolation", self.isolation.clone()),
            (
                "seccomp_config_dir",
                self.seccomp_config_dir.as_ref().map(path),
            ),
            ("allowed_devices", self.allowed_devices.clone()),
            ("nvidia_gpu_devices", self.nvidia_gpu_devices.clone()),
            ("seccomp_profile_name", self.seccomp_profile_name.clone()),
            (
                "disallow_sharing_agent_pid_namespace",
                Some(self.disallow_sharing_agent_pid_namespace.to_string()),
            ),
            (
                "disallow_sharing_agent_ipc_namespace",
                Some(self.disallow_sharing_agent_ipc_namespace.to_string()),
            ),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// What is built, by Mesos' names.
const BUILT: [&str; 34] = [
    "cgroups/all",
    "cgroups/blkio",
    "cgroups/cpu",
    "cgroups/cpuset",
    "cgroups/devices",
    "cgroups/mem",
    "cgroups/pids",
    "disk/du",
    "docker/runtime",
    "docker/volume",
    "environment_secret",
    "filesystem/linux",
    "filesystem/posix",
    "gpu/nvidia",
    "linux/capabilities",
    "linux/devices",
    "linux/nnp",
    "linux/seccomp",
    "namespaces/ipc",
    "namespaces/pid",
    "network/cni",
    "network/ports",
    "posix/cpu",
    "posix/disk",
    "posix/mem",
    "posix/rlimits",
    "volume/csi",
    "volume/host_path",
    "volume/image",
    "volume/sandbox_path",
    "volume/secret",
    "cgroups/cpuacct",
    "cgroups/memory",
    "process",
];

/// What Mesos has and this agent has not.
const NOT_BUILT: [&str; 11] = [
    "appc/runtime",
    "cgroups/hugetlb",
    "cgroups/net_cls",
    "cgroups/net_prio",
    "cgroups/perf_event",
    "cgroups/perf",
    "disk/xfs",
    "filesystem/shared",
    "filesystem/windows",
    "network/port_mapping",
    "windows/cpu",
];

/// What a profile's name says when there is to be none.
const UNCONFINED: &str = "unconfined";
/// Filters are kept for as many combinations of capabilities; there are few.
const MAX_KEPT: usize = 32;

/// How strictly containers are kept in.
#[derive(Debug, Clone, Default)]
pub struct IsolationConfig {
    /// Where profiles are.
    pub seccomp_config_dir: Option<PathBuf>,
    /// Of containers that name none.
    pub seccomp_profile: Option<String>,
    /// No program of any container gains privileges by being executed.
    pub no_new_privileges: bool,
    /// Also containers on the machine's own file system use no devices but the usual ones and those allowed.
    pub confine_devices: bool,
    /// What containers read from and write to block devices is counted.
    pub measure_block_io: bool,
    /// No container is in the agent's pid namespace.
    pub disallow_sharing_agent_pids: bool,
    /// No container has the agent's IPC namespace and `/dev/shm`.
    pub disallow_sharing_agent_ipc: bool,
    /// What all containers may use besides the usual.
    pub allowed_devices: Vec<AllowedDevice>,
    /// Where GPUs are found.
    pub gpus: GpuConfig,
    kept: Arc<Mutex<Vec<(Situation, Filter)>>>,
}

/// What a container asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum SeccompWish {
    /// Nothing: what is usual here.
    #[default]
    Usual,
    Unconfined,
    /// A profile of this name.
    Named(String),
}

impl SeccompWish {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            UNCONFINED => Self::Unconfined,
            name => Self::Named(name.to_owned()),
        }
    }
}

impl IsolationConfig {
    /// Judges the flags. The profile is read once to see that it can be, and again for each container.
    pub(crate) fn from_flags(flags: &IsolationFlags) -> Result<Self, ConfigError> {
        let mut config = Self {
            disallow_sharing_agent_pids: flags.disallow_sharing_agent_pid_namespace,
            disallow_sharing_agent_ipc: flags.disallow_sharing_agent_ipc_namespace,
            ..Self::default()
        };
        let list = flags.isolation.as_deref().unwrap_or_default();
        for name in list.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            if NOT_BUILT.contains(&name) {
                return Err(invalid("isolation", list, format!("'{name}' is not built")));
            }
            if !BUILT.contains(&name) {
                return Err(invalid(
                    "isolation",
                    list,
                    format!("'{name}' is no isolator"),
                ));
            }
            config.no_new_privileges |= name == "linux/nnp";
            config.measure_block_io |= matches!(name, "cgroups/blkio" | "cgroups/all");
            config.confine_devices |= matches!(name, "cgroups/devices" | "cgroups/all");
        }
        if let Some(text) = &flags.nvidia_gpu_devices {
            let wrong = || invalid("nvidia_gpu_devices", text, "not numbers such as 0,1".into());
            config.gpus.only = Some(GpuConfig::parse(text).ok_or_else(wrong)?);
        }
        if let Some(text) = &flags.allowed_devices {
            let read = devices::from_json(text);
            config.allowed_devices =
                read.map_err(|problem| invalid("allowed_devices", text, problem))?;
        }
        config.seccomp_config_dir = flags
            .seccomp_config_dir
            .as_ref()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        if let Some(name) = &flags.seccomp_profile_name {
            config.seccomp_profile = Some(name.clone());
            if let SeccompWish::Named(_) = SeccompWish::named(name) {
                let read = config.profile(name, &Situation::here(None));
                read.map_err(|problem| invalid("seccomp_profile_name", name, problem))?;
            }
        }
        Ok(config)
    }

    /// What the programs of a container are to forgo; says why that cannot be had.
    pub(crate) fn seal(&self, plan: &Settings, has_image: bool) -> Result<Seal, String> {
        let situation = || Situation::here(plan.capabilities);
        let usual = match &self.seccomp_profile {
            _ if plan.privileged => SeccompWish::Unconfined,
            Some(name) => SeccompWish::named(name),
            None => SeccompWish::Usual,
        };
        let filter = match (&plan.seccomp, &usual) {
            (SeccompWish::Unconfined, _) | (SeccompWish::Usual, SeccompWish::Unconfined) => None,
            (SeccompWish::Named(name), _) | (SeccompWish::Usual, SeccompWish::Named(name)) => {
                if !available() {
                    return Err(format!(
                        "the seccomp profile '{name}' cannot be applied: this machine's kernel does not filter system calls"
                    ));
                }
                Some(self.profile(name, &situation())?)
            }
            // What is missing was said at the start.
            (SeccompWish::Usual, SeccompWish::Usual) => (has_image && available())
                .then(|| self.builtin(situation()))
                .transpose()?,
        };
        Ok(Seal {
            filter,
            no_new_privileges: self.no_new_privileges || plan.no_new_privileges,
        })
    }

    /// The devices that a container may use; `None`: all. Says which cannot be had.
    pub(crate) fn devices(
        &self,
        plan: &Settings,
        has_image: bool,
    ) -> Result<Option<Devices>, String> {
        if plan.privileged || !(has_image || self.confine_devices) {
            return match plan.devices.first() {
                Some(device) if !plan.privileged => Err(format!(
                    "the device '{}' is there already: the container has the machine's own /dev",
                    device.path.display()
                )),
                _ => Ok(None),
            };
        }
        let mut devices = Devices {
            must: self.confine_devices || !self.allowed_devices.is_empty(),
            ..Devices::default()
        };
        for allowed in self.allowed_devices.iter().chain(&plan.devices) {
            allowed.add_to(&mut devices)?;
        }
        Ok(Some(devices))
    }

    fn builtin(&self, situation: Situation) -> Result<Filter, String> {
        let mut kept = self.kept.lock();
        if let Some((_, filter)) = kept.iter().find(|(known, _)| *known == situation) {
            return Ok(filter.clone());
        }
        let filter = Filter::builtin(&situation)?;
        if kept.len() == MAX_KEPT {
            kept.clear();
        }
        kept.push((situation, filter.clone()));
        Ok(filter)
    }

    fn profile(&self, name: &str, situation: &Situation) -> Result<Filter, String> {
        let directory = self.seccomp_config_dir.as_ref().ok_or_else(|| {
            format!("the seccomp profile '{name}' cannot be found: the agent has no --seccomp_config_dir")
        })?;
        let plain = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !plain {
            return Err(format!(
                "the seccomp profile '{name}' is no name of a file below --seccomp_config_dir"
            ));
        }
        let path = directory.join(name);
        let wrong = |problem: String| {
            format!(
                "the seccomp profile '{name}' ({}): {problem}",
                path.display()
            )
        };
        let length = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?;
        if length.len() > MAX_PROFILE_BYTES {
            return Err(wrong(format!("it has more than {MAX_PROFILE_BYTES} bytes")));
        }
        let json = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        Filter::from_json(&json, situation).map_err(wrong)
    }
}

fn invalid(flag: &'static str, value: &str, problem: String) -> ConfigError {
    ConfigError::Invalid {
        flag,
        value: value.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(
        isolation: &str,
        directory: Option<&Path>,
        profile: Option<&str>,
    ) -> Result<IsolationConfig, String> {
        let flags = IsolationFlags {
            isolation: Some(isolation.to_owned()),
            seccomp_config_dir: directory.map(Path::to_owned),
            seccomp_profile_name: profile.map(str::to_owned),
            ..IsolationFlags::default()
        };
        IsolationConfig::from_flags(&flags).map_err(|error| error.to_string())
    }

    #[test]
    fn isolators_are_known_by_mesos_names() {
        assert!(
            judge("cgroups/cpu, cgroups/mem,linux/nnp", None, None)
                .unwrap()
                .no_new_privileges
        );
        assert!(
            !judge("posix/cpu,posix/mem", None, None)
                .unwrap()
                .no_new_privileges
        );
        for (list, why) in [
            ("disk/xfs", "'disk/xfs' is not built"),
            ("cgroups/memmory", "no isolator"),
        ] {
            let refused = judge(list, None, None).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn profiles_are_files_of_one_directory() {
        let folder = tempfile::tempdir().unwrap();
        let here = Some(folder.path());
        std::fs::write(
            folder.path().join("good"),
            r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#,
        )
        .unwrap();
        std::fs::write(folder.path().join("bad"), "{").unwrap();
        for (name, why) in [
            ("missing", "No such file"),
            ("bad", "EOF"),
            ("../good", "no name of a file"),
            ("", "no name of a file"),
        ] {
            let refused = judge("", here, Some(name)).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let refused = judge("", None, Some("good")).unwrap_err();
        assert!(refused.contains("no --seccomp_config_dir"), "{refused}");
        let config = judge("", here, Some("good")).unwrap();
        let plan = |seccomp| Settings {
            seccomp,
            ..Settings::default()
        };
        let filter = |plan: &Settings, image| config.seal(plan, image).unwrap().filter;
        assert!(filter(&plan(SeccompWish::Usual), false).is_some());
        assert_eq!(filter(&plan(SeccompWish::Unconfined), true), None);
        config
            .seal(&plan(SeccompWish::Named("missing".into())), false)
            .unwrap_err();
        let privileged = Settings {
            privileged: true,
            ..Settings::default()
        };
        assert_eq!(filter(&privileged, true), None);
        // Nobody has said anything: an image makes the difference.
        let usual = IsolationConfig::default();
        assert_eq!(
            usual.seal(&Settings::default(), false).unwrap().filter,
            None
        );
        assert!(
            usual
                .seal(&Settings::default(), true)
                .unwrap()
                .filter
                .is_some()
        );
    }
}

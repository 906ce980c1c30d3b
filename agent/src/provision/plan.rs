//! What a container wants, read from its `ContainerInfo` before anything is done.

use std::path::{Path, PathBuf};

use tepui_images::{Credentials, Wanted};
use tepui_proto::mesos::v1::container_info::docker_info::Network;
use tepui_proto::mesos::v1::container_info::{self, DockerInfo};
use tepui_proto::mesos::v1::{CapabilityInfo, ContainerInfo, Image, SeccompInfo, image};

use super::docker::{self, Options};
use super::secrets;
use super::volumes::{self, Around};
use crate::containerizer::{At, Cpuset, Rlimit, Source};
use crate::external_volumes::{csi, docker as drivers};
use crate::isolation::{AllowedDevice, RateWish, SeccompWish};
use crate::networks::Attached;
use crate::sharing::{DEFAULT_SHM_BYTES, Sharing};

/// What a container wants.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Its root is this image's.
    pub(crate) image: Option<Wanted>,
    pub(crate) volumes: Vec<Planned>,
    pub(crate) settings: Settings,
}

/// How a container is run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// It is of type DOCKER: commands and users are understood as `docker run` does.
    pub(crate) docker: bool,
    pub(crate) hostname: Option<String>,
    /// Nothing but `lo`.
    pub(crate) no_network: bool,
    pub(crate) privileged: bool,
    pub(crate) read_only: bool,
    pub(crate) shm_bytes: u64,
    /// See [`crate::containerizer::LaunchSpec::capabilities`].
    pub(crate) capabilities: Option<u64>,
    /// Looked up in the image.
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) hosts: Vec<String>,
    /// Instead of the lines of `/etc/resolv.conf` that say the same kind of thing.
    pub(crate) resolv: Vec<String>,
    pub(crate) rlimits: Vec<Rlimit>,
    /// Processes and threads together.
    pub(crate) processes: Option<u64>,
    pub(crate) cpuset: Cpuset,
    pub(crate) block_weight: Option<u16>,
    pub(crate) block_rates: Vec<RateWish>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: SeccompWish,
    /// Besides the usual.
    pub(crate) devices: Vec<AllowedDevice>,
    /// No program gains privileges by being executed.
    pub(crate) no_new_privileges: bool,
    pub(crate) sharing: Sharing,
}

/// A volume, and where it goes.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) what: What,
    pub(crate) at: At,
    pub(crate) read_only: bool,
}

/// What a volume shows.
#[derive(Debug)]
pub(crate) enum What {
    Mount(Source),
    Image(Wanted),
    /// Of a docker volume driver; becomes a `Mount` when it is mounted.
    Driver(drivers::Wanted),
    /// Of a CSI plugin; becomes a `Mount` when it is published.
    Csi(csi::Wanted),
    /// A device that is a volume: it may be used wherever it is seen.
    Device(PathBuf),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            docker: false,
            hostname: None,
            no_network: false,
            privileged: false,
            read_only: false,
            shm_bytes: DEFAULT_SHM_BYTES,
            capabilities: None,
            user: None,
            working_dir: None,
            entrypoint: None,
            environment: Vec::new(),
            hosts: Vec::new(),
            resolv: Vec::new(),
            rlimits: Vec::new(),
            processes: None,
            cpuset: Cpuset::default(),
            block_weight: None,
            block_rates: Vec::new(),
            oom_score_adj: None,
            seccomp: SeccompWish::Usual,
            devices: Vec::new(),
            no_new_privileges: false,
            sharing: Sharing::default(),
        }
    }
}

impl Plan {
    pub(crate) fn wants_images(&self) -> bool {
        self.image.is_some()
            || self
                .volumes
                .iter()
                .any(|volume| matches!(volume.what, What::Image(_)))
    }
}

/// An image as it is asked for. Also checks what would only fail after minutes.
pub(crate) fn wanted(image: &Image) -> Result<Wanted, String> {
    match image.r#type() {
        image::Type::Appc => Err(
            "images of type APPC are not built: Appc is no longer kept; use a DOCKER image"
                .to_owned(),
        ),
        image::Type::Docker => {
            let docker = image
                .docker
                .as_ref()
                .ok_or("the image of type DOCKER lacks 'docker'")?;
            if docker.credential.is_some() {
                return Err(
                    "the image's 'credential' is not read, as in Mesos: use its 'config'"
                        .to_owned(),
                );
            }
            let credentials = match &docker.config {
                None => None,
                Some(secret) => {
                    let read = Credentials::parse(secrets::resolve(secret)?);
                    Some(read.map_err(|error| format!("the image's 'config': {error}"))?)
                }
            };
            Ok(Wanted {
                reference: docker
                    .name
                    .parse()
                    .map_err(|error: tepui_images::ReferenceError| error.to_string())?,
                refresh: !image.cached(),
                credentials,
            })
        }
    }
}

fn bits(info: &CapabilityInfo) -> u64 {
    // Mesos numbers them from 1000 on.
    let numbers = info.capabilities.iter().map(|number| number - 1000);
    numbers
        .filter(|number| (0..64).contains(number))
        .fold(0, |bits, number| bits | 1 << number)
}

/// Reads what the Docker engine would be told. The driver of volumes that do not name theirs.
fn of_docker(
    plan: &mut Plan,
    info: &DockerInfo,
    around: &Around<'_>,
) -> Result<Option<String>, String> {
    let settings = &mut plan.settings;
    settings.docker = true;
    match info.network() {
        Network::Host => {}
        Network::None => settings.no_network = true,
        // Read by `networks::wanted`.
        Network::Bridge | Network::User => {}
    }
    plan.image = Some(Wanted {
        reference: info
            .image
            .parse()
            .map_err(|error: tepui_images::ReferenceError| error.to_string())?,
        refresh: info.force_pull_image(),
        credentials: None,
    });
    let mut options: Options = docker::options(&info.parameters)?;
    options.privileged |= info.privileged();
    let driver = match (&info.volume_driver, options.volume_driver.take()) {
        (Some(one), Some(other)) if *one != other => {
            return Err(format!(
                "the container has two volume drivers, '{one}' and, by the docker parameter 'volume-driver', '{other}'"
            ));
        }
        (one, other) => one.clone().or(other),
    };
    settings.capabilities = options.capabilities();
    settings.privileged = options.privileged;
    settings.read_only = options.read_only;
    settings.shm_bytes = options.shm_bytes.unwrap_or(DEFAULT_SHM_BYTES);
    for (path, size) in options.tmpfs {
        plan.volumes.push(Planned {
            what: What::Mount(Source::Tmpfs(size)),
            at: volumes::place(&path)?,
            read_only: false,
        });
    }
    for (from, to, read_only) in options.volumes {
        let what = match (&driver, from.starts_with('/')) {
            (_, true) => What::Mount(volumes::host(&from, around)?),
            (Some(driver), false) => volumes::named(driver, &from)?,
            (None, false) => {
                return Err(format!(
                    "the docker parameter 'volume': '{from}' is a named volume, and no 'volume-driver' says whose"
                ));
            }
        };
        plan.volumes.push(Planned {
            what,
            at: volumes::place(&to)?,
            read_only,
        });
    }
    settings.hostname = options.hostname;
    settings.user = options.user;
    settings.working_dir = options.working_dir;
    settings.entrypoint = options.entrypoint;
    settings.environment = options.environment;
    settings.hosts = options.hosts;
    settings.resolv = options.resolv;
    settings.rlimits = options.rlimits;
    settings.processes = options.processes;
    settings.cpuset = options.cpuset;
    settings.block_weight = options.block_weight;
    settings.block_rates = options.block_rates;
    settings.oom_score_adj = options.oom_score_adj;
    settings.seccomp = options.seccomp;
    settings.devices = options.devices;
    settings.no_new_privileges = options.no_new_privileges;
    Ok(driver)
}

fn wish(info: &SeccompInfo) -> Result<SeccompWish, String> {
    match (info.profile_name.as_deref(), info.unconfined()) {
        (Some(_), true) => {
            Err("seccomp: 'profile_name' and 'unconfined' exclude each other".into())
        }
        (None, false) => Err("seccomp: it has neither 'profile_name' nor 'unconfined'".into()),
        (None, true) => Ok(SeccompWish::Unconfined),
        (Some(name), false) => Ok(SeccompWish::Named(name.to_owned())),
    }
}

/// Reads a `ContainerInfo`. Says, by name, what is wrong or not built.
pub(crate) fn plan(container: Option<&ContainerInfo>, around: &Around<'_>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let Some(container) = container else {
        return Ok(plan);
    };
    let mut driver = None;
    match container.r#type() {
        container_info::Type::Docker => {
            let info = container
                .docker
                .as_ref()
                .ok_or("the container of type DOCKER lacks 'docker'")?;
            driver = of_docker(&mut plan, info, around)?;
        }
        container_info::Type::Mesos => {
            let image = container
                .mesos
                .as_ref()
                .and_then(|mesos| mesos.image.as_ref());
            plan.image = image.map(wanted).transpose()?;
            if plan.image.is_some() {
                plan.settings.capabilities = Options::default().capabilities();
            }
        }
    }
    for volume in &container.volumes {
        plan.volumes
            .push(volumes::read(volume, driver.as_deref(), around)?);
    }
    let settings = &mut plan.settings;
    if let Some(linux) = &container.linux_info {
        let given = [
            &linux.bounding_capabilities,
            &linux.effective_capabilities,
            &linux.capability_info,
        ];
        if let Some(info) = given.into_iter().flatten().next() {
            settings.capabilities = Some(bits(info));
        }
        if let Some(seccomp) = &linux.seccomp {
            settings.seccomp = wish(seccomp)?;
        }
    }
    settings.sharing = Sharing::read(Some(container))?;
    if container.hostname.is_some() {
        settings.hostname.clone_from(&container.hostname);
    }
    Ok(plan)
}

/// A resolv.conf with what the container wants otherwise.
fn resolv(given: &str, plan: &Settings) -> String {
    let word = |line: &str| {
        line.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let replaced: Vec<String> = plan.resolv.iter().map(|line| word(line)).collect();
    let kept = given.lines().filter(|line| !replaced.contains(&word(line)));
    let own = plan.resolv.iter().map(String::as_str);
    kept.chain(own).map(|line| format!("{line}\n")).collect()
}

/// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container, on networks of its own or on the host's.
pub(crate) fn network_files(
    plan: &Settings,
    attached: Option<&Attached>,
) -> Vec<(PathBuf, String)> {
    let path = |path: &str| Path::new(path).to_owned();
    if let Some(attached) = attached {
        let mut hosts = attached.hosts.clone();
        for line in &plan.hosts {
            hosts.push_str(&format!("{line}\n"));
        }
        return vec![
            (path("/etc/hosts"), hosts),
            (path("/etc/hostname"), format!("{}\n", attached.hostname)),
            (path("/etc/resolv.conf"), resolv(&attached.resolv, plan)),
        ];
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut hosts = if plan.no_network {
        "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned()
    } else {
        read("/etc/hosts")
    };
    let hostname = match &plan.hostname {
        Some(name) => {
            hosts.push_str(&format!("\n127.0.1.1\t{name}\n"));
            name.clone()
        }
        None => nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_default(),
    };
    for line in &plan.hosts {
        hosts.push_str(&format!("{line}\n"));
    }
    vec![
        (path("/etc/hosts"), hosts),
        (path("/etc/hostname"), format!("{hostname}\n")),
        (
            path("/etc/resolv.conf"),
            resolv(&read("/etc/resolv.conf"), plan),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_where_the_container_says() {
        let plan = Settings {
            resolv: vec![
                "nameserver 10.0.0.53".to_owned(),
                "options ndots:2".to_owned(),
            ],
            ..Settings::default()
        };
        let given = "nameserver 1.1.1.1\nsearch example\nnameserver 2.2.2.2\n";
        assert_eq!(
            resolv(given, &plan),
            "search example\nnameserver 10.0.0.53\noptions ndots:2\n"
        );
        assert_eq!(resolv(given, &Settings::default()), given);
    }
}

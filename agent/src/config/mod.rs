//! How one agent runs, decided before anything starts.

mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tepui_agent_core::ReconfigurationPolicy;
use tepui_coordination::{Location, LocationError, ZooKeeperOptions};
use tepui_proto::mesos::v1::{Attribute, DomainInfo, Resource};

use crate::disk::DiskConfig;
use crate::external_volumes::{CsiConfig, DockerVolumesConfig};
use crate::fetcher::FetcherConfig;
use crate::flags::Flags;
use crate::isolation::IsolationConfig;
use crate::networks::NetworksConfig;
use crate::oversubscription::OversubscriptionConfig;
use crate::ports::PortsConfig;
use crate::provision::config::ImagesConfig;
pub use values::parse_duration;
pub(crate) use values::{format_duration, parse_bytes};

use crate::resources::{FlagValueError, complete, parse_attributes, parse_resources};

/// How one agent runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the leading master is learned from.
    pub master: Location,
    /// For a `master` in ZooKeeper.
    pub zookeeper: ZooKeeperOptions,
    /// A connection that is used instead of one to the detected leader: several agents of one process may share it.
    pub channel: Option<tonic::transport::Channel>,
    /// Sandboxes, and the journal below `meta/`.
    pub work_dir: PathBuf,
    /// Facts about running containers.
    pub runtime_dir: PathBuf,
    /// To listen on.
    pub ip: IpAddr,
    /// To listen on; 0 takes a free one.
    pub port: u16,
    /// Told to others instead of `ip`.
    pub advertise_ip: Option<IpAddr>,
    /// Told to others instead of the port listened on.
    pub advertise_port: Option<u16>,
    /// Told to others.
    pub hostname: String,
    /// Everything that is offered.
    pub resources: Vec<Resource>,
    /// What frameworks may choose by.
    pub attributes: Vec<Attribute>,
    /// Region and zone.
    pub domain: Option<DomainInfo>,
    /// Nothing of the agent outlives its process: tasks are killed when it stops, however it stops, and nothing is recovered.
    pub ephemeral: bool,
    /// How far the agent may differ from what it was at its last start.
    pub reconfiguration_policy: ReconfigurationPolicy,
    /// Tasks run as the user that they name.
    pub switch_user: bool,
    /// Where containers' cgroups are, below the mount of each controller.
    pub cgroups_root: String,
    /// A task may use no more than its cpus.
    pub cgroups_enable_cfs: bool,
    /// See [`tepui_agent_core::Config::executor_registration_timeout`].
    pub executor_registration_timeout: Duration,
    /// See [`tepui_agent_core::Config::executor_reregistration_timeout`].
    pub executor_reregistration_timeout: Duration,
    /// See [`tepui_agent_core::Config::executor_shutdown_grace_period`].
    pub executor_shutdown_grace_period: Duration,
    /// How long executors try to reach an agent that is away.
    pub recovery_timeout: Duration,
    /// Variables for every executor.
    pub executor_environment: BTreeMap<String, String>,
    /// The longest pause between two attempts to reach the master.
    pub longest_backoff: Duration,
    /// How long the sandbox of an ended container is kept.
    pub gc_delay: Duration,
    /// Part of the disk (0 to 1) that is kept free by removing sandboxes early.
    pub gc_disk_headroom: f64,
    /// How often old sandboxes are looked for.
    pub disk_watch_interval: Duration,
    /// How images are kept and had.
    pub images: ImagesConfig,
    /// How strictly containers are kept in.
    pub isolation: IsolationConfig,
    /// How the disk that containers use is looked at.
    pub disk: DiskConfig,
    /// How it is looked at which ports containers listen on.
    pub ports: PortsConfig,
    /// What is lent beyond what the agent has, and how it is taken back.
    pub oversubscription: OversubscriptionConfig,
    /// Where networks are found.
    pub networks: NetworksConfig,
    /// How volumes of docker volume drivers are had.
    pub docker_volumes: DockerVolumesConfig,
    /// How volumes of CSI plugins are had.
    pub csi: CsiConfig,
    /// How URIs of commands are fetched.
    pub fetcher: FetcherConfig,
    /// Between heartbeats of what containers write.
    pub http_heartbeat_interval: Duration,
    /// What `/flags` shows.
    pub flags: BTreeMap<String, String>,
}

/// Flags that cannot be obeyed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag without which nothing works.
    #[error("--{0} is required: {1}")]
    Missing(&'static str, &'static str),
    /// A value that makes no sense.
    #[error("--{flag}={value}: {problem}")]
    Invalid {
        /// Which, without dashes.
        flag: &'static str,
        /// As given.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Resources or attributes.
    #[error(transparent)]
    Value(#[from] FlagValueError),
    /// The master's place.
    #[error("--master: {0}")]
    Master(#[from] LocationError),
    /// A flag that would make the agent safer than it can be yet.
    #[error(
        "--{0} cannot be obeyed: authentication, authorization and TLS are not built yet, and leaving them out silently would be unsafe"
    )]
    Unsafe(&'static str),
}

impl Config {
    /// An agent for a master, with everything else by default: all of this machine, on a free port of 127.0.0.1.
    #[must_use]
    pub fn new(master: Location, work_dir: impl Into<PathBuf>) -> Self {
        let work_dir = work_dir.into();
        let images = ImagesConfig::new(&work_dir);
        Self {
            master,
            zookeeper: ZooKeeperOptions::default(),
            channel: None,
            runtime_dir: work_dir.join("run"),
            ip: IpAddr::from([127, 0, 0, 1]),
            port: 0,
            advertise_ip: None,
            advertise_port: None,
            hostname: "127.0.0.1".to_owned(),
            resources: complete(Vec::new(), &work_dir),
            networks: NetworksConfig::default(),
            docker_volumes: DockerVolumesConfig::default(),
            csi: CsiConfig::default(),
            fetcher: FetcherConfig::new(&work_dir),
            work_dir,
            attributes: Vec::new(),
            domain: None,
            ephemeral: false,
            reconfiguration_policy: ReconfigurationPolicy::Equal,
            switch_user: true,
            cgroups_root: "tepui".to_owned(),
            cgroups_enable_cfs: false,
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace_period: Duration::from_secs(5),
            recovery_timeout: Duration::from_secs(900),
            executor_environment: BTreeMap::new(),
            longest_backoff: Duration::from_secs(1),
            gc_delay: Duration::from_secs(604_800),
            http_heartbeat_interval: Duration::from_secs(30),
            gc_disk_headroom: 0.1,
            disk_watch_interval: Duration::from_secs(60),
            images,
            isolation: IsolationConfig::default(),
            disk: DiskConfig::default(),
            ports: PortsConfig::default(),
            oversubscription: OversubscriptionConfig::default(),
            flags: BTreeMap::new(),
        }
    }

    /// Judges the flags and finds out what they leave open.
    ///
    /// # Errors
    /// Any flag that is missing, makes no sense, or asks for safety that is not built yet.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        refuse_unsafe(flags)?;
        let master = flags.master.as_deref().ok_or(ConfigError::Missing(
            "master",
            "where is the master? (host:port or zk://…)",
        ))?;
        let master = Location::parse(master, Some(5050))?;
        let root = nix::unistd::geteuid().is_root();
        let work_dir = match &flags.work_dir {
            Some(work_dir) => work_dir.clone(),
            None => default_work_dir(root).ok_or(ConfigError::Missing(
                "work_dir",
                "HOME is not set, so there is no default",
            ))?,
        };
        let work_dir = std::path::absolute(&work_dir).unwrap_or(work_dir);
        let runtime_dir = match &flags.runtime_dir {
            Some(runtime_dir) => {
                std::path::absolute(runtime_dir).unwrap_or_else(|_| runtime_dir.clone())
            }
            // Beside the work directory, so that two agents of one machine never share it.
            None => work_dir.join("run"),
        };
        let ip = address("ip", &flags.ip)?;
        let advertise_ip = flags
            .advertise_ip
            .as_deref()
            .map(|text| address("advertise_ip", text))
            .transpose()?;
        let mut resources = flags
            .resources
            .as_deref()
            .map(parse_resources)
            .transpose()?
            .unwrap_or_default();
        resources = complete(resources, &work_dir);
        let isolation = IsolationConfig::from_flags(&flags.isolation)?;
        isolation.gpus.complete(&mut resources).map_err(|problem| {
            let given = flags.resources.as_deref().unwrap_or_default();
            invalid("resources", given, &problem)
        })?;
        if flags.default_role != "*" {
            for resource in resources
                .iter_mut()
                .filter(|resource| resource.reservations.is_empty())
            {
                resource
                    .reservations
                    .push(tepui_proto::mesos::v1::resource::ReservationInfo {
                        r#type: Some(
                            tepui_proto::mesos::v1::resource::reservation_info::Type::Static.into(),
                        ),
                        role: Some(flags.default_role.clone()),
                        ..Default::default()
                    });
            }
        }
        check_resources(&resources).map_err(|problem| {
            invalid(
                "resources",
                flags.resources.as_deref().unwrap_or_default(),
                &problem,
            )
        })?;
        if flags.recover != "reconnect" {
            return Err(invalid(
                "recover",
                &flags.recover,
                "only 'reconnect' is there",
            ));
        }
        let reconfiguration_policy = match flags.reconfiguration_policy.as_str() {
            "equal" => ReconfigurationPolicy::Equal,
            "additive" => ReconfigurationPolicy::Additive,
            other => {
                return Err(invalid(
                    "reconfiguration_policy",
                    other,
                    "'equal' or 'additive'",
                ));
            }
        };
        let reregistration = time(
            "executor_reregistration_timeout",
            &flags.executor_reregistration_timeout,
        )?;
        if reregistration > Duration::from_secs(15) {
            return Err(invalid(
                "executor_reregistration_timeout",
                &flags.executor_reregistration_timeout,
                "at most 15secs",
            ));
        }
        if !(0.0..=1.0).contains(&flags.gc_disk_headroom) {
            return Err(invalid(
                "gc_disk_headroom",
                &flags.gc_disk_headroom.to_string(),
                "a part is between 0 and 1",
            ));
        }
        let environment = match &flags.executor_environment_variables {
            None => BTreeMap::new(),
            Some(text) => serde_json::from_str(text).map_err(|error| {
                invalid(
                    "executor_environment_variables",
                    text,
                    &format!("not a JSON object of strings: {error}"),
                )
            })?,
        };
        let fetcher = fetcher(flags, &work_dir)?;
        let listed = flags.isolation.isolation.as_deref().unwrap_or_default();
        let ports = PortsConfig::from_flags(&flags.ports, listed, &resources)?;
        let hostname = flags
            .hostname
            .clone()
            .unwrap_or_else(|| hostname(flags.hostname_lookup, advertise_ip.unwrap_or(ip)));
        Ok(Self {
            zookeeper: ZooKeeperOptions {
                session_timeout: time("zk_session_timeout", &flags.zk_session_timeout)?,
                ..ZooKeeperOptions::default()
            },
            runtime_dir,
            ip,
            port: flags.port,
            advertise_ip,
            advertise_port: flags.advertise_port,
            hostname,
            resources,
            attributes: flags
                .attributes
                .as_deref()
                .map(parse_attributes)
                .transpose()?
                .unwrap_or_default(),
            domain: flags.domain.as_deref().map(domain).transpose()?,
            reconfiguration_policy,
            switch_user: flags.switch_user,
            cgroups_root: flags.cgroups_root.clone(),
            cgroups_enable_cfs: flags.cgroups_enable_cfs,
            executor_registration_timeout: time(
                "executor_registration_timeout",
                &flags.executor_registration_timeout,
            )?,
            executor_reregistration_timeout: reregistration,
            executor_shutdown_grace_period: time(
                "executor_shutdown_grace_period",
                &flags.executor_shutdown_grace_period,
            )?,
            recovery_timeout: time("recovery_timeout", &flags.recovery_timeout)?,
            executor_environment: environment,
            longest_backoff: time(
                "registration_backoff_factor",
                &flags.registration_backoff_factor,
            )?
            .max(Duration::from_millis(10)),
            gc_delay: time("gc_delay", &flags.gc_delay)?,
            http_heartbeat_interval: time(
                "http_heartbeat_interval",
                &flags.http_heartbeat_interval,
            )?,
            gc_disk_headroom: flags.gc_disk_headroom,
            disk_watch_interval: time("disk_watch_interval", &flags.disk_watch_interval)?
                .max(Duration::from_secs(1)),
            images: ImagesConfig::from_flags(&flags.images, &work_dir)?,
            isolation,
            disk: DiskConfig::from_flags(&flags.disk, listed)?,
            ports,
            oversubscription: OversubscriptionConfig::from_flags(&flags.oversubscription)?,
            networks: flags.networks.config(),
            docker_volumes: flags.docker_volumes.config(),
            csi: CsiConfig::from_flags(&flags.csi, listed)?,
            fetcher,
            flags: shown(flags),
            ..Self::new(master, work_dir)
        })
    }
}

fn invalid(flag: &'static str, value: &str, problem: &str) -> ConfigError {
    ConfigError::Invalid {
        flag,
        value: value.to_owned(),
        problem: problem.to_owned(),
    }
}

/// The agent's own check of what `--resources` says, before anybody counts on it.
fn check_resources(resources: &[Resource]) -> Result<(), String> {
    tepui_proto::convert::resources::from_wire(resources).map_err(|error| error.to_string())?;
    let volume = |resource: &Resource| {
        resource
            .disk
            .as_ref()
            .is_some_and(|disk| disk.persistence.is_some())
    };
    let dynamic = |resource: &Resource| {
        resource.reservation.is_some()
            || resource.reservations.iter().any(|reservation| {
                reservation.r#type()
                    == tepui_proto::mesos::v1::resource::reservation_info::Type::Dynamic
            })
    };
    if resources.iter().any(volume) {
        return Err("persistent volumes are made by operations, not by flags".to_owned());
    }
    if resources.iter().any(dynamic) {
        return Err("dynamic reservations are made by operations, not by flags".to_owned());
    }
    Ok(())
}

/// `--domain`: a DomainInfo in JSON, or `file:///path` of a file that holds one.
fn domain(text: &str) -> Result<DomainInfo, ConfigError> {
    let wrong = |problem: &str| invalid("domain", text, problem);
    let content = match text.strip_prefix("file://") {
        None => text.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| wrong(&format!("cannot read {path}: {error}")))?,
    };
    tepui_proto::json::from_slice(content.trim().as_bytes())
        .map_err(|error| wrong(&format!("not a DomainInfo in JSON: {error}")))
}

fn fetcher(flags: &Flags, work_dir: &std::path::Path) -> Result<FetcherConfig, ConfigError> {
    let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
    let defaults = FetcherConfig::new(work_dir);
    Ok(FetcherConfig {
        cache_dir: flags
            .fetcher_cache_dir
            .as_ref()
            .map_or(defaults.cache_dir, absolute),
        cache_bytes: size("fetcher_cache_size", &flags.fetcher_cache_size)?,
        stall_timeout: time("fetcher_stall_timeout", &flags.fetcher_stall_timeout)?
            .max(Duration::from_secs(1)),
        max_bytes: size("fetcher_max_size", &flags.fetcher_max_size)?,
        frameworks_home: flags.frameworks_home.as_ref().map(absolute),
    })
}

fn size(flag: &'static str, text: &str) -> Result<u64, ConfigError> {
    parse_bytes(text).ok_or_else(|| invalid(flag, text, "not a size such as 512MB or 2GB"))
}

fn time(flag: &'static str, text: &str) -> Result<Duration, ConfigError> {
    parse_duration(text).ok_or_else(|| {
        invalid(
            flag,
            text,
            "not a duration such as 10secs, 1.5mins or 1weeks",
        )
    })
}

fn address(flag: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    text.parse()
        .map_err(|_| invalid(flag, text, "not an IP address"))
}

fn refuse_unsafe(flags: &Flags) -> Result<(), ConfigError> {
    let asked = [
        (
            "authenticate_http_readonly",
            flags.authenticate_http_readonly,
        ),
        (
            "authenticate_http_readwrite",
            flags.authenticate_http_readwrite,
        ),
        (
            "authenticate_http_executors",
            flags.authenticate_http_executors,
        ),
        ("credential", flags.credential.is_some()),
        ("http_credentials", flags.http_credentials.is_some()),
        ("acls", flags.acls.is_some()),
        ("firewall_rules", flags.firewall_rules.is_some()),
        ("jwt_secret_key", flags.jwt_secret_key.is_some()),
    ];
    asked
        .into_iter()
        .find(|(_, asked)| *asked)
        .map_or(Ok(()), |(name, _)| Err(ConfigError::Unsafe(name)))
}

fn default_work_dir(root: bool) -> Option<PathBuf> {
    if root {
        return Some("/var/lib/tepui/agent".into());
    }
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
    state.map(|state| state.join("tepui/agent"))
}

fn hostname(lookup: bool, ip: IpAddr) -> String {
    if lookup
        && !ip.is_loopback()
        && let Ok(Ok(name)) = nix::unistd::gethostname().map(std::ffi::OsString::into_string)
    {
        return name;
    }
    ip.to_string()
}

/// Every flag that is set, as text.
fn shown(flags: &Flags) -> BTreeMap<String, String> {
    let mut shown = BTreeMap::new();
    let mut show = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value);
        }
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    show("master", flags.master.clone());
    show("work_dir", path(&flags.work_dir));
    show("runtime_dir", path(&flags.runtime_dir));
    show("ip", Some(flags.ip.clone()));
    show("port", Some(flags.port.to_string()));
    show("advertise_ip", flags.advertise_ip.clone());
    show(
        "advertise_port",
        flags.advertise_port.map(|port| port.to_string()),
    );
    show("hostname", flags.hostname.clone());
    show("domain", flags.domain.clone());
    show("hostname_lookup", Some(flags.hostname_lookup.to_string()));
    show("resources", flags.resources.clone());
    show("attributes", flags.attributes.clone());
    show("default_role", Some(flags.default_role.clone()));
    show("switch_user", Some(flags.switch_user.to_string()));
    show("cgroups_root", Some(flags.cgroups_root.clone()));
    show(
        "cgroups_enable_cfs",
        Some(flags.cgroups_enable_cfs.to_string()),
    );
    show(
        "executor_registration_timeout",
        Some(flags.executor_registration_timeout.clone()),
    );
    show(
        "executor_reregistration_timeout",
        Some(flags.executor_reregistration_timeout.clone()),
    );
    show(
        "executor_shutdown_grace_period",
        Some(flags.executor_shutdown_grace_period.clone()),
    );
    show("recovery_timeout", Some(flags.recovery_timeout.clone()));
    show(
        "executor_environment_variables",
        flags.executor_environment_variables.clone(),
    );
    show(
        "registration_backoff_factor",
        Some(flags.registration_backoff_factor.clone()),
    );
    show("gc_delay", Some(flags.gc_delay.clone()));
    show(
        "http_heartbeat_interval",
        Some(flags.http_heartbeat_interval.clone()),
    );
    show("gc_disk_headroom", Some(flags.gc_disk_headroom.to_string()));
    show(
        "disk_watch_interval",
        Some(flags.disk_watch_interval.clone()),
    );
    show("frameworks_home", path(&flags.frameworks_home));
    show("fetcher_cache_dir", path(&flags.fetcher_cache_dir));
    show("fetcher_cache_size", Some(flags.fetcher_cache_size.clone()));
    show(
        "fetcher_stall_timeout",
        Some(flags.fetcher_stall_timeout.clone()),
    );
    show("fetcher_max_size", Some(flags.fetcher_max_size.clone()));
    show("zk_session_timeout", Some(flags.zk_session_timeout.clone()));
    for (name, value) in flags.docker_volumes.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.csi.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.networks.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.images.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.isolation.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.disk.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.ports.shown() {
        show(name, Some(value));
    }
    for (name, value) in flags.oversubscription.shown() {
        show(name, Some(value));
    }
    show("containerizers", flags.containerizers.clone());
    show("launcher", flags.launcher.clone());
    show(
        "reconfiguration_policy",
        Some(flags.reconfiguration_policy.clone()),
    );
    show("recover", Some(flags.recover.clone()));
    show("strict", Some(flags.strict.to_string()));
    shown
}

#[cfg(test)]
mod tests;

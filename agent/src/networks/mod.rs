//! Networks of containers: which they want ([`wanted`]), and how they get there.
//!
//! A container that wants a network gets a network namespace ([`namespace`]) before it is launched; each of its networks is attached to it, by
//! CNI plugins ([`cni`]) or to the agent's own bridge ([`bridge`]), and the container's processes are made inside. What is attached is written
//! down before it is, in `<runtime_dir>/networks/<container>/`, so that it can be taken down by any later life of the agent: at the container's
//! end, or at the next start for those that are gone. The tasks of a group share those of their executor ([`groups`]).

mod bridge;
mod cni;
mod command;
mod flags;
mod groups;
mod namespace;
pub(crate) mod traffic;
pub(crate) mod wanted;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tepui_proto::mesos::v1::{NetworkInfo, network_info};

use crate::containerizer::{At, Mount, Source};
use bridge::Bridge;
pub use flags::NetworkFlags;
pub(crate) use namespace::within;
use wanted::{BRIDGES, Wanted};

const RECORD_FILE: &str = "record";
const NAMESPACE_FILE: &str = "ns";

/// Where networks are found. Flags of Mesos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworksConfig {
    /// Directories of CNI plugins, separated by colons. Flag `--network_cni_plugins_dir`.
    pub plugins_dir: PathBuf,
    /// A directory of CNI configurations. Flag `--network_cni_config_dir`.
    pub config_dir: Option<PathBuf>,
}

impl Default for NetworksConfig {
    fn default() -> Self {
        Self {
            plugins_dir: "/opt/cni/bin:/usr/lib/cni".into(),
            config_dir: None,
        }
    }
}

/// One attachment of a container, as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attachment {
    wanted: Wanted,
    interface: String,
    /// By plugins: the configuration that they were called with. Otherwise the container is on the agent's bridge.
    cni: Option<serde_json::Value>,
    /// What the plugins answered.
    answer: Option<serde_json::Value>,
    /// On the bridge.
    lease: Option<Ipv4Addr>,
    addresses: Vec<IpAddr>,
}

/// What is attached, or being attached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    attachments: Vec<Attachment>,
    /// Once it is whole: for those who join later. Records of older versions have none.
    #[serde(default)]
    names: Option<Names>,
}

/// What a container on networks is called, and how it finds others.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Names {
    hostname: String,
    hosts: String,
    resolv: String,
}

/// What a container on networks is started with.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    /// Its processes are made in here.
    pub(crate) namespace: PathBuf,
    pub(crate) hostname: String,
    /// Of `/etc/hosts`.
    pub(crate) hosts: String,
    /// Of `/etc/resolv.conf`.
    pub(crate) resolv: String,
    /// A directory with these files, for a container in the host's root.
    pub(crate) files: PathBuf,
}

impl Attached {
    /// What a container in the host's root sees in place of the host's own files, where those are.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        ["hosts", "hostname", "resolv.conf"]
            .into_iter()
            .map(|name| Mount {
                from: Source::Host(self.files.join(name)),
                at: At::Inside(Path::new("/etc").join(name)),
                read_only: false,
            })
            .filter(|mount| matches!(&mount.at, At::Inside(path) if path.exists()))
            .collect()
    }
}

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    config: NetworksConfig,
    bridge: Bridge,
    /// Why containers cannot join networks here.
    missing: Option<String>,
    /// What the built-in network needs and this machine lacks.
    lacks: Option<&'static str>,
    records: Mutex<HashMap<String, Record>>,
    groups: groups::Groups,
    /// Held while the bridge goes up or down, and by whoever counts on it being as it is: its subnet, if this life has made sure of it.
    bridging: Mutex<Option<bridge::Subnet>>,
}

/// The door of this room. Cheap to clone. Its methods block, some for as long as a plugin takes.
#[derive(Debug, Clone)]
pub(crate) struct Networks(Arc<Inner>);

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("the agent does not run as root".to_owned());
    }
    None
}

impl Networks {
    /// Takes up what an earlier life has attached for the containers that are `alive`, and takes down the rest.
    pub(crate) fn start(
        config: &NetworksConfig,
        work_dir: &Path,
        runtime_dir: &Path,
        alive: &HashSet<String>,
    ) -> Self {
        let missing = missing();
        if let Some(missing) = &missing {
            tracing::warn!(
                "containers cannot join networks on this machine, and will be refused: {missing}"
            );
        }
        let lacks = ["ip", "iptables"]
            .into_iter()
            .find(|program| !command::is_there(program));
        if let (Some(program), None) = (lacks, &missing) {
            tracing::warn!(
                "containers cannot join the built-in network on this machine, and will be refused: the program '{program}' is missing"
            );
        }
        let networks = Self(Arc::new(Inner {
            directory: runtime_dir.join("networks"),
            config: config.clone(),
            bridge: Bridge::new(work_dir),
            missing,
            lacks,
            records: Mutex::default(),
            groups: Mutex::default(),
            bridging: Mutex::default(),
        }));
        networks.recover(alive);
        networks
    }

    fn recover(&self, alive: &HashSet<String>) {
        let entries = fs::read_dir(&self.0.directory)
            .into_iter()
            .flatten()
            .flatten();
        let names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        if names.is_empty() {
            return;
        }
        for name in &names {
            let record = fs::read(self.0.directory.join(name).join(RECORD_FILE))
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default();
            self.0.records.lock().insert(name.clone(), record);
        }
        let mut groups = groups::alive(alive);
        let mut gone = 0;
        let dead = |name: &&String| !alive.contains(*name) && !groups.contains_key(*name);
        for name in names.iter().filter(dead) {
            self.take_down(name);
            gone += 1;
        }
        if gone > 0 {
            tracing::info!("took down the networks of {gone} containers that are gone");
        }
        // Those of others hold nothing.
        groups.retain(|name, _| self.has(name));
        *self.0.groups.lock() = groups;
    }

    fn path(&self, container: &str) -> PathBuf {
        self.0.directory.join(container)
    }

    /// Whether the container has networks of its own, or is on those of its group.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.0.records.lock().contains_key(container) || self.is_member(container)
    }

    /// What a container is started with that is on its networks already.
    fn attached(&self, container: &str) -> Option<Attached> {
        let names = self.0.records.lock().get(container)?.names.clone()?;
        let files = self.path(container);
        Some(Attached {
            namespace: files.join(NAMESPACE_FILE),
            hostname: names.hostname,
            hosts: names.hosts,
            resolv: names.resolv,
            files,
        })
    }

    /// What the status of a container's task tells of its networks; none on the host's.
    pub(crate) fn infos(&self, container: &str) -> Vec<NetworkInfo> {
        let records = self.0.records.lock();
        let attachments = records
            .get(container)
            .map(|record| record.attachments.as_slice())
            .unwrap_or_default();
        attachments.iter().map(info).collect()
    }

    /// Those who have networks.
    pub(crate) fn containers(&self) -> Vec<String> {
        self.0.records.lock().keys().cloned().collect()
    }

    /// Attaches a container that is to be launched to its networks. After an error nothing is attached.
    pub(crate) fn attach(
        &self,
        container: &str,
        wanted: &[Wanted],
        hostname: Option<&str>,
    ) -> Result<Attached, String> {
        if let Some(missing) = &self.0.missing {
            return Err(format!(
                "containers cannot join networks on this machine: {missing}"
            ));
        }
        if self.has(container) {
            return Err("the container is on its networks already".to_owned());
        }
        let attached = self.try_attach(container, wanted, hostname);
        if attached.is_err() {
            self.take_down(container);
        }
        attached
    }

    fn try_attach(
        &self,
        container: &str,
        wanted: &[Wanted],
        hostname: Option<&str>,
    ) -> Result<Attached, String> {
        let mut record = Record::default();
        for (index, wanted) in wanted.iter().enumerate() {
            record.attachments.push(Attachment {
                cni: self.cni(wanted)?,
                wanted: wanted.clone(),
                interface: format!("eth{index}"),
                answer: None,
                lease: None,
                addresses: Vec::new(),
            });
        }
        let path = self.path(container);
        let failed = |action: &'static str| {
            let path = path.clone();
            move |error: std::io::Error| format!("cannot {action} {}: {error}", path.display())
        };
        fs::create_dir_all(&path).map_err(failed("make"))?;
        self.keep(container, &record)?;
        let file = path.join(NAMESPACE_FILE);
        namespace::make(&file).map_err(failed("make a network namespace in"))?;
        let mut resolv = None;
        for index in 0..record.attachments.len() {
            let network = record.attachments[index].wanted.name.clone();
            let joined = match record.attachments[index].cni.clone() {
                Some(config) => self
                    .by_plugins(container, &file, &mut record, index, &config)
                    .map(|said| resolv = resolv.take().or(said)),
                None => self.by_bridge(container, &file, &mut record, index),
            };
            joined.map_err(|problem| format!("cannot join the network '{network}': {problem}"))?;
            self.keep(container, &record)?;
        }
        let own = record
            .attachments
            .iter()
            .flat_map(|attachment| &attachment.addresses);
        // A name is at most 64 bytes long.
        let hostname: String = hostname.unwrap_or(container).chars().take(63).collect();
        let mut hosts =
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        for address in own {
            hosts.push_str(&format!("{address}\t{hostname}\n"));
        }
        let attached = Attached {
            namespace: file,
            hostname,
            hosts,
            resolv: resolv.unwrap_or_else(of_host),
            files: path.clone(),
        };
        record.names = Some(Names {
            hostname: attached.hostname.clone(),
            hosts: attached.hosts.clone(),
            resolv: attached.resolv.clone(),
        });
        self.keep(container, &record)?;
        for (name, content) in [
            ("hosts", &attached.hosts),
            ("resolv.conf", &attached.resolv),
            ("hostname", &format!("{}\n", attached.hostname)),
        ] {
            fs::write(path.join(name), content).map_err(failed("write in"))?;
        }
        Ok(attached)
    }

    /// The plugins of a network; `None` for the agent's bridge.
    fn cni(&self, wanted: &Wanted) -> Result<Option<serde_json::Value>, String> {
        let found = match &self.0.config.config_dir {
            Some(directory) => cni::find(directory, &wanted.name)?,
            None => None,
        };
        let built_in = BRIDGES.contains(&wanted.name.as_str());
        match found {
            Some(network) => Ok(Some(cni::for_container(network, wanted))),
            None if built_in => match self.0.lacks {
                None => Ok(None),
                Some(program) => Err(format!(
                    "the built-in network '{}' needs the program '{program}', which this machine lacks (Debian: iproute2, iptables)",
                    wanted.name
                )),
            },
            None => Err(format!(
                "there is no network '{}' here: {}",
                wanted.name,
                match &self.0.config.config_dir {
                    Some(directory) =>
                        format!("no configuration in {} has this name", directory.display()),
                    None => "the agent was started without --network_cni_config_dir".to_owned(),
                }
            )),
        }
    }

    fn by_plugins(
        &self,
        container: &str,
        namespace: &Path,
        record: &mut Record,
        index: usize,
        config: &serde_json::Value,
    ) -> Result<Option<String>, String> {
        let attachment = &mut record.attachments[index];
        let target = cni::Target {
            plugins: &self.0.config.plugins_dir,
            container,
            namespace,
            interface: &attachment.interface,
        };
        let answer = cni::add(target, config)?;
        let said = cni::understand(&answer);
        attachment.answer = Some(answer);
        attachment.addresses = said.addresses;
        Ok(said.resolv)
    }

    fn by_bridge(
        &self,
        container: &str,
        namespace: &Path,
        record: &mut Record,
        index: usize,
    ) -> Result<(), String> {
        let mut bridging = self.0.bridging.lock();
        let subnet = match *bridging {
            Some(subnet) if self.0.bridge.exists() => subnet,
            _ => *bridging.insert(self.0.bridge.up()?),
        };
        let taken = self.leases();
        let address = Bridge::lease(subnet, container, &taken)?;
        let attachment = &mut record.attachments[index];
        attachment.lease = Some(address);
        attachment.addresses = vec![address.into()];
        self.keep(container, record)?;
        let attachment = &record.attachments[index];
        self.0.bridge.attach(
            subnet,
            container,
            namespace,
            (&attachment.interface, address),
            &attachment.wanted.ports,
            index == 0,
        )
    }

    fn leases(&self) -> HashSet<Ipv4Addr> {
        let records = self.0.records.lock();
        let attachments = records.values().flat_map(|record| &record.attachments);
        attachments
            .filter_map(|attachment| attachment.lease)
            .collect()
    }

    /// Writes down what is attached, whole or not at all.
    fn keep(&self, container: &str, record: &Record) -> Result<(), String> {
        let path = self.path(container);
        let written = serde_json::to_vec(record)
            .map_err(std::io::Error::other)
            .and_then(|text| {
                let unfinished = path.join(format!("{RECORD_FILE}.new"));
                fs::write(&unfinished, text)?;
                fs::rename(&unfinished, path.join(RECORD_FILE))
            });
        written.map_err(|error| format!("cannot write in {}: {error}", path.display()))?;
        self.0
            .records
            .lock()
            .insert(container.to_owned(), record.clone());
        Ok(())
    }

    /// Takes down everything that the container was attached to: its own, and its group's if it is the last one there. Repeatable; what cannot be
    /// taken down is told in the log.
    pub(crate) fn detach(&self, container: &str) {
        self.leave(container);
        self.disband(container);
        let own = self.0.records.lock().contains_key(container);
        if own {
            self.take_down(container);
        }
    }

    fn take_down(&self, container: &str) {
        let record = self.0.records.lock().get(container).cloned();
        let path = self.path(container);
        let namespace = path.join(NAMESPACE_FILE);
        for attachment in record.iter().flat_map(|record| &record.attachments).rev() {
            if let Some(config) = &attachment.cni {
                let target = cni::Target {
                    plugins: &self.0.config.plugins_dir,
                    container,
                    namespace: &namespace,
                    interface: &attachment.interface,
                };
                if let Err(problem) = cni::del(target, config, attachment.answer.as_ref()) {
                    tracing::warn!(
                        "container {container} on the network '{}': {problem}",
                        attachment.wanted.name
                    );
                }
            }
        }
        let mut bridging = self.0.bridging.lock();
        for attachment in record.iter().flat_map(|record| &record.attachments) {
            if let Some(address) = attachment.lease {
                self.0
                    .bridge
                    .detach(container, address, &attachment.wanted.ports);
            }
        }
        let removed =
            namespace::remove(&namespace).and_then(|()| match fs::remove_dir_all(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other,
            });
        if let Err(error) = removed {
            tracing::warn!(
                "cannot remove {}, which is tried again at the next start: {error}",
                path.display()
            );
        }
        self.0.records.lock().remove(container);
        let was_there = record.is_some_and(|record| {
            record
                .attachments
                .iter()
                .any(|attachment| attachment.cni.is_none())
        });
        if was_there && self.leases().is_empty() {
            *bridging = None;
            self.0.bridge.down();
        }
    }
}

/// Takes down the networks of containers of an agent that keeps nothing of its former life. Blocks.
pub fn sweep(work_dir: &Path, runtime_dir: &Path) {
    if runtime_dir.join("networks").exists() {
        Networks::start(
            &NetworksConfig::default(),
            work_dir,
            runtime_dir,
            &HashSet::new(),
        );
    }
}

fn info(attachment: &Attachment) -> NetworkInfo {
    let address = |address: &IpAddr| network_info::IpAddress {
        protocol: Some(
            match address {
                IpAddr::V4(_) => network_info::Protocol::IPv4,
                IpAddr::V6(_) => network_info::Protocol::IPv6,
            }
            .into(),
        ),
        ip_address: Some(address.to_string()),
    };
    let port = |port: &wanted::Port| network_info::PortMapping {
        host_port: port.host_port.into(),
        container_port: port.container_port.into(),
        protocol: Some(port.protocol.clone()),
    };
    NetworkInfo {
        name: Some(attachment.wanted.name.clone()),
        ip_addresses: attachment.addresses.iter().map(address).collect(),
        port_mappings: attachment.wanted.ports.iter().map(port).collect(),
        labels: attachment.wanted.labels(),
        ..Default::default()
    }
}

/// The machine's own resolv.conf; where that leads to a resolver that only the machine itself reaches, systemd's list of the real ones.
fn of_host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let own = read("/etc/resolv.conf");
    let mut servers = own
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .map(str::trim);
    if servers.all(|server| server.starts_with("127.") || server == "::1") {
        let real = read("/run/systemd/resolve/resolv.conf");
        if !real.is_empty() {
            return real;
        }
    }
    own
}

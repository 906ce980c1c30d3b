//! The built-in network: a bridge of the agent's own, an address for each container, ports by DNAT, and a way out by MASQUERADE.
//!
//! It needs no plugin, but the programs `ip` and `iptables`, and root. It is made for the first container and taken down with the last one.
//! Name, chain and addresses follow from the agent's work directory, so that several agents of one machine do not meet.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;

use super::command::{must, must_of};
use super::namespace::within;
use super::wanted::Port;

/// Addresses of one bridge: 4094 less the bridge's own.
const PREFIX: u32 = 20;
/// Where bridges' subnets are taken from: 10.192.0.0/10.
const POOL: u32 = 0x0ac0_0000;
const POOL_PREFIX: u32 = 10;

/// The bridge of one agent.
#[derive(Debug, Clone)]
pub(super) struct Bridge {
    name: String,
    chain: String,
    /// The subnet tried first.
    first: u32,
}

/// An address, and where it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    base: u32,
    prefix: u32,
}

/// FNV-1a: the same for ever, unlike the library's hashes.
pub(super) fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const fn mask(prefix: u32) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix)
    }
}

impl Subnet {
    /// Reads `10.1.2.3/24`; the part of the host does not count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        let address: Ipv4Addr = address.parse().ok()?;
        Some(Self {
            base: u32::from(address) & mask(prefix),
            prefix,
        })
    }

    fn overlaps(self, other: Self) -> bool {
        let wider = mask(self.prefix.min(other.prefix));
        self.base & wider == other.base & wider
    }

    fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    fn text(self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }

    /// An address that nobody has, looked for from `start` on.
    fn free(self, taken: &HashSet<Ipv4Addr>, start: u32) -> Option<Ipv4Addr> {
        // Not the network's own, the bridge's, the broadcast's.
        let size = (1 << (32 - self.prefix)) - 3;
        (0..size)
            .map(|step| Ipv4Addr::from(self.base + 2 + (start.wrapping_add(step)) % size))
            .find(|address| !taken.contains(address))
    }
}

/// The host's end of a container's link.
fn link(container: &str) -> String {
    format!("tv{:012x}", hash(container.as_bytes()) & 0xffff_ffff_ffff)
}

fn sysctl(path: &str) -> Result<(), String> {
    let path = format!("/proc/sys/net/ipv4/{path}");
    std::fs::write(&path, "1").map_err(|error| format!("cannot write 1 to {path}: {error}"))
}

fn iptables(table: &str, action: &str, rule: &[&str]) -> Result<(), String> {
    let arguments = [&["-w", "10", "-t", table, action], rule].concat();
    must("iptables", &arguments).map(drop)
}

/// Several steps of one run of `ip`; the first that fails ends it.
fn ip(steps: &[String]) -> Result<(), String> {
    must_of("ip", &["-batch", "-"], &(steps.join("\n") + "\n")).map(drop)
}

/// Adds a rule unless it is there.
fn rule(table: &str, add: &str, rule: &[&str]) -> Result<(), String> {
    if iptables(table, "-C", rule).is_ok() {
        return Ok(());
    }
    iptables(table, add, rule)
}

impl Bridge {
    pub(super) fn new(work_dir: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        let hash = hash(work_dir.as_os_str().as_bytes());
        let short = hash as u32;
        Self {
            name: format!("tp{short:08x}"),
            chain: format!("TEPUI-{short:08x}"),
            first: (hash >> 32) as u32,
        }
    }

    /// The rules beside those of single ports: table, how they are added, the rule.
    fn rules(&self, subnet: &str) -> [(&'static str, &'static str, Vec<String>); 6] {
        let words = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
        let (bridge, chain) = (&self.name, &self.chain);
        [
            (
                "nat",
                "-A",
                words(&format!(
                    "PREROUTING -m addrtype --dst-type LOCAL -j {chain}"
                )),
            ),
            (
                "nat",
                "-A",
                words(&format!("OUTPUT -m addrtype --dst-type LOCAL -j {chain}")),
            ),
            (
                "nat",
                "-A",
                words(&format!(
                    "POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE"
                )),
            ),
            // Who comes from this machine by 127.0.0.1 must be found by the answer.
            (
                "nat",
                "-A",
                words(&format!(
                    "POSTROUTING -s 127.0.0.0/8 -o {bridge} -j MASQUERADE"
                )),
            ),
            (
                "filter",
                "-I",
                words(&format!("FORWARD -i {bridge} -j ACCEPT")),
            ),
            (
                "filter",
                "-I",
                words(&format!("FORWARD -o {bridge} -j ACCEPT")),
            ),
        ]
    }

    /// Whether the link is there, with whatever address.
    pub(super) fn exists(&self) -> bool {
        Path::new("/sys/class/net").join(&self.name).exists()
    }

    /// The bridge's subnet, if it is there.
    fn there(&self) -> Option<Subnet> {
        let said = must("ip", &["-4", "-o", "addr", "show", "dev", &self.name]).ok()?;
        let mut words = said.split_ascii_whitespace();
        words.find(|word| *word == "inet")?;
        Subnet::parse(words.next()?)
    }

    /// A subnet that overlaps with nothing that this machine knows a way to.
    fn choose(&self, routes: &str) -> Result<Subnet, String> {
        let known: Vec<Subnet> = routes
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                let first = words.next()?;
                let kinds = ["broadcast", "local", "unreachable", "blackhole", "prohibit"];
                let target = if kinds.contains(&first) {
                    words.next()?
                } else {
                    first
                };
                Subnet::parse(target)
            })
            .collect();
        let count = 1 << (PREFIX - POOL_PREFIX);
        (0..count)
            .map(|step| Subnet {
                base: POOL + ((self.first.wrapping_add(step) % count) << (32 - PREFIX)),
                prefix: PREFIX,
            })
            .find(|subnet| !known.iter().any(|known| known.overlaps(*subnet)))
            .ok_or_else(|| "every subnet of 10.192.0.0/10 is in use on this machine".to_owned())
    }

    /// Makes what is missing of the bridge.
    pub(super) fn up(&self) -> Result<Subnet, String> {
        let name = self.name.as_str();
        let subnet = match self.there() {
            Some(subnet) => subnet,
            None => {
                let subnet = self.choose(&must("ip", &["-4", "route", "show", "table", "all"])?)?;
                let own = format!("{}/{PREFIX}", subnet.gateway());
                // It may be there without an address, of a life that was cut short.
                let _ = must("ip", &["link", "del", name]);
                must("ip", &["link", "add", name, "type", "bridge"])?;
                must("ip", &["addr", "add", &own, "dev", name])?;
                subnet
            }
        };
        must("ip", &["link", "set", name, "up"])?;
        sysctl("ip_forward")?;
        sysctl(&format!("conf/{name}/route_localnet"))?;
        // It may be there.
        let _ = iptables("nat", "-N", &[&self.chain]);
        for (table, add, words) in self.rules(&subnet.text()) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            rule(table, add, &words)?;
        }
        Ok(subnet)
    }

    /// Takes the bridge and its rules down. What is not there is no trouble.
    pub(super) fn down(&self) {
        if let Some(subnet) = self.there() {
            for (table, _, words) in self.rules(&subnet.text()) {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let _ = iptables(table, "-D", &words);
            }
            let _ = iptables("nat", "-F", &[&self.chain]);
            let _ = iptables("nat", "-X", &[&self.chain]);
        }
        let _ = must("ip", &["link", "del", &self.name]);
    }

    pub(super) fn lease(
        subnet: Subnet,
        container: &str,
        taken: &HashSet<Ipv4Addr>,
    ) -> Result<Ipv4Addr, String> {
        // Not the lowest: one that was let go a moment ago may still be in somebody's memory.
        subnet
            .free(taken, hash(container.as_bytes()) as u32)
            .ok_or_else(|| format!("every address of {} is in use", subnet.text()))
    }

    fn port_rule(&self, container: &str, address: Ipv4Addr, port: &Port) -> Vec<String> {
        let (host, to) = (port.host_port, port.container_port);
        let rule = format!(
            "{} -p {} --dport {host} -m comment --comment {container} -j DNAT --to-destination {address}:{to}",
            self.chain, port.protocol
        );
        rule.split(' ').map(str::to_owned).collect()
    }

    /// Links the container's namespace to the bridge.
    pub(super) fn attach(
        &self,
        subnet: Subnet,
        container: &str,
        namespace: &Path,
        (interface, address): (&str, Ipv4Addr),
        ports: &[Port],
        default_route: bool,
    ) -> Result<(), String> {
        let (link, file) = (link(container), namespace.to_string_lossy());
        let bridge = &self.name;
        ip(&[
            format!("link add {link} type veth peer name {interface} netns \"{file}\""),
            format!("link set {link} master {bridge} up"),
        ])?;
        let opened = std::fs::File::open(namespace)
            .map_err(|error| format!("cannot open {file}: {error}"))?;
        let mut inside = vec![
            format!("addr add {address}/{} dev {interface}", subnet.prefix),
            format!("link set {interface} up"),
        ];
        if default_route {
            inside.push(format!("route add default via {}", subnet.gateway()));
        }
        within(&opened, || Ok(ip(&inside)))
            .map_err(|error| format!("cannot enter {file}: {error}"))??;
        if ports.is_empty() {
            return Ok(());
        }
        let rules: Vec<String> = ports
            .iter()
            .map(|port| format!("-A {}", self.port_rule(container, address, port).join(" ")))
            .collect();
        let table = format!("*nat\n{}\nCOMMIT\n", rules.join("\n"));
        must_of("iptables-restore", &["-w", "10", "--noflush"], &table).map(drop)
    }

    /// Takes down what `attach` made, as far as it is there.
    pub(super) fn detach(&self, container: &str, address: Ipv4Addr, ports: &[Port]) {
        for port in ports {
            let words = self.port_rule(container, address, port);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = iptables("nat", "-D", &words);
        }
        let _ = must("ip", &["link", "del", &link(container)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_overlap_with_nothing_that_is_there() {
        let bridge = Bridge::new(Path::new("/var/lib/tepui/agent"));
        assert!(bridge.name.len() <= 15 && link("a.b").len() <= 15);
        assert_ne!(bridge.name, Bridge::new(Path::new("/other")).name);
        let first = bridge.choose("").unwrap();
        assert_eq!(
            first,
            bridge.choose("default via 192.168.0.1 dev eth0\n").unwrap()
        );
        let routes = format!("10.0.0.0/16 dev eth0\nlocal {} dev x\n", first.gateway());
        let second = bridge.choose(&routes).unwrap();
        assert!(!second.overlaps(first));
        assert!(bridge.choose("10.0.0.0/8 dev tun0").is_err());
    }

    #[test]
    fn addresses_are_had_once_and_none_is_special() {
        let subnet = Subnet::parse("10.192.0.1/29").unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 192, 0, 1));
        let mut taken = HashSet::new();
        while let Ok(address) = Bridge::lease(subnet, "c", &taken) {
            assert!(taken.insert(address));
        }
        let mut all: Vec<_> = taken
            .into_iter()
            .map(|address| address.octets()[3])
            .collect();
        all.sort_unstable();
        assert_eq!(all, [2, 3, 4, 5, 6]);
    }
}

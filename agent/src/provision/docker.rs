//! `DockerInfo.parameters`: options of `docker run`. Those with an equivalent here are obeyed, those that change nothing here are taken, all
//! others are refused by name.

use tepui_proto::mesos::v1::Parameter;

use crate::containerizer::{Cpuset, Rlimit, RlimitKind};
use crate::isolation::{AllowedDevice, RateWish, SeccompWish, block_weight};

/// What the parameters ask for.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) privileged: bool,
    pub(crate) read_only: bool,
    pub(crate) shm_bytes: Option<u64>,
    pub(crate) hostname: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) working_dir: Option<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Lines of /etc/hosts.
    pub(crate) hosts: Vec<String>,
    /// Lines of /etc/resolv.conf, instead of the machine's.
    pub(crate) resolv: Vec<String>,
    /// Numbers of capabilities.
    pub(crate) add: Vec<u64>,
    pub(crate) drop: Vec<u64>,
    /// Absolute paths and sizes in bytes.
    pub(crate) tmpfs: Vec<(String, u64)>,
    /// host path or name, container path, read only.
    pub(crate) volumes: Vec<(String, String, bool)>,
    /// Whose the named ones are.
    pub(crate) volume_driver: Option<String>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) processes: Option<u64>,
    pub(crate) cpuset: Cpuset,
    pub(crate) block_weight: Option<u16>,
    pub(crate) block_rates: Vec<RateWish>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) seccomp: SeccompWish,
    pub(crate) devices: Vec<AllowedDevice>,
    pub(crate) no_new_privileges: bool,
}

/// A tmpfs of which nobody says how large it may be.
pub(crate) const DEFAULT_TMPFS_BYTES: u64 = 64 << 20;

/// Names as of capabilities(7), by number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container with an image has when nobody says otherwise: what Docker leaves, less the making of devices: not every machine lets
/// the agent keep them from reaching its disks.
pub(crate) const DEFAULT_CAPABILITIES: u64 = 1
    | 1 << 1
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 7
    | 1 << 8
    | 1 << 10
    | 1 << 13
    | 1 << 18
    | 1 << 29
    | 1 << 31;

fn capability(name: &str) -> Option<Vec<u64>> {
    if matches!(name.trim().to_ascii_uppercase().as_str(), "ALL" | "CAP_ALL") {
        return Some((0..CAPABILITIES.len() as u64).collect());
    }
    Some(vec![capability_number(name)?])
}

/// `CAP_CHOWN`, `chown`: the number of a capability.
pub(crate) fn capability_number(name: &str) -> Option<u64> {
    let name = name.trim().to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    let number = CAPABILITIES.iter().position(|known| *known == name)?;
    Some(number as u64)
}

/// `64m`, `1g`, `4096`: bytes as Docker writes them.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, factor) = match text.chars().next_back()? {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A list of numbers and ranges.
fn numbers(text: &str) -> Option<String> {
    let number = |text: &str| text.len() < 6 && text.parse::<u32>().is_ok();
    let one = |part: &str| match part.split_once('-') {
        None => number(part),
        Some((from, to)) => number(from) && number(to),
    };
    text.split(',').all(one).then(|| text.to_owned())
}

fn rlimit(text: &str) -> Option<Rlimit> {
    let (name, values) = text.split_once('=')?;
    let kind = match name {
        "as" => RlimitKind::As,
        "core" => RlimitKind::Core,
        "cpu" => RlimitKind::Cpu,
        "data" => RlimitKind::Data,
        "fsize" => RlimitKind::Fsize,
        "locks" => RlimitKind::Locks,
        "memlock" => RlimitKind::Memlock,
        "msgqueue" => RlimitKind::Msgqueue,
        "nice" => RlimitKind::Nice,
        "nofile" => RlimitKind::Nofile,
        "nproc" => RlimitKind::Nproc,
        "rss" => RlimitKind::Rss,
        "rtprio" => RlimitKind::Rtprio,
        "rttime" => RlimitKind::Rttime,
        "sigpending" => RlimitKind::Sigpending,
        "stack" => RlimitKind::Stack,
        _ => return None,
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let one = |text: &str| match text {
        "-1" | "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Rlimit {
        kind,
        soft: one(soft)?,
        hard: one(hard)?,
    })
}

fn tmpfs(text: &str) -> Result<(String, u64), &'static str> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    let mut size = DEFAULT_TMPFS_BYTES;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", text)) => size = bytes(text).ok_or("its size is no number of bytes")?,
            Some(("mode", _)) | None => {}
            Some(_) => return Err("only 'size' and 'mode' are known of its options"),
        }
    }
    Ok((path.to_owned(), size))
}

/// Reads the parameters, in their order.
pub(crate) fn options(parameters: &[Parameter]) -> Result<Options, String> {
    let mut options = Options::default();
    for parameter in parameters {
        let (key, value) = (
            parameter.key.trim_start_matches('-'),
            parameter.value.as_str(),
        );
        let wrong = |why: &str| format!("the docker parameter '{key}={value}': {why}");
        let flag = || match value {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(wrong("is neither true nor false")),
        };
        match key {
            "privileged" => options.privileged = flag()?,
            "read-only" => options.read_only = flag()?,
            "shm-size" => {
                options.shm_bytes =
                    Some(bytes(value).ok_or_else(|| wrong("is no number of bytes"))?);
            }
            "hostname" | "h" => options.hostname = Some(value.to_owned()),
            "user" | "u" => options.user = Some(value.to_owned()),
            "workdir" | "w" => options.working_dir = Some(value.to_owned()),
            "entrypoint" => options.entrypoint = Some(value.to_owned()),
            "env" | "e" => {
                let (name, value) = value.split_once('=').ok_or_else(|| {
                    wrong("is not NAME=value; the agent's own variables are not passed on")
                })?;
                options
                    .environment
                    .push((name.to_owned(), value.to_owned()));
            }
            "dns" | "dns-search" | "dns-option" | "dns-opt" => {
                if value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control())
                {
                    return Err(wrong("is empty or has a blank in it"));
                }
                let word = match key {
                    "dns" => "nameserver",
                    "dns-search" => "search",
                    _ => "options",
                };
                options.resolv.push(format!("{word} {value}"));
            }
            "add-host" => {
                let (name, address) = value
                    .split_once(':')
                    .ok_or_else(|| wrong("is not name:address"))?;
                let address: std::net::IpAddr =
                    address.parse().map_err(|_| wrong("is not name:address"))?;
                let plain =
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && c != '#');
                if !plain {
                    return Err(wrong("is not name:address"));
                }
                options.hosts.push(format!("{address}\t{name}"));
            }
            "cap-add" | "cap-drop" => {
                let numbers = capability(value).ok_or_else(|| wrong("is no capability"))?;
                let list = if key == "cap-add" {
                    &mut options.add
                } else {
                    &mut options.drop
                };
                list.extend(numbers);
            }
            "tmpfs" => options.tmpfs.push(tmpfs(value).map_err(wrong)?),
            "volume" | "v" => {
                let mut parts = value.split(':');
                let (Some(from), Some(to)) = (parts.next(), parts.next()) else {
                    return Err(wrong(
                        "is not host-path:container-path; volumes without a host path are not built",
                    ));
                };
                let read_only = match parts.next() {
                    None | Some("rw" | "z" | "Z") => false,
                    Some("ro") => true,
                    Some(_) => return Err(wrong("of its modes only 'ro' and 'rw' are known")),
                };
                options
                    .volumes
                    .push((from.to_owned(), to.to_owned(), read_only));
            }
            "volume-driver" => options.volume_driver = Some(value.to_owned()),
            "ulimit" => options
                .rlimits
                .push(rlimit(value).ok_or_else(|| wrong("is not name=soft:hard"))?),
            "pids-limit" => {
                // As in Docker: 0 and -1 are no limit.
                let limit: i64 = value.parse().map_err(|_| wrong("is no number"))?;
                options.processes = u64::try_from(limit).ok().filter(|limit| *limit > 0);
            }
            "cpuset-cpus" => {
                options.cpuset.cpus = Some(numbers(value).ok_or_else(|| wrong("is not 0-2,7"))?);
            }
            "cpuset-mems" => {
                options.cpuset.mems = Some(numbers(value).ok_or_else(|| wrong("is not 0-2,7"))?);
            }
            "blkio-weight" => options.block_weight = block_weight(value).map_err(wrong)?,
            "device-read-bps" | "device-write-bps" | "device-read-iops" | "device-write-iops" => {
                let wish = RateWish::of_docker(key, value);
                options.block_rates.push(wish.map_err(|why| wrong(&why))?);
            }
            "oom-score-adj" => {
                let number = value.parse().ok();
                let number = number.filter(|number| (-1000..=1000).contains(number));
                options.oom_score_adj =
                    Some(number.ok_or_else(|| wrong("is no number from -1000 to 1000"))?);
            }
            "device" => options
                .devices
                .push(AllowedDevice::of_docker(value).map_err(|why| wrong(&why))?),
            "security-opt" => match value.split_once(['=', ':']).unwrap_or((value, "")) {
                ("seccomp", profile) if !profile.is_empty() => {
                    options.seccomp = SeccompWish::named(profile);
                }
                ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
                ("no-new-privileges", "false") => options.no_new_privileges = false,
                _ => {
                    return Err(wrong(
                        "only 'seccomp=<profile>' and 'no-new-privileges' are known",
                    ));
                }
            },
            // There is an init always, containers go away when they end, and labels are Docker's own.
            "init" | "rm" | "label" | "l" | "tty" if key != "tty" => {}
            "network" | "net" if value == "host" => {}
            _ => {
                return Err(format!(
                    "the docker parameter '{key}' has no equivalent here; remove it, or say it by the fields of ContainerInfo"
                ));
            }
        }
    }
    Ok(options)
}

impl Options {
    /// Which capabilities root inside may have: bit n is capability n; `None` leaves all.
    pub(crate) fn capabilities(&self) -> Option<u64> {
        if self.privileged {
            return None;
        }
        let bits = |numbers: &[u64]| numbers.iter().fold(0u64, |bits, number| bits | 1 << number);
        Some((DEFAULT_CAPABILITIES | bits(&self.add)) & !bits(&self.drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, String> {
        let parameters: Vec<Parameter> = pairs
            .iter()
            .map(|(key, value)| Parameter {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        options(&parameters)
    }

    #[test]
    fn what_has_an_equivalent_is_obeyed() {
        let read = read(&[
            ("env", "A=b=c"),
            ("--user", "app:log"),
            ("workdir", "/srv"),
            ("hostname", "h"),
            ("shm-size", "1g"),
            ("read-only", "true"),
            ("tmpfs", "/run:size=1m,mode=1777"),
            ("volume", "/data:/in:ro"),
            ("ulimit", "nofile=10:20"),
            ("add-host", "db:10.0.0.1"),
            ("dns", "10.0.0.53"),
            ("dns-option", "ndots:2"),
            ("cap-drop", "ALL"),
            ("label", "x=y"),
            ("init", ""),
        ])
        .unwrap();
        assert_eq!(read.resolv, ["nameserver 10.0.0.53", "options ndots:2"]);
        assert_eq!(read.environment, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(
            (read.user.as_deref(), read.shm_bytes),
            (Some("app:log"), Some(1 << 30))
        );
        assert_eq!(read.tmpfs, [("/run".to_owned(), 1 << 20)]);
        assert_eq!(read.volumes, [("/data".to_owned(), "/in".to_owned(), true)]);
        assert_eq!(
            (read.rlimits[0].soft, read.rlimits[0].hard),
            (Some(10), Some(20))
        );
        assert_eq!(read.hosts, ["10.0.0.1\tdb"]);
        assert_eq!(read.capabilities(), Some(0));
    }

    #[test]
    fn what_has_none_is_refused_by_name() {
        for (key, value, why) in [
            ("device", "sda", "is no absolute path"),
            ("pid", "host", "'pid' has no equivalent"),
            ("network", "mynet", "'network' has no equivalent"),
            ("tty", "true", "'tty' has no equivalent"),
            ("cap-add", "FLY", "is no capability"),
            ("shm-size", "much", "no number of bytes"),
            ("volume", "/data", "host-path:container-path"),
            ("volume", "/a:/b:shared", "only 'ro' and 'rw'"),
            ("add-host", "a\nb:1.2.3.4", "name:address"),
            ("env", "HOME", "not NAME=value"),
            ("pids-limit", "many", "is no number"),
            ("cpuset-cpus", "0-", "is not 0-2,7"),
            ("blkio-weight", "9", "from 10 to 1000"),
            ("device-read-bps", "/dev/sda", "is not device:rate"),
            ("device-read-bps", "sda:1m", "is no absolute path"),
            ("device-write-bps", "/dev/sda:0", "a rate is at least 1"),
            ("device-read-iops", "/dev/sda:1m", "no number"),
            ("oom-score-adj", "1001", "from -1000 to 1000"),
            ("security-opt", "apparmor=x", "only 'seccomp=<profile>'"),
            ("privileged", "maybe", "neither true nor false"),
        ] {
            let refused = read(&[(key, value)]).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn capabilities_are_dockers_unless_asked_for() {
        let plain = Options::default().capabilities().unwrap();
        let has = |bits: u64, name: &str| bits & 1 << capability(name).unwrap()[0] != 0;
        for name in ["CHOWN", "cap_setuid", "NET_BIND_SERVICE", "SETFCAP"] {
            assert!(has(plain, name), "{name}");
        }
        for name in [
            "SYS_ADMIN",
            "MKNOD",
            "SYS_MODULE",
            "SYS_PTRACE",
            "DAC_READ_SEARCH",
            "BPF",
        ] {
            assert!(!has(plain, name), "{name}");
        }
        let more = read(&[("cap-add", "NET_ADMIN"), ("cap-drop", "chown")]).unwrap();
        let bits = more.capabilities().unwrap();
        assert!(has(bits, "NET_ADMIN") && !has(bits, "CHOWN") && has(bits, "KILL"));
        assert_eq!(read(&[("privileged", "")]).unwrap().capabilities(), None);
    }
}

//! Where a leader is learned from, as people write it in a flag.
//!
//! | text | meaning |
//! | --- | --- |
//! | `zk://[user:password@]h1:p1,h2:p2/path` | elected masters below `path` in ZooKeeper |
//! | `host:port`, `host`, `[::1]:port` | one fixed address |
//! | `http://host:port` | the same, as it is written for an API |
//! | `file:///path` or `/path` | the first line of that file holds one of the above, which keeps a password out of `ps` |
//!
//! Parsing reads nothing but the text; only [`Location::resolve`] reads the file.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// ZooKeeper's own port, for servers written without one.
pub const ZOOKEEPER_PORT: u16 = 2181;

/// The most bytes a `file://` location may hold.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why a location could not be understood. Passwords are never repeated in it.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// The text is empty.
    #[error(
        "the address is empty; write host:port, zk://host1:2181,host2:2181/path or file:///path"
    )]
    Empty,
    /// A `zk://` URL without servers, or with an empty one between commas.
    #[error(
        "zk:// needs at least one server and none may be empty, like zk://host1:2181,host2:2181/path"
    )]
    NoServers,
    /// The host part is missing or has characters that no host name has.
    #[error("'{0}' is not a host name or IP address")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("'{0}' is not a port; it must be a number from 1 to 65535")]
    Port(String),
    /// There is no port and no default for it.
    #[error("'{0}' has no port; write host:port")]
    NoPort(String),
    /// The path in ZooKeeper is not allowed there.
    #[error("'{path}' is not a path in ZooKeeper: {why}")]
    Path {
        /// The path as it was given.
        path: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Credentials must be `user:password`.
    #[error("the credentials before '@' must be user:password")]
    Credentials,
    /// Some other scheme than those above.
    #[error("'{0}://' is not known; write zk://, http://, file:// or host:port")]
    Scheme(String),
    /// The file of a `file://` location could not be read.
    #[error("cannot read the address from {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file of a `file://` location names a further file, or is far too large.
    #[error("{path} must hold one address, host:port or zk://…, and nothing else")]
    FileContent {
        /// The file.
        path: PathBuf,
    },
}

/// A host name or IP address and a TCP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// An address from its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Reads `host:port` or `[v6]:port`, or either without the port when there is a default.
    ///
    /// # Errors
    /// The host or the port is missing or is none.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, LocationError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest
                    .split_once(']')
                    .ok_or_else(|| LocationError::Host(text.to_owned()))?;
                let port = match tail {
                    "" => None,
                    _ => Some(
                        tail.strip_prefix(':')
                            .ok_or_else(|| LocationError::Host(text.to_owned()))?,
                    ),
                };
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(LocationError::Host(host.to_owned()));
                }
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(name) {
            return Err(LocationError::Host(host.to_owned()));
        }
        let port = match (port, default_port) {
            (Some(port), _) => match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
                _ => return Err(LocationError::Port(port.to_owned())),
            },
            (None, Some(port)) => port,
            (None, None) => return Err(LocationError::NoPort(text.to_owned())),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// The host as an IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HostPort {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, None)
    }
}

/// A user and password for ZooKeeper's digest scheme. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password, in the clear as ZooKeeper wants it.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:***", self.user)
    }
}

/// A path in a ZooKeeper ensemble. Its `Display` hides the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperUrl {
    /// The servers, at least one.
    pub servers: Vec<HostPort>,
    /// Absolute, without a slash at its end; empty for the root.
    pub path: String,
    /// For the digest scheme.
    pub credentials: Option<Credentials>,
}

impl ZooKeeperUrl {
    /// The servers as ZooKeeper clients want them: `h1:p1,h2:p2`.
    pub fn connect_string(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(HostPort::to_string).collect();
        servers.join(",")
    }

    /// The absolute path of `name` below this URL's path; the path itself (or `/`) when `name` is empty.
    pub fn below(&self, name: &str) -> String {
        match (self.path.as_str(), name.trim_matches('/')) {
            ("", "") => "/".to_owned(),
            (path, "") => path.to_owned(),
            (path, name) => format!("{path}/{name}"),
        }
    }
}

impl fmt::Display for ZooKeeperUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("zk://")?;
        if let Some(credentials) = &self.credentials {
            write!(f, "{}:***@", credentials.user)?;
        }
        write!(
            f,
            "{}{}",
            self.connect_string(),
            if self.path.is_empty() {
                "/"
            } else {
                &self.path
            }
        )
    }
}

impl FromStr for ZooKeeperUrl {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = match text.split_once("://") {
            Some(("zk", rest)) => rest,
            Some((scheme, _)) => return Err(LocationError::Scheme(scheme.to_owned())),
            None => return Err(LocationError::Scheme(String::new())),
        };
        // A password may hold '@' and '/', so the last '@' that is followed by something like servers ends the credentials.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => {
                let (user, password) = credentials
                    .split_once(':')
                    .ok_or(LocationError::Credentials)?;
                if user.is_empty() || password.is_empty() {
                    return Err(LocationError::Credentials);
                }
                (
                    Some(Credentials {
                        user: user.to_owned(),
                        password: password.to_owned(),
                    }),
                    rest,
                )
            }
            None => (None, rest),
        };
        let (servers, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if servers.split(',').any(|server| server.trim().is_empty()) {
            return Err(LocationError::NoServers);
        }
        let servers = servers
            .split(',')
            .map(|s| HostPort::parse(s.trim(), Some(ZOOKEEPER_PORT)))
            .collect::<Result<_, _>>()?;
        let path = path.trim_end_matches('/');
        check_znode_path(path)?;
        Ok(Self {
            servers,
            path: path.to_owned(),
            credentials,
        })
    }
}

fn check_znode_path(path: &str) -> Result<(), LocationError> {
    let err = |why| {
        Err(LocationError::Path {
            path: path.to_owned(),
            why,
        })
    };
    if path.is_empty() {
        return Ok(());
    }
    for part in path.split('/').skip(1) {
        match part {
            "" => return err("two slashes follow each other"),
            "." | ".." => return err("'.' and '..' are not allowed"),
            _ if part.chars().any(char::is_control) => {
                return err("control characters are not allowed");
            }
            _ => {}
        }
    }
    if path == "/zookeeper" || path.starts_with("/zookeeper/") {
        return err("/zookeeper belongs to ZooKeeper itself");
    }
    Ok(())
}

/// Where a leader is learned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Elected ones, in ZooKeeper.
    ZooKeeper(ZooKeeperUrl),
    /// One fixed address.
    Fixed(HostPort),
    /// A file that holds one of the two; [`Location::resolve`] reads it.
    File(PathBuf),
}

impl Location {
    /// Reads any of the forms of this module's table; `default_port` is taken for an address that has none.
    ///
    /// # Errors
    /// The text is none of them; nothing has been read but the text.
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, LocationError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text.starts_with('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        match text.split_once("://") {
            Some(("zk", _)) => text.parse().map(Self::ZooKeeper),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
            Some(("file", path)) => Err(LocationError::Host(path.to_owned())),
            Some(("http", rest)) => {
                HostPort::parse(rest.trim_end_matches('/'), default_port.or(Some(80)))
                    .map(Self::Fixed)
            }
            Some((scheme, _)) => Err(LocationError::Scheme(scheme.to_owned())),
            None => HostPort::parse(text, default_port).map(Self::Fixed),
        }
    }

    /// Reads the file of a [`Location::File`]; the others are returned as they are.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold exactly one address.
    pub fn resolve(self, default_port: Option<u16>) -> Result<Self, LocationError> {
        let Self::File(path) = self else {
            return Ok(self);
        };
        match Self::parse(&read_small(&path)?, default_port)? {
            Self::File(_) => Err(LocationError::FileContent { path }),
            location => Ok(location),
        }
    }
}

fn read_small(path: &Path) -> Result<String, LocationError> {
    use std::io::Read;
    let failed = |source| LocationError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    let read = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) if read as u64 <= MAX_FILE_BYTES => Ok(line.to_owned()),
        _ => Err(LocationError::FileContent {
            path: path.to_owned(),
        }),
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, None)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZooKeeper(url) => url.fmt(f),
            Self::Fixed(address) => address.fmt(f),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_understood() {
        let fixed = |host: &str, port| Location::Fixed(HostPort::new(host, port));
        let cases = [
            ("127.0.0.1:5050", fixed("127.0.0.1", 5050)),
            ("master.example", fixed("master.example", 5050)),
            (" master:1 ", fixed("master", 1)),
            ("[::1]:5051", fixed("::1", 5051)),
            ("[::1]", fixed("::1", 5050)),
            ("http://master:6060/", fixed("master", 6060)),
            (
                "file:///etc/mesos/zk",
                Location::File("/etc/mesos/zk".into()),
            ),
            ("/etc/mesos/zk", Location::File("/etc/mesos/zk".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Location::parse(text, Some(5050)).unwrap(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn zookeeper_urls_are_understood() {
        let cases = [
            // text, servers, path, credentials
            ("zk://a:1,b:2/mesos", "a:1,b:2", "/mesos", None),
            ("zk://a,b", "a:2181,b:2181", "", None),
            ("zk://a:1/", "a:1", "", None),
            ("zk://a:1/x/y/", "a:1", "/x/y", None),
            ("zk://u:p@a:1/x", "a:1", "/x", Some(("u", "p"))),
            (
                "zk://u:p@ss/w:rd@a:1/x",
                "a:1",
                "/x",
                Some(("u", "p@ss/w:rd")),
            ),
            ("zk://[::1]:2181/x", "[::1]:2181", "/x", None),
        ];
        for (text, servers, path, credentials) in cases {
            let url: ZooKeeperUrl = text.parse().unwrap();
            let found = url
                .credentials
                .as_ref()
                .map(|c| (c.user.as_str(), c.password.as_str()));
            assert_eq!(
                (url.connect_string().as_str(), url.path.as_str(), found),
                (servers, path, credentials),
                "{text}"
            );
        }
        let url: ZooKeeperUrl = "zk://a:1/x".parse().unwrap();
        assert_eq!(
            [url.below(""), url.below("y"), url.below("/y/z/")],
            ["/x", "/x/y", "/x/y/z"]
        );
        let root: ZooKeeperUrl = "zk://a:1".parse().unwrap();
        assert_eq!([root.below(""), root.below("y")], ["/", "/y"]);
    }

    #[test]
    fn what_is_no_location_is_refused() {
        let cases = [
            ("", "empty"),
            ("host:", "not a port"),
            ("host:0", "not a port"),
            ("host:65536", "not a port"),
            ("host:+5", "not a port"),
            (":5050", "not a host"),
            ("a b:1", "not a host"),
            ("host", "no port"),
            ("[::1:5", "not a host"),
            ("[x]:5", "not a host"),
            ("zk://", "at least one server"),
            ("zk:///x", "at least one server"),
            ("zk://a,,b/x", "at least one server"),
            ("zk://a:x/p", "not a port"),
            ("zk://a/x//y", "two slashes"),
            ("zk://a/x/../y", "not allowed"),
            ("zk://a/zookeeper/x", "belongs to ZooKeeper"),
            ("zk://user@a/x", "user:password"),
            ("zk://:p@a/x", "user:password"),
            ("ftp://a/x", "not known"),
            ("file://relative", "not a host"),
        ];
        for (text, expected) in cases {
            let error = Location::parse(text, None).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let text = "zk://user:secret@a:1/x";
        let url: ZooKeeperUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "zk://user:***@a:1/x");
        assert!(!format!("{url:?} {:?}", Location::parse(text, None)).contains("secret"));
    }

    #[test]
    fn a_file_holds_one_address() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("master");
        let resolve = |content: &str| {
            std::fs::write(&path, content).unwrap();
            Location::parse(&format!("file://{}", path.display()), None)
                .unwrap()
                .resolve(Some(5050))
        };
        assert_eq!(
            resolve("host\n").unwrap(),
            Location::Fixed(HostPort::new("host", 5050))
        );
        assert!(matches!(
            resolve("\n zk://a/x \n").unwrap(),
            Location::ZooKeeper(_)
        ));
        for content in ["", "a\nb", "/etc/other"] {
            assert!(
                matches!(resolve(content), Err(LocationError::FileContent { .. })),
                "{content}"
            );
        }
        assert!(matches!(
            Location::File("/nonexistent/file".into()).resolve(None),
            Err(LocationError::File { .. })
        ));
    }
}

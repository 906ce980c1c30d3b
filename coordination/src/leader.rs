//! Who leads: the JSON that a master leaves in ZooKeeper, and the epoch that goes with it.
//!
//! The text is that of Mesos' `json.info_` nodes (MasterInfo with v0 names), which mesos-dns, pymesos and others read.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::address::HostPort;

/// The leader and its epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Leader {
    /// How to reach it.
    pub info: LeaderInfo,
    /// Its election sequence number; 0 where it is not known, which every real leader may follow.
    pub epoch: u64,
}

/// What a leader says of itself. Fields are in the order in which Mesos prints them; unknown ones are ignored when read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaderInfo {
    /// Host, address and port; the one to use when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<LeaderAddress>,
    /// Names of what the master can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<LeaderCapability>,
    /// Region and zone, as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<serde_json::Value>,
    /// Advertised host name.
    #[serde(default)]
    pub hostname: String,
    /// New for every start of the process; by it a candidate recognises its own nodes.
    #[serde(default)]
    pub id: String,
    /// IPv4 address as the integer that its four bytes make on a little-endian machine; 0 for IPv6.
    #[serde(default)]
    pub ip: u32,
    /// libprocess' name of it, `master@ip:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// TCP port.
    #[serde(default)]
    pub port: u32,
    /// Version of the API that it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where a leader listens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaderAddress {
    /// Advertised host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// IP address as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// TCP port.
    pub port: u32,
}

/// One capability by name, like `QUOTA_V2`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeaderCapability {
    /// The name.
    #[serde(rename = "type")]
    pub name: String,
}

impl LeaderInfo {
    /// What a process says of itself when it listens on `ip:port`.
    pub fn new(id: impl Into<String>, hostname: impl Into<String>, ip: IpAddr, port: u16) -> Self {
        let hostname = hostname.into();
        Self {
            address: Some(LeaderAddress {
                hostname: Some(hostname.clone()),
                ip: Some(ip.to_string()),
                port: port.into(),
            }),
            hostname,
            id: id.into(),
            ip: match ip {
                IpAddr::V4(v4) => u32::from_le_bytes(v4.octets()),
                IpAddr::V6(_) => 0,
            },
            port: port.into(),
            ..Self::default()
        }
    }

    /// The same with its capabilities, by name.
    #[must_use]
    pub fn with_capabilities<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.capabilities = names
            .into_iter()
            .map(|name| LeaderCapability {
                name: name.to_owned(),
            })
            .collect();
        self
    }

    /// The same with the process name `name@ip:port` (for a master `master`) and the version of its API.
    #[must_use]
    pub fn with_pid_and_version(mut self, name: &str, version: impl Into<String>) -> Self {
        self.pid = self.endpoint().map(|endpoint| format!("{name}@{endpoint}"));
        self.version = Some(version.into());
        self
    }

    /// Where to connect to: the IP address if it has one that is not a wildcard, else the host name. `None` if it says neither, or no
    /// port.
    pub fn endpoint(&self) -> Option<HostPort> {
        let usable = |ip: &IpAddr| !ip.is_unspecified();
        let (ip, hostname, port) = match &self.address {
            Some(address) => {
                let ip = address.ip.as_deref().and_then(|ip| ip.parse().ok());
                (ip, address.hostname.as_deref(), address.port)
            }
            None => (
                Some(IpAddr::V4(Ipv4Addr::from(self.ip.to_le_bytes()))),
                None,
                self.port,
            ),
        };
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        if let Some(ip) = ip.filter(usable) {
            return Some(HostPort::new(ip.to_string(), port));
        }
        let hostname = hostname.filter(|h| !h.is_empty()).unwrap_or(&self.hostname);
        (!hostname.is_empty()).then(|| HostPort::new(hostname, port))
    }

    /// Where to send people and redirects: the advertised host name, else the address.
    pub fn advertised(&self) -> Option<HostPort> {
        let endpoint = self.endpoint()?;
        let hostname = self
            .address
            .as_ref()
            .and_then(|a| a.hostname.as_deref())
            .filter(|h| !h.is_empty())
            .unwrap_or(&self.hostname);
        Some(if hostname.is_empty() {
            endpoint
        } else {
            HostPort::new(hostname, endpoint.port)
        })
    }

    /// The JSON for a node in ZooKeeper.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, integers and values that were JSON before: serialising them cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the JSON of a node.
    ///
    /// # Errors
    /// It is no JSON object, or a field has another type.
    pub fn from_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Mesos writes it.
    const MESOS: &str = r#"{"address":{"hostname":"h","ip":"10.0.0.1","port":5050},"capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}],"hostname":"h","id":"0b2c","ip":16777226,"pid":"master@10.0.0.1:5050","port":5050,"version":"1.11.0"}"#;

    #[test]
    fn it_is_written_as_mesos_writes_it() {
        let info = LeaderInfo::new("0b2c", "h", IpAddr::from([10, 0, 0, 1]), 5050)
            .with_capabilities(["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"])
            .with_pid_and_version("master", "1.11.0");
        assert_eq!(String::from_utf8(info.to_json()).unwrap(), MESOS);
        assert_eq!(LeaderInfo::from_json(MESOS.as_bytes()).unwrap(), info);
    }

    #[test]
    fn the_endpoint_is_found_in_old_and_new_forms() {
        let cases = [
            (MESOS, Some("10.0.0.1:5050")),
            (
                r#"{"ip":16777226,"port":5050,"id":"x","hostname":"h"}"#,
                Some("10.0.0.1:5050"),
            ),
            (
                r#"{"ip":0,"port":5050,"id":"x","hostname":"h"}"#,
                Some("h:5050"),
            ),
            (
                r#"{"address":{"hostname":"a","port":1},"hostname":"h","port":2,"ip":16777226,"id":"x"}"#,
                Some("a:1"),
            ),
            (
                r#"{"address":{"ip":"0.0.0.0","port":1},"hostname":"h","id":"x","unknown":[1]}"#,
                Some("h:1"),
            ),
            (r#"{"address":{"ip":"::1","port":1}}"#, Some("[::1]:1")),
            (r#"{"ip":0,"port":5050,"id":"x"}"#, None),
            (r#"{"ip":16777226,"id":"x"}"#, None),
            (r#"{"ip":16777226,"port":99999}"#, None),
        ];
        for (json, expected) in cases {
            let info = LeaderInfo::from_json(json.as_bytes()).unwrap();
            assert_eq!(
                info.endpoint().map(|e| e.to_string()).as_deref(),
                expected,
                "{json}"
            );
        }
        assert!(LeaderInfo::from_json(b"\x0a\x0brubbish").is_err());
    }
}

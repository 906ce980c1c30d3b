//! How a master introduces itself: MasterInfo in events, and as JSON in ZooKeeper (`json.info_<sequence>`).

use core::net::Ipv4Addr;

use crate::json;
use crate::mesos::master_info::{Capability, capability};
use crate::mesos::{Address, MasterInfo};

/// `MasterInfo.ip` holds the octets as a little-endian integer: 127.0.1.1 is 16842879.
pub fn ip_to_wire(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

/// The address behind `MasterInfo.ip`.
pub fn ip_from_wire(ip: u32) -> Ipv4Addr {
    Ipv4Addr::from(ip.to_le_bytes())
}

/// A master's MasterInfo, with the capabilities that Mesos has. `hostname` is what others use to reach it.
pub fn new(id: &str, ip: Ipv4Addr, port: u16, hostname: &str, version: &str) -> MasterInfo {
    let capabilities = [
        capability::Type::AgentUpdate,
        capability::Type::AgentDraining,
        capability::Type::QuotaV2,
    ];
    MasterInfo {
        id: id.to_owned(),
        ip: ip_to_wire(ip),
        port: u32::from(port),
        pid: Some(format!("master@{ip}:{port}")),
        hostname: Some(hostname.to_owned()),
        version: Some(version.to_owned()),
        address: Some(Address {
            hostname: Some(hostname.to_owned()),
            ip: Some(ip.to_string()),
            port: i32::from(port),
        }),
        domain: None,
        capabilities: capabilities
            .map(|of| Capability {
                r#type: Some(of.into()),
            })
            .to_vec(),
    }
}

/// Host and port by which to reach a master: `address` if there is one, else `hostname`, else `ip`.
pub fn endpoint(master: &MasterInfo) -> (String, u16) {
    let address = master.address.as_ref();
    let host = address
        .and_then(|address| address.hostname.as_deref().or(address.ip.as_deref()))
        .or(master.hostname.as_deref())
        .filter(|host| !host.is_empty());
    let host = host.map_or_else(|| ip_from_wire(master.ip).to_string(), str::to_owned);
    let port = address
        .and_then(|address| u16::try_from(address.port).ok())
        .or(u16::try_from(master.port).ok());
    (host, port.unwrap_or(5050))
}

/// The content of the master's node in ZooKeeper.
pub fn to_json(master: &MasterInfo) -> Vec<u8> {
    json::to_vec(master)
}

/// Reads the content of a master's node in ZooKeeper.
///
/// # Errors
///
/// When it is no MasterInfo.
pub fn from_json(text: &[u8]) -> Result<MasterInfo, json::Error> {
    json::from_slice(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ip_is_little_endian() {
        assert_eq!(ip_to_wire(Ipv4Addr::new(127, 0, 1, 1)), 16_842_879);
        assert_eq!(ip_to_wire(Ipv4Addr::new(10, 0, 0, 1)), 16_777_226);
        assert_eq!(ip_from_wire(16_777_226), Ipv4Addr::new(10, 0, 0, 1));
    }

    #[test]
    fn what_stands_in_zookeeper() {
        let master = new("m", Ipv4Addr::new(10, 0, 0, 1), 5050, "h", "1.11.0");
        let text = concat!(
            r#"{"id":"m","ip":16777226,"port":5050,"pid":"master@10.0.0.1:5050","hostname":"h","version":"1.11.0","#,
            r#""address":{"hostname":"h","ip":"10.0.0.1","port":5050},"#,
            r#""capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{"type":"QUOTA_V2"}]}"#
        );
        assert_eq!(String::from_utf8(to_json(&master)).as_deref(), Ok(text));
        assert_eq!(from_json(text.as_bytes()), Ok(master.clone()));
        assert_eq!(endpoint(&master), ("h".to_owned(), 5050));
        // Mesos' own nodes have their keys in another order.
        let theirs =
            br#"{"address":{"ip":"10.0.0.2","port":5051},"id":"m","ip":16777226,"port":5050}"#;
        assert_eq!(
            from_json(theirs).map(|master| endpoint(&master)),
            Ok(("10.0.0.2".to_owned(), 5051))
        );
        let bare = br#"{"id":"m","ip":16777226,"port":5050}"#;
        assert_eq!(
            from_json(bare).map(|master| endpoint(&master)),
            Ok(("10.0.0.1".to_owned(), 5050))
        );
    }
}

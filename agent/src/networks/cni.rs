//! Networks by CNI plugins: the configuration of a network, the chain of programs that attach a container to it and detach it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::command::run;
use super::wanted::Wanted;

/// The largest configuration that is read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// What is spoken when a configuration does not say.
const DEFAULT_VERSION: &str = "0.2.0";

/// Whom the plugins are to attach.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) plugins: &'a Path,
    pub(super) container: &'a str,
    pub(super) namespace: &'a Path,
    pub(super) interface: &'a str,
}

/// What the plugins answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) addresses: Vec<IpAddr>,
    /// Lines for resolv.conf; none if the plugins said nothing about names.
    pub(super) resolv: Option<String>,
}

/// The configuration of a network by its name: a list of plugins. The first file of the directory that has it, by name.
pub(super) fn find(directory: &Path, name: &str) -> Result<Option<Value>, String> {
    let wrong = |error: std::io::Error| {
        format!(
            "--network_cni_config_dir: cannot read {}: {error}",
            directory.display()
        )
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(wrong)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("conf" | "conflist" | "json"))
        })
        .collect();
    files.sort();
    for file in files {
        let read = crate::containerizer::beneath::read_plain(&file, MAX_CONFIG_BYTES);
        let Ok(config) = read.map_err(|error| error.to_string()).and_then(|text| {
            serde_json::from_slice::<Value>(&text).map_err(|error| error.to_string())
        }) else {
            tracing::warn!("the CNI configuration {} cannot be read", file.display());
            continue;
        };
        if config["name"] == name {
            return listed(config)
                .map(Some)
                .map_err(|problem| format!("the CNI configuration {}: {problem}", file.display()));
        }
    }
    Ok(None)
}

/// A configuration of one plugin becomes a list of one.
fn listed(config: Value) -> Result<Value, String> {
    let version = config["cniVersion"]
        .as_str()
        .unwrap_or(DEFAULT_VERSION)
        .to_owned();
    let plugins = match &config["plugins"] {
        Value::Array(plugins) if !plugins.is_empty() => plugins.clone(),
        Value::Null => vec![config.clone()],
        _ => return Err("'plugins' is no list of plugins".to_owned()),
    };
    if plugins.iter().any(|plugin| !plugin["type"].is_string()) {
        return Err("a plugin has no 'type'".to_owned());
    }
    Ok(json!({"name": config["name"], "cniVersion": version, "plugins": plugins}))
}

fn takes_ports(plugin: &Value) -> bool {
    plugin["capabilities"]["portMappings"] == true
}

/// Puts into a network's configuration what this container wants of it: ports and labels.
pub(super) fn for_container(mut network: Value, wanted: &Wanted) -> Value {
    let Some(plugins) = network["plugins"].as_array_mut() else {
        return network;
    };
    if !wanted.ports.is_empty() && !plugins.iter().any(takes_ports) {
        plugins
            .push(json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}));
    }
    let labels: Vec<Value> = wanted
        .labels
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    for plugin in plugins.iter_mut() {
        if takes_ports(plugin) && !wanted.ports.is_empty() {
            plugin["runtimeConfig"]["portMappings"] = json!(wanted.ports);
        }
        // Where Mesos has it.
        plugin["args"]["org.apache.mesos"]["network_info"] =
            json!({"name": wanted.name, "labels": {"labels": labels}});
    }
    network
}

fn plugins(network: &Value) -> &[Value] {
    network["plugins"].as_array().map_or(&[], Vec::as_slice)
}

fn call(
    target: Target<'_>,
    action: &str,
    network: &Value,
    plugin: &Value,
    previous: Option<&Value>,
) -> Result<Value, String> {
    let kind = plugin["type"].as_str().unwrap_or_default();
    if kind.is_empty() || kind.contains('/') {
        return Err(format!(
            "the CNI plugin type '{kind}' is no name of a program"
        ));
    }
    let directories = target.plugins.to_string_lossy();
    let program = directories
        .split(':')
        .map(|directory| Path::new(directory).join(kind))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            format!("the CNI plugin '{kind}' is not in {directories} (--network_cni_plugins_dir)")
        })?;
    let mut config = plugin.as_object().cloned().unwrap_or_else(Map::new);
    config.insert("name".to_owned(), network["name"].clone());
    config.insert("cniVersion".to_owned(), network["cniVersion"].clone());
    if let Some(previous) = previous {
        config.insert("prevResult".to_owned(), previous.clone());
    }
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", crate::containerizer::DEFAULT_PATH)
        .env("CNI_COMMAND", action)
        .env("CNI_CONTAINERID", target.container)
        .env("CNI_NETNS", target.namespace)
        .env("CNI_IFNAME", target.interface)
        .env("CNI_PATH", target.plugins);
    let input = Value::Object(config).to_string();
    let (success, output, complaint) = run(&mut command, input.as_bytes())?;
    let answer: Value = serde_json::from_slice(&output).unwrap_or(Value::Null);
    if !success {
        let why = answer["msg"].as_str().unwrap_or(&complaint);
        let details = answer["details"].as_str().unwrap_or_default();
        return Err(
            format!("the CNI plugin '{kind}' failed to {action}: {why} {details}")
                .trim()
                .to_owned(),
        );
    }
    Ok(answer)
}

/// Attaches: every plugin in order, each told what the one before answered. The last answer.
pub(super) fn add(target: Target<'_>, network: &Value) -> Result<Value, String> {
    let mut previous = None;
    for plugin in plugins(network) {
        let answer = call(target, "ADD", network, plugin, previous.as_ref())?;
        if !answer.is_null() {
            previous = Some(answer);
        }
    }
    Ok(previous.unwrap_or(Value::Null))
}

/// Detaches, in reverse order; goes on after a failure, so that as much as can be is gone.
pub(super) fn del(
    target: Target<'_>,
    network: &Value,
    answer: Option<&Value>,
) -> Result<(), String> {
    let mut result = Ok(());
    for plugin in plugins(network).iter().rev() {
        if let Err(problem) = call(target, "DEL", network, plugin, answer) {
            result = result.and(Err(problem));
        }
    }
    result
}

/// Reads an answer, of old versions too.
pub(super) fn understand(answer: &Value) -> Answer {
    let address =
        |value: &Value| -> Option<IpAddr> { value.as_str()?.split('/').next()?.parse().ok() };
    let mut addresses: Vec<IpAddr> = answer["ips"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(|ip| address(&ip["address"]))
        .collect();
    addresses.extend(
        ["ip4", "ip6"]
            .iter()
            .filter_map(|old| address(&answer[*old]["ip"])),
    );
    let dns = &answer["dns"];
    let words = |name: &str| -> Vec<&str> {
        let list = dns[name].as_array().map_or(&[][..], Vec::as_slice);
        list.iter()
            .filter_map(Value::as_str)
            .filter(|word| !word.contains(char::is_whitespace))
            .collect()
    };
    let mut resolv = String::new();
    for server in words("nameservers") {
        resolv.push_str(&format!("nameserver {server}\n"));
    }
    if !words("search").is_empty() {
        resolv.push_str(&format!("search {}\n", words("search").join(" ")));
    }
    if !words("options").is_empty() {
        resolv.push_str(&format!("options {}\n", words("options").join(" ")));
    }
    Answer {
        addresses,
        resolv: Some(resolv).filter(|text| text.contains("nameserver")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::wanted::Port;
    use super::*;

    #[test]
    fn configurations_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("1.conf", "no json");
        write(
            "2.conf",
            r#"{"name":"one","type":"bridge","cniVersion":"0.3.1"}"#,
        );
        write(
            "3.conflist",
            r#"{"name":"two","plugins":[{"type":"ptp"},{"type":"portmap","capabilities":{"portMappings":true}}]}"#,
        );
        write("4.txt", r#"{"name":"three","type":"bridge"}"#);
        write("5.json", r#"{"name":"four","plugins":[{}]}"#);
        let one = find(folder.path(), "one").unwrap().unwrap();
        assert_eq!(
            (&one["plugins"][0]["type"], &one["cniVersion"]),
            (&json!("bridge"), &json!("0.3.1"))
        );
        let two = find(folder.path(), "two").unwrap().unwrap();
        assert_eq!(two["cniVersion"], DEFAULT_VERSION);
        assert_eq!(find(folder.path(), "three").unwrap(), None);
        assert!(
            find(folder.path(), "four")
                .unwrap_err()
                .ends_with("a plugin has no 'type'")
        );
        assert!(
            find(Path::new("/no/such"), "x")
                .unwrap_err()
                .contains("cannot read /no/such")
        );

        let wanted = Wanted {
            name: "n".to_owned(),
            ports: vec![Port {
                host_port: 1,
                container_port: 2,
                protocol: "udp".to_owned(),
            }],
            labels: vec![("k".to_owned(), "v".to_owned())],
        };
        // A chain without portmap gets it.
        let one = for_container(one, &wanted);
        assert_eq!(
            one["plugins"][1]["runtimeConfig"]["portMappings"],
            json!([{"hostPort": 1, "containerPort": 2, "protocol": "udp"}])
        );
        assert_eq!(one["plugins"][0]["runtimeConfig"], Value::Null);
        assert_eq!(
            one["plugins"][0]["args"]["org.apache.mesos"]["network_info"]["labels"]["labels"][0]["key"],
            "k"
        );
        let two = for_container(two, &wanted);
        assert_eq!(two["plugins"].as_array().unwrap().len(), 2);
        assert!(two["plugins"][1]["runtimeConfig"]["portMappings"].is_array());
    }

    #[test]
    fn answers_of_every_version_are_understood() {
        let new = json!({"ips": [{"address": "10.1.2.3/24"}, {"address": "fd00::2/64"}], "dns": {"nameservers": ["10.1.2.1"], "search": ["a", "b c"], "options": ["ndots:1"]}});
        let found = understand(&new);
        assert_eq!(
            found.addresses,
            [
                "10.1.2.3".parse::<IpAddr>().unwrap(),
                "fd00::2".parse().unwrap()
            ]
        );
        assert_eq!(
            found.resolv.as_deref(),
            Some("nameserver 10.1.2.1\nsearch a\noptions ndots:1\n")
        );
        let old = understand(&json!({"ip4": {"ip": "10.1.2.3/24"}, "dns": {}}));
        assert_eq!((old.addresses.len(), old.resolv), (1, None));
        assert_eq!(understand(&Value::Null), Answer::default());
    }
}

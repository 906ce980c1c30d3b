//! Which plugins there are: one file for each in `--csi_plugin_config_dir`, with Mesos' `CSIPluginInfo` in JSON.
//!
//! All files are judged when the agent starts. Whoever wants a volume has them looked through again, so that a plugin may come while it runs.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use tepui_proto::mesos::v1::CsiPluginInfo;
use tepui_proto::mesos::v1::csi_plugin_container_info::Service;

use super::CsiFlags;
use crate::config::ConfigError;

/// The longest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 10;
const FLAG: &str = "csi_plugin_config_dir";

/// Where plugins are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsiConfig {
    /// Flag `--csi_plugin_config_dir`; without it there are none.
    pub plugin_config_dir: Option<PathBuf>,
}

impl CsiConfig {
    /// Judges the flag, and all that is in the directory. `isolators`: what `--isolation` lists.
    pub(crate) fn from_flags(flags: &CsiFlags, isolators: &str) -> Result<Self, ConfigError> {
        let listed = isolators.split(',').any(|name| name.trim() == "volume/csi");
        let Some(given) = &flags.csi_plugin_config_dir else {
            if listed {
                return Err(ConfigError::Missing(
                    FLAG,
                    "'volume/csi' in --isolation needs the directory with the configurations of CSI plugins",
                ));
            }
            return Ok(Self::default());
        };
        let directory = std::path::absolute(given).unwrap_or_else(|_| given.clone());
        all(&directory).map_err(|problem| ConfigError::Invalid {
            flag: FLAG,
            value: given.display().to_string(),
            problem,
        })?;
        Ok(Self {
            plugin_config_dir: Some(directory),
        })
    }
}

/// A plugin that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    /// What volumes name it by.
    pub(super) kind: String,
    /// Of several of one type; a part of paths.
    pub(super) name: String,
    /// The socket of its NODE_SERVICE.
    pub(super) node: PathBuf,
    /// The socket of its CONTROLLER_SERVICE.
    pub(super) controller: Option<PathBuf>,
    /// Below which its volumes are published, instead of the agent's own directory.
    pub(super) target_path_root: Option<PathBuf>,
    /// It expects the place that it publishes at to be there.
    pub(super) target_path_exists: bool,
}

impl Plugin {
    fn new(info: &CsiPluginInfo) -> Result<Self, String> {
        let (kind, name) = (info.r#type.as_str(), info.name());
        for (what, text) in [("type", kind), ("name", name)] {
            let odd = |c: char| c == '/' || c.is_control();
            if text.is_empty() || text.starts_with('.') || text.contains(odd) {
                return Err(format!(
                    "its '{what}' '{}' is empty, begins with a dot, or has a slash or control characters in it",
                    text.escape_default()
                ));
            }
        }
        if !info.containers.is_empty() {
            return Err(format!(
                "the plugin '{kind}' has 'containers': plugins that the agent runs itself are not built; run it yourself and name its sockets in 'endpoints'"
            ));
        }
        let socket = |service: Service| {
            let mut endpoints = info.endpoints.iter();
            let found = endpoints.find(|endpoint| endpoint.csi_service() == service);
            found.map(|found| socket(&found.endpoint)).transpose()
        };
        let node = socket(Service::NodeService)?.ok_or_else(|| {
            format!("the plugin '{kind}' has no endpoint of its NODE_SERVICE in 'endpoints'")
        })?;
        let target_path_root = info.target_path_root.as_ref().map(PathBuf::from);
        if let Some(root) = target_path_root.as_ref().filter(|root| !root.is_absolute()) {
            let root = root.display();
            return Err(format!(
                "its 'target_path_root' '{root}' is no absolute path"
            ));
        }
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            node,
            controller: socket(Service::ControllerService)?,
            target_path_root,
            target_path_exists: info.target_path_exists(),
        })
    }

    fn read(path: &Path) -> Result<Self, String> {
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut within = file.take(MAX_FILE_BYTES + 1);
        within
            .read_to_end(&mut text)
            .map_err(|error| error.to_string())?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
        }
        let info = tepui_proto::json::from_slice(&text)
            .map_err(|error| format!("no CSIPluginInfo in JSON: {error}"))?;
        Self::new(&info)
    }
}

/// An endpoint's path: `unix:///path`, `unix:/path` or the path alone.
fn socket(endpoint: &str) -> Result<PathBuf, String> {
    let path = endpoint.strip_prefix("unix:").unwrap_or(endpoint);
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        _ => path,
    };
    if path.starts_with('/') {
        return Ok(PathBuf::from(path));
    }
    let endpoint = endpoint.escape_default();
    Err(format!(
        "the endpoint '{endpoint}' is no unix socket: /path or unix:///path"
    ))
}

/// The files of the directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| !path.is_dir())
        .collect();
    files.sort();
    Ok(files)
}

/// All plugins, or what is wrong with the first file that says nothing useful.
fn all(directory: &Path) -> Result<Vec<Plugin>, String> {
    let mut plugins: Vec<Plugin> = Vec::new();
    for path in files(directory)? {
        let plugin =
            Plugin::read(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
        if plugins.iter().any(|other| other.kind == plugin.kind) {
            return Err(format!(
                "{}: another file describes the plugin '{}' too",
                path.display(),
                plugin.kind
            ));
        }
        plugins.push(plugin);
    }
    Ok(plugins)
}

/// The plugin of this type, as its file says it now.
pub(super) fn find(directory: &Path, kind: &str) -> Result<Plugin, String> {
    let shown = directory.display();
    let mut wrong = Vec::new();
    for path in files(directory).map_err(|problem| format!("{shown}: {problem}"))? {
        match Plugin::read(&path) {
            Ok(plugin) if plugin.kind == kind => return Ok(plugin),
            Ok(_) => {}
            Err(problem) => wrong.push(format!("{}: {problem}", path.display())),
        }
    }
    let wrong: String = wrong.iter().map(|one| format!("; {one}")).collect();
    Err(format!("no file in {shown} describes this plugin{wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(files: &[(&str, &str)], isolators: &str) -> Result<Vec<Plugin>, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::create_dir(folder.path().join("a-directory")).unwrap();
        let flags = CsiFlags {
            csi_plugin_config_dir: Some(folder.path().to_owned()),
        };
        CsiConfig::from_flags(&flags, isolators).map_err(|error| error.to_string())?;
        all(folder.path())
    }

    #[test]
    fn plugins_are_read_as_mesos_writes_them() {
        let both = r#"{"type":"org.apache.mesos.csi.unmanaged-plugin","endpoints":[
            {"csi_service":"NODE_SERVICE","endpoint":"/var/lib/plugin/node.sock"},
            {"csi_service":"CONTROLLER_SERVICE","endpoint":"unix:///var/lib/plugin/controller.sock"}],
            "target_path_root":"/mnt/plugin","target_path_exists":true}"#;
        let node = r#"{"type":"b","name":"second","endpoints":[{"csi_service":"NODE_SERVICE","endpoint":"unix:/n.sock"}]}"#;
        let plugins = judge(&[("a", both), ("b", node)], "volume/csi").unwrap();
        assert_eq!(
            plugins,
            [
                Plugin {
                    kind: "org.apache.mesos.csi.unmanaged-plugin".to_owned(),
                    name: "default".to_owned(),
                    node: "/var/lib/plugin/node.sock".into(),
                    controller: Some("/var/lib/plugin/controller.sock".into()),
                    target_path_root: Some("/mnt/plugin".into()),
                    target_path_exists: true,
                },
                Plugin {
                    kind: "b".to_owned(),
                    name: "second".to_owned(),
                    node: "/n.sock".into(),
                    controller: None,
                    target_path_root: None,
                    target_path_exists: false,
                }
            ]
        );
    }

    #[test]
    fn what_is_wrong_stops_the_start_by_name() {
        let node = r#"{"type":"a","endpoints":[{"csi_service":"NODE_SERVICE","endpoint":"/s"}]}"#;
        for (files, why) in [
            (&[("f", "{")][..], "/f: no CSIPluginInfo in JSON"),
            (&[("f", "{}")], "/f: no CSIPluginInfo in JSON"),
            (
                &[("f", r#"{"type":"../x","endpoints":[]}"#)],
                "its 'type' '../x' is empty, begins with a dot",
            ),
            (
                &[(
                    "f",
                    r#"{"type":"a","containers":[{"services":["NODE_SERVICE"]}]}"#,
                )],
                "/f: the plugin 'a' has 'containers': plugins that the agent runs itself are not built",
            ),
            (
                &[(
                    "f",
                    r#"{"type":"a","endpoints":[{"csi_service":"CONTROLLER_SERVICE","endpoint":"/s"}]}"#,
                )],
                "/f: the plugin 'a' has no endpoint of its NODE_SERVICE",
            ),
            (
                &[(
                    "f",
                    r#"{"type":"a","endpoints":[{"csi_service":"NODE_SERVICE","endpoint":"127.0.0.1:9000"}]}"#,
                )],
                "the endpoint '127.0.0.1:9000' is no unix socket",
            ),
            (
                &[("f", node), ("g", node)],
                "/g: another file describes the plugin 'a' too",
            ),
        ] {
            let refused = judge(files, "").unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
        let without = CsiConfig::from_flags(&CsiFlags::default(), "cgroups/cpu,volume/csi");
        assert_eq!(
            without.unwrap_err().to_string(),
            "--csi_plugin_config_dir is required: 'volume/csi' in --isolation needs the directory with the configurations of CSI plugins"
        );
        assert_eq!(
            CsiConfig::from_flags(&CsiFlags::default(), "").unwrap(),
            CsiConfig::default()
        );
    }
}

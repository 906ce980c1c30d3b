//! The agent's flags about networks, under Mesos' names.

use std::path::PathBuf;

use clap::Args;

use super::NetworksConfig;

/// The agent's flags about networks.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct NetworkFlags {
    /// Where CNI plugins are, several directories separated by colons [default: /opt/cni/bin:/usr/lib/cni]
    #[arg(long, alias = "network-cni-plugins-dir")]
    pub network_cni_plugins_dir: Option<PathBuf>,
    /// Where the configurations of CNI networks are
    #[arg(long, alias = "network-cni-config-dir")]
    pub network_cni_config_dir: Option<PathBuf>,
}

impl NetworkFlags {
    pub(crate) fn config(&self) -> NetworksConfig {
        let defaults = NetworksConfig::default();
        NetworksConfig {
            plugins_dir: self
                .network_cni_plugins_dir
                .clone()
                .unwrap_or(defaults.plugins_dir),
            config_dir: self.network_cni_config_dir.clone(),
        }
    }

    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        [
            (
                "network_cni_plugins_dir",
                path(&self.network_cni_plugins_dir),
            ),
            ("network_cni_config_dir", path(&self.network_cni_config_dir)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

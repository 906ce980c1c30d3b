//! The agent's flag about CSI plugins, under Mesos' name.

use std::path::PathBuf;

use clap::Args;

/// The agent's flag about CSI plugins.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct CsiFlags {
    /// Directory with a file for each CSI plugin whose volumes containers may have: its CSIPluginInfo in JSON, with 'endpoints'
    #[arg(long, alias = "csi-plugin-config-dir")]
    pub csi_plugin_config_dir: Option<PathBuf>,
}

impl CsiFlags {
    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let directory = self.csi_plugin_config_dir.as_ref();
        directory
            .map(|path| ("csi_plugin_config_dir", path.display().to_string()))
            .into_iter()
    }
}

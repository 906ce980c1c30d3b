//! The agent's flags about volumes of docker volume drivers, under Mesos' names.

use std::path::PathBuf;

use clap::Args;

use super::DockerVolumesConfig;

/// The agent's flags about volumes of docker volume drivers.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct DockerVolumeFlags {
    /// Where it is written down which containers hold which docker volumes [default: isolators/docker/volume below --runtime_dir]
    #[arg(long, alias = "docker-volume-checkpoint-dir")]
    pub docker_volume_checkpoint_dir: Option<PathBuf>,
    /// Whether a docker volume's mount point, not what is in it, is given to the task's user
    #[arg(long, alias = "docker-volume-chown", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub docker_volume_chown: bool,
}

impl DockerVolumeFlags {
    pub(crate) fn config(&self) -> DockerVolumesConfig {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        DockerVolumesConfig {
            checkpoint_dir: self.docker_volume_checkpoint_dir.as_ref().map(absolute),
            chown: self.docker_volume_chown,
            program: None,
        }
    }

    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        let directory = self.docker_volume_checkpoint_dir.as_ref();
        [
            (
                "docker_volume_checkpoint_dir",
                directory.map(|path| path.display().to_string()),
            ),
            (
                "docker_volume_chown",
                Some(self.docker_volume_chown.to_string()),
            ),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

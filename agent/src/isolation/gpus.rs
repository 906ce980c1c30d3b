//! GPUs of this machine: nodes of NVIDIA's driver, of which each container gets as many whole ones as its resource `gpus` says.

use std::path::PathBuf;

use tepui_proto::mesos::v1::Resource;

use crate::containerizer::devices::Gpus;
use crate::resources::scalar;

/// More than any machine has.
const MAX_GPUS: u32 = 128;
/// What whoever has a GPU needs too, as far as it is there.
const SHARED: [&str; 4] = [
    "nvidiactl",
    "nvidia-uvm",
    "nvidia-uvm-tools",
    "nvidia-modeset",
];

/// Where GPUs are found.
#[derive(Debug, Clone)]
pub struct GpuConfig {
    /// Their nodes are here, `nvidia0` and so on.
    pub directory: PathBuf,
    /// Only these, by their numbers; `None`: all.
    pub only: Option<Vec<u32>>,
}

impl Default for GpuConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/dev"),
            only: None,
        }
    }
}

impl GpuConfig {
    /// Reads `--nvidia_gpu_devices`: `0,2`.
    pub(super) fn parse(text: &str) -> Option<Vec<u32>> {
        text.split(',')
            .map(|number| number.trim().parse().ok().filter(|it| *it < MAX_GPUS))
            .collect()
    }

    fn nodes(&self) -> Vec<PathBuf> {
        let wanted = |number: &u32| self.only.as_ref().is_none_or(|only| only.contains(number));
        (0..MAX_GPUS)
            .filter(wanted)
            .map(|number| self.directory.join(format!("nvidia{number}")))
            .filter(|path| path.exists())
            .collect()
    }

    /// Adds them to what the agent has, if they are not named there. Says so if more are named than there are.
    pub(crate) fn complete(&self, resources: &mut Vec<Resource>) -> Result<(), String> {
        let there = self.nodes().len();
        let named: Vec<f64> = amounts(resources).collect();
        if named.is_empty() {
            if there > 0 {
                resources.push(scalar("gpus", there as f64));
            }
            return Ok(());
        }
        let sum: f64 = named.iter().sum();
        if named.iter().any(|amount| amount.fract() != 0.0) {
            return Err("gpus are whole ones".to_owned());
        }
        if sum > there as f64 {
            return Err(format!(
                "{sum} gpus are named, but there are {there} ({}/nvidia0 and so on)",
                self.directory.display()
            ));
        }
        Ok(())
    }

    /// What a container with these resources is to be given.
    pub(crate) fn wanted(&self, resources: &[Resource]) -> Result<Option<Gpus>, String> {
        let sum: f64 = amounts(resources).sum();
        if sum <= 0.0 {
            return Ok(None);
        }
        if sum.fract() != 0.0 || sum > f64::from(MAX_GPUS) {
            return Err(format!("{sum} gpus cannot be had: they are whole ones"));
        }
        let shared = SHARED.map(|name| self.directory.join(name));
        Ok(Some(Gpus {
            wanted: sum as usize,
            all: self.nodes(),
            shared: shared.into_iter().filter(|path| path.exists()).collect(),
        }))
    }
}

fn amounts(resources: &[Resource]) -> impl Iterator<Item = f64> {
    resources
        .iter()
        .filter(|resource| resource.name == "gpus")
        .filter_map(|resource| Some(resource.scalar.as_ref()?.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_found_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let config = |only: Option<&str>| GpuConfig {
            directory: folder.path().to_owned(),
            only: only.map(|text| GpuConfig::parse(text).unwrap()),
        };
        let mut none = Vec::new();
        config(None).complete(&mut none).unwrap();
        assert_eq!(none, []);
        for name in ["nvidia0", "nvidia2", "nvidiactl", "nvidia-caps"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut found = Vec::new();
        config(None).complete(&mut found).unwrap();
        assert_eq!(found, [scalar("gpus", 2.0)]);
        let refused = config(Some("2")).complete(&mut found).unwrap_err();
        assert!(
            refused.starts_with("2 gpus are named, but there are 1"),
            "{refused}"
        );
        assert!(
            config(None)
                .complete(&mut vec![scalar("gpus", 0.5)])
                .is_err()
        );
        let wanted = config(None).wanted(&found).unwrap().unwrap();
        assert_eq!(
            (wanted.wanted, wanted.all.len(), wanted.shared.len()),
            (2, 2, 1)
        );
        assert_eq!(config(None).wanted(&[scalar("cpus", 1.0)]), Ok(None));
        assert!(config(None).wanted(&[scalar("gpus", 0.5)]).is_err());
        assert_eq!(GpuConfig::parse("0,x"), None);
    }
}

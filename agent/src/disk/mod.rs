//! How much disk containers use: Mesos' `disk/du`, and its quota.
//!
//! With `--isolation=disk/du` (or `posix/disk`) the sandbox of every executor, with what its containers have written over their images, and
//! each persistent volume that its tasks have, is walked through again and again ([`walk`]). What is found is in the statistics, and, with
//! `--enforce_container_disk_quota`, ends an executor that uses more than its tasks asked for, be it in the sandbox and over images (all
//! disk that is no volume) or in one of the volumes (its size).
//!
//! What is left out: disks of type MOUNT, whose size is the disk's own; and whoever asked for no disk, for whom there is no quota.

mod walk;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use parking_lot::RwLock;
use tepui_agent_core::view::{ExecutorView, View};
use tepui_agent_core::{Input, Limitation, Limited};
use tepui_model::ContainerId;
use tepui_proto::mesos::v1::resource::disk_info::source;
use tepui_proto::mesos::v1::{DiskStatistics, Resource, value};
use tokio::sync::mpsc;

use crate::config::{ConfigError, parse_duration};
use crate::provision::Provisioner;
use crate::sandbox::Layout;
use crate::volumes::VolumesRoom;

/// Looks are no closer to each other than this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const MIB: f64 = 1_048_576.0;

/// The flags about disk.
#[derive(Debug, Clone, Default, Args)]
#[command(rename_all = "snake_case")]
pub struct DiskFlags {
    /// Whether who uses more disk than it asked for ends; measures also without disk/du in --isolation
    #[arg(long, alias = "enforce-container-disk-quota", num_args = 0..=1, default_missing_value = "true", default_value_t = false, action = clap::ArgAction::Set)]
    pub enforce_container_disk_quota: bool,
    /// Between two looks at the disk that containers use (at least a second)
    #[arg(
        long,
        alias = "container-disk-watch-interval",
        default_value = "15secs"
    )]
    pub container_disk_watch_interval: String,
}

/// How the disk of containers is looked at.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// It is measured.
    pub watch: bool,
    /// Who uses more than it asked for ends; it is measured then.
    pub enforce: bool,
    /// Between two looks.
    pub interval: Duration,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            watch: false,
            enforce: false,
            interval: Duration::from_secs(15),
        }
    }
}

impl DiskFlags {
    /// Those that are set, as text.
    pub(crate) fn shown(&self) -> [(&'static str, String); 2] {
        [
            (
                "enforce_container_disk_quota",
                self.enforce_container_disk_quota.to_string(),
            ),
            (
                "container_disk_watch_interval",
                self.container_disk_watch_interval.clone(),
            ),
        ]
    }
}

impl DiskConfig {
    /// Judges the flags. `isolation` is what `--isolation` lists.
    pub(crate) fn from_flags(flags: &DiskFlags, isolation: &str) -> Result<Self, ConfigError> {
        let text = &flags.container_disk_watch_interval;
        let interval = parse_duration(text).ok_or_else(|| ConfigError::Invalid {
            flag: "container_disk_watch_interval",
            value: text.clone(),
            problem: "not a duration such as 10secs or 1.5mins".to_owned(),
        })?;
        let mut listed = isolation.split(',').map(str::trim);
        Ok(Self {
            watch: listed.any(|name| matches!(name, "disk/du" | "posix/disk")),
            enforce: flags.enforce_container_disk_quota,
            interval,
        })
    }
}

/// What an executor's container uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Used {
    /// Of the sandbox first, then of each volume. Without a limit if nothing was asked for.
    pub(crate) all: Vec<DiskStatistics>,
    /// Why it may be more than that.
    problem: Option<walk::Unmeasured>,
}

impl Used {
    pub(crate) fn sandbox(&self) -> DiskStatistics {
        self.all.first().cloned().unwrap_or_default()
    }
}

/// What was found at the last look, by container. As many as executors were there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disks(Arc<RwLock<HashMap<ContainerId, Used>>>);

impl Disks {
    pub(crate) fn of(&self, container: &ContainerId) -> Option<Used> {
        self.0.read().get(container).cloned()
    }
}

/// Bytes as Mesos writes them: in the largest unit in which they are whole.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")];
        let whole = |unit: &&(u32, &str)| self.0 > 0 && self.0.is_multiple_of(1 << unit.0);
        match UNITS.iter().find(whole) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Directories that an executor may fill, and how far.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    paths: Vec<PathBuf>,
    /// `None`: as far as it likes.
    quota: Option<Resource>,
}

fn bytes_of(resource: &Resource) -> u64 {
    // A float that is too large, or no number, becomes the nearest that there is.
    let mib = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
    (mib * MIB) as u64
}

/// The executor's own directories, its sandbox first, and its volumes.
fn places(own: Vec<PathBuf>, resources: &[&Resource], volumes: &VolumesRoom) -> Vec<Place> {
    let disks = || resources.iter().filter(|resource| resource.name == "disk");
    let persistent = |resource: &Resource| {
        let disk = resource.disk.as_ref();
        disk.is_some_and(|disk| disk.persistence.is_some())
    };
    let plain = disks().filter(|resource| resource.disk.is_none());
    let asked: f64 = plain
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| scalar.value)
        .sum();
    let quota = (asked > 0.0).then(|| Resource {
        name: "disk".to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value: asked }),
        role: Some("*".to_owned()),
        ..Default::default()
    });
    let mut places = vec![Place { paths: own, quota }];
    for &volume in disks().filter(|resource| persistent(resource)) {
        let source = volume.disk.as_ref().and_then(|disk| disk.source.as_ref());
        if source.is_some_and(|source| source.r#type() == source::Type::Mount) {
            continue;
        }
        // One that is nowhere has been refused at the launch.
        let Ok(found) = volumes.places(std::slice::from_ref(volume)) else {
            continue;
        };
        for (_, path, _) in found {
            if !places.iter().any(|place| place.paths.contains(&path)) {
                places.push(Place {
                    paths: vec![path],
                    quota: Some(volume.clone()),
                });
            }
        }
    }
    places
}

/// Measures them all, and says which is fuller than it may be.
fn measure(places: &[Place], bounds: walk::Bounds) -> (Used, Option<Limitation>) {
    let mut all = Used::default();
    let mut limitation = None;
    for place in places {
        let quota = place.quota.as_ref().map(bytes_of);
        let (mut bytes, mut problem) = (0_u64, None);
        for path in &place.paths {
            let measured = walk::used_bytes(path, bounds);
            bytes = bytes.saturating_add(measured.bytes);
            // It may have gone meanwhile.
            let found = measured.problem;
            problem = problem.or(found.filter(|problem| *problem != Errno::ENOENT.into()));
        }
        let message = quota.and_then(|quota| {
            if bytes > quota {
                let (used, quota) = (Bytes(bytes), Bytes(quota));
                return Some(format!("Disk usage ({used}) exceeds quota ({quota})"));
            }
            let hides = problem.as_ref().filter(|problem| problem.is_the_owners());
            hides.map(ToString::to_string)
        });
        let disk = place.quota.as_ref().and_then(|quota| quota.disk.as_ref());
        all.all.push(DiskStatistics {
            source: disk.and_then(|disk| disk.source.clone()),
            persistence: disk.and_then(|disk| disk.persistence.clone()),
            limit_bytes: quota,
            used_bytes: Some(bytes),
        });
        all.problem = all.problem.take().or(problem);
        if let (Some(message), None) = (message, &limitation) {
            limitation = Some(Limitation {
                of: Limited::Disk,
                message,
                resources: place.quota.iter().cloned().collect(),
            });
        }
    }
    (all, limitation)
}

/// What looks, and whom it tells.
pub(crate) struct Room {
    pub(crate) config: DiskConfig,
    pub(crate) view: Arc<RwLock<View>>,
    /// The agent's id; sandboxes are below it.
    pub(crate) agent: Arc<RwLock<String>>,
    pub(crate) layout: Layout,
    pub(crate) volumes: VolumesRoom,
    pub(crate) provisioner: Provisioner,
    pub(crate) disks: Disks,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// Looks for as long as the agent lives; returns at once if nobody wants that.
pub(crate) async fn run(room: Room) {
    if !(room.config.watch || room.config.enforce) {
        return;
    }
    let room = Arc::new(room);
    let pause = room.config.interval.max(SHORTEST_INTERVAL);
    loop {
        tokio::time::sleep(pause).await;
        let looking = Arc::clone(&room);
        let found = tokio::task::spawn_blocking(move || looking.look()).await;
        for (container, limitation) in found.unwrap_or_default() {
            tracing::info!("container {container} uses too much disk");
            let input = Input::Exceeded {
                container,
                limitation,
            };
            if room.inputs.send(input).await.is_err() {
                return;
            }
        }
    }
}

impl Room {
    /// Measures all executors; gives those that have to end.
    fn look(&self) -> Vec<(ContainerId, Limitation)> {
        let agent = self.agent.read().clone();
        let executors: Vec<(ContainerId, Vec<Place>)> = {
            let view = self.view.read();
            let all = view.frameworks.values();
            all.flat_map(|framework| framework.executors.values())
                .map(|executor| (executor.state.container.clone(), self.of(&agent, executor)))
                .collect()
        };
        let mut found = HashMap::with_capacity(executors.len());
        let mut ends = Vec::new();
        for (container, places) in executors {
            let (used, limitation) = measure(&places, walk::Bounds::default());
            // Said once, not at every look.
            if let Some(problem) = &used.problem
                && self
                    .disks
                    .of(&container)
                    .is_none_or(|last| last.problem.is_none())
            {
                tracing::warn!("container {container}: {problem}");
            }
            found.insert(container.clone(), used);
            if let Some(limitation) = limitation.filter(|_| self.config.enforce) {
                ends.push((container, limitation));
            }
        }
        *self.disks.0.write() = found;
        ends
    }

    fn of(&self, agent: &str, executor: &ExecutorView) -> Vec<Place> {
        let state = &executor.state;
        let tasks = executor.tasks.values();
        let live = tasks.filter(|task| !task.state.is_terminal());
        let resources: Vec<&Resource> = state
            .info
            .resources
            .iter()
            .chain(live.flat_map(|task| task.info.resources.iter()))
            .collect();
        let sandbox = self.layout.sandbox(
            agent,
            state.framework_id.as_str(),
            state.id.as_str(),
            &state.container.to_string(),
        );
        let mut own = vec![sandbox];
        own.extend(
            self.provisioner
                .store()
                .written(&state.container.to_string()),
        );
        places(own, &resources, &self.volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tepui_proto::mesos::v1::resource::DiskInfo;
    use tepui_proto::mesos::v1::resource::disk_info::Persistence;

    fn disk(mib: f64) -> Resource {
        Resource {
            name: "disk".to_owned(),
            scalar: Some(value::Scalar { value: mib }),
            ..Default::default()
        }
    }

    #[test]
    fn bytes_print_as_in_mesos() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (1536, "1536B"),
            (4096, "4KB"),
            (64 << 20, "64MB"),
            ((64 << 20) + 1024, "65537KB"),
            (2 << 30, "2GB"),
            (3 << 40, "3TB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn who_asked_for_disk_may_use_so_much_and_others_what_they_like() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), vec![1; 2 << 20]).unwrap();
        let volumes = VolumesRoom::new(folder.path());
        let check = |resources: &[Resource]| {
            let resources: Vec<&Resource> = resources.iter().collect();
            let sandbox = folder.path().to_owned();
            measure(
                &places(vec![sandbox], &resources, &volumes),
                walk::Bounds::default(),
            )
        };
        let (used, limitation) = check(&[]);
        let sandbox = used.sandbox();
        assert!(sandbox.used_bytes >= Some(2 << 20), "{used:?}");
        assert_eq!(sandbox.limit_bytes, None);
        assert_eq!(limitation, None);
        let (used, limitation) = check(&[disk(2.0), disk(2.0)]);
        assert_eq!(
            (used.sandbox().limit_bytes, limitation),
            (Some(4 << 20), None)
        );
        let (_, limitation) = check(&[disk(1.0)]);
        let Some(Limitation {
            message, resources, ..
        }) = limitation
        else {
            panic!("{limitation:?}");
        };
        assert!(message.starts_with("Disk usage (2"), "{message}");
        assert!(message.ends_with(" exceeds quota (1MB)"), "{message}");
        assert_eq!(resources[0].scalar.unwrap().value, 1.0);
    }

    #[test]
    fn the_sandbox_and_each_volume_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Resource {
            disk: Some(Box::new(DiskInfo {
                persistence: Some(Persistence {
                    id: "data".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            })),
            ..disk(64.0)
        };
        let place = |name: &str, bytes, quota| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("file"), vec![1; bytes]).unwrap();
            let quota = Some(quota);
            Place {
                paths: vec![path],
                quota,
            }
        };
        let places = [
            place("sandbox", 1 << 20, disk(4.0)),
            place("volume", 8 << 20, volume.clone()),
        ];
        let (used, limitation) = measure(&places, walk::Bounds::default());
        assert_eq!((&used.problem, limitation), (&None, None));
        let sandbox = used.sandbox();
        assert_eq!(sandbox.limit_bytes, Some(4 << 20));
        assert!((1 << 20..2 << 20).contains(&sandbox.used_bytes()));
        assert_eq!(sandbox.persistence, None);
        let [_, other] = used.all.as_slice() else {
            panic!("{used:?}");
        };
        assert_eq!(other.limit_bytes, Some(64 << 20));
        assert!((8 << 20..9 << 20).contains(&other.used_bytes()));
        assert_eq!(other.persistence, volume.disk.unwrap().persistence);
    }

    #[test]
    fn who_cannot_be_measured_ends_only_for_what_it_has_done_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "some").unwrap();
        let check = |quota: Option<Resource>, entries, seconds| {
            let path = folder.path().to_owned();
            let bounds = walk::Bounds {
                entries,
                time: Duration::from_secs(seconds),
            };
            let (used, limitation) = measure(
                &[Place {
                    paths: vec![path],
                    quota,
                }],
                bounds,
            );
            assert!(used.problem.is_some());
            limitation
        };
        let Some(Limitation { message, .. }) = check(Some(disk(1.0)), 0, 60) else {
            panic!("it hides behind many files");
        };
        let expected = "Disk usage cannot be measured: there are more than 0 files";
        assert_eq!(message, expected);
        assert_eq!(check(None, 0, 60), None);
        assert_eq!(check(Some(disk(1.0)), 9, 0), None);
    }

    #[test]
    fn it_is_measured_when_isolation_or_the_quota_asks_for_it() {
        let flags = |enforce| DiskFlags {
            enforce_container_disk_quota: enforce,
            container_disk_watch_interval: "2secs".to_owned(),
        };
        for (isolation, enforce, expected) in [
            ("", false, (false, false)),
            ("cgroups/cpu, disk/du", false, (true, false)),
            ("posix/disk", true, (true, true)),
            ("disk/xfs", true, (false, true)),
        ] {
            let config = DiskConfig::from_flags(&flags(enforce), isolation).unwrap();
            assert_eq!((config.watch, config.enforce), expected, "{isolation}");
            assert_eq!(config.interval, Duration::from_secs(2));
        }
        let wrong = DiskFlags {
            container_disk_watch_interval: "soon".to_owned(),
            ..flags(false)
        };
        let error = DiskConfig::from_flags(&wrong, "").unwrap_err().to_string();
        assert_eq!(
            error,
            "--container_disk_watch_interval=soon: not a duration such as 10secs or 1.5mins"
        );
    }
}

//! Control groups, version 1 and 2 behind one face: `<mount>/<cgroups_root>/<container id>` in every hierarchy that has a controller we use.
//!
//! A machine may have some controllers in version 1 hierarchies and others in the unified one: [`layout`] finds out, once. A container's directories
//! ([`Placement`]) are fixed at launch and stand in its record, so that they are found and removed whatever the flags are later. [`settings`] is the
//! pure part: which file gets which value. [`facts`] reads usage and out-of-memory facts back.
//!
//! Only the task's process joins, right before its program: supervisor and init are not charged to the container. A single-threaded process that
//! moves *itself* in version 1 (by writing 0 to `tasks`), or is made in its cgroup in version 2, spares the kernel a global
//! lock whose other users wait for milliseconds.
//!
//! Out of memory, the whole container ends, whichever process the kernel chose: version 2 does it by `memory.oom.group`, in version 1 the supervisor
//! listens on an eventfd.

mod block_io;
mod cpuset;
mod devices;
mod facts;
mod layout;
mod settings;

pub(crate) use layout::{Layout, sweep};

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Isolator;
use crate::containerizer::block_io::BlockIo;
use crate::containerizer::devices::DeviceRule;
use crate::containerizer::error::ContainerizerError;
use crate::containerizer::event::{LaunchFailure, MemoryLimitation, Usage};
use crate::containerizer::spec::{Cpuset, Limits};
use crate::supervisor::message::{Standing, failed, failed_io};
use crate::supervisor::sys;

/// The directory, of version 2, of the process that holds what others share. No container's name has a prefix like that of those inside.
const HOLDER: &str = "holder";

/// How long processes that were killed may take to leave a cgroup: the kernel frees their memory first.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause between two attempts; it doubles up to [`REMOVAL_PAUSE_MAX`]. Version 1 tells nobody that a cgroup is empty.
const REMOVAL_PAUSE: Duration = Duration::from_micros(200);
const REMOVAL_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The interface of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The controllers that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Controller {
    Cpu,
    /// Version 1 only; version 2 counts in `cpu.stat` everywhere.
    Cpuacct,
    Memory,
    Pids,
    Cpuset,
    /// Version 2 has no controller for them, but programs.
    Devices,
    /// `blkio` in version 1, `io` in version 2.
    BlockIo,
}

impl Controller {
    pub(crate) const ALL: [Self; 7] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Memory,
        Self::Pids,
        Self::Cpuset,
        Self::Devices,
        Self::BlockIo,
    ];

    /// As the kernel calls it in this version.
    pub(crate) fn name(self, version: Version) -> &'static str {
        match self {
            Self::BlockIo if version == Version::V2 => "io",
            Self::BlockIo => "blkio",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpuset => "cpuset",
            Self::Devices => "devices",
        }
    }
}

/// A container's directory in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    pub(crate) version: Version,
    pub(crate) controllers: Vec<Controller>,
    pub(crate) path: PathBuf,
}

/// All directories of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    pub(crate) directories: Vec<Directory>,
    /// It is there for the containers inside: they have settings of their own.
    #[serde(default)]
    pub(crate) holds: bool,
}

impl Placement {
    /// Without the directories that are there for this controller alone.
    pub(crate) fn without(mut self, controller: Controller) -> Self {
        self.directories
            .retain(|directory| directory.controllers != [controller]);
        if controller == Controller::BlockIo {
            // Whoever shares its directory asks for nothing: neither is anything read that nobody wants to know.
            let of_all = self.directories.iter_mut();
            of_all.for_each(|directory| directory.controllers.retain(|it| *it != controller));
        }
        self
    }

    /// The same for a container that is there for those inside.
    pub(crate) fn holding(self) -> Self {
        Self {
            holds: true,
            ..self
        }
    }

    /// The directories of a container inside the one of this placement: below its own, so that all of its limits hold for both together. In
    /// version 2 it has no controllers of its own, unless this one is there for that: none can be handed on by a cgroup that has processes.
    pub(crate) fn within(&self, name: &str) -> Self {
        let inside = |directory: &Directory| Directory {
            version: directory.version,
            controllers: match directory.version {
                Version::V1 => directory.controllers.clone(),
                Version::V2 if self.holds => directory.controllers.clone(),
                Version::V2 => Vec::new(),
            },
            // With a prefix: the kernel's own files stand there too.
            path: directory.path.join(format!("nested-{name}")),
        };
        Self {
            directories: self.directories.iter().map(inside).collect(),
            holds: false,
        }
    }

    /// Whether containers inside can have limits of their own for all that is limited here.
    pub(crate) fn can_limit_within(&self) -> bool {
        let blunt = |directory: &Directory| {
            directory.version == Version::V2 && !directory.controllers.is_empty()
        };
        self.holds || !self.directories.iter().any(blunt)
    }

    /// Whether this controller is among those that it has.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        let mut all = self.directories.iter();
        all.any(|directory| directory.controllers.contains(&controller))
    }

    /// Whether it is below another one.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        let mut all = self.directories.iter();
        all.any(|own| {
            let mut others = other.directories.iter();
            others.any(|other| own.path.starts_with(&other.path))
        })
    }

    /// The processes in it and below. All hierarchies have the same ones: that of memory is asked if there is one.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        if let Some(directory) = self.memory().or(self.directories.first()) {
            gather(&directory.path, &mut found);
        }
        found
    }

    /// The one that limits memory.
    fn memory(&self) -> Option<&Directory> {
        self.directories
            .iter()
            .find(|directory| directory.controllers.contains(&Controller::Memory))
    }
}

/// The cgroups of one container.
pub(super) struct Cgroups {
    placement: Placement,
    limits: Limits,
    /// What alone may be used; `None`: all.
    devices: Option<Vec<DeviceRule>>,
    cpuset: Cpuset,
    block_io: BlockIo,
    standing: Standing,
    /// Version 1: one open `tasks` file for each directory.
    tasks: Vec<File>,
    /// Version 2: the directory.
    unified: Option<OwnedFd>,
    out_of_memory: Option<EventFd>,
}

impl Cgroups {
    pub(super) fn new(placement: Placement, limits: Limits) -> Self {
        Self {
            placement,
            limits,
            devices: None,
            cpuset: Cpuset::default(),
            block_io: BlockIo::default(),
            standing: Standing::Alone,
            tasks: Vec::new(),
            unified: None,
            out_of_memory: None,
        }
    }

    /// With these devices and no others.
    pub(super) fn devices(mut self, rules: Option<Vec<DeviceRule>>) -> Self {
        self.devices = rules;
        self
    }

    /// On these processors.
    pub(super) fn cpuset(mut self, cpuset: Cpuset) -> Self {
        self.cpuset = cpuset;
        self
    }

    /// With these rates of block devices.
    pub(super) fn block_io(mut self, block_io: BlockIo) -> Self {
        self.block_io = block_io;
        self
    }

    /// Keeps all devices away but those that are allowed.
    fn confine(directory: &Directory, rules: &[DeviceRule]) -> Result<(), LaunchFailure> {
        let path = &directory.path;
        let subject = path.to_string_lossy();
        match directory.version {
            Version::V1 => {
                let deny = path.join("devices.deny");
                write(&deny, "a")
                    .map_err(failed_io("deny all devices by", deny.to_string_lossy()))?;
                let allow = path.join("devices.allow");
                for line in devices::lines(rules) {
                    write(&allow, &line).map_err(failed_io("allow the device", line))?;
                }
                Ok(())
            }
            Version::V2 => {
                let program = sys::load_device_program(&devices::program(rules))
                    .map_err(failed("load the program about devices", &subject))?;
                let cgroup = File::open(path).map_err(failed_io("open", &subject))?;
                sys::attach_device_program(cgroup.as_fd(), program.as_fd())
                    .map_err(failed("attach the program about devices to", &subject))
            }
        }
    }

    /// Below the directories of another container, which must be there.
    pub(super) fn standing(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// Lets the containers inside have controllers of their own. In version 2 no process may then be in the directory itself: those of the
    /// container that holds it are in one below.
    fn hand_on(directory: &Directory) -> io::Result<()> {
        match directory.version {
            Version::V1 => {
                // Kernels before 5.11 count in the one above only if they are told to; later ones always do.
                let _ = write(&directory.path.join("memory.use_hierarchy"), "1");
                Ok(())
            }
            Version::V2 => {
                for controller in &directory.controllers {
                    // Devices are no controller there.
                    if *controller != Controller::Devices {
                        let line = format!("+{}", controller.name(Version::V2));
                        write(&directory.path.join("cgroup.subtree_control"), &line)?;
                    }
                }
                if directory.controllers.contains(&Controller::Memory) {
                    // Who lacks memory together ends together, and at once: nothing tells of it as in version 1.
                    write(&directory.path.join("memory.oom.group"), "1")?;
                }
                std::fs::create_dir(directory.path.join(HOLDER))
            }
        }
    }

    /// Where its own processes are.
    fn place(&self, directory: &Directory) -> PathBuf {
        if self.placement.holds && directory.version == Version::V2 {
            directory.path.join(HOLDER)
        } else {
            directory.path.clone()
        }
    }

    /// Whether it can run out of memory by itself. The kernel tells those below of what is missing above, too: whoever stands there hears that
    /// from above, with the facts.
    fn limits_memory(&self) -> bool {
        let own = self.limits.memory_bytes.or(self.limits.memory_limit_bytes);
        self.standing == Standing::Alone || own.is_some()
    }

    /// Version 1 writes to an eventfd when a cgroup is out of memory.
    fn listen(directory: &Path) -> io::Result<EventFd> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = File::open(directory.join("memory.oom_control"))?;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
        write(&directory.join("cgroup.event_control"), &line)?;
        Ok(event)
    }
}

impl Isolator for Cgroups {
    fn prepare(&mut self) -> Result<(), LaunchFailure> {
        for directory in &self.placement.directories {
            let path = &directory.path;
            match std::fs::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Of a container with this id that nobody cleared away: its counters would be taken for ours.
                    remove(directory);
                    std::fs::create_dir(path)
                }
                // An ephemeral agent that shares our root has just left and taken the empty root along.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && self.standing == Standing::Alone =>
                {
                    std::fs::create_dir_all(path)
                }
                other => other,
            }
            .map_err(failed_io("make the cgroup", path.to_string_lossy()))?;
            if self.placement.holds {
                Self::hand_on(directory).map_err(failed_io(
                    "let containers inside have cgroups of their own in",
                    path.to_string_lossy(),
                ))?;
            }
            if self.standing == Standing::Inside && self.limits == Limits::default() {
                // What the parent may use is all that there is to share.
                continue;
            }
            if directory.controllers.contains(&Controller::Cpuset) {
                cpuset::confine(directory, &self.cpuset)?;
            }
            if directory.controllers.contains(&Controller::BlockIo) {
                block_io::confine(directory, &self.block_io)?;
            }
            if let Some(rules) = &self.devices
                && self.standing != Standing::Inside
                && directory.controllers.contains(&Controller::Devices)
            {
                Self::confine(directory, rules)?;
            }
            for (file, value) in
                settings::of(directory.version, &directory.controllers, &self.limits)
            {
                let file = path.join(file);
                write(&file, &value)
                    .map_err(failed_io("set", format!("{} to {value}", file.display())))?;
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), LaunchFailure> {
        for directory in &self.placement.directories {
            match directory.version {
                Version::V1 => {
                    let tasks = directory.path.join("tasks");
                    let opened = OpenOptions::new().write(true).open(&tasks);
                    self.tasks
                        .push(opened.map_err(failed_io("open", tasks.to_string_lossy()))?);
                }
                Version::V2 => {
                    let opened = OpenOptions::new()
                        .read(true)
                        .custom_flags(libc::O_DIRECTORY)
                        .open(self.place(directory));
                    self.unified = Some(
                        opened
                            .map_err(failed_io("open", directory.path.to_string_lossy()))?
                            .into(),
                    );
                }
            }
        }
        if let Some(memory) = self
            .placement
            .memory()
            .filter(|memory| memory.version == Version::V1 && self.limits_memory())
        {
            // Without it the kernel still kills one process, and the facts are still read at the end.
            self.out_of_memory = Self::listen(&memory.path).ok();
        }
        Ok(())
    }

    fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    fn enter(&self) -> Result<(), LaunchFailure> {
        for (tasks, directory) in self.tasks.iter().zip(
            self.placement
                .directories
                .iter()
                .filter(|directory| directory.version == Version::V1),
        ) {
            let mut tasks = tasks;
            tasks.write_all(b"0").map_err(failed_io(
                "join the cgroup",
                directory.path.to_string_lossy(),
            ))?;
        }
        Ok(())
    }

    fn out_of_memory(&self) -> Option<BorrowedFd<'_>> {
        self.out_of_memory.as_ref().map(AsFd::as_fd)
    }

    fn memory_limitation(&self, told: bool) -> Option<MemoryLimitation> {
        let memory = self.placement.memory()?;
        let above =
            || facts::limitation_above(memory).filter(|_| self.standing == Standing::Member);
        facts::memory_limitation(memory, told).or_else(above)
    }

    fn usage(&self, usage: &mut Usage) {
        for directory in &self.placement.directories {
            facts::usage(directory, usage);
        }
        if self.placement.holds && !self.placement.directories.is_empty() {
            // What it holds is what those inside of it use together.
            usage.processes = Some(self.placement.processes().len() as u64);
        }
    }

    fn update(&self, limits: &Limits) -> Result<(), ContainerizerError> {
        for directory in &self.placement.directories {
            for (file, value) in settings::updates(
                directory.version,
                &directory.controllers,
                limits,
                facts::memory_hard_limit(directory),
            ) {
                let path = directory.path.join(file);
                write(&path, &value).map_err(|source| ContainerizerError::Cgroup {
                    action: "write",
                    path,
                    source,
                })?;
            }
        }
        Ok(())
    }

    fn cleanup(&mut self) {
        self.tasks.clear();
        self.unified = None;
        for directory in &self.placement.directories {
            remove(directory);
        }
    }
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(value.as_bytes())
}

/// Removes a cgroup and those that were made in it, killing whatever still is in them. Gives up after [`REMOVAL_TIMEOUT`]: then a process
/// cannot be killed (it hangs in the kernel), and a later sweep tries again.
fn remove(directory: &Directory) {
    let deadline = Instant::now() + REMOVAL_TIMEOUT;
    let mut pause = REMOVAL_PAUSE;
    loop {
        match std::fs::remove_dir(&directory.path) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error)
                if error.raw_os_error() != Some(Errno::EBUSY as i32)
                    || Instant::now() >= deadline =>
            {
                return;
            }
            Err(_) => {}
        }
        if directory.version == Version::V2 {
            let _ = write(&directory.path.join("cgroup.kill"), "1");
        }
        empty(&directory.path);
        std::thread::sleep(pause);
        pause = (pause * 2).min(REMOVAL_PAUSE_MAX);
    }
}

/// Kills the processes of a cgroup, and removes the cgroups below it as far as they are empty.
fn empty(path: &Path) {
    for below in below(path) {
        empty(&below);
        let _ = std::fs::remove_dir(below);
    }
    for pid in members(path) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The processes in a cgroup and in those below it.
fn gather(path: &Path, found: &mut Vec<i32>) {
    found.extend(members(path));
    for below in below(path) {
        gather(&below, found);
    }
}

/// The cgroups in a cgroup.
fn below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path())
}

/// The processes in a cgroup.
fn members(path: &Path) -> Vec<i32> {
    let procs = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process that our pid namespace does not show; kill(0) would be ourselves.
    procs
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid > 0)
        .collect()
}

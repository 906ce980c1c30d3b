//! What a container's cgroups tell about it. What cannot be read is not told.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::{Controller, Directory, Version, block_io};
use crate::containerizer::event::{MemoryLimitation, Usage};

/// Version 1 reports CPU times in hundredths of a second.
const NS_PER_TICK: u64 = 10_000_000;
const NS_PER_US: u64 = 1_000;
/// What most files say is shorter.
const USUAL_BYTES: usize = 4 << 10;
/// What is beyond is not read: the ids of a hundred thousand processes.
const MOST_BYTES: u64 = 1 << 20;
/// Above this, version 1 means "no limit": the largest multiple of a page.
const NO_LIMIT_FROM: u64 = i64::MAX as u64 - (64 << 10);

/// The facts, if the limit of this cgroup was hit and somebody was killed for it: by the kernel, or, when the kernel has `told` its watcher
/// first, by the watcher.
pub(super) fn memory_limitation(directory: &Directory, told: bool) -> Option<MemoryLimitation> {
    let files = Files::of(&directory.path);
    let (hit, killed, most) = match directory.version {
        Version::V1 => (
            files.number("memory.failcnt")?,
            keyed(&files.text("memory.oom_control")?, "oom_kill")?,
            files.number("memory.max_usage_in_bytes"),
        ),
        Version::V2 => {
            let events = files.text("memory.events")?;
            // Those count what happened below too, where others may have limits of their own. Kernels before 5.2 tell nothing else.
            let own = files.text("memory.events.local");
            (
                keyed(own.as_ref().unwrap_or(&events), "oom")?,
                keyed(&events, "oom_kill")?,
                files.number("memory.peak"),
            )
        }
    };
    if hit == 0 || (killed == 0 && !told) {
        return None;
    }
    let limit_bytes = hard_limit(directory, &files)?;
    Some(MemoryLimitation {
        limit_bytes,
        max_usage_bytes: most.unwrap_or(limit_bytes),
    })
}

/// The facts about the cgroup above, if somebody in this one was killed because that one's limit was hit. Version 1 counts who was killed only here.
pub(super) fn limitation_above(directory: &Directory) -> Option<MemoryLimitation> {
    let files = Files::of(&directory.path);
    let killed = match directory.version {
        Version::V1 => keyed(&files.text("memory.oom_control")?, "oom_kill")?,
        Version::V2 => keyed(&files.text("memory.events")?, "oom_kill")?,
    };
    let above = Directory {
        path: directory.path.parent()?.to_owned(),
        ..directory.clone()
    };
    memory_limitation(&above, true).filter(|_| killed > 0)
}

/// The hard limit, `None` if there is none.
pub(super) fn memory_hard_limit(directory: &Directory) -> Option<u64> {
    hard_limit(directory, &Files::of(&directory.path))
}

fn hard_limit(directory: &Directory, files: &Files) -> Option<u64> {
    if !directory.controllers.contains(&Controller::Memory) {
        return None;
    }
    match directory.version {
        Version::V1 => files
            .number("memory.limit_in_bytes")
            .filter(|bytes| *bytes < NO_LIMIT_FROM),
        Version::V2 => files.number("memory.max"),
    }
}

/// Adds what this directory tells.
pub(super) fn usage(directory: &Directory, usage: &mut Usage) {
    match directory.version {
        Version::V1 => usage_v1(directory, usage),
        Version::V2 => usage_v2(directory, usage),
    }
}

fn usage_v1(directory: &Directory, usage: &mut Usage) {
    let files = Files::of(&directory.path);
    for controller in &directory.controllers {
        match controller {
            Controller::Cpu => {
                let stat = files.text("cpu.stat").unwrap_or_default();
                usage.cpu_periods = keyed(&stat, "nr_periods");
                usage.cpu_throttled_periods = keyed(&stat, "nr_throttled");
                usage.cpu_throttled_ns = keyed(&stat, "throttled_time");
            }
            Controller::Cpuacct => {
                let stat = files.text("cpuacct.stat").unwrap_or_default();
                let user = keyed(&stat, "user").map(|ticks| ticks * NS_PER_TICK);
                let system = keyed(&stat, "system").map(|ticks| ticks * NS_PER_TICK);
                // The sum is exact in another file: what the coarse clock has not attributed counts as user time.
                let total = files.number("cpuacct.usage");
                usage.cpu_system_ns =
                    system.map(|system| total.map_or(system, |total| system.min(total)));
                usage.cpu_user_ns = total
                    .zip(usage.cpu_system_ns)
                    .map(|(total, system)| total - system)
                    .or(user);
            }
            Controller::Memory => {
                let stat = files.text("memory.stat").unwrap_or_default();
                usage.memory_total_bytes = files.number("memory.usage_in_bytes");
                usage.memory_max_bytes = files.number("memory.max_usage_in_bytes");
                usage.memory_rss_bytes = keyed(&stat, "total_rss");
                usage.memory_cache_bytes = keyed(&stat, "total_cache");
                usage.memory_mapped_file_bytes = keyed(&stat, "total_mapped_file");
                usage.memory_limit_bytes = hard_limit(directory, &files);
            }
            Controller::Pids => {
                usage.threads = files.number("pids.current");
                usage.processes = files.lines("cgroup.procs");
            }
            Controller::BlockIo => usage.block = block_io::usage(Version::V1, &files),
            Controller::Cpuset | Controller::Devices => {}
        }
    }
}

fn usage_v2(directory: &Directory, usage: &mut Usage) {
    let files = Files::of(&directory.path);
    let stat = files.text("cpu.stat").unwrap_or_default();
    let ns = |key| keyed(&stat, key).map(|us| us * NS_PER_US);
    usage.cpu_user_ns = ns("user_usec");
    usage.cpu_system_ns = ns("system_usec");
    usage.cpu_periods = keyed(&stat, "nr_periods");
    usage.cpu_throttled_periods = keyed(&stat, "nr_throttled");
    usage.cpu_throttled_ns = ns("throttled_usec");
    if directory.controllers.contains(&Controller::Memory) {
        let stat = files.text("memory.stat").unwrap_or_default();
        usage.memory_total_bytes = files.number("memory.current");
        usage.memory_max_bytes = files.number("memory.peak");
        usage.memory_rss_bytes = keyed(&stat, "anon");
        usage.memory_cache_bytes = keyed(&stat, "file");
        usage.memory_mapped_file_bytes = keyed(&stat, "file_mapped");
        usage.memory_limit_bytes = hard_limit(directory, &files);
    }
    if directory.controllers.contains(&Controller::Pids) {
        usage.threads = files.number("pids.current");
    }
    if directory.controllers.contains(&Controller::BlockIo) {
        usage.block = block_io::usage(Version::V2, &files);
    }
    usage.processes = files.lines("cgroup.procs");
}

/// A directory that is open: its path, which is long, is walked once for all of its files.
pub(super) struct Files(Option<OwnedFd>);

impl Files {
    pub(super) fn of(directory: &Path) -> Self {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Self(open(directory, flags, Mode::empty()).ok())
    }

    pub(super) fn text(&self, file: &str) -> Option<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.0.as_ref()?, file, flags, Mode::empty()).ok()?;
        // Room for what most of them say, so that it is read in one go: the file's size, which the standard library would ask for, is none.
        let mut text = String::with_capacity(USUAL_BYTES);
        File::from(file)
            .take(MOST_BYTES)
            .read_to_string(&mut text)
            .ok()?;
        Some(text)
    }

    fn number(&self, file: &str) -> Option<u64> {
        self.text(file)?.trim().parse().ok()
    }

    fn lines(&self, file: &str) -> Option<u64> {
        Some(self.text(file)?.lines().count() as u64)
    }
}

/// The number behind `key` in lines of "key number".
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let path = folder.path().to_owned();
        (
            folder,
            Directory {
                version,
                controllers: Controller::ALL.to_vec(),
                path,
            },
        )
    }

    #[test]
    fn an_out_of_memory_kill_is_one_that_the_own_limit_caused() {
        let v1 = |failcnt: &str, kills: &str, told: bool| {
            let control = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n");
            let (_folder, directory) = directory(
                Version::V1,
                &[
                    ("memory.failcnt", failcnt),
                    ("memory.oom_control", &control),
                    ("memory.limit_in_bytes", "67108864\n"),
                    ("memory.max_usage_in_bytes", "67104768\n"),
                ],
            );
            memory_limitation(&directory, told)
        };
        let facts = MemoryLimitation {
            limit_bytes: 67_108_864,
            max_usage_bytes: 67_104_768,
        };
        assert_eq!(v1("12\n", "1", false), Some(facts));
        assert_eq!(
            v1("12\n", "0", true),
            Some(facts),
            "the watcher was faster than the kernel"
        );
        assert_eq!(v1("12\n", "0", false), None, "page cache made room");
        assert_eq!(
            v1("0\n", "1", false),
            None,
            "the machine was out of memory, not the container"
        );
        let v2 = |events: &str| {
            let (_folder, directory) = directory(
                Version::V2,
                &[("memory.events", events), ("memory.max", "67108864\n")],
            );
            memory_limitation(&directory, false)
        };
        assert_eq!(
            v2("low 0\nmax 30\noom 1\noom_kill 2\n"),
            Some(MemoryLimitation {
                max_usage_bytes: 67_108_864,
                ..facts
            })
        );
        assert_eq!(v2("low 0\nmax 30\noom 0\noom_kill 0\n"), None);
        assert_eq!(v2("low 0\nmax 0\noom 0\noom_kill 1\n"), None);
        let events = ("memory.events", "oom 1\noom_kill 1\n");
        for (own, expected) in [("oom 0\n", false), ("oom 1\n", true)] {
            let local = ("memory.events.local", own);
            let (_folder, directory) =
                directory(Version::V2, &[events, local, ("memory.max", "67108864\n")]);
            let found = memory_limitation(&directory, false);
            assert_eq!(found.is_some(), expected, "whose limit it was: {own}");
        }
    }

    #[test]
    fn who_is_killed_for_what_is_missing_above_says_so() {
        let above = |hit: &str, kills: &str| {
            let (folder, above) = directory(
                Version::V1,
                &[
                    ("memory.failcnt", hit),
                    ("memory.oom_control", "oom_kill 0\n"),
                    ("memory.limit_in_bytes", "67108864\n"),
                ],
            );
            let path = folder.path().join("nested");
            std::fs::create_dir(&path).unwrap();
            std::fs::write(
                path.join("memory.oom_control"),
                format!("oom_kill {kills}\n"),
            )
            .unwrap();
            limitation_above(&Directory { path, ..above }).map(|found| found.limit_bytes)
        };
        assert_eq!(above("3", "1"), Some(67_108_864));
        assert_eq!(above("3", "0"), None, "it ended for another reason");
        assert_eq!(above("0", "1"), None, "it was the machine's memory");
    }

    #[test]
    fn both_versions_tell_the_same_usage() {
        let (_v1_folder, v1) = directory(
            Version::V1,
            &[
                (
                    "cpu.stat",
                    "nr_periods 5\nnr_throttled 2\nthrottled_time 7000\n",
                ),
                ("cpuacct.stat", "user 1\nsystem 1\n"),
                ("cpuacct.usage", "30000000\n"),
                (
                    "memory.stat",
                    "rss 1\ntotal_cache 20\ntotal_rss 10\ntotal_mapped_file 4\n",
                ),
                ("memory.usage_in_bytes", "30\n"),
                ("memory.max_usage_in_bytes", "40\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("pids.current", "3\n"),
                ("cgroup.procs", "10\n11\n"),
            ],
        );
        let (_v2_folder, v2) = directory(
            Version::V2,
            &[
                (
                    "cpu.stat",
                    "usage_usec 30000\nuser_usec 20000\nsystem_usec 10000\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
                ),
                ("memory.stat", "anon 10\nfile 20\nfile_mapped 4\n"),
                ("memory.current", "30\n"),
                ("memory.peak", "40\n"),
                ("memory.max", "max\n"),
                ("pids.current", "3\n"),
                ("cgroup.procs", "10\n11\n"),
            ],
        );
        let expected = Usage {
            cpu_user_ns: Some(20_000_000),
            cpu_system_ns: Some(10_000_000),
            cpu_periods: Some(5),
            cpu_throttled_periods: Some(2),
            cpu_throttled_ns: Some(7_000),
            memory_total_bytes: Some(30),
            memory_rss_bytes: Some(10),
            memory_cache_bytes: Some(20),
            memory_mapped_file_bytes: Some(4),
            memory_max_bytes: Some(40),
            memory_limit_bytes: None,
            processes: Some(2),
            threads: Some(3),
            block: Vec::new(),
        };
        for directory in [v1, v2] {
            let mut told = Usage::default();
            usage(&directory, &mut told);
            assert_eq!(told, expected, "{:?}", directory.version);
        }
    }
}

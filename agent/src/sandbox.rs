//! Sandboxes in Mesos' layout: `<work_dir>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>`, with links
//! named `latest`, and their end: removed `gc_delay` after the container's, or earlier when the disk is short.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::containerizer::beneath::{Beneath, step, through};

/// Where things are below the work directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    work_dir: PathBuf,
    /// The same as the operator wrote it.
    given: PathBuf,
}

impl Layout {
    /// No link leads to the work directory from here: whoever opens a sandbox refuses all of them.
    pub(crate) fn new(work_dir: &Path) -> Self {
        let real = work_dir.canonicalize();
        Self {
            work_dir: real.unwrap_or_else(|_| work_dir.to_owned()),
            given: work_dir.to_owned(),
        }
    }

    /// The work directory, by its own name.
    pub(crate) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    /// A path by the work directory's own name, if it goes by the one that the operator wrote.
    pub(crate) fn by_its_own_name(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.given).ok()?;
        Some(self.work_dir.join(below))
    }

    pub(crate) fn executor(&self, agent: &str, framework: &str, executor: &str) -> PathBuf {
        self.work_dir
            .join("slaves")
            .join(agent)
            .join("frameworks")
            .join(framework)
            .join("executors")
            .join(executor)
    }

    pub(crate) fn sandbox(
        &self,
        agent: &str,
        framework: &str,
        executor: &str,
        container: &str,
    ) -> PathBuf {
        self.executor(agent, framework, executor)
            .join("runs")
            .join(container)
    }

    /// Makes a sandbox that belongs to `user` (by name; `None` is this process' own).
    pub(crate) fn create(
        &self,
        agent: &str,
        framework: &str,
        executor: &str,
        container: &str,
        user: Option<&str>,
    ) -> io::Result<PathBuf> {
        let sandbox = self.sandbox(agent, framework, executor, container);
        fs::create_dir_all(&sandbox)?;
        fs::set_permissions(&sandbox, fs::Permissions::from_mode(0o750))?;
        give(&sandbox, user)?;
        if let Some(runs) = sandbox.parent() {
            latest(runs, Path::new(container));
        }
        Ok(sandbox)
    }

    /// Makes the sandbox of a task of its own in that of its executor, `containers/<container>`, and `tasks/<task>`, which points at it. Other
    /// tasks of the executor may be at work there: no link of theirs is followed.
    pub(crate) fn create_nested(
        executor: &Path,
        container: &str,
        task: &str,
        user: Option<&str>,
    ) -> io::Result<PathBuf> {
        let place = Beneath::without_links(executor)?;
        let containers = place.directory_without_links(Path::new("containers"))?;
        let (sandbox, made) = step(&containers, Path::new(container))?;
        if !made {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::set_permissions(through(&sandbox), fs::Permissions::from_mode(0o750))?;
        give(&through(&sandbox), user)?;
        // A task of the same name may have been there before.
        let tasks = place.directory_without_links(Path::new("tasks"))?;
        let next = through(&tasks).join(format!(".{container}"));
        symlink(Path::new("../containers").join(container), &next)?;
        fs::rename(&next, through(&tasks).join(task))?;
        Ok(executor.join("containers").join(container))
    }

    /// The sandbox of a container that an operator has launched by itself.
    pub(crate) fn standalone(&self, container: &str) -> PathBuf {
        self.work_dir.join("containers").join(container)
    }

    /// Points `slaves/latest` at this agent.
    pub(crate) fn link_agent(&self, agent: &str) -> io::Result<()> {
        let slaves = self.work_dir.join("slaves");
        fs::create_dir_all(slaves.join(agent))?;
        latest(&slaves, Path::new(agent));
        Ok(())
    }

    /// Every sandbox there is.
    fn sandboxes(&self) -> Vec<PathBuf> {
        let below = |paths: Vec<PathBuf>, name: Option<&str>| -> Vec<PathBuf> {
            let named = paths
                .into_iter()
                .map(|path| name.map_or_else(|| path.clone(), |name| path.join(name)));
            named
                .flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten())
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path())
                .collect()
        };
        let mut paths = below(vec![self.work_dir.join("slaves")], None);
        for name in ["frameworks", "executors", "runs"] {
            paths = below(paths, Some(name));
        }
        paths
    }

    /// Removes sandboxes that nobody uses and that are older than `age`, and the directories that are empty then. Returns how many.
    pub(crate) fn collect(&self, age: Duration, in_use: impl Fn(&Path) -> bool) -> usize {
        let now = SystemTime::now();
        let mut removed = 0;
        for sandbox in self.sandboxes() {
            let old = fs::symlink_metadata(&sandbox)
                .and_then(|found| found.modified())
                .is_ok_and(|modified| {
                    now.duration_since(modified).unwrap_or(Duration::ZERO) >= age
                });
            if !old || in_use(&sandbox) || fs::remove_dir_all(&sandbox).is_err() {
                continue;
            }
            removed += 1;
            let Some(runs) = sandbox.parent() else {
                continue;
            };
            let link = runs.join("latest");
            if fs::read_link(&link).is_ok_and(|target| runs.join(target) == sandbox) {
                let _ = fs::remove_file(&link);
            }
            // runs, the executor, executors, the framework: each goes if it is empty.
            for directory in runs.ancestors().take(4) {
                if fs::remove_dir(directory).is_err() {
                    break;
                }
            }
        }
        removed
    }
}

/// Makes it belong to `user`, by name.
pub(crate) fn give(sandbox: &Path, user: Option<&str>) -> io::Result<()> {
    let Some(name) = user else { return Ok(()) };
    let user = nix::unistd::User::from_name(name)?.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no user '{name}' on this machine"),
        )
    })?;
    nix::unistd::chown(sandbox, Some(user.uid), Some(user.gid))?;
    Ok(())
}

/// Replaces the link `latest` in one step. A link that cannot be made is only a missing convenience.
fn latest(directory: &Path, target: &Path) {
    // Tasks of one executor come at the same time: each has a name of its own for what it is about to put there.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let next = directory.join(format!(".latest-{}-{number}", target.display()));
    let linked = symlink(target, &next).and_then(|()| fs::rename(&next, directory.join("latest")));
    if let Err(error) = linked {
        tracing::debug!("no link 'latest' in {}: {error}", directory.display());
        let _ = fs::remove_file(&next);
    }
}

/// How long sandboxes are kept while this part of the disk is used: `delay`, down to nothing when all but `headroom` is.
pub(crate) fn allowed_age(delay: Duration, headroom: f64, used: f64) -> Duration {
    let part = (1.0 - headroom - used).clamp(0.0, 1.0);
    // Kept whole while the disk is not short at all.
    delay.mul_f64(if part.is_nan() { 1.0 } else { part })
}

/// The part of the disk that is used, 0 to 1.
pub(crate) fn disk_usage(path: &Path) -> Option<f64> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    (disk.blocks() > 0).then(|| 1.0 - disk.blocks_available() as f64 / disk.blocks() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_stand_where_mesos_has_them_and_go_when_they_are_old() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let first = layout.create("S0", "f", "e", "c1", None).unwrap();
        let second = layout.create("S0", "f", "e", "c2", None).unwrap();
        layout.link_agent("S0").unwrap();
        assert_eq!(
            second,
            dir.path()
                .join("slaves/S0/frameworks/f/executors/e/runs/c2")
        );
        assert_eq!(
            fs::metadata(&second).unwrap().permissions().mode() & 0o777,
            0o750
        );
        assert_eq!(
            fs::canonicalize(
                dir.path()
                    .join("slaves/latest/frameworks/f/executors/e/runs/latest")
            )
            .unwrap(),
            second.canonicalize().unwrap()
        );
        assert_eq!(layout.collect(Duration::from_secs(3600), |_| false), 0);
        assert_eq!(
            layout.collect(Duration::ZERO, |path| path.ends_with("c2")),
            1
        );
        assert!(!first.exists() && second.exists());
        assert_eq!(layout.collect(Duration::ZERO, |_| false), 1);
        assert!(!dir.path().join("slaves/S0/frameworks/f").exists());
    }

    #[test]
    fn tasks_that_come_together_leave_the_link_to_their_executors() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for number in 0..50 {
            let executor = format!("e{number}");
            let create = || layout.create("S0", "f", &executor, "c", None).unwrap();
            let sandbox = std::thread::scope(|scope| {
                let others = [scope.spawn(create), scope.spawn(create)];
                for other in others {
                    other.join().unwrap();
                }
                layout.sandbox("S0", "f", &executor, "c")
            });
            assert_eq!(
                fs::canonicalize(sandbox.with_file_name("latest")).unwrap(),
                sandbox.canonicalize().unwrap()
            );
        }
    }

    #[test]
    fn a_user_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Layout::new(dir.path())
            .create("S0", "f", "e", "c", Some("no-such-user"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no user 'no-such-user' on this machine"
        );
    }

    #[test]
    fn a_full_disk_shortens_the_age() {
        let week = Duration::from_secs(604_800);
        assert_eq!(allowed_age(week, 0.1, 0.4), week / 2);
        assert_eq!(allowed_age(week, 0.1, 0.95), Duration::ZERO);
        assert_eq!(allowed_age(week, 0.0, 0.0), week);
    }
}

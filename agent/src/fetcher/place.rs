//! The sandbox as the fetcher may use it: with the rights of the task's user, and never out of it.
//!
//! Work on it is done by a thread that the kernel treats as the task's user ([`sys::act_as`]): what it makes is the user's, and a `file://`
//! URI reads what the user may read. Every path is walked by the kernel beneath the sandbox (`openat2(RESOLVE_BENEATH)`): links in it
//! that lead out are refused, also those that another task puts there meanwhile.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use tokio::sync::{Semaphore, oneshot};

use super::error::Cause;
use crate::supervisor::message::Credentials;
use crate::supervisor::sys;

/// Threads that copy and unpack at a time; others wait.
const MAX_THREADS: usize = 16;
static THREADS: Semaphore = Semaphore::const_new(MAX_THREADS);

/// A sandbox, and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    sandbox: Arc<OwnedFd>,
    credentials: Option<Credentials>,
}

/// Set when nobody waits for the work any more; it ends with an error then.
#[derive(Debug, Clone, Default)]
pub(super) struct Abandoned(Arc<AtomicBool>);

impl Abandoned {
    pub(super) fn check(&self) -> Result<(), Cause> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Cause::Abandoned);
        }
        Ok(())
    }
}

struct AbandonOnDrop(Abandoned);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Place {
    pub(super) fn open(sandbox: &Path, credentials: Option<Credentials>) -> Result<Self, Cause> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let sandbox = nix::fcntl::open(sandbox, flags, Mode::empty())
            .map_err(|errno| Cause::local("open", "the sandbox")(errno.into()))?;
        Ok(Self {
            sandbox: Arc::new(sandbox),
            credentials,
        })
    }

    /// Has work done on the sandbox, as the task's user. Dropping the future tells the work to end.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Sandbox, &Abandoned) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, Cause> {
        let turn = THREADS.acquire().await.map_err(|_| Cause::Abandoned)?;
        let abandoned = Abandoned::default();
        let _abandon = AbandonOnDrop(abandoned.clone());
        let (sender, done) = oneshot::channel();
        let (sandbox, credentials) = (Arc::clone(&self.sandbox), self.credentials.clone());
        let thread = move || {
            let _turn = turn;
            let switched =
                credentials.map_or(Ok(()), |user| sys::act_as(user.uid, user.gid, &user.groups));
            let result = switched
                .map_err(|errno| Cause::local("act as", "the task's user")(errno.into()))
                .and_then(|()| work(&Sandbox(sandbox), &abandoned));
            // Nobody waits if it was abandoned.
            let _ = sender.send(result);
        };
        std::thread::Builder::new()
            .name("fetcher".to_owned())
            .spawn(thread)
            .map_err(Cause::local("start", "a thread"))?;
        done.await.unwrap_or_else(|_| {
            Err(Cause::Local {
                action: "finish",
                subject: "the work".to_owned(),
                why: "the thread has panicked; the agent's log says why".to_owned(),
            })
        })
    }
}

/// The sandbox, for a thread that acts as its user.
pub(super) struct Sandbox(Arc<OwnedFd>);

/// Words for what the kernel says about a path in the sandbox.
fn failed(path: &Path) -> impl Fn(Errno) -> Cause {
    let subject = format!("'{}' in the sandbox", path.display());
    move |errno| Cause::Local {
        action: "make",
        subject: subject.clone(),
        why: match errno {
            Errno::EXDEV => "it leads out of the sandbox, by '..' or by a link".to_owned(),
            Errno::ENOTDIR => "something above it is no directory".to_owned(),
            Errno::EISDIR => "it is a directory".to_owned(),
            Errno::ENOSYS => "this kernel has no openat2(2) (Linux 5.6)".to_owned(),
            other => other.desc().to_owned(),
        },
    }
}

/// The directory that something is in, and its name there.
fn split(path: &Path) -> Result<(&Path, &Path), Cause> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(failed(path)(Errno::EISDIR)),
    }
}

impl Sandbox {
    fn open_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        openat2(self.0.as_fd(), path, how)
    }

    /// A directory, made with those above it where they are missing.
    pub(super) fn directory(&self, path: &Path) -> Result<OwnedFd, Cause> {
        match self.open_directory(path) {
            Err(Errno::ENOENT) => {}
            other => return other.map_err(failed(path)),
        }
        let mut reached = PathBuf::new();
        let mut fd = self.open_directory(&reached).map_err(failed(path))?;
        for part in path.components() {
            let next = reached.join(part);
            fd = match self.open_directory(&next) {
                Err(Errno::ENOENT) => {
                    let name = Path::new(part.as_os_str());
                    match mkdirat(&fd, name, Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(failed(&next)(errno)),
                    }
                    self.open_directory(&next).map_err(failed(&next))?
                }
                other => other.map_err(failed(&next))?,
            };
            reached = next;
        }
        Ok(fd)
    }

    /// Makes room for a name: what comes later replaces what came earlier, but no directory.
    fn clear(parent: &OwnedFd, name: &Path) -> Result<(), Errno> {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// A new file, to be written and read, in place of what may be there.
    pub(super) fn create(&self, path: &Path) -> Result<File, Cause> {
        let (parent, name) = split(path)?;
        let parent = self.directory(parent)?;
        Self::clear(&parent, name).map_err(failed(path))?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(0o644))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&parent, name, how)
            .map(File::from)
            .map_err(failed(path))
    }

    /// A symbolic link, in place of what may be there. Where it leads is not looked at: nothing here follows it out.
    pub(super) fn symlink(&self, path: &Path, target: &Path) -> Result<(), Cause> {
        let (parent, name) = split(path)?;
        let parent = self.directory(parent)?;
        Self::clear(&parent, name)
            .and_then(|()| symlinkat(target, &parent, name))
            .map_err(failed(path))
    }

    /// A second name of what is in the sandbox already.
    pub(super) fn hard_link(&self, path: &Path, target: &Path) -> Result<(), Cause> {
        if path == target {
            return Ok(());
        }
        let (from, old) = split(target)?;
        let from = self.open_directory(from).map_err(failed(target))?;
        let (parent, name) = split(path)?;
        let parent = self.directory(parent)?;
        Self::clear(&parent, name)
            .and_then(|()| linkat(&from, old, &parent, name, AtFlags::empty()))
            .map_err(failed(path))
    }
}

/// A plain file of the machine, as the thread's user may read it. Nothing that would block or have effects is opened.
pub(super) fn open_plain(path: &Path) -> Result<File, Cause> {
    let subject = &path.display();
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(Cause::local("open", subject))?;
    let found = file.metadata().map_err(Cause::local("examine", subject))?;
    if !found.is_file() {
        return Err(Cause::Local {
            action: "fetch",
            subject: subject.to_string(),
            why: "it is no file".to_owned(),
        });
    }
    Ok(file)
}

/// Copies at most `limit` bytes.
pub(super) fn copy(
    from: &mut impl Read,
    to: &mut File,
    limit: u64,
    abandoned: &Abandoned,
) -> Result<u64, Cause> {
    let mut buffer = vec![0; 128 << 10];
    let mut copied = 0;
    loop {
        abandoned.check()?;
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Cause::local("read", "what is copied")(error)),
        };
        copied += length as u64;
        if copied > limit {
            return Err(Cause::TooLarge {
                what: "the file",
                limit,
                of: "bytes (--fetcher_max_size)",
            });
        }
        to.write_all(&buffer[..length])
            .map_err(Cause::local("write to", "the sandbox"))?;
    }
}

/// Permissions for everybody as an archive or a URI says, without what would lend power (setuid and its like).
pub(super) fn set_mode(file: &File, mode: u32) -> Result<(), Cause> {
    file.set_permissions(std::fs::Permissions::from_mode(mode & 0o777))
        .map_err(Cause::local(
            "set the permissions of",
            "a file in the sandbox",
        ))
}

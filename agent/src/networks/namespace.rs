//! Network namespaces that stay until they are taken down, and work inside of them.
//!
//! A namespace is a file: `/proc/…/ns/net` of whoever made it, mounted where it is kept. Whoever enters one does so on a thread of its own,
//! which ends with the work: no other thread is moved.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Runs `work` on a thread of its own and waits for it. Blocks.
fn alone<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("network".to_owned())
            .spawn_scoped(scope, work)?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread has panicked; the log says why")))
    })
}

/// Makes a namespace and keeps it at `file`, which is made.
pub(super) fn make(file: &Path) -> io::Result<()> {
    File::create(file)?;
    alone(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        mount(
            Some("/proc/thread-self/ns/net"),
            file,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )?;
        Ok(())
    })
}

/// Lets the namespace go; it is gone when no process is in it any more. Repeatable.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    loop {
        match umount2(file, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Does something inside of a namespace. What is made there (sockets, processes) stays there. Blocks.
pub(crate) fn within<T: Send>(
    namespace: &File,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    alone(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

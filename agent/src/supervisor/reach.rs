//! Into another container's mount namespace and back, with a mount in hand.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::message::{failed, failed_io, failure, receive_descriptor, send_descriptor};
use super::sys::{self, Fork};
use crate::containerizer::record::Process;
use crate::containerizer::{LaunchFailure, WaitStatus};

/// What is mounted at `place` where this process is: a copy, to be mounted here. For the supervisor alone: a child of it goes there, because
/// whoever enters another mount namespace may not be let back.
pub(crate) fn mount_of(there: Process, place: &'static str) -> Result<OwnedFd, LaunchFailure> {
    let words = "take hold of the parent container's";
    let parent = there
        .open()
        .map_err(failed_io("open the parent container's first process", ""))?
        .ok_or_else(|| failure("join the parent container: it has ended", "", 0))?;
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(failed(words, place))?;
    let helper = match sys::fork(0, None).map_err(failed(words, place))? {
        Fork::Child => {
            drop(ours);
            let sent = setns(&parent, CloneFlags::CLONE_NEWNS)
                .and_then(|()| sys::open_tree(Path::new(place)))
                .and_then(|tree| send_descriptor(theirs.as_fd(), tree.as_fd()));
            sys::exit(sent.err().map_or(0, |errno| errno as i32));
        }
        Fork::Parent(helper) => helper,
    };
    drop(theirs);
    let received = receive_descriptor(ours.as_fd());
    let ended = sys::wait(helper, true).map_err(failed(words, place))?;
    received.map_err(failed_io(words, place))?.ok_or_else(|| {
        let status = ended.map(|(_, status)| WaitStatus::from_raw(status));
        let errno = status.and_then(WaitStatus::code);
        failure(words, place, errno.unwrap_or(0))
    })
}

//! What agent, launcher and supervisors say to each other: one SEQPACKET message each, descriptors beside it.
//!
//! Requests are too large for a packet at times, so they travel as a memory file whose descriptor is passed.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, send, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sys;
use crate::containerizer::block_io::BlockIo;
use crate::containerizer::devices::Devices;
use crate::containerizer::isolators::cgroups::Placement;
use crate::containerizer::record::Process;
use crate::containerizer::rootfs::{Mount, Overlay, RootFilesystem};
use crate::containerizer::spec::{Cpuset, Seal};
use crate::containerizer::{
    BindMount, Command, ContainerId, LaunchFailure, Limits, Namespaces, Rlimit, SharedMemory,
    WaitStatus,
};

/// Most bytes of a packet: a report with a failure's words in it.
const MAX_PACKET_BYTES: usize = 8 << 10;
/// Most bytes of a failure in its pipe, where it is written in one piece.
pub(super) const MAX_FAILURE_BYTES: usize = 4096;
/// Most descriptors beside a packet.
const MAX_FDS: usize = 5;

/// A request to the launcher: its kind is one byte, its content a memory file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RequestKind {
    /// [`Launch`]; descriptors: content, report socket, and those that its [`Streams`] name.
    Launch = b'L',
    /// [`Exec`]; descriptors: content, report socket, pidfd of the container's init, pipes for standard output and error.
    Exec = b'E',
    /// [`Probe`]; descriptors: content, report socket.
    Probe = b'P',
}

impl RequestKind {
    pub(crate) fn of(byte: u8) -> Option<Self> {
        [Self::Launch, Self::Exec, Self::Probe]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A container to be launched, with everything decided.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// `<runtime_dir>/containers/<id>`, which exists.
    pub(crate) record: PathBuf,
    /// The machine's boot id, for the record.
    pub(crate) boot_id: String,
    /// Die, and leave nothing, when the agent goes.
    pub(crate) ephemeral: bool,
    /// Those that are made for it.
    pub(crate) namespaces: Namespaces,
    /// The container that it is inside of.
    pub(crate) joined: Option<Joined>,
    /// That one's name, for the record.
    pub(crate) inside: Option<ContainerId>,
    pub(crate) standing: Standing,
    /// Of `Parents`: of one that has a mount namespace of its own.
    pub(crate) shm: SharedMemory,
    pub(crate) hostname: Option<String>,
    /// A file that keeps a network namespace to be joined.
    pub(crate) network: Option<PathBuf>,
    pub(crate) mounts: Vec<BindMount>,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) root: Option<RootFilesystem>,
    /// Which capabilities it can have at most: bit n stands for capability n.
    pub(crate) capabilities: Option<u64>,
    /// The devices that it may use; `None`: all.
    pub(crate) devices: Option<Devices>,
    pub(crate) cpuset: Cpuset,
    pub(crate) block_io: BlockIo,
    pub(crate) oom_score_adj: Option<i32>,
    /// The nodes of GPUs among them.
    pub(crate) gpus: Vec<PathBuf>,
    pub(crate) placement: Placement,
    pub(crate) limits: Limits,
    pub(crate) program: Program,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    pub(crate) streams: Streams,
}

impl Launch {
    /// It runs nothing, and is there for others.
    pub(crate) fn holds(&self) -> bool {
        self.program.command == Command::Hold
    }

    /// The namespaces that are not the agent's.
    pub(crate) fn apart(&self) -> Namespaces {
        let parents = self.joined.map_or(Namespaces::NONE, |it| it.namespaces);
        self.namespaces.or(parents)
    }

    /// The sandbox, on the host.
    pub(crate) fn sandbox(&self) -> &Path {
        self.root
            .as_ref()
            .map_or(&self.program.working_directory, |root| &root.sandbox)
    }
}

/// Where a container's standard input, output and error are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Streams {
    /// Nothing is read; `stdout` and `stderr` are appended to.
    Files,
    /// Descriptors of the request: input, output, error.
    Given,
    /// A terminal of this size, whose other side is sent to a socket, a descriptor of the request.
    Sent(Window),
    /// A terminal of this size, whose other side the supervisor keeps: what comes is appended to `stdout`, what goes is read from a FIFO
    /// in the record ([`INPUT_FILE`](crate::containerizer::record::INPUT_FILE)).
    Kept(Window),
}

/// The size of a terminal, in characters. Zero: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A container that another one is inside of.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// Its first process.
    pub(crate) init: Process,
    /// The namespaces of its that are entered.
    pub(crate) namespaces: Namespaces,
}

/// Where a container's cgroups are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Beside all others'.
    #[default]
    Alone,
    /// Below those of a container with processes of its own: that one's settings hold.
    Inside,
    /// Below those of a container that only holds what others share: with settings of its own.
    Member,
}

/// What a process executes, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) command: Command,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) working_directory: PathBuf,
    /// The working directory is a sandbox as the host has it: no link leads there. Programs of older versions do not say so.
    #[serde(default)]
    pub(crate) on_host: bool,
    pub(crate) credentials: Option<Credentials>,
    /// A user that the files inside tell the ids of; goes first.
    pub(crate) named_inside: Option<String>,
    pub(crate) rlimits: Vec<Rlimit>,
    /// Programs of older versions have none.
    #[serde(default)]
    pub(crate) seal: Seal,
}

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// A command to be run in a container that is up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exec {
    pub(crate) namespaces: Namespaces,
    pub(crate) capabilities: Option<u64>,
    pub(crate) placement: Placement,
    pub(crate) program: Program,
}

/// A question: can these namespaces be made and set up here, and an overlay be mounted in them?
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) namespaces: Namespaces,
    pub(crate) overlay: Option<Overlay>,
}

/// What launcher, supervisors and helpers tell the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The task's program has been executed.
    Started { supervisor: Process, init: Process },
    /// The command of an exec has ended; a probe succeeded.
    Ended(WaitStatus),
    /// It did not come to that.
    Failed(LaunchFailure),
}

/// Writes `content` into a memory file to be passed along.
pub(crate) fn pack<T: Serialize>(content: &T) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"tepui-request", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(&serde_json::to_vec(content)?)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads what [`pack`] has written.
pub(crate) fn unpack<T: DeserializeOwned>(fd: OwnedFd) -> io::Result<T> {
    let mut bytes = Vec::new();
    File::from(fd).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends a request with its descriptors. `EAGAIN` if the launcher's queue is full.
pub(crate) fn send_request(
    socket: BorrowedFd<'_>,
    kind: RequestKind,
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&[kind as u8])],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// The next request; `None` at the end of the stream.
pub(super) fn receive_request(socket: BorrowedFd<'_>) -> Result<Option<(u8, Vec<OwnedFd>)>, Errno> {
    let mut kind = [0u8; 1];
    let mut space = nix::cmsg_space!([i32; MAX_FDS]);
    let mut fds = Vec::new();
    let length = {
        let mut buffer = [IoSliceMut::new(&mut kind)];
        let message = recvmsg::<()>(
            socket.as_raw_fd(),
            &mut buffer,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        )?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = control {
                fds.extend(sys::adopt(received));
            }
        }
        message.bytes
    };
    Ok((length > 0).then_some((kind[0], fds)))
}

/// Tells the agent. An agent that is gone does not hear it: what it must know later is in the records.
pub(super) fn report(socket: BorrowedFd<'_>, report: &Report) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(report).map_err(|_| Errno::EINVAL)?;
    send(socket.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// The next report, `None` at the end of the stream; `WouldBlock` if there is none yet.
pub(crate) fn receive_report(socket: BorrowedFd<'_>) -> io::Result<Option<Report>> {
    let mut bytes = [0u8; MAX_PACKET_BYTES];
    let length =
        match nix::sys::socket::recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            // The other side died with a request unread: the same as its end.
            Err(Errno::ECONNRESET) => 0,
            other => other?,
        };
    if length == 0 {
        Ok(None)
    } else {
        Ok(Some(serde_json::from_slice(&bytes[..length])?))
    }
}

/// Sends a descriptor to a socket.
pub(super) fn send_descriptor(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds = [fd.as_raw_fd()];
    sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(b"t")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// The descriptor that was sent; `None` if the other end closed without one. `WouldBlock` if it has not come yet.
pub(crate) fn receive_descriptor(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    Ok(receive_request(socket)?.and_then(|(_, fds)| fds.into_iter().next()))
}

/// Tells a supervisor how large the terminal that it keeps is to be: an order whose first bit is set.
pub(crate) fn encode_window(window: Window) -> i32 {
    let (rows, columns) = (window.rows & 0x7fff, window.columns);
    ((1 << 31) | (u32::from(rows) << 16) | u32::from(columns)) as i32
}

/// What [`encode_window`] has made; `None` if it is another order.
pub(super) fn decode_window(value: i32) -> Option<Window> {
    let value = value as u32;
    (value >> 31 == 1).then_some(Window {
        rows: ((value >> 16) & 0x7fff) as u16,
        columns: value as u16,
    })
}

/// An order to a supervisor or an init: whom to send which signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) signal: i32,
    pub(crate) tree: bool,
}

impl Order {
    pub(crate) fn encode(self) -> i32 {
        (self.signal & 0xff) | (i32::from(self.tree) << 8)
    }

    pub(crate) fn decode(value: i32) -> Self {
        Self {
            signal: value & 0xff,
            tree: value & 0x100 != 0,
        }
    }
}

/// Cuts a failure's words so that the report fits into one packet (and into what a pipe takes in one piece).
pub(crate) fn failure(step: &str, subject: &str, errno: i32) -> LaunchFailure {
    const MAX_SUBJECT_CHARS: usize = 256;
    LaunchFailure {
        step: step.to_owned(),
        subject: subject.chars().take(MAX_SUBJECT_CHARS).collect(),
        errno,
    }
}

/// A failure of a nix call.
pub(crate) fn failed<S: AsRef<str>>(
    step: &'static str,
    subject: S,
) -> impl FnOnce(Errno) -> LaunchFailure {
    move |errno| failure(step, subject.as_ref(), errno as i32)
}

/// A failure of std's I/O.
pub(crate) fn failed_io<S: AsRef<str>>(
    step: &'static str,
    subject: S,
) -> impl FnOnce(io::Error) -> LaunchFailure {
    move |error| failure(step, subject.as_ref(), error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_their_encoding() {
        for signal in [1, 9, 15, 34, 64] {
            for tree in [false, true] {
                let order = Order { signal, tree };
                assert_eq!(Order::decode(order.encode()), order);
                assert_eq!(decode_window(order.encode()), None);
            }
        }
    }

    #[test]
    fn windows_survive_their_encoding() {
        for (rows, columns) in [(0, 0), (24, 80), (32_767, 65_535)] {
            let window = Window { rows, columns };
            assert_eq!(decode_window(encode_window(window)), Some(window));
        }
    }

    #[test]
    fn a_failure_fits_a_packet_whatever_it_is_about() {
        let failure = failure("execute", &"\u{1F980}".repeat(10_000), 2);
        assert!(serde_json::to_vec(&Report::Failed(failure)).unwrap().len() < MAX_PACKET_BYTES / 2);
    }
}

//! The system calls that Rust cannot vouch for, each behind a safe function. No other file of this crate has unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::Window;

/// The name under which a copy of this program is executed to become a launcher.
pub(crate) const LAUNCHER_NAME: &str = "tepui-launcher";

/// Whoever links this crate becomes a launcher when executed as one, before `main` and before any thread: the
/// memory that a supervisor shares with it stays small, and tests, benches and `tepui local` need no hook in their `main`.
// SAFETY: `.init_array` holds pointers to functions that the C library calls once, after its own and std's set-up of the arguments, in
// the only thread there is. `launch_if_asked` has the C calling convention, takes no arguments, and returns or ends the process.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = launch_if_asked;

extern "C" fn launch_if_asked() {
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == LAUNCHER_NAME)
    {
        super::launcher::main();
    }
}

/// Keeps [`BEFORE_MAIN`] in the linked program, wherever the linker would drop what nobody refers to.
pub(crate) fn ensure_linked() {
    std::hint::black_box(&BEFORE_MAIN);
}

/// How many heaps the allocator of the C library may keep.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Keeps this process to few heaps. Without this each thread that works beside others has one of its own, and what a thousand launches leave in
/// each adds up to half of the agent's memory.
pub(crate) fn share_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) may be called at any time, by any thread, and only changes how memory is got from now on.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

/// Of clone3(2); libc's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a fork this is.
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's pid.
    Parent(i32),
}

/// Forks, the child in new namespaces (`CLONE_NEW*` in `flags`) and in the version 2 cgroup `cgroup`, if given.
/// Only for the launcher and its descendants, which have one thread.
pub(super) fn fork(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork, Errno> {
    let pid = match cgroup {
        None => {
            // SAFETY: without CLONE_VM and with a null stack this is fork(2) with namespaces: the child has its own copy of everything. The
            // calling process has a single thread (module doc of `launcher`), so no lock can be held by a thread that the child lacks.
            unsafe {
                libc::syscall(
                    libc::SYS_clone,
                    flags | libc::SIGCHLD as u64,
                    0usize,
                    0usize,
                    0usize,
                    0usize,
                )
            }
        }
        Some(cgroup) => {
            // SAFETY: all of `clone_args` is integers, for which zero means "not used".
            let mut args: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
            args.flags = flags | CLONE_INTO_CGROUP;
            args.exit_signal = libc::SIGCHLD as u64;
            args.cgroup = cgroup.as_raw_fd() as u64;
            // SAFETY: as above; `args` outlives the call and its size is passed along.
            unsafe {
                libc::syscall(
                    libc::SYS_clone3,
                    &raw const args,
                    size_of::<libc::clone_args>(),
                )
            }
        }
    };
    match Errno::result(pid)? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid as i32)),
    }
}

/// Ends this process at once, without running what was registered for an orderly end.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` takes any integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for a child: `(pid, raw status)`; `None` if nothing has ended and `block` is false.
pub(super) fn wait(pid: i32, block: bool) -> Result<Option<(i32, i32)>, Errno> {
    let mut status = 0;
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: `status` is a valid place for one integer for the time of the call.
        match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(pid) => return Ok(Some((pid, status))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A handle on a process that no reuse of its pid can fool.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no pointers are passed.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends SIGKILL through a pidfd.
pub(crate) fn pidfd_kill(pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: a null siginfo is what kill(2) would send; no other pointer is passed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// The real-time signal that carries orders: it queues, so that none is lost.
fn order_signal() -> i32 {
    libc::SIGRTMIN() + 7
}

/// The head of the kernel's siginfo of a queued signal, as large as the whole.
#[repr(C)]
struct QueuedInfo {
    signo: i32,
    errno: i32,
    code: i32,
    pad: i32,
    pid: i32,
    uid: u32,
    value: usize,
    rest: [u64; 12],
}
const _: () = assert!(size_of::<QueuedInfo>() == size_of::<libc::siginfo_t>());

fn order_info(value: i32) -> QueuedInfo {
    let pid = std::process::id() as i32;
    let uid = nix::unistd::getuid().as_raw();
    QueuedInfo {
        signo: order_signal(),
        errno: 0,
        code: libc::SI_QUEUE,
        pad: 0,
        pid,
        uid,
        value: value as u32 as usize,
        rest: [0; 12],
    }
}

/// Queues an order for a process that is known by pidfd.
pub(crate) fn pidfd_order(pidfd: BorrowedFd<'_>, value: i32) -> Result<(), Errno> {
    let info = order_info(value);
    // SAFETY: `info` is as large as the kernel's siginfo and lives for the call, which only reads it.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            order_signal(),
            &raw const info,
            0,
        )
    })
    .map(drop)
}

/// Queues an order for a child that has not been waited for.
pub(super) fn order(pid: i32, value: i32) -> Result<(), Errno> {
    let info = order_info(value);
    // SAFETY: as in `pidfd_order`.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_rt_sigqueueinfo,
            pid,
            order_signal(),
            &raw const info,
        )
    })
    .map(drop)
}

/// A signal that was waited for.
pub(super) enum Signal {
    /// [`order`], with its value.
    Order(i32),
    /// Any other.
    Plain(i32),
}

/// Blocks every signal, so that all are met by waiting for them.
pub(super) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before it is read; the old mask is not asked for.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// All signals back to their default action, whatever the agent has inherited or set.
pub(super) fn reset_signals() {
    // The kernel's struct sigaction, all of it zero: SIG_DFL, no flags, nothing blocked.
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: `DEFAULT` is as large as the kernel's sigaction and only read (the call bypasses the C library, which hides two
        // signals). The default disposition is valid for every signal; the kernel refuses SIGKILL and SIGSTOP.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_BYTES,
            );
        }
    }
}

/// No signal blocked, as a program expects to be started.
pub(super) fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before it is read; the old mask is not asked for.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Lets the kernel reap children at once (`ignore`), or keeps them to be waited for.
pub(super) fn ignore_children(ignore: bool) {
    // SAFETY: both are valid dispositions; no handler is installed.
    unsafe {
        libc::signal(
            libc::SIGCHLD,
            if ignore { libc::SIG_IGN } else { libc::SIG_DFL },
        );
    }
}

/// Waits for any of the (blocked) signals.
pub(super) fn wait_signal() -> Signal {
    loop {
        // SAFETY: the set is initialised by sigfillset; `info` is a valid place for the call to fill, and read only after it succeeded.
        // si_value is set for signals of code SI_QUEUE, which alone it is read for.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigfillset(set.as_mut_ptr());
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            let signal = libc::sigwaitinfo(set.as_ptr(), info.as_mut_ptr());
            if signal > 0 {
                let info = info.assume_init();
                if signal == order_signal() && info.si_code == libc::SI_QUEUE {
                    return Signal::Order(info.si_value().sival_ptr as usize as u32 as i32);
                }
                return Signal::Plain(signal);
            }
        }
    }
}

/// A descriptor that is readable when an order has come.
pub(super) fn order_fd() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised by sigemptyset; the descriptor returned is new and ours alone.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), order_signal());
        let fd = Errno::result(libc::signalfd(
            -1,
            set.as_ptr(),
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next order from [`order_fd`], if there is one.
pub(super) fn read_order(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match nix::unistd::read(fd, &mut info) {
        Ok(length) if length == info.len() => {
            // SAFETY: signalfd_siginfo is integers only, so that any bytes are one; the read is unaligned on purpose.
            let info: libc::signalfd_siginfo =
                unsafe { std::ptr::read_unaligned(info.as_ptr().cast()) };
            Some(info.ssi_int)
        }
        _ => None,
    }
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) {
    // SAFETY: called by the launcher before it owns any descriptor at or above `first`.
    unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, 0);
    }
}

/// Takes the descriptors that came with a message.
pub(crate) fn adopt(fds: Vec<RawFd>) -> Vec<OwnedFd> {
    // SAFETY: the caller has just received them by SCM_RIGHTS: they are open, and nobody else knows of them.
    fds.into_iter()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}

/// Lets tokio watch a descriptor.
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is one open descriptor, always the same, until it is dropped; nothing but the AsyncFd holds it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Makes the mount at `path` read-only; `deep`: and every mount below it. `ENOSYS` before Linux 5.12.
pub(crate) fn mount_read_only(path: &std::path::Path, deep: bool) -> Result<(), Errno> {
    const AT_RECURSIVE: u32 = 0x8000;
    const MOUNT_ATTR_RDONLY: u64 = 1;
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let attr = MountAttr {
        set: MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    let path =
        std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `path` is NUL-terminated and `attr` has the kernel's layout; both outlive the call, which only reads them.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            if deep { AT_RECURSIVE } else { 0 },
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// A copy of the mount at `path`, without those below it, that is mounted nowhere yet.
pub(crate) fn open_tree(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    const CLONE: libc::c_uint = 1;
    let path =
        std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `path` is NUL-terminated and outlives the call, which only reads it.
    let fd = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            path.as_ptr(),
            CLONE | libc::O_CLOEXEC as libc::c_uint,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Mounts what [`open_tree`] has got at `place`.
pub(crate) fn move_mount(tree: BorrowedFd<'_>, place: &std::path::Path) -> Result<(), Errno> {
    const FROM_EMPTY_PATH: libc::c_uint = 4;
    const TO_FOLLOWS_LINKS: libc::c_uint = 16;
    let place =
        std::ffi::CString::new(place.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: both paths are NUL-terminated and outlive the call, which only reads them.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            place.as_ptr(),
            FROM_EMPTY_PATH | TO_FOLLOWS_LINKS,
        )
    })
    .map(drop)
}

/// Gives up, for this process and all after it, every capability but those in `kept` (bit n: capability n).
pub(crate) fn bound_capabilities(kept: u64) -> Result<(), Errno> {
    for capability in 0..64u64 {
        // SAFETY: no pointers are passed.
        let there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
        if there < 0 {
            // The kernel knows no more.
            break;
        }
        if there == 1 && kept & (1 << capability) == 0 {
            // SAFETY: as above.
            Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) })?;
        }
    }
    // SAFETY: as above. Kernels without ambient capabilities have none to clear.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        )
    };
    Ok(())
}

/// Lets this process, and all after it, make only those system calls that a filter allows. `EACCES` for who is neither privileged nor bound
/// to stay unprivileged.
pub(crate) fn filter_calls(filter: &crate::containerizer::seccomp::Filter) -> Result<(), Errno> {
    use crate::containerizer::seccomp::INSTRUCTION_BYTES;
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    const _: () = assert!(size_of::<libc::sock_filter>() == INSTRUCTION_BYTES);
    let instruction = |bytes: &[u8]| libc::sock_filter {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let mut program: Vec<_> = filter
        .bytes()
        .chunks_exact(INSTRUCTION_BYTES)
        .map(instruction)
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: pointer and length are of one vector, which outlives the call; the kernel copies it, and judges every instruction itself.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })
    .map(drop)
}

/// bpf(2), with a structure of the kind that its command has.
fn bpf<T>(command: i64, attributes: &T) -> Result<i64, Errno> {
    // SAFETY: pointer and size are of one structure that outlives the call; whatever its integers point to is the caller's to keep, and both
    // callers below do.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attributes,
            size_of::<T>(),
        )
    })
}

/// Gives the kernel a program that says which devices may be used. It lives as long as the descriptor, and the cgroups that it is attached to.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    const PROG_LOAD: i64 = 5;
    const CGROUP_DEVICE: u32 = 15;
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel: u32,
        flags: u32,
    }
    let licence = c"Apache-2.0";
    let load = Load {
        kind: CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        instructions: instructions.as_ptr() as u64,
        licence: licence.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    let fd = bpf(PROG_LOAD, &load)?;
    // SAFETY: the kernel has just made this descriptor (close-on-exec) for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// From now on the program decides for a version 2 cgroup and all below it, together with those that others attach.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    const PROG_ATTACH: i64 = 8;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attach).map(drop)
}

/// Sets the loopback interface of the current network namespace up.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: ifreq is plain data for which zero is valid; the name fits and is NUL-terminated by the zeroes. Both calls get a
    // pointer to it that lives long enough; the flags field of the union is what SIOCGIFFLAGS fills.
    unsafe {
        let mut request: libc::ifreq = MaybeUninit::zeroed().assume_init();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &raw mut request,
        ))?;
        request.ifr_ifru.ifru_flags |= (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        ))?;
    }
    Ok(())
}

/// Makes the calling thread, and no other, reach files as this user would, until the thread ends. Needs root.
pub(crate) fn act_as(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the raw call, unlike the C library's function, changes the calling thread alone; pointer and count are of one slice, whose
    // elements are what the kernel takes for a gid_t.
    Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    let (uid, gid) = (
        nix::unistd::Uid::from_raw(uid),
        nix::unistd::Gid::from_raw(gid),
    );
    nix::unistd::setfsgid(gid);
    nix::unistd::setfsuid(uid);
    // They tell nothing of a failure; asked for again, they tell what is.
    if nix::unistd::setfsgid(gid) != gid || nix::unistd::setfsuid(uid) != uid {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// Opens a terminal in the root that this process is in: the side of whoever holds it, and the side of its programs.
pub(super) fn open_terminal(window: Window) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags =
        nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_CLOEXEC;
    let holder = nix::fcntl::open("/dev/ptmx", flags, nix::sys::stat::Mode::empty())?;
    let unlock: libc::c_int = 0;
    // SAFETY: the call reads the integer that the pointer leads to, which lives until it returns.
    Errno::result(unsafe {
        libc::ioctl(holder.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const unlock)
    })?;
    // SAFETY: the argument is an integer.
    let programs = Errno::result(unsafe {
        libc::ioctl(
            holder.as_raw_fd(),
            libc::TIOCGPTPEER as _,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )
    })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let programs = unsafe { OwnedFd::from_raw_fd(programs) };
    set_window(holder.as_fd(), window)?;
    Ok((holder, programs))
}

/// Tells a terminal its size; its programs are told by SIGWINCH.
pub(crate) fn set_window(terminal: BorrowedFd<'_>, window: Window) -> Result<(), Errno> {
    let size = libc::winsize {
        ws_row: window.rows,
        ws_col: window.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the call reads a winsize, which lives until it returns.
    Errno::result(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size)
    })
    .map(drop)
}

/// Makes a terminal the one that controls this process' session.
pub(super) fn control_by(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the argument is an integer.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// A descriptor that becomes readable when this file is written to, moved or removed. It does not block.
pub(crate) fn watch_file(file: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .map_err(|_| Errno::EINVAL)?;
    // SAFETY: no pointers are passed.
    let fd = Errno::result(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let events = libc::IN_MODIFY | libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_ATTRIB;
    // SAFETY: `path` is NUL-terminated and outlives the call, which only reads it.
    Errno::result(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), events) })?;
    Ok(fd)
}

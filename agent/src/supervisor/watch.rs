//! The supervisor: one container from its cgroups to the record of its end.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

use super::message::{
    Launch, Order, Report, decode_window, failed, failed_io, failure, report, unpack,
};
use super::sys::{self, Fork};
use super::terminal::Terminal;
use super::{init, message};
use crate::containerizer::isolators::{self, Isolators};
use crate::containerizer::record::{self, Durability, LaunchRecord, Process};
use crate::containerizer::{Exit, ExitReason, LaunchFailure, WaitStatus};

/// What a supervisor holds while its container runs.
struct Container {
    /// Init's pid: a child not yet waited for, so it cannot be another process.
    init: i32,
    /// Init and the task write why the task could not be executed; its end, with nothing written, means that it was.
    failures: OwnedFd,
    /// Init writes the task's wait status; its end means that init is gone.
    ends: OwnedFd,
    orders: OwnedFd,
    /// To be told once the program runs.
    started: Report,
    terminal: Option<Terminal>,
}

/// What watching has shown.
#[derive(Default)]
struct Watched {
    status: Option<WaitStatus>,
    failure: Option<LaunchFailure>,
    /// The kernel has said that the container is out of memory.
    out_of_memory: bool,
    /// The agent of an ephemeral container is gone.
    abandoned: bool,
}

/// Runs a supervisor, in the process that the launcher has just forked for it.
pub(super) fn main(content: OwnedFd, reports: OwnedFd, streams: Vec<OwnedFd>) -> ! {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"tepui-supervise");
    let launch: Launch = match unpack(content) {
        Ok(launch) => launch,
        Err(error) => {
            let _ = report(
                reports.as_fd(),
                &Report::Failed(failed_io("read the launch request", "")(error)),
            );
            sys::exit(1);
        }
    };
    if !launch.namespaces.pid {
        // Should init be killed, its children come here and not to the machine's init.
        let _ = nix::sys::prctl::set_child_subreaper(true);
    }
    let mut isolators = isolators::of_launch(&launch);
    let watched = match start(&launch, &mut isolators, &reports, streams) {
        Ok(mut container) => {
            let watched = watch(&launch, &mut container, &isolators, &reports);
            if let Some(terminal) = &mut container.terminal {
                terminal.drain();
            }
            watched
        }
        Err(failure) => Watched {
            failure: Some(failure),
            ..Watched::default()
        },
    };
    finish(&launch, &mut isolators, watched, &reports);
    sys::exit(0);
}

/// Prepares the host's side, makes init, and writes down both.
fn start(
    launch: &Launch,
    isolators: &mut Isolators,
    reports: &OwnedFd,
    mut streams: Vec<OwnedFd>,
) -> Result<Container, LaunchFailure> {
    let orders = sys::order_fd().map_err(failed("listen for orders", ""))?;
    isolators.prepare()?;
    isolators.open()?;
    let terminal = Terminal::prepare(launch)?.map(|(terminal, theirs)| {
        streams.push(theirs);
        terminal
    });
    let (failures, failures_in) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let (ends, ends_in) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let (go_out, go) = pipe2(OFlag::O_CLOEXEC).map_err(failed("make a pipe", ""))?;
    let flags = isolators.clone_flags();
    let in_parents = launch.joined.is_some_and(|joined| joined.namespaces.pid);
    let forked = if in_parents && launch.namespaces.pid {
        fork_below(flags)
    } else {
        // Where there is no program, init is all that there is: with it ends what it holds.
        sys::fork(flags, isolators.cgroup().filter(|_| launch.holds()))
    };
    let init = match forked.map_err(failed("make the namespaces", ""))? {
        Fork::Child => {
            // Only the launch itself is init's business; the rest is let go, so that each end is noticed by who watches it.
            drop((failures, ends, go, orders, terminal));
            let _ = nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(reports));
            init::main(launch, isolators, failures_in, ends_in, go_out, streams);
        }
        Fork::Parent(pid) => pid,
    };
    drop((failures_in, ends_in, go_out, streams));
    let begun = begin(launch, init, isolators).and_then(|started| {
        nix::unistd::write(&go, b"g").map_err(failed("let the container begin", ""))?;
        Ok(started)
    });
    match begun {
        Ok(started) => Ok(Container {
            init,
            failures,
            ends,
            orders,
            started,
            terminal,
        }),
        Err(failure) => {
            // It has forked nothing yet.
            kill_one(init);
            let _ = sys::wait(init, true);
            Err(failure)
        }
    }
}

/// Forks a child in a pid namespace below the one that was joined. The kernel makes one only for a process that is in the upper one itself, which
/// no process can become: so a child of ours does it in our stead, and goes.
fn fork_below(flags: u64) -> Result<Fork, Errno> {
    let between = match sys::fork(0, None)? {
        Fork::Child => match sys::fork(flags | libc::CLONE_PARENT as u64, None) {
            Ok(Fork::Child) => return Ok(Fork::Child),
            Ok(Fork::Parent(_)) => sys::exit(0),
            Err(errno) => sys::exit(errno as i32),
        },
        Fork::Parent(pid) => pid,
    };
    let ended = sys::wait(between, true)?.map(|(_, status)| WaitStatus::from_raw(status));
    match ended.and_then(WaitStatus::code) {
        Some(0) => {}
        Some(errno) => return Err(Errno::from_raw(errno)),
        None => return Err(Errno::ECHILD),
    }
    // What it was called there means nothing here; but it is our only child.
    let own = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let child = children.ok().and_then(|text| text.trim().parse().ok());
    child.map(Fork::Parent).ok_or(Errno::ECHILD)
}

/// Everything that must be true before the container's first own step.
fn begin(launch: &Launch, init: i32, isolators: &Isolators) -> Result<Report, LaunchFailure> {
    isolators.map_ids(init)?;
    let supervisor = Process::current().map_err(failed_io("read", "/proc/self/stat"))?;
    let init = Process::of(init).map_err(failed_io("read the stat file of init", ""))?;
    let record = LaunchRecord {
        boot_id: launch.boot_id.clone(),
        supervisor,
        init,
        placement: launch.placement.clone(),
        namespaces: launch.apart(),
        capabilities: launch.capabilities,
        gpus: launch.gpus.clone(),
        inside: launch.inside.clone(),
        program: Some(launch.program.clone()),
    };
    record::write(
        &launch.record,
        record::LAUNCH_FILE,
        &record,
        Durability::Process,
    )
    .map_err(failed_io(
        "write the record",
        launch.record.to_string_lossy(),
    ))?;
    Ok(Report::Started { supervisor, init })
}

fn kill_one(pid: i32) {
    // Only for a child that was not waited for: the pid is still its own.
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    );
}

/// Ends the container: with init goes its pid namespace; without one, init has to do it by hand. In another container's namespaces it may be
/// kept from finding all; there they are killed by their cgroup, which is cleared in the end.
fn kill_all(launch: &Launch, container: &Container) {
    let by_cgroup = launch.joined.is_some() && !launch.placement.directories.is_empty();
    // Where there is no task, init goes on until it is killed itself.
    if launch.namespaces.pid || by_cgroup || launch.holds() {
        kill_one(container.init);
    } else {
        let _ = sys::order(
            container.init,
            Order {
                signal: libc::SIGKILL,
                tree: true,
            }
            .encode(),
        );
    }
}

/// Waits for whatever happens first, until init is gone.
fn watch(
    launch: &Launch,
    container: &mut Container,
    isolators: &Isolators,
    reports: &OwnedFd,
) -> Watched {
    let mut watched = Watched::default();
    let mut launching = true;
    let mut memory = isolators.out_of_memory();
    let mut listening = launch.ephemeral;
    loop {
        let silent = PollFlags::empty();
        let terminal = container.terminal.as_ref();
        let output = terminal.and_then(Terminal::output);
        let typed = terminal.and_then(Terminal::input);
        let nothing = container.orders.as_fd();
        let (shown, events) = output.unwrap_or((nothing, silent));
        let mut fds = [
            PollFd::new(container.ends.as_fd(), PollFlags::POLLIN),
            PollFd::new(container.orders.as_fd(), PollFlags::POLLIN),
            PollFd::new(
                container.failures.as_fd(),
                if launching { PollFlags::POLLIN } else { silent },
            ),
            PollFd::new(reports.as_fd(), silent),
            PollFd::new(
                memory.unwrap_or(container.orders.as_fd()),
                if memory.is_some() {
                    PollFlags::POLLIN
                } else {
                    silent
                },
            ),
            PollFd::new(shown, events),
            PollFd::new(typed.unwrap_or(nothing), PollFlags::POLLIN),
        ];
        // A descriptor at its end would wake us for ever: leave it out once it has been seen.
        let Ok(ready) = poll_those(
            &mut fds,
            [
                true,
                true,
                launching,
                listening,
                memory.is_some(),
                output.is_some(),
                typed.is_some(),
            ],
        ) else {
            continue;
        };
        // Before what is typed: a size that was set earlier is to be seen by whoever reads that.
        if ready[1] || ready[6] {
            while let Some(order) = sys::read_order(container.orders.as_fd()) {
                match (decode_window(order), &mut container.terminal) {
                    (Some(window), Some(terminal)) => terminal.resize(window),
                    (Some(_), None) => {}
                    (None, _) => obey(launch, container, Order::decode(order)),
                }
            }
        }
        if let Some(terminal) = &mut container.terminal {
            if ready[5] {
                terminal.turn();
            }
            if ready[6] {
                terminal.type_in();
            }
        }
        if ready[2] {
            launching = false;
            watched.failure = read_failure(container);
            if watched.failure.is_none() {
                let _ = report(reports.as_fd(), &container.started);
            }
        }
        if ready[3] {
            listening = false;
            watched.abandoned = true;
            kill_all(launch, container);
        }
        if ready[4] {
            // As Mesos does it: whichever process the kernel chose, the container is over.
            memory = None;
            watched.out_of_memory = true;
            kill_all(launch, container);
        }
        if ready[0] {
            let mut status = [0u8; 4];
            match nix::unistd::read(&container.ends, &mut status) {
                Ok(4) => watched.status = Some(WaitStatus::from_raw(i32::from_ne_bytes(status))),
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
    }
    let init = sys::wait(container.init, true);
    if !launch.namespaces.pid {
        init::kill_rest();
    }
    if watched.status.is_none() && watched.failure.is_none() {
        // Init was killed, by us, by the kernel or by somebody, and the task with it.
        watched.status = init
            .ok()
            .flatten()
            .map(|(_, status)| WaitStatus::from_raw(status));
    }
    watched
}

/// Polls the wanted ones; says which of them have something.
fn poll_those<const N: usize>(
    fds: &mut [PollFd<'_>; N],
    wanted: [bool; N],
) -> Result<[bool; N], Errno> {
    let mut chosen: Vec<PollFd<'_>> = fds
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| *wanted)
        .map(|(fd, _)| fd.clone())
        .collect();
    poll(&mut chosen, PollTimeout::NONE)?;
    let mut polled = chosen.iter().map(|fd| fd.any().unwrap_or(true));
    Ok(wanted.map(|wanted| wanted && polled.next().unwrap_or(false)))
}

fn read_failure(container: &Container) -> Option<LaunchFailure> {
    let mut bytes = [0u8; message::MAX_FAILURE_BYTES];
    match nix::unistd::read(&container.failures, &mut bytes) {
        Ok(0) => None,
        Ok(length) => Some(
            serde_json::from_slice(&bytes[..length])
                .unwrap_or_else(|_| failure("understand why the task could not be started", "", 0)),
        ),
        Err(errno) => Some(failure(
            "learn whether the task was started",
            "",
            errno as i32,
        )),
    }
}

fn obey(launch: &Launch, container: &Container, order: Order) {
    if order.tree && order.signal == libc::SIGKILL {
        kill_all(launch, container);
    } else {
        let _ = sys::order(container.init, order.encode());
    }
}

/// Everything of the container has ended: takes the facts, clears away, records.
fn finish(launch: &Launch, isolators: &mut Isolators, watched: Watched, reports: &OwnedFd) {
    let limitation = isolators.memory_limitation(watched.out_of_memory);
    let usage = isolators.usage().map(Box::new);
    isolators.cleanup();
    if watched.abandoned {
        let _ = std::fs::remove_dir_all(&launch.record);
        return;
    }
    let reason = match (watched.failure, limitation) {
        (Some(failure), _) => ExitReason::LaunchFailed(failure),
        (None, Some(limitation)) => ExitReason::MemoryLimit(limitation),
        (None, None) => ExitReason::Ended,
    };
    let status = if matches!(reason, ExitReason::LaunchFailed(_)) {
        None
    } else {
        watched.status
    };
    let ended_at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let exit = Exit {
        status,
        reason,
        ended_at_ms,
        usage,
    };
    // A living agent notes the end in its journal; nobody else would have it after a power loss.
    let durability = if has_hung_up(reports) {
        Durability::Power
    } else {
        Durability::Process
    };
    let _ = record::write(&launch.record, record::EXIT_FILE, &exit, durability);
}

/// Whether the agent is gone.
fn has_hung_up(reports: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(reports.as_fd(), PollFlags::empty())];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
}

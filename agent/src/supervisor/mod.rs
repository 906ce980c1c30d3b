//! The processes beside and under a container, from the launcher down:
//!
//! ```text
//! agent ── launcher ──┬── supervisor ── init (pid 1 of the container) ── task ── …
//!                     └── helper of an exec ── command (in the container's namespaces)
//! ```
//!
//! * the **launcher** ([`launcher`]) is this program executed anew under another name; it has one thread, little memory, and forks;
//! * a **supervisor** ([`watch`]) prepares one container, watches over it and records its end; it stays on the host, outside of the container's
//!   namespaces and cgroups, and outlives launcher and agent;
//! * **init** ([`init`]) is made with the container's namespaces: it sets them up, forks the task, reaps, forwards signals. It dies with its
//!   supervisor, and all of the container with it;
//! * the **task** ([`task`]) joins the cgroups, gives up what it must and executes the program.
//!
//! A container inside another one has a supervisor, an init and a task of its own, which enter namespaces of the other's before they begin. A
//! terminal that a container has is opened by its task, so that it has a name inside, and held by its supervisor ([`terminal`]) or the agent. A
//! container that is only there for those inside has no task: its init joins the cgroups and stays.
//!
//! They share the launcher's memory copy-on-write, so that a container costs only the few pages each of them writes. None of them runs
//! tokio, writes logs or calls home: they talk by one socket to the agent ([`message`]) and by two files to whoever comes later
//! ([`record`](crate::containerizer)).

pub(crate) mod message;
pub(crate) mod reach;
pub(crate) mod sys;

mod exec;
mod init;
mod launcher;
mod passwd;
mod task;
mod terminal;
mod watch;

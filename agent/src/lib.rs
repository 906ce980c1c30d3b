//! The agent daemon: containers, supervisors, checkpoints and faces around the core.
//!
//! [`tepui_agent_core`] decides; this crate does. Its rooms: [`containerizer`] runs containers, [`supervisor`] is the small process that
//! outlives the agent beside each of them; the rest (journal, link to the master, faces, checks, sandboxes) is private to the daemon.

pub mod containerizer;
pub mod supervisor;

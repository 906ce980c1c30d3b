//! The agent daemon: containers, supervisors, checkpoints and faces around the core.

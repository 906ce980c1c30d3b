//! The agent's decisions: tasks, executors, status updates, recovery. A deterministic state machine without I/O.

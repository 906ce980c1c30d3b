//! The master's decisions: registry, allocator, offers, tasks. A deterministic state machine without I/O.

//! Marathon's decisions: apps, groups, deployments, launch queue, instances, health. A deterministic state machine without I/O.

//! The small process beside each container: it outlives the agent and records the exit.

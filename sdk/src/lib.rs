//! What a framework author depends on: Scheduler and Executor clients with everything tedious done.

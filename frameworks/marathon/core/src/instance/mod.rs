//! Instances: one desired copy of an app each, with the Mesos task that it currently has.

mod view;

pub use view::{HealthCheckResult, IpAddress, TaskFailure, TaskView};

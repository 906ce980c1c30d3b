//! The generated messages, in modules named after their packages.

#![allow(missing_docs, unreachable_pub, unused_qualifications)]
#![allow(clippy::all, clippy::large_enum_variant, clippy::doc_markdown)]

/// Mesos v1, re-exported without the version: `mesos::TaskInfo`, `mesos::scheduler::Call`.
pub mod mesos {
    pub use v1::*;

    /// Package `mesos.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/mesos.v1.rs"));

        /// What schedulers and the master say to one another.
        pub mod scheduler {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.rs"));
        }
        /// What executors and agents say to one another.
        pub mod executor {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.executor.rs"));
        }
        /// The master's operator API.
        pub mod master {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.master.rs"));
        }
        /// The agent's operator API.
        pub mod agent {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.agent.rs"));
        }
        /// Quota.
        pub mod quota {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.quota.rs"));
        }
        /// Maintenance schedules.
        pub mod maintenance {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.maintenance.rs"));
        }
        /// Answers to inverse offers.
        pub mod allocator {
            include!(concat!(env!("OUT_DIR"), "/mesos.v1.allocator.rs"));
        }
    }
}

/// Tepui's own protocols.
pub mod tepui {
    pub use v1::*;

    /// Package `tepui.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/tepui.v1.rs"));
    }
}

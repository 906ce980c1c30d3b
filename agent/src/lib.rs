//! The agent daemon: containers, supervisors, checkpoints and faces around the core.
//!
//! [`tepui_agent_core`] decides; this crate does. Its rooms: [`containerizer`] runs containers, [`supervisor`] is the small process that
//! outlives the agent beside each of them; the rest is private to the daemon: the journal (what outlives the process), the link to the
//! master, the driver (the one thread that runs the core), the hands (containers), images and volumes (`provision`), what URIs ask for (`fetcher`), networks, volumes that are kept elsewhere (`external_volumes`), probes (checks), `oversubscription`, `disk` (what containers use of it), `ports` (what they listen on), sandboxes, and the faces on the one
//! port.

pub mod containerizer;
pub mod supervisor;

mod clock;
mod config;
mod containers;
mod disk;
mod driver;
mod executors;
mod external_volumes;
mod faces;
mod fetcher;
mod flags;
mod hands;
mod holders;
mod isolation;
mod journal;
mod link;
mod nested;
mod networks;
mod oversubscription;
mod ports;
#[cfg(test)]
#[path = "../tests/kit/privileged.rs"]
mod privileged;
mod probes;
mod provision;
mod relay;
mod resources;
mod running;
mod sandbox;
mod sharing;
mod spec;
mod volumes;

pub use config::{Config, ConfigError, parse_duration};
pub use disk::{DiskConfig, DiskFlags};
pub use external_volumes::{
    CsiConfig, CsiFlags, DockerVolumeFlags, DockerVolumesConfig, sweep_docker_volumes,
};
pub use fetcher::FetcherConfig;
pub use flags::Flags;
pub use isolation::{AllowedDevice, GpuConfig, IsolationConfig, IsolationFlags};
pub use journal::JournalError;
pub use networks::{NetworkFlags, NetworksConfig, sweep as sweep_networks};
pub use oversubscription::{
    ControllerConfig, EstimatorConfig, LoadThresholds, OversubscriptionConfig,
    OversubscriptionFlags, UsageRule,
};
pub use ports::{PortsConfig, PortsFlags};
pub use provision::config::{ImageGc, ImagesConfig};
pub use provision::flags::ImageFlags;
pub use resources::{
    FlagValueError, complete as complete_resources, parse_attributes, parse_resources,
};
pub use running::{Agent, AgentError, RunningAgent, run};
pub use tepui_agent_core::ReconfigurationPolicy;

//! App definitions: from the JSON that people send to the canonical [`App`], and the JSON of that.
//!
//! The way in is `read` (types and ranges of every field; refusals of what is not built yet) → `normalise` (aliases and defaults) →
//! `validate` (rules over fields). Each collects all faults of a document before it answers, in Marathon's words and paths.

mod app;

pub use app::{
    App, CheckCommand, Constraint, HealthCheck, HealthProtocol, IpProtocol, KillSelection, Network,
    NetworkMode, Operator, PortDefinition, Protocol, UnreachableStrategy, UpgradeStrategy,
    VersionInfo,
};

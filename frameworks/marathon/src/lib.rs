//! The Marathon-compatible container framework: REST, events, health checks and storage around the core.

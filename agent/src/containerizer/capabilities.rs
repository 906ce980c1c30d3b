//! What this machine and this user can do, found out once at start.

/// What the containerizer can do here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The agent runs as root.
    pub root: bool,
    /// Namespaces can be made (as root, or in a user namespace).
    pub namespaces: bool,
    /// CPU shares and quota are enforced.
    pub cpu: bool,
    /// Memory is limited.
    pub memory: bool,
    /// The number of processes is limited.
    pub processes: bool,
    /// What is missing, one phrase each, for people.
    pub missing: Vec<String>,
}

impl Capabilities {
    /// One line for the log at start, if anything is missing.
    pub fn warning(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| {
            format!(
                "containers run with less isolation on this machine: {}",
                self.missing.join("; ")
            )
        })
    }
}

//! Runs containers: namespaces, cgroups, sandboxes.

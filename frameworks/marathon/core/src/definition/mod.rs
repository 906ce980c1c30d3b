//! App definitions: from the JSON that people send to the canonical [`App`], and the JSON of that.
//!
//! The way in is `update` (types and ranges of every field; names of what is not built yet) → `normalise` (aliases and defaults) →
//! `validate` (rules over fields). Each collects all faults of a document before it answers, in Marathon's words and paths.
//!
//! Leaves out: rules over several apps (`group`), and the versions of an app (`core`).

mod app;
mod normalise;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod update;
mod validate;

pub use app::{
    App, CheckCommand, Constraint, HealthCheck, HealthProtocol, IpProtocol, KillSelection, Network,
    NetworkMode, Operator, PortDefinition, Protocol, UnreachableStrategy, UpgradeStrategy,
    VersionInfo,
};
pub(crate) use reader::Faults;
pub(crate) use update::AppUpdate;

use crate::{path::PathId, response::Response};

/// Makes the canonical app that `update` leads to. Its version is still that of `old`, or none.
pub(crate) fn build(
    update: AppUpdate,
    id: PathId,
    old: Option<&App>,
    default_role: &str,
) -> Result<App, Response> {
    let mut faults = Faults::default();
    let app = normalise::apply(update, id, old, default_role, &mut faults);
    validate::validate(
        &app,
        old.map(|app| app.role.as_str()),
        default_role,
        &mut faults,
    );
    faults.into_result("Object is not valid")?;
    Ok(app)
}

/// An app of which nothing is known but its id: stands in for a definition that was deleted while its instances end.
pub(crate) fn placeholder(id: &PathId) -> App {
    normalise::defaults(id.clone(), "*")
}

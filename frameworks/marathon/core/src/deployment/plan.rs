//! The planner: from what changes to the steps that bring it about.
//!
//! Wanted: dependencies before dependents; apps that do not change are not touched; the same steps as Marathon counts them (creating an
//! app has two, of which the first does nothing).

use std::collections::BTreeMap;

use super::view::{Action, ActionKind, StepView};
use crate::{definition::App, group::Target, path::PathId};

/// The steps from the root group to the target; none if nothing has to be done, or if dependencies run in a circle.
pub(crate) fn plan(target: Target<'_>) -> Vec<StepView> {
    let action = |action, id: &PathId| Action {
        action,
        app: id.clone(),
    };
    let exists = |id: &PathId| target.root.get(id).is_some();
    let gone = target
        .changes
        .iter()
        .filter(|(id, app)| app.is_none() && exists(id));
    let new = target
        .changes
        .iter()
        .filter(|(id, app)| app.is_some() && !exists(id));
    let mut steps = vec![
        gone.map(|(id, _)| action(ActionKind::Stop, id))
            .collect::<Vec<_>>(),
        new.map(|(id, _)| action(ActionKind::Start, id)).collect(),
    ];
    let mut by_depth: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    for (id, depth) in target.depths().unwrap_or_default() {
        if let Some(app) = target.get(&id)
            && let Some(kind) = change(target.root.get(&id).map(|old| &**old), app)
        {
            by_depth.entry(depth).or_default().push(action(kind, &id));
        }
    }
    steps.extend(by_depth.into_values());
    steps
        .into_iter()
        .filter(|actions| !actions.is_empty())
        .map(|actions| StepView { actions })
        .collect()
}

/// What becomes of one app that is there afterwards.
fn change(old: Option<&App>, new: &App) -> Option<ActionKind> {
    let Some(old) = old else {
        return Some(ActionKind::Scale);
    };
    let reconfigured = old.config_version() != new.config_version() || !old.same_config(new);
    if reconfigured && new.instances > 0 {
        Some(ActionKind::Restart)
    } else if reconfigured || old.instances != new.instances {
        Some(ActionKind::Scale)
    } else {
        None
    }
}

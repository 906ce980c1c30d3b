//! How deployments are stored: a small one as one record, a large one in parts that are written once, so that a step of it writes little
//! and no record outgrows what the store takes.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Marathon, records};
use crate::{
    definition::App,
    deployment::{Action, Deployment, StepView},
    group::Group,
    output::Mutation,
    path::PathId,
};

/// Apps, groups and actions of one part. A deployment with no more of each is one record.
const PART: usize = 500;

/// A part of a large deployment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct DeploymentPart {
    deployment: Arc<str>,
    original: BTreeMap<PathId, Option<Arc<App>>>,
    target: BTreeMap<PathId, Option<Arc<App>>>,
    groups: BTreeMap<PathId, (Option<Group>, Option<Group>)>,
    /// Actions with the step, counted from 0, in which they are. In order.
    actions: Vec<(usize, Action)>,
}

impl Marathon {
    /// Writes a deployment that begins.
    pub(super) fn store_new_deployment(&mut self, deployment: &mut Deployment) {
        let parts = parts_of(deployment);
        deployment.parts = parts.len();
        for (at, part) in parts.iter().enumerate() {
            let key = records::deployment_part_key(&deployment.id, at);
            self.outbox.write(records::put(key, part));
        }
    }

    /// Writes where a deployment is.
    pub(super) fn store_deployment(&mut self, id: &Arc<str>) {
        let Some(deployment) = self.deployments.get(id) else {
            return;
        };
        let key = records::deployment_key(id);
        let record = if deployment.parts == 0 {
            records::put(key, deployment)
        } else {
            records::put(key, &deployment.without_parts())
        };
        self.outbox.write(record);
    }

    /// Deletes a deployment that is over.
    pub(super) fn delete_deployment(&mut self, deployment: &Deployment) {
        self.outbox.write(Mutation::Delete {
            key: records::deployment_key(&deployment.id),
        });
        for at in 0..deployment.parts {
            self.outbox.write(Mutation::Delete {
                key: records::deployment_part_key(&deployment.id, at),
            });
        }
    }

    /// Puts the parts that were stored to their deployments.
    pub(super) fn recover_parts(&mut self, parts: Vec<DeploymentPart>) {
        for part in parts {
            let Some(deployment) = self.deployments.get_mut(&part.deployment) else {
                continue;
            };
            deployment.original.extend(part.original);
            deployment.target.extend(part.target);
            deployment.groups.extend(part.groups);
            for (step, action) in part.actions {
                while deployment.steps.len() <= step {
                    let actions = Vec::new();
                    deployment.steps.push(StepView { actions });
                }
                deployment.steps[step].actions.push(action);
            }
        }
    }
}

/// The parts of a deployment; none if it is small.
fn parts_of(deployment: &Deployment) -> Vec<DeploymentPart> {
    let actions: Vec<(usize, &Action)> = deployment
        .steps
        .iter()
        .enumerate()
        .flat_map(|(at, step)| step.actions.iter().map(move |action| (at, action)))
        .collect();
    let most = actions
        .len()
        .max(deployment.target.len())
        .max(deployment.groups.len());
    if most <= PART {
        return Vec::new();
    }
    let taken = |at: usize| at * PART;
    (0..most.div_ceil(PART))
        .map(|at| DeploymentPart {
            deployment: deployment.id.clone(),
            original: slice(&deployment.original, taken(at)),
            target: slice(&deployment.target, taken(at)),
            groups: slice(&deployment.groups, taken(at)),
            actions: actions
                .iter()
                .skip(taken(at))
                .take(PART)
                .map(|(step, action)| (*step, Action::clone(action)))
                .collect(),
        })
        .collect()
}

fn slice<T: Clone>(map: &BTreeMap<PathId, T>, from: usize) -> BTreeMap<PathId, T> {
    map.iter()
        .skip(from)
        .take(PART)
        .map(|(id, value)| (id.clone(), value.clone()))
        .collect()
}

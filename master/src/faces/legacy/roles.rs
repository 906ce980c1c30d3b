//! `/roles`, and what GET_ROLES needs: what each role holds, is offered and has reserved, sub-roles counted with their parents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_master_core::Quota;

use super::super::Face;
use super::super::asked::{Asked, Response};
use super::super::pieces::{self, Tag};
use super::resources::{allocated_to, reserved_for};
use super::{json, leading, shapes};
use crate::config::Config;
use crate::view::{Amounts, State, to_proto};

/// What is known of one role.
#[derive(Debug, Default)]
pub(crate) struct RoleSums {
    pub(crate) weight: f64,
    pub(crate) frameworks: BTreeSet<String>,
    pub(crate) allocated: Amounts,
    pub(crate) offered: Amounts,
    pub(crate) reserved: Amounts,
    /// What counts against quota: reserved, used or not, and of the rest what is allocated.
    pub(crate) consumed: Amounts,
    pub(crate) quota: Quota,
}

impl RoleSums {
    /// Every role that is used, reserved for, weighted or has quota, and all that such roles are below.
    pub(crate) fn of(state: &State, config: &Config) -> BTreeMap<String, Self> {
        let mut roles = BTreeMap::<String, Self>::new();
        let weights: BTreeMap<&str, f64> = state.weights(config).collect();
        let with_quota = state.quotas.iter().map(|(role, _)| role.as_str());
        for role in weights.keys().copied().chain(with_quota) {
            for_line(&mut roles, Some(role), |_| {});
        }
        for (id, framework) in &state.frameworks {
            for role in shapes::roles(&framework.shown.object.info) {
                for_line(&mut roles, Some(&role), |_| {});
                let frameworks = &mut roles.entry(role).or_default().frameworks;
                frameworks.insert(id.as_str().to_owned());
            }
        }
        for agent in state.agents.values() {
            for resource in &to_proto(&agent.object.allocated) {
                let common = reserved_for(resource).is_none() && resource.revocable.is_none();
                for_line(&mut roles, allocated_to(resource), |sums| {
                    sums.allocated.add(resource);
                    if common {
                        sums.consumed.add(resource);
                    }
                });
            }
            for resource in &to_proto(&agent.object.offered) {
                for_line(&mut roles, allocated_to(resource), |sums| {
                    sums.offered.add(resource)
                });
            }
            for resource in &to_proto(&agent.object.total) {
                for_line(&mut roles, reserved_for(resource), |sums| {
                    sums.reserved.add(resource);
                    if resource.revocable.is_none() {
                        sums.consumed.add(resource);
                    }
                });
            }
        }
        for (role, sums) in &mut roles {
            sums.weight = weights.get(role.as_str()).copied().unwrap_or(1.0);
        }
        for (role, quota) in state.quotas.iter() {
            if let Some(sums) = roles.get_mut(role.as_str()) {
                sums.quota = quota.clone();
            }
        }
        roles
    }
}

/// The role and all that it is below.
fn for_line(
    roles: &mut BTreeMap<String, RoleSums>,
    role: Option<&str>,
    mut add: impl FnMut(&mut RoleSums),
) {
    let mut rest = role;
    while let Some(role) = rest {
        add(roles.entry(role.to_owned()).or_default());
        rest = role.rsplit_once('/').map(|(parent, _)| parent);
    }
}

fn quantities(object: &mut json::Object<'_>, key: &str, amounts: &Amounts) {
    object.object(key, |object| {
        for (name, amount) in amounts.quantities() {
            object.double(name, amount);
        }
    });
}

/// `/roles`
pub(in super::super) async fn roles(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match leading(&face, &asked) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    let tag = Tag::of(&reign);
    let roles = reign.view.read(|state| RoleSums::of(state, &face.config));
    pieces::tagged(&asked, tag, |pieces| {
        json::object(pieces.text(), |object| {
            object.list("roles", roles, |(role, sums), out| {
                let mut both = sums.allocated.clone();
                both.add_all(&sums.offered);
                json::object(out, |object| {
                    object.string("name", &role);
                    object.double("weight", sums.weight);
                    object.object("quota", |object| {
                        object.string("role", &role);
                        object.object("guarantee", |object| {
                            for (name, amount) in sums.quota.guarantees.iter() {
                                object.double(name.as_str(), amount.as_f64());
                            }
                        });
                        object.object("limit", |object| {
                            for (name, amount) in &sums.quota.limits {
                                object.double(name.as_str(), amount.as_f64());
                            }
                        });
                        quantities(object, "consumed", &sums.consumed);
                    });
                    quantities(object, "resources", &both);
                    quantities(object, "allocated", &sums.allocated);
                    quantities(object, "offered", &sums.offered);
                    quantities(object, "reserved", &sums.reserved);
                    object.strings("frameworks", &sums.frameworks);
                });
            });
        });
    })
}

//! `/hierarchical-allocator(1)/offer_constraints_debug`: which agents are hidden from whom by offer constraints. Reckoned from what is
//! published, beside the core.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_master_core::{Constraints, FrameworkSnapshot, agent_attributes};
use tepui_model::{AgentId, Role};

use super::super::asked::{Asked, Response};
use super::super::{Face, pieces};
use super::{json, leading, shapes};

/// The agents hidden from one role of a framework.
type Hidden = BTreeMap<String, Vec<AgentId>>;

/// `/hierarchical-allocator(1)/offer_constraints_debug`
pub(crate) async fn offer_constraints_debug(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match leading(&face, &asked) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    let (frameworks, agents) = reign.view.read(|state| {
        let frameworks: Vec<_> = state
            .frameworks
            .values()
            .map(|framework| Arc::clone(&framework.shown.object))
            .collect();
        let agents: Vec<_> = state
            .agents
            .values()
            .map(|agent| (agent.object.id.clone(), Arc::clone(&agent.object.info)))
            .collect();
        (frameworks, agents)
    });
    let agents: Vec<_> = agents
        .into_iter()
        .map(|(id, info)| (id, agent_attributes(&info)))
        .collect();
    let hidden = |framework: &FrameworkSnapshot| -> Hidden {
        let roles = shapes::roles(&framework.info);
        let known: Vec<Role> = roles
            .iter()
            .filter_map(|role| Role::new(role.as_str()).ok())
            .collect();
        // They were compiled once already, or the framework would not be there.
        let constraints = framework.offer_constraints.as_deref().and_then(|wire| {
            Constraints::new(wire.clone(), &known, face.config.constraint_limits).ok()
        });
        let of_role = |role: &Role| {
            let Some(wanted) = constraints.as_ref().and_then(|all| all.of(role)) else {
                return Vec::new();
            };
            let excluded = agents
                .iter()
                .filter(|(_, attributes)| !wanted.admit(attributes));
            excluded.map(|(id, _)| id.clone()).collect()
        };
        known
            .iter()
            .map(|role| (role.to_string(), of_role(role)))
            .collect()
    };
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            object.object("frameworks", |object| {
                for framework in &frameworks {
                    object.object(framework.id.as_str(), |object| {
                        let suppressed = framework.suppressed_roles.iter();
                        object.strings("suppressed_roles", suppressed.map(Role::as_str));
                        object.object("excluded_by_attribute_constraints", |object| {
                            for (role, agents) in hidden(framework) {
                                object.strings(&role, agents.iter().map(AgentId::as_str));
                            }
                        });
                    });
                }
            });
        });
    })
}

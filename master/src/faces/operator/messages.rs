//! What the view holds, as messages of the v1 operator API.

use tepui_master_core::{AgentSnapshot, ExecutorSnapshot, FrameworkSnapshot, Quota};
use tepui_model::resources::Scalar;
use tepui_model::{Role, Time};
use tepui_proto::mesos::master::response::{self, get_agents, get_executors, get_frameworks};
use tepui_proto::mesos::quota::{QuotaConfig, QuotaInfo, QuotaStatus};
use tepui_proto::mesos::{self, TimeInfo};

use super::super::legacy::{RoleSums, shapes};
use crate::config::Config;
use crate::view::{Amounts, Framework, State, to_proto};

fn time(time: Time) -> TimeInfo {
    TimeInfo {
        nanoseconds: time.as_nanos(),
    }
}

/// One agent.
pub(super) fn agent(agent: &AgentSnapshot) -> get_agents::Agent {
    get_agents::Agent {
        agent_info: (*agent.info).clone(),
        active: agent.active(),
        deactivated: Some(agent.deactivated),
        version: agent.version.to_string(),
        pid: Some(shapes::agent_pid(agent)),
        registered_time: Some(time(agent.registered_at)),
        reregistered_time: agent.reregistered_at.map(time),
        total_resources: to_proto(&agent.total),
        allocated_resources: to_proto(&agent.allocated),
        offered_resources: to_proto(&agent.offered),
        capabilities: agent.capabilities.to_vec(),
        drain_info: agent.drain,
        estimated_drain_start_time: agent.drain_started_at.map(time),
        ..get_agents::Agent::default()
    }
}

/// GET_AGENTS
pub(super) fn agents(state: &State) -> response::GetAgents {
    response::GetAgents {
        agents: state
            .agents
            .values()
            .map(|shown| agent(&shown.object))
            .collect(),
        recovered_agents: state
            .recovered_agents
            .values()
            .map(|shown| (*shown.object).clone())
            .collect(),
    }
}

/// One framework without what is listed under it, as events have it.
pub(super) fn bare_framework(framework: &FrameworkSnapshot) -> get_frameworks::Framework {
    get_frameworks::Framework {
        framework_info: (*framework.info).clone(),
        active: framework.active,
        connected: framework.connected,
        recovered: framework.recovered,
        registered_time: Some(time(framework.registered_at)),
        reregistered_time: Some(time(framework.reregistered_at)),
        unregistered_time: framework.unregistered_at.map(time),
        ..get_frameworks::Framework::default()
    }
}

/// One framework with everything.
pub(super) fn framework(
    master: &str,
    state: &State,
    framework: &Framework,
) -> get_frameworks::Framework {
    let snapshot = &framework.shown.object;
    let offers: Vec<mesos::Offer> = framework
        .offers
        .values()
        .map(|offer| mesos::Offer {
            id: mesos::OfferId {
                value: shapes::offer_id(master, offer),
            },
            framework_id: mesos::FrameworkId {
                value: offer.framework.as_str().to_owned(),
            },
            agent_id: mesos::AgentId {
                value: offer.agent.as_str().to_owned(),
            },
            hostname: state
                .agents
                .get(&offer.agent)
                .map(|agent| agent.object.info.hostname.clone())
                .unwrap_or_default(),
            resources: to_proto(&offer.resources),
            allocation_info: Some(mesos::resource::AllocationInfo {
                role: Some(offer.role.as_str().to_owned()),
            }),
            ..mesos::Offer::default()
        })
        .collect();
    let active = framework
        .tasks
        .values()
        .filter(|task| !task.object.state.is_terminal());
    let of_tasks = active.flat_map(|task| task.object.facts.resources.iter());
    let of_executors = framework
        .executors
        .values()
        .flat_map(|executor| executor.object.info.resources.iter());
    get_frameworks::Framework {
        allocated_resources: summed(of_tasks.chain(of_executors)),
        offered_resources: offers
            .iter()
            .flat_map(|offer| offer.resources.iter().cloned())
            .collect(),
        offers,
        inverse_offers: state
            .inverse_offers
            .values()
            .filter(|offer| offer.framework == snapshot.id)
            .map(|offer| offer.offer.clone())
            .collect(),
        offer_constraints: snapshot.offer_constraints.as_deref().cloned(),
        ..bare_framework(snapshot)
    }
}

/// Adds up what is alike; what does not read as resources is left as it is.
fn summed<'a>(resources: impl Iterator<Item = &'a mesos::Resource>) -> Vec<mesos::Resource> {
    let all: Vec<mesos::Resource> = resources.cloned().collect();
    tepui_proto::convert::resources::from_wire(&all).map_or(all, |sum| to_proto(&sum))
}

/// GET_FRAMEWORKS
pub(super) fn frameworks(master: &str, state: &State) -> response::GetFrameworks {
    response::GetFrameworks {
        frameworks: state
            .frameworks
            .values()
            .map(|one| framework(master, state, one))
            .collect(),
        completed_frameworks: state
            .completed_frameworks
            .values()
            .map(|one| framework(master, state, one))
            .collect(),
        recovered_frameworks: Vec::new(),
    }
}

/// One executor.
pub(super) fn executor(executor: &ExecutorSnapshot) -> get_executors::Executor {
    get_executors::Executor {
        executor_info: (*executor.info).clone(),
        agent_id: mesos::AgentId {
            value: executor.agent.as_str().to_owned(),
        },
    }
}

/// GET_EXECUTORS
pub(super) fn executors(state: &State) -> response::GetExecutors {
    let executors = state
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values())
        .map(|shown| executor(&shown.object));
    response::GetExecutors {
        executors: executors.collect(),
        orphan_executors: Vec::new(),
    }
}

/// GET_TASKS
pub(super) fn tasks(state: &State) -> response::GetTasks {
    let mut tasks = response::GetTasks::default();
    for framework in state
        .frameworks
        .values()
        .chain(state.completed_frameworks.values())
    {
        tasks
            .tasks
            .extend(framework.tasks.values().map(|task| task.object.to_task()));
        tasks.unreachable_tasks.extend(
            framework
                .unreachable_tasks
                .values()
                .map(|task| task.object.to_task()),
        );
        tasks.completed_tasks.extend(
            framework
                .completed_tasks
                .values()
                .map(|task| task.object.to_task()),
        );
    }
    tasks
}

/// GET_STATE
pub(super) fn state(master: &str, state: &State) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(state)),
        get_executors: Some(executors(state)),
        get_frameworks: Some(frameworks(master, state)),
        get_agents: Some(agents(state)),
    }
}

/// GET_ROLES
pub(super) fn roles(state: &State, config: &Config) -> response::GetRoles {
    let roles = RoleSums::of(state, config)
        .into_iter()
        .map(|(name, sums)| mesos::Role {
            name,
            weight: sums.weight,
            frameworks: sums
                .frameworks
                .into_iter()
                .map(|value| mesos::FrameworkId { value })
                .collect(),
            resources: scalars(&sums.allocated, &sums.offered),
        });
    response::GetRoles {
        roles: roles.collect(),
    }
}

fn scalars(one: &Amounts, other: &Amounts) -> Vec<mesos::Resource> {
    let mut both = one.clone();
    both.add_all(other);
    both.scalars
        .iter()
        .filter(|(_, amount)| **amount != 0)
        .map(|(name, amount)| mesos::Resource {
            name: name.clone(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar {
                value: *amount as f64 / 1000.0,
            }),
            ..mesos::Resource::default()
        })
        .collect()
}

/// GET_WEIGHTS; absent when nothing is set.
pub(super) fn weights(state: &State, config: &Config) -> Option<response::GetWeights> {
    let weight_infos = weight_infos(state, config);
    (!weight_infos.is_empty()).then_some(response::GetWeights { weight_infos })
}

/// The weights that were set.
pub(crate) fn weight_infos(state: &State, config: &Config) -> Vec<mesos::WeightInfo> {
    state
        .weights(config)
        .map(|(role, weight)| mesos::WeightInfo {
            role: Some(role.to_owned()),
            weight,
        })
        .collect()
}

/// GET_OPERATIONS
pub(super) fn operations(state: &State) -> response::GetOperations {
    response::GetOperations {
        operations: state
            .operations
            .values()
            .map(|known| known.object.operation.clone())
            .collect(),
    }
}

/// GET_QUOTA: what each role has, and the guarantees once more as they were told before limits had been thought of.
pub(crate) fn quota(state: &State) -> QuotaStatus {
    let mut status = QuotaStatus::default();
    for (role, quota) in state.quotas.iter() {
        let guarantee: Vec<mesos::Resource> = quota
            .guarantees
            .iter()
            .map(|(name, amount)| mesos::Resource {
                name: name.as_str().to_owned(),
                r#type: mesos::value::Type::Scalar.into(),
                scalar: Some(scalar(amount)),
                ..mesos::Resource::default()
            })
            .collect();
        if !guarantee.is_empty() {
            status.infos.push(QuotaInfo {
                role: Some(role.as_str().to_owned()),
                guarantee,
                ..QuotaInfo::default()
            });
        }
        status.configs.push(quota_config(role, quota));
    }
    status
}

/// The quota of one role.
pub(crate) fn quota_config(role: &Role, quota: &Quota) -> QuotaConfig {
    QuotaConfig {
        role: role.as_str().to_owned(),
        guarantees: quota
            .guarantees
            .iter()
            .map(|(name, amount)| (name.as_str().to_owned(), scalar(amount)))
            .collect(),
        limits: quota
            .limits
            .iter()
            .map(|(name, amount)| (name.as_str().to_owned(), scalar(*amount)))
            .collect(),
    }
}

fn scalar(amount: Scalar) -> mesos::value::Scalar {
    mesos::value::Scalar {
        value: amount.as_f64(),
    }
}

//! Registrations of agents.

use tepui_model::{AgentId, Resources};
use tepui_proto::convert::resources;
use tepui_proto::mesos::AgentInfo;
use tepui_proto::tepui::v1::Register;

use crate::config::Config;

/// Returns the agent's id, if it has one.
pub(crate) fn check_agent(register: &Register) -> Result<Option<AgentId>, String> {
    let agent = &register.agent;
    if agent.hostname.is_empty() {
        return Err("The agent has no hostname".to_owned());
    }
    if u16::try_from(agent.port()).is_err() {
        return Err(format!("{} is no port", agent.port()));
    }
    total_resources(register)?;
    agent
        .id
        .as_ref()
        .map(AgentId::try_from)
        .transpose()
        .map_err(|error| format!("The agent's id is invalid: {error}"))
}

/// Whether an agent's fault domain is as this master needs it to tell near from far. A breach may be mended, so it is not for ever.
pub(crate) fn check_domain(agent: &AgentInfo, config: &Config) -> Result<(), String> {
    if agent.domain.is_some() && config.master.domain.is_none() {
        return Err("The agent has a domain, but this master has none (--domain), so that it cannot tell whether the agent is in its region".to_owned());
    }
    if agent.domain.is_none() && config.require_agent_domain {
        return Err(
            "The agent has no domain, and this master requires one (--require_agent_domain)"
                .to_owned(),
        );
    }
    Ok(())
}

/// Everything an agent has: as it has checkpointed it, or else as it is configured.
pub(crate) fn total_resources(register: &Register) -> Result<Resources, String> {
    let list = if register.checkpointed_resources.is_empty() {
        &register.agent.resources
    } else {
        &register.checkpointed_resources
    };
    let mut total = resources::from_wire(list).map_err(|error| error.to_string())?;
    total.unallocate();
    Ok(total)
}

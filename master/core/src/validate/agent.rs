//! Registrations of agents.

use tepui_model::{AgentId, Resources};
use tepui_proto::convert::resources;
use tepui_proto::tepui::v1::Register;

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

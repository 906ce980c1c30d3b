//! Operations of operators, on what no task uses: just enough offers are taken back, and everything else is as for frameworks.

use tepui_model::{AgentId, Resources};
use tepui_proto::mesos::offer::Operation as Info;
use tepui_proto::mesos::offer::operation::Type;

use crate::change::OfferKey;
use crate::master::Master;
use crate::operator::refused;
use crate::output::{Output, Reply};
use crate::state::AgentIx;
use crate::validate::operation::{self, Checked, Scene};

impl Master {
    /// 202, or a refusal that has changed nothing.
    pub(crate) fn operate_for_operator(
        &mut self,
        id: &AgentId,
        asked: &Info,
        principal: Option<&str>,
        out: &mut Vec<Output>,
    ) -> Reply {
        match self.try_operate(id, asked, principal, out) {
            Ok(()) => Reply::Accepted,
            Err(refusal) => refusal,
        }
    }

    fn try_operate(
        &mut self,
        id: &AgentId,
        asked: &Info,
        principal: Option<&str>,
        out: &mut Vec<Output>,
    ) -> Result<(), Reply> {
        if matches!(
            asked.r#type(),
            Type::Unknown | Type::Launch | Type::LaunchGroup | Type::CreateDisk | Type::DestroyDisk
        ) {
            let kind = asked.r#type().as_str_name();
            return Err(refused(400, format!("Operators cannot ask for {kind}")));
        }
        if asked.id.is_some() {
            let message = "Operators' operations have no id: nobody is there to hear of them";
            return Err(refused(400, message.to_owned()));
        }
        let agent = *self
            .agent_ids
            .get(id)
            .ok_or_else(|| refused(400, format!("No agent found with specified ID {id}")))?;
        let known = &self.agents[agent];
        let scene = Scene {
            framework: None,
            principal,
            capabilities: &known.capabilities,
            total: &known.total,
            used: &known.allocated,
        };
        let Checked { conversion, info } =
            operation::check(asked, &scene).map_err(|error| refused(400, error))?;
        if known.link.is_none() {
            let message = format!("Agent {id} is disconnected, so nothing of it is free");
            return Err(refused(409, message));
        }
        if self.suspended {
            let message = "This master is cut off from the others and starts nothing new";
            return Err(refused(503, message.to_owned()));
        }
        self.check_room(agent, None, &conversion)
            .map_err(|error| refused(409, error))?;
        let mut total = known.total.as_ref().clone();
        if total.try_subtract(&conversion.before).is_err() {
            return Err(refused(
                409,
                format!(
                    "Agent {id} has not {} but {}",
                    conversion.before, known.total
                ),
            ));
        }
        let needed = conversion.before.non_shared();
        let Some(offers) = self.offers_in_the_way(agent, &needed) else {
            return Err(refused(
                409,
                format!("Agent {id} has not enough that no task uses: {needed} is needed"),
            ));
        };
        for volume in conversion.before.shared().iter() {
            self.rescind_volume(agent, &volume, out);
        }
        for key in offers {
            self.take_back(key, true, out);
        }
        total += &conversion.after;
        self.set_total(agent, total);
        self.begin_operation(agent, None, info, out);
        Ok(())
    }

    /// Offers whose end makes `needed` free, none of them too many; `None` if all of them are not enough.
    fn offers_in_the_way(&self, agent: AgentIx, needed: &Resources) -> Option<Vec<OfferKey>> {
        let known = &self.agents[agent];
        let mut free = self.allocation.free(known)?.clone();
        let mut missing = needed.clone();
        missing.subtract_overlap(&free);
        let mut chosen: Vec<(OfferKey, Resources)> = Vec::new();
        for key in &known.offers {
            if missing.is_empty() {
                break;
            }
            let offered = self.offers[key].resources.unallocated().non_shared();
            let before = missing.clone();
            missing.subtract_overlap(&offered);
            if missing != before {
                free += &offered;
                chosen.push((*key, offered));
            }
        }
        if !missing.is_empty() {
            return None;
        }
        // A later offer may have made an earlier one unnecessary.
        chosen.retain(|(_, offered)| {
            let without = free.checked_sub(offered);
            match without.filter(|without| without.contains(needed)) {
                Some(without) => {
                    free = without;
                    false
                }
                None => true,
            }
        });
        Some(chosen.into_iter().map(|(key, _)| key).collect())
    }
}

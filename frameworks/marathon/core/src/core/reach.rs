//! How many instances apps want, for the bound of all together: of a daemon app as many as agents match it now, as far as agents are known.
//!
//! Agents are known by their offers, and by instances on them; one that was not offered for a day, and has no instance, is taken for gone. What a
//! daemon app has more than was counted when it was changed, because agents came later, is not refused to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tepui_model::Time;

use super::Marathon;
use crate::{
    definition::App, group::Changes, instance::Agent, matching::Placed, response::Response,
};

/// Agents that are known; of more, those that were offered last.
const MAX_AGENTS: usize = 100_000;
/// An agent that was not offered for so long is gone.
pub(super) const AWAY: Duration = Duration::from_secs(24 * 3600);

/// The agents that were offered lately.
#[derive(Debug, Default)]
pub(super) struct Agents {
    known: BTreeMap<Arc<str>, (Arc<Agent>, Time)>,
    /// When it was last looked for those that are gone.
    cleared: Time,
}

impl Agents {
    /// Takes note of an offer.
    pub(super) fn note(&mut self, agent: &Arc<Agent>, now: Time) {
        match self.known.get_mut(&agent.id) {
            Some((known, at)) => {
                *at = now;
                // What it was offered as first is shared, unless it has changed.
                if **known != **agent {
                    *known = agent.clone();
                }
            }
            None => {
                self.clear(now);
                self.known.insert(agent.id.clone(), (agent.clone(), now));
            }
        }
    }

    /// Whether an agent was offered lately.
    pub(super) fn was_offered(&self, agent: &str, now: Time) -> bool {
        let known = self.known.get(agent);
        known.is_some_and(|(_, at)| *at + AWAY > now)
    }

    fn clear(&mut self, now: Time) {
        let full = self.known.len() >= MAX_AGENTS;
        if !full && self.cleared + AWAY > now {
            return;
        }
        self.cleared = now;
        self.known.retain(|_, (_, at)| *at + AWAY > now);
        if self.known.len() >= MAX_AGENTS {
            let mut times: Vec<Time> = self.known.values().map(|(_, at)| *at).collect();
            let half = times.len() / 2;
            let (_, middle, _) = times.select_nth_unstable(half);
            let middle = *middle;
            self.known.retain(|_, (_, at)| *at > middle);
        }
    }
}

/// Whether an app wants as many instances by both definitions, wherever agents are: nobody needs to count them twice.
fn wants_alike(old: &App, new: &App) -> bool {
    old.is_daemon() == new.is_daemon()
        && old.instances == new.instances
        && old.constraints == new.constraints
}

impl Marathon {
    /// Each instance that is wanted takes memory, whether or not there is a place for it; so there is a bound for all together. What wants no
    /// more than before is never refused.
    pub(super) fn judge_instances(&self, changes: &Changes) -> Result<(), Response> {
        // Daemon apps that are not changed count with what they have.
        let others = self.root.daemons().filter(|id| !changes.contains_key(*id));
        let others = others.filter_map(|id| self.apps.get(id));
        let beyond: usize = others
            .map(|state| state.tally.wanted.saturating_sub(1))
            .sum();
        let (mut now, mut then, mut daemons) = (0, 0, Vec::new());
        let mut replaced = 0;
        for (id, app) in changes {
            let old = self.root.get(id);
            replaced += old.map_or(0, |app| app.instances as usize);
            let before = old.map_or(0, |app| self.wants(app));
            now += before;
            let Some(app) = app else {
                continue;
            };
            let wants = match old {
                Some(old) if wants_alike(old, app) => before,
                _ => self.wants(app),
            };
            then += wants;
            if app.is_daemon() && wants > 1 {
                daemons.push(format!("{id} on {wants}"));
            }
        }
        let rest = self.root.instances() - replaced + beyond;
        let (max, before, total) = (self.config.max_instances, rest + now, rest + then);
        if total <= max || total <= before {
            return Ok(());
        }
        let daemons = match daemons.len() {
            0 => String::new(),
            1..=5 => format!(
                " Daemon apps run on all agents that match: {}.",
                daemons.join(", ")
            ),
            more => {
                format!(" Daemon apps run on all agents that match: {more} of them are changed.")
            }
        };
        Err(Response::message(
            403,
            format!(
                "Max number ({max}) of instances is achieved: all apps and pods together would want {total}.{daemons} Want fewer, or raise \
                 --max_instances; each takes memory also while it waits."
            ),
        ))
    }

    /// Whether an agent is known, and an app's definition has something run there.
    pub(super) fn is_chosen(&self, app: &App, agent: &str) -> bool {
        let known = self.agents.known.get(agent);
        known.is_some_and(|(agent, at)| *at + AWAY > self.now && Placed::new(app).admit(app, agent))
    }

    /// How many instances an app wants; of a daemon app as many as it will run now.
    fn wants(&self, app: &App) -> usize {
        let stated = app.instances as usize;
        if !app.is_daemon() || stated == 0 {
            return stated;
        }
        let placed = Placed::new(app);
        let known = &self.agents.known;
        let counts =
            |(agent, at): &(Arc<Agent>, Time)| *at + AWAY > self.now && placed.admit(app, agent);
        let offered = known.values().filter(|one| counts(one)).count();
        // Where it is now, it may not have been offered anything since this leader began.
        let own = self.apps.get(&app.id).into_iter();
        let own = own.flat_map(|state| &state.instances);
        let own = own.filter_map(|key| self.instance(*key)?.agent.as_ref());
        let own = own.filter(|agent| !known.get(&agent.id).is_some_and(counts));
        let own = own.filter(|agent| placed.admit(app, agent));
        let mut unoffered: Vec<&Arc<str>> = own.map(|agent| &agent.id).collect();
        unoffered.sort_unstable();
        unoffered.dedup();
        (offered + unoffered.len()).max(stated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: usize) -> Arc<Agent> {
        Arc::new(Agent {
            id: format!("a{id}").into(),
            host: "h".into(),
            region: None,
            zone: None,
            attributes: BTreeMap::new(),
        })
    }

    #[test]
    fn what_does_not_change_where_a_daemon_app_runs_is_not_counted_twice() {
        let app = |more: &str| {
            let daemon = r#""id":"/a","cmd":"run","labels":{"TEPUI_DAEMON":"true"}"#;
            crate::definition::tests::app(&format!("{{{daemon}{more}}}"))
        };
        let old = app("");
        for (more, alike) in [
            (r#","mem":77"#, true),
            (r#","constraints":[["disk","LIKE","fast"]]"#, false),
            (r#","instances":0"#, false),
        ] {
            assert_eq!(wants_alike(&old, &app(more)), alike, "{more}");
        }
        let plain = crate::definition::tests::app(r#"{"id":"/a","cmd":"run"}"#);
        assert!(!wants_alike(&old, &plain));
    }

    #[test]
    fn agents_that_are_not_offered_any_more_are_forgotten_and_there_are_not_too_many() {
        let mut agents = Agents::default();
        let start = Time::from_secs(1_000_000);
        agents.note(&agent(0), start);
        agents.note(&agent(1), start);
        agents.note(&agent(0), start + AWAY / 2);
        agents.note(&agent(2), start + AWAY);
        let known: Vec<&str> = agents.known.keys().map(|id| &**id).collect();
        assert_eq!(known, ["a0", "a2"]);
        for at in 0..=MAX_AGENTS {
            let millis = u64::try_from(at).unwrap_or_default();
            agents.note(&agent(at), start + AWAY + Duration::from_millis(millis));
        }
        assert!(agents.known.len() <= MAX_AGENTS);
        assert!(agents.known.contains_key(format!("a{MAX_AGENTS}").as_str()));
    }
}

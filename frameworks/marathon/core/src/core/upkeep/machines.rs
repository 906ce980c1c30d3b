//! What people are told of machines that go down for maintenance and have instances of an app.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};
use tepui_model::Time;

use crate::{
    core::{AppState, Marathon},
    definition::App,
    instance::{Goal, Instance},
    timestamp::Timestamp,
};

/// So many machines are told of.
const TOLD: usize = 100;

impl Marathon {
    /// The machines that go down under an app's instances, those first that do so first, 100 at the most: from when on they are left, and why something stays.
    pub(in crate::core) fn machines(&self, state: &AppState) -> Vec<Value> {
        let mut on: BTreeMap<Arc<str>, Vec<&Instance>> = BTreeMap::new();
        if self.leaving.is_empty() {
            return Vec::new();
        }
        for instance in state.instances.iter().filter_map(|key| self.instance(*key)) {
            let there = instance.goal == Goal::Running && instance.condition.is_active();
            let agent = instance.agent.as_ref().filter(|_| there);
            if let Some(agent) = agent.filter(|agent| self.is_open(&agent.id)) {
                on.entry(agent.id.clone()).or_default().push(instance);
            }
        }
        let app = state.app();
        let mut first_down: Vec<_> = on
            .into_iter()
            .filter_map(|(agent, there)| Some((self.leaving.get(&agent)?, agent, there)))
            .collect();
        first_down.sort_by_key(|(window, ..)| window.begins);
        first_down.truncate(TOLD);
        let news = self.replacements(state);
        let mut machines = Vec::new();
        for (window, agent, instances) in first_down {
            let host = instances.first().and_then(|one| one.agent.as_ref());
            let leaves = self.leaves_at(app, &agent);
            let told = |at: Time| Timestamp::from_time(at);
            let machine = json!({
                "agentId": agent,
                "host": host.map(|agent| &agent.host),
                "begins": told(window.begins),
                "ends": (window.ends < Time::from_nanos(i64::MAX)).then(|| told(window.ends)),
                "leavesAt": leaves.map(told),
                "instances": instances.iter().map(|one| &one.id).collect::<Vec<_>>(),
                "why": self.why_there(app, &news, leaves, &instances),
            });
            machines.push(machine);
        }
        machines
    }

    /// Those that are to take the place of others, by the keys of these.
    fn replacements(&self, state: &AppState) -> HashMap<u64, Vec<&Instance>> {
        let mut news: HashMap<u64, Vec<&Instance>> = HashMap::new();
        for (key, old) in &state.pairs {
            news.entry(old.key).or_default().extend(self.instance(*key));
        }
        news
    }

    /// Why instances are on a machine that goes down, if there is more to say than that it is not time yet.
    fn why_there(
        &self,
        app: &App,
        news: &HashMap<u64, Vec<&Instance>>,
        leaves: Option<Time>,
        instances: &[&Instance],
    ) -> Option<String> {
        let Some(leaves) = leaves else {
            return Some(self.why_stays(app).to_owned());
        };
        if leaves > self.now {
            return None;
        }
        let mut parts = Vec::new();
        let news = instances.iter().filter_map(|one| news.get(&one.key));
        let news: Vec<&Instance> = news.flatten().copied().collect();
        for (count, waits) in [
            (
                news.iter().filter(|one| one.is_scheduled()).count(),
                "for an offer that fits",
            ),
            (
                news.iter()
                    .filter(|one| !one.is_scheduled() && !one.is_ready())
                    .count(),
                "to be ready",
            ),
        ] {
            match count {
                0 => {}
                1 => parts.push(format!("a replacement waits {waits}")),
                count => parts.push(format!("{count} replacements wait {waits}")),
            }
        }
        let upkeep = self.upkeeps.get(&app.id);
        let held = upkeep.into_iter().flat_map(|one| &one.status.held);
        parts.extend(held.cloned());
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Why instances of an app do not leave machines at all.
    fn why_stays(&self, app: &App) -> &'static str {
        if app.is_daemon() {
            "a daemon app has nothing to do where its agent is not: it stays until the machine goes down"
        } else if app.is_resident() {
            "instances with persistent volumes stay with their volumes"
        } else if self.config.maintenance_mode {
            "the app's policy lets them stay until the machine goes down"
        } else {
            "--maintenance_mode is off, so no machine is left"
        }
    }
}

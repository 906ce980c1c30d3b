//! What operators were told, kept apart from every master: per object, how it may stand now (I9). An answer of 200 settles it; a call
//! that was never answered, or answered with 503, may have been done or not.

use std::collections::{BTreeMap, BTreeSet};

use tepui_master_core::{Quota, Registry, ReplyToken};
use tepui_model::{AgentId, Role};

/// What can be ordered about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Object {
    Agent(AgentId),
    Quota(Role),
    Weight(Role),
    /// By number.
    Machine(usize),
}

/// How an object stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// As if nobody had ever said anything.
    Plain,
    Deactivated,
    Draining {
        mark_gone: bool,
    },
    Gone,
    /// A quota or a weight, as text.
    Set(String),
    Scheduled,
    Down,
}

/// What a call does to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Deactivate,
    Reactivate,
    Drain { mark_gone: bool },
    MarkGone,
    Set(String),
    Schedule(bool),
    Down,
    Up,
}

impl Effect {
    /// `None` if the call is refused then.
    fn apply(&self, before: &Standing) -> Option<Standing> {
        use Standing::{Deactivated, Down, Draining, Gone, Plain, Scheduled, Set};
        match (self, before) {
            // Once it is gone it stays so, whatever a master believes that was not told.
            (Self::MarkGone, _) | (_, Gone) => Some(Gone),
            (Self::Set(value), _) if value.is_empty() => Some(Plain),
            (Self::Set(value), _) => Some(Set(value.clone())),
            (Self::Deactivate, Plain | Deactivated) => Some(Deactivated),
            (Self::Deactivate, Draining { .. }) => Some(before.clone()),
            (Self::Reactivate, Deactivated | Draining { .. }) => Some(Plain),
            (Self::Drain { mark_gone }, Plain | Deactivated | Draining { .. }) => Some(Draining {
                mark_gone: *mark_gone,
            }),
            (Self::Schedule(_), Down) => Some(Down),
            (Self::Schedule(true), _) => Some(Scheduled),
            (Self::Schedule(false), _) => Some(Plain),
            (Self::Down, Scheduled) => Some(Down),
            (Self::Up, Down) => Some(Plain),
            _ => None,
        }
    }
}

/// How one object may stand.
#[derive(Debug)]
struct Account {
    certain: BTreeSet<Standing>,
    pending: BTreeMap<u64, Effect>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            certain: BTreeSet::from([Standing::Plain]),
            pending: BTreeMap::new(),
        }
    }
}

impl Account {
    fn possible(&self) -> BTreeSet<Standing> {
        let mut all = self.certain.clone();
        loop {
            let mut more = BTreeSet::new();
            for standing in &all {
                more.extend(self.pending.values().filter_map(|it| it.apply(standing)));
                if *standing == (Standing::Draining { mark_gone: true }) {
                    more.insert(Standing::Gone);
                }
            }
            let before = all.len();
            all.extend(more);
            if all.len() == before {
                return all;
            }
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<Object, Account>);

impl Ledger {
    pub(crate) fn sent(&mut self, token: ReplyToken, object: Object, effect: Effect) {
        let account = self.0.entry(object).or_default();
        account.pending.insert(token.0, effect);
    }

    pub(crate) fn done(&mut self, token: ReplyToken, object: &Object) {
        if let Some(account) = self.0.get_mut(object) {
            let before = account.possible();
            if let Some(effect) = account.pending.remove(&token.0) {
                let after: BTreeSet<_> = before.iter().filter_map(|it| effect.apply(it)).collect();
                account.certain = if after.is_empty() { before } else { after };
            }
        }
    }

    pub(crate) fn refused(&mut self, token: ReplyToken, object: &Object) {
        if let Some(account) = self.0.get_mut(object) {
            account.pending.remove(&token.0);
        }
    }

    /// Nobody knows whether it was done.
    pub(crate) fn doubtful(&mut self, token: ReplyToken, object: &Object) {
        if let Some(account) = self.0.get_mut(object) {
            account.certain = account.possible();
            account.pending.remove(&token.0);
        }
    }

    /// A master is about to forget the agent, with its orders.
    pub(crate) fn may_be_forgotten(&mut self, agent: &AgentId) {
        let account = self.0.entry(Object::Agent(agent.clone())).or_default();
        let possible = account.possible();
        if possible.iter().any(|it| *it != Standing::Gone) {
            account.certain = possible;
            account.certain.insert(Standing::Plain);
        }
    }

    /// The first object that stands otherwise than operators were told.
    pub(crate) fn contradiction(
        &self,
        standing: impl Fn(&Object) -> Option<Standing>,
    ) -> Option<String> {
        self.0.iter().find_map(|(object, account)| {
            let (standing, possible) = (standing(object)?, account.possible());
            (!possible.contains(&standing))
                .then(|| format!("{object:?} is {standing:?}, operators were told {possible:?}"))
        })
    }
}

pub(crate) fn quota_text(quota: &Quota) -> String {
    let mut limits: Vec<String> = quota
        .limits
        .iter()
        .map(|(name, limit)| format!("{}:{limit}", name.as_str()))
        .collect();
    limits.sort();
    format!("{} up to {}", quota.guarantees, limits.join(";"))
}

pub(crate) fn machine_name(machine: usize) -> String {
    format!("host{machine}")
}

fn weight_text(weight: Option<f64>) -> Standing {
    weight.map_or(Standing::Plain, |weight| Standing::Set(weight.to_string()))
}

fn find<'a, T>(list: &'a [(Role, T)], role: &Role) -> Option<&'a T> {
    let found = list.iter().find(|(known, _)| known == role);
    found.map(|(_, value)| value)
}

/// How the object stands in the store.
pub(crate) fn standing_in(registry: &Registry, object: &Object) -> Standing {
    match object {
        Object::Quota(role) => find(&registry.quotas, role)
            .map_or(Standing::Plain, |quota| Standing::Set(quota_text(quota))),
        Object::Weight(role) => weight_text(find(&registry.weights, role).copied()),
        Object::Machine(machine) => {
            let is = |id: &tepui_proto::mesos::MachineId| id.hostname() == machine_name(*machine);
            let windows = &registry.maintenance.schedule.windows;
            if registry.maintenance.down.iter().any(is) {
                Standing::Down
            } else if windows
                .iter()
                .flat_map(|window| &window.machine_ids)
                .any(is)
            {
                Standing::Scheduled
            } else {
                Standing::Plain
            }
        }
        Object::Agent(agent) => {
            if registry.gone.iter().any(|(gone, _)| gone == agent) {
                return Standing::Gone;
            }
            let admitted = registry.agents.iter().find(|known| {
                known
                    .info
                    .id
                    .as_ref()
                    .is_some_and(|id| id.value == agent.as_str())
            });
            let away = registry.unreachable.iter().find(|known| known.id == *agent);
            let orders = admitted
                .map(|known| (known.deactivated, &known.drain))
                .or(away.map(|known| (known.deactivated, &known.drain)));
            match orders {
                Some((_, Some(drain))) => Standing::Draining {
                    mark_gone: drain.config.mark_gone(),
                },
                Some((true, None)) => Standing::Deactivated,
                Some((false, None)) | None => Standing::Plain,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_settles_and_silence_does_not() {
        let object = Object::Weight(Role::star());
        let mut ledger = Ledger::default();
        let told = |ledger: &Ledger, standing: Standing| {
            ledger.contradiction(|_| Some(standing.clone())).is_none()
        };
        let set = |text: &str| Standing::Set(text.to_owned());
        ledger.sent(ReplyToken(1), object.clone(), Effect::Set("1".to_owned()));
        assert!(told(&ledger, Standing::Plain) && told(&ledger, set("1")));
        ledger.done(ReplyToken(1), &object);
        assert!(!told(&ledger, Standing::Plain) && told(&ledger, set("1")));
        ledger.sent(ReplyToken(2), object.clone(), Effect::Set("2".to_owned()));
        ledger.doubtful(ReplyToken(2), &object);
        assert!(told(&ledger, set("1")) && told(&ledger, set("2")));
        ledger.sent(ReplyToken(3), object.clone(), Effect::Set("3".to_owned()));
        ledger.refused(ReplyToken(3), &object);
        assert!(!told(&ledger, set("3")));
    }
}

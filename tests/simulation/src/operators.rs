//! Operators: what they ask of leaders at random times, what they were told, and whether that is kept (I9).

use std::collections::{BTreeMap, BTreeSet};

use tepui_master_core::{Input, OperatorCall, Quota, Reply, ReplyToken};
use tepui_model::resources::{Name, Scalar};
use tepui_model::{AgentId, FrameworkId, Resources, Role};
use tepui_proto::convert::resources::{Encoding, from_wire, to_wire};
use tepui_proto::mesos::maintenance::{Schedule, Window};
use tepui_proto::mesos::quota::QuotaConfig;
use tepui_proto::mesos::value;
use tepui_proto::mesos::{
    DrainConfig, DurationInfo, MachineId, TimeInfo, Unavailability, WeightInfo,
};

use crate::invariants::Invariant;
use crate::ledger::{Effect, Object, Standing, machine_name, quota_text, standing_in};
use crate::operations;
use crate::scenario::Deed;
use crate::world::{Happening, Phase, Simulation, trace};

/// Calls that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    next: u64,
    waiting: BTreeMap<u64, (usize, Vec<Object>)>,
}

/// Roles that quota and weights are about.
const ROLES: [&str; 3] = ["web", "batch", "own0"];

impl Simulation {
    /// One deed, and the next one after a while.
    pub(crate) fn deed(&mut self) {
        let Some(every) = self.scenario.deed_every.filter(|_| self.trouble()) else {
            return;
        };
        let every = u64::try_from(every.as_millis()).unwrap_or(1);
        self.after(1, every * 3, Happening::Deed);
        let all: u32 = self.scenario.deeds.iter().map(|(_, weight)| weight).sum();
        let mut ticket = self.random.below(all as usize);
        for (deed, weight) in self.scenario.deeds.clone() {
            if ticket < weight as usize {
                return self.ask(deed);
            }
            ticket -= weight as usize;
        }
    }

    /// An agent that some master knows, now and then one that it does not know any more.
    fn any_agent(&mut self) -> Option<AgentId> {
        let known: Vec<AgentId> = if self.random.percent(80) {
            self.masters[self.leader].agents.keys().cloned().collect()
        } else {
            let ids = self.machines.iter().flat_map(|machine| &machine.ids);
            ids.cloned().collect()
        };
        known.get(self.random.below(known.len())).cloned()
    }

    fn ask(&mut self, deed: Deed) {
        match deed {
            Deed::Drain | Deed::Deactivate | Deed::Reactivate | Deed::MarkGone => {
                if let Some(agent) = self.any_agent() {
                    self.order(deed, agent);
                }
            }
            Deed::Quota => self.set_quota(),
            Deed::Weights => {
                let weight = [0.5, 1.0, 2.0, 7.0][self.random.below(4)];
                let role = ROLES[self.random.below(ROLES.len())];
                let effect = Effect::Set(weight.to_string());
                let weights = vec![WeightInfo {
                    weight,
                    role: Some(role.to_owned()),
                }];
                let call = OperatorCall::UpdateWeights { weights };
                self.send_operator(call, vec![(Object::Weight(named(role)), effect)]);
            }
            Deed::Schedule => {
                let machines: Vec<usize> = (0..self.machines.len())
                    .filter(|_| self.random.percent(30))
                    .collect();
                self.schedule(&machines);
            }
            Deed::Down | Deed::Up => {
                let machine = self.random.below(self.machines.len());
                self.turn(machine, deed == Deed::Up);
            }
            Deed::Operate => self.operate(),
            Deed::Teardown => {
                let scheduler = &self.schedulers[self.random.below(self.schedulers.len())];
                if let Some(id) = scheduler
                    .id
                    .as_ref()
                    .and_then(|id| FrameworkId::new(id).ok())
                {
                    self.torn_down.insert(id.as_str().to_owned());
                    let call = OperatorCall::Teardown { framework: id };
                    self.send_operator(call, Vec::new());
                }
            }
        }
    }

    fn order(&mut self, deed: Deed, agent: AgentId) {
        let object = Object::Agent(agent.clone());
        let (call, effect) = match deed {
            Deed::Drain => {
                let mark_gone = self.random.percent(20);
                let grace = self.random.percent(50).then_some(DurationInfo {
                    nanoseconds: 1_000_000_000,
                });
                let config = DrainConfig {
                    max_grace_period: grace,
                    mark_gone: Some(mark_gone),
                };
                let call = OperatorCall::DrainAgent { agent, config };
                (call, Effect::Drain { mark_gone })
            }
            Deed::Deactivate => (OperatorCall::DeactivateAgent { agent }, Effect::Deactivate),
            Deed::MarkGone => (OperatorCall::MarkAgentGone { agent }, Effect::MarkGone),
            _ => (OperatorCall::ReactivateAgent { agent }, Effect::Reactivate),
        };
        self.send_operator(call, vec![(object, effect)]);
    }

    fn set_quota(&mut self) {
        let role = ROLES[self.random.below(ROLES.len())];
        let mut quota = Quota::default();
        let mut config = QuotaConfig {
            role: role.to_owned(),
            ..QuotaConfig::default()
        };
        for name in ["cpus", "mem"] {
            let unit = if name == "cpus" { 1.0 } else { 256.0 };
            let key = Name::from(name);
            let guarantee = unit * self.random.below(3) as f64;
            let limit = guarantee + unit * self.random.below(6) as f64;
            if guarantee > 0.0 && self.random.percent(60) {
                config
                    .guarantees
                    .insert(name.to_owned(), value::Scalar { value: guarantee });
                quota
                    .guarantees
                    .set(&key, Scalar::from_f64(guarantee).unwrap_or_default());
            }
            if self.random.percent(60) {
                config
                    .limits
                    .insert(name.to_owned(), value::Scalar { value: limit });
                quota
                    .limits
                    .push((key, Scalar::from_f64(limit).unwrap_or_default()));
            }
        }
        let text = if quota == Quota::default() {
            String::new()
        } else {
            quota_text(&quota)
        };
        let force = self.random.percent(50);
        let call = OperatorCall::UpdateQuota {
            configs: vec![config],
            force,
        };
        self.send_operator(call, vec![(Object::Quota(named(role)), Effect::Set(text))]);
    }

    fn machine_id(machine: usize) -> MachineId {
        MachineId {
            hostname: Some(machine_name(machine)),
            ip: Some(format!("10.0.0.{machine}")),
        }
    }

    fn schedule(&mut self, machines: &[usize]) {
        let window = Window {
            machine_ids: machines.iter().map(|it| Self::machine_id(*it)).collect(),
            unavailability: Unavailability {
                start: TimeInfo { nanoseconds: 1 },
                duration: None,
            },
        };
        let schedule = Schedule {
            windows: if machines.is_empty() {
                Vec::new()
            } else {
                vec![window]
            },
        };
        let effects = (0..self.machines.len())
            .map(|it| {
                (
                    Object::Machine(it),
                    Effect::Schedule(machines.contains(&it)),
                )
            })
            .collect();
        let call = OperatorCall::UpdateMaintenanceSchedule { schedule };
        self.send_operator(call, effects);
    }

    fn turn(&mut self, machine: usize, up: bool) {
        let machines = vec![Self::machine_id(machine)];
        let object = Object::Machine(machine);
        if up {
            let call = OperatorCall::StopMaintenance { machines };
            self.send_operator(call, vec![(object, Effect::Up)]);
        } else {
            let call = OperatorCall::StartMaintenance { machines };
            self.send_operator(call, vec![(object, Effect::Down)]);
        }
    }

    /// RESERVE, CREATE, DESTROY or UNRESERVE, of what the leader says that the agent has.
    fn operate(&mut self) {
        let agents = &self.masters[self.leader].agents;
        let Some(agent) = agents
            .values()
            .nth(self.random.below(agents.len()))
            .cloned()
        else {
            return;
        };
        let total = to_wire(&agent.total, Encoding::Stack);
        let number = self.asked.next;
        let role = ROLES[self.random.below(2)];
        let choices = operations::choices(
            operations::Who::Operator,
            &total,
            role,
            &format!("by-operators-{number}"),
            &mut self.random,
        );
        let Some(operation) = choices.get(self.random.below(choices.len())).cloned() else {
            return;
        };
        let call = OperatorCall::Operate {
            agent: agent.id.clone(),
            operation: Box::new(operation),
            principal: None,
        };
        self.send_operator(call, Vec::new());
    }

    /// Mostly to the leader; now and then to one that was, if it lives.
    pub(crate) fn send_operator(&mut self, call: OperatorCall, effects: Vec<(Object, Effect)>) {
        let mut master = self.leader;
        if self.trouble() && self.random.percent(10) {
            let alive: Vec<usize> = (0..self.masters.len())
                .filter(|it| self.masters[*it].alive)
                .collect();
            master = *alive.get(self.random.below(alive.len())).unwrap_or(&master);
        }
        if !self.masters[master].alive {
            return;
        }
        let token = ReplyToken(self.asked.next);
        self.asked.next += 1;
        trace!(self, "operators -> master {master}: {} {call:?}", token.0);
        let objects = effects.iter().map(|(object, _)| object.clone()).collect();
        for (object, effect) in effects {
            self.ledger.sent(token, object, effect);
        }
        self.asked.waiting.insert(token.0, (master, objects));
        let reply = Some(token);
        self.master_step(master, Input::Operator { call, reply });
    }

    /// A master has answered. I9: what it answers 200 for is in the store.
    pub(crate) fn answered(&mut self, master: usize, token: ReplyToken, reply: &Reply) {
        trace!(self, "master {master} -> operators: {} {reply:?}", token.0);
        let Some((_, objects)) = self.asked.waiting.remove(&token.0) else {
            return self.breach(
                Invariant::Durable,
                format!("master {master} answers call {} twice", token.0),
            );
        };
        for object in &objects {
            match reply {
                Reply::Ok | Reply::Accepted => self.ledger.done(token, object),
                Reply::Refused { status: 503, .. } => self.ledger.doubtful(token, object),
                Reply::Refused { .. } => self.ledger.refused(token, object),
            }
        }
        self.check_promises();
    }

    /// The process is no more: what it was asked for may have been done.
    pub(crate) fn never_answered(&mut self, master: usize) {
        let dead: Vec<u64> = self
            .asked
            .waiting
            .iter()
            .filter(|(_, (asked, _))| *asked == master)
            .map(|(token, _)| *token)
            .collect();
        for token in dead {
            if let Some((_, objects)) = self.asked.waiting.remove(&token) {
                for object in &objects {
                    self.ledger.doubtful(ReplyToken(token), object);
                }
            }
        }
    }

    /// I9, in the store.
    pub(crate) fn check_promises(&mut self) {
        let registry = &self.stored.registry;
        let wrong = self
            .ledger
            .contradiction(|object| Some(standing_in(registry, object)));
        if let Some(what) = wrong {
            self.breach(Invariant::Durable, format!("in the store {what}"));
        }
    }

    /// In times of peace machines are taken out of maintenance, so that all agents return; and frameworks are torn down anew that
    /// were so for a leader that is no more: no later one knows. So are those as which Marathon is not subscribed any more: a leader
    /// of it that did not know yet that it is none may have taken one of them back.
    pub(crate) fn tidy(&mut self) {
        if self.phase == Phase::Trouble {
            return;
        }
        self.after(1_000, 20_000, Happening::Tidy);
        let registries = [&self.stored.registry, &self.masters[self.leader].shown];
        let is = |machine: usize, standing: &Standing| {
            let object = Object::Machine(machine);
            registries
                .iter()
                .any(|it| standing_in(it, &object) == *standing)
        };
        let mut all = 0..self.machines.len();
        let down = all.clone().find(|it| is(*it, &Standing::Down));
        let planned = all.any(|it| is(it, &Standing::Scheduled));
        let left: BTreeSet<FrameworkId> = self
            .torn_down
            .iter()
            .filter(|id| !self.schedulers.iter().any(|it| it.id.as_ref() == Some(*id)))
            .filter(|id| !self.marathons.has(id))
            .chain(self.marathons.left_behind())
            .filter_map(|id| FrameworkId::new(id).ok())
            .collect();
        if let Some(machine) = down {
            self.turn(machine, true);
        } else if planned {
            self.schedule(&[]);
        }
        if self.scenario.marathon {
            // Apps want to run wherever they may.
            let agents = self.masters[self.leader].agents.values();
            let held = agents.filter(|agent| agent.deactivated || agent.drain.is_some());
            let held: Vec<AgentId> = held.map(|agent| agent.id.clone()).collect();
            for agent in held {
                self.order(Deed::Reactivate, agent);
            }
        }
        for framework in left {
            self.send_operator(OperatorCall::Teardown { framework }, Vec::new());
        }
    }

    /// I9: what a leader shows to operators, once it has found its feet. `None` if all is well.
    pub(crate) fn misremembered(&self) -> Option<String> {
        let process = &self.masters[self.leader];
        self.ledger.contradiction(|object| match object {
            Object::Agent(id) => {
                let agent = process.agents.get(id)?;
                Some(match agent.drain {
                    Some(drain) => Standing::Draining {
                        mark_gone: drain.config.mark_gone(),
                    },
                    None if agent.deactivated => Standing::Deactivated,
                    None => Standing::Plain,
                })
            }
            other => Some(standing_in(&process.shown, other)),
        })
    }
}

fn named(role: &str) -> Role {
    Role::new(role).unwrap_or_else(|_| Role::star())
}

/// A total as an agent tells it.
pub(crate) fn total_of(list: &[tepui_proto::mesos::Resource]) -> Resources {
    from_wire(list).unwrap_or_default()
}

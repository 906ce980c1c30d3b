//! What agents have, what of it is offered, and what operations make of it.

use std::collections::BTreeSet;

use tepui_marathon_core::Input;
use tepui_model::{Resources, Time, resources::Name};
use tepui_proto::{
    convert::{
        operation::conversion,
        resources::{Encoding, from_wire, to_wire},
    },
    mesos::{
        AgentId, DurationInfo, FrameworkId, InverseOffer, Offer, OfferId, Resource, TimeInfo,
        Unavailability, offer::Operation,
    },
};

use super::{Cluster, attribute};

/// As the master tells of a window.
fn unavailability((begins, ends): (Time, Time)) -> Unavailability {
    let nanoseconds = ends.as_nanos() - begins.as_nanos();
    Unavailability {
        start: TimeInfo {
            nanoseconds: begins.as_nanos(),
        },
        duration: Some(DurationInfo { nanoseconds }),
    }
}

impl Cluster {
    /// Asks to leave an agent, if it goes down; the answer.
    pub fn ask_to_leave(&mut self, at: usize) -> Option<(bool, u64)> {
        let window = self.agents[at].window?;
        self.next += 1;
        let id = format!("inverse{}", self.next);
        let offer = InverseOffer {
            id: OfferId { value: id.clone() },
            agent_id: Some(AgentId {
                value: format!("agent{at}"),
            }),
            unavailability: unavailability(window),
            ..InverseOffer::default()
        };
        self.push(Input::InverseOffers(vec![offer]));
        self.run();
        self.answers.remove(&id)
    }

    /// What is free on each agent.
    pub fn offer(&mut self) {
        let mut offers = Vec::new();
        for at in 0..self.agents.len() {
            if self.agents[at].alive {
                self.next += 1;
                let offer = self.offer_of(at);
                self.offered.insert(format!("offer{}", self.next), at);
                offers.extend(offer);
            }
        }
        self.inputs.push_back(Input::Offers(offers));
    }

    /// As [`Cluster::offer`], what is not reserved and what is in offers of their own, as when the one came free before the other.
    pub fn offer_apart(&mut self) {
        self.offer_parts(&[false, true]);
    }

    /// Only what is reserved, or what is not.
    pub fn offer_parts(&mut self, parts: &[bool]) {
        let mut offers = Vec::new();
        for at in 0..self.agents.len() {
            for reserved in parts.iter().copied() {
                self.next += 1;
                let Some(mut offer) = self.offer_of(at).filter(|_| self.agents[at].alive) else {
                    continue;
                };
                offer
                    .resources
                    .retain(|one| one.reservations.is_empty() != reserved);
                if !offer.resources.is_empty() {
                    self.offered.insert(offer.id.value.clone(), at);
                    offers.push(offer);
                }
            }
        }
        self.inputs.push_back(Input::Offers(offers));
    }

    pub(super) fn offer_of(&self, at: usize) -> Option<Offer> {
        let agent = &self.agents[at];
        let free = self.free(at);
        (!free.is_empty()).then(|| Offer {
            id: OfferId {
                value: format!("offer{}", self.next),
            },
            framework_id: FrameworkId {
                value: "framework-1".to_owned(),
            },
            agent_id: AgentId {
                value: format!("agent{at}"),
            },
            hostname: agent.host.clone(),
            resources: to_wire(&free, Encoding::Stack),
            attributes: agent
                .attributes
                .iter()
                .map(|(name, value)| attribute(name, value))
                .collect(),
            unavailability: agent.window.map(unavailability),
            ..Offer::default()
        })
    }

    /// What an agent has: free, reserved, in volumes, used.
    pub fn total(&self, at: usize) -> Resources {
        let agent = &self.agents[at];
        let mut total = Resources::new();
        for (name, amount) in [
            (Name::Cpus, agent.cpus),
            (Name::Mem, 100_000.0),
            (Name::Disk, 100_000.0),
        ] {
            total.add_resource(tepui_model::Resource::scalar(name, amount).unwrap());
        }
        total.add_resource(tepui_model::Resource::ranges(Name::Ports, [(31_000, 31_999)]).unwrap());
        for conversion in &agent.conversions {
            total = conversion.apply(&total).unwrap();
        }
        total
    }

    /// What nothing runs on.
    pub fn free(&self, at: usize) -> Resources {
        let on_agent = self.tasks.values().filter(|task| task.agent == at);
        let mut used: Vec<Resource> = on_agent
            .flat_map(|task| {
                let executor = task.info.executor.as_ref();
                let executor = executor.map_or(&[][..], |executor| &executor.resources);
                task.info.resources.iter().chain(executor).cloned()
            })
            .collect();
        for (_, resources, _) in self.executors.values().filter(|(on, ..)| *on == at) {
            used.extend(resources.clone());
        }
        let used = from_wire(&used).unwrap().unallocated();
        let free = self.total(at).checked_sub(&used);
        free.expect("no more is launched than there is")
    }

    /// Reserved for which instances, on which agents.
    pub fn reserved(&self) -> BTreeSet<(String, usize)> {
        let mut reserved = BTreeSet::new();
        for at in 0..self.agents.len() {
            for resource in to_wire(&self.total(at), Encoding::Stack) {
                let labels = resource
                    .reservations
                    .iter()
                    .filter_map(|one| one.labels.clone());
                for label in labels.flat_map(|labels| labels.labels) {
                    if label.key == "marathon_task_id" {
                        reserved.insert((label.value.unwrap(), at));
                    }
                }
            }
        }
        reserved
    }

    /// Does what the master and the agent do with an operation.
    pub(super) fn operate(&mut self, at: usize, operation: &Operation) {
        if let Some(group) = &operation.launch_group {
            let tasks = group.task_group.tasks.clone();
            let resources = group.executor.resources.clone();
            let all = tasks
                .iter()
                .flat_map(|task| &task.resources)
                .chain(&resources);
            let all: Vec<Resource> = all.cloned().collect();
            let wanted = from_wire(&all).unwrap().unallocated();
            assert!(
                self.free(at).contains(&wanted),
                "more was launched than offered"
            );
            let ids = tasks
                .iter()
                .map(|task| task.task_id.value.clone())
                .collect();
            let id = group.executor.executor_id.value.clone();
            self.groups.push(operation.clone());
            let before = self.executors.insert(id.clone(), (at, resources, ids));
            assert!(before.is_none(), "an executor has one group");
            for task in tasks {
                let executor = self.executors.get(&id);
                if executor.is_some_and(|(_, _, left)| left.contains(&task.task_id.value)) {
                    self.launch(task);
                }
            }
            return;
        }
        let conversion = conversion(operation).unwrap();
        if conversion.apply(&self.free(at)).is_some() {
            self.agents[at].conversions.push(conversion);
        } else {
            self.failed_operations += 1;
        }
    }
}

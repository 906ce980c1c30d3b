//! One agent's books: what it has, who holds what of it, what is free, who refused it.

use super::api::AgentOptions;
use super::constraints::{AgentAttributes, Classes, Verdicts};
use super::refusals::Refusals;
use super::tree::Subscription;
use smallvec::SmallVec;
use tepui_model::resources::Name;
use tepui_model::{Quantities, Resources};

/// So many expired refusals are looked at one by one; with more of them everybody is tried.
const SOME_MAX: usize = 8;

/// Whom to try on an agent in the next run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Todo {
    /// Nobody: the agent is settled.
    Nothing,
    /// Those who have become willing.
    Eager,
    /// These subscriptions, whose refusals are over.
    Some(SmallVec<[u32; 2]>),
    /// Everybody.
    All,
}

/// What an agent asks of a framework to be shown to it.
#[derive(Clone, Copy, Debug, Default)]
struct Demands {
    gpus: bool,
    remote_region: bool,
    single_role: bool,
}

/// The books.
#[derive(Debug)]
pub(super) struct Agent {
    total: Resources,
    /// The total's scalars, as they count in shares.
    pub(super) quantities: Quantities,
    /// What nobody holds, without shared volumes.
    free: Resources,
    /// The shared volumes, which are there for everybody at any time.
    shared: Resources,
    /// Who holds what, without allocation, by subscription.
    held: Vec<(u32, Resources)>,
    /// More is held than there is.
    overcommitted: bool,
    /// Whether anything but plain resources is there, so that not everybody may have everything.
    pub(super) mixed: bool,
    demands: Demands,
    pub(super) attributes: AgentAttributes,
    pub(super) verdicts: Verdicts,
    pub(super) active: bool,
    pub(super) whitelisted: bool,
    pub(super) refusals: Refusals,
    /// How often it has gained something.
    pub(super) gains: u32,
    pub(super) todo: Todo,
    /// Whether it waits for crumbs to join.
    pub(super) delayed: bool,
    /// What of it was last entered as free into the books of quota.
    pub(super) quota_free: Quantities,
    /// Its place in the list of agents that have something to offer.
    pub(super) listed: Option<usize>,
}

impl Agent {
    pub(super) fn new(options: &AgentOptions) -> Agent {
        let mut agent = Agent {
            total: Resources::new(),
            quantities: Quantities::new(),
            free: Resources::new(),
            shared: Resources::new(),
            held: Vec::new(),
            overcommitted: false,
            mixed: false,
            demands: Demands::default(),
            attributes: AgentAttributes::default(),
            verdicts: Verdicts::default(),
            active: true,
            whitelisted: true,
            refusals: Refusals::default(),
            gains: 0,
            todo: Todo::Nothing,
            delayed: false,
            quota_free: Quantities::new(),
            listed: None,
        };
        agent.set_options(options);
        agent
    }

    /// Sets what the agent has, and reckons anew what is free.
    pub(super) fn set_options(&mut self, options: &AgentOptions) {
        self.demands.remote_region = options.remote_region;
        self.demands.single_role = !options.multi_role;
        if self.attributes != options.attributes {
            self.attributes = options.attributes.clone();
            self.verdicts.clear();
        }
        self.set_total(options.total.unallocated());
    }

    fn set_total(&mut self, total: Resources) {
        self.quantities = total.quantities();
        self.shared = total.shared();
        self.mixed = total.lots().any(|lot| !lot.kind().is_plain());
        self.demands.gpus = !self.quantities.get(&Name::Gpus).is_zero();
        self.total = total;
        self.reckon();
    }

    /// Reckons what is free from the total and the holdings.
    fn reckon(&mut self) {
        let mut held = Resources::new();
        for (_, resources) in &self.held {
            held += &resources.non_shared();
        }
        self.free = self.total.non_shared();
        self.overcommitted = self.free.try_subtract(&held).is_err();
        if self.overcommitted {
            self.free.subtract_overlap(&held);
        }
    }

    pub(super) fn total(&self) -> &Resources {
        &self.total
    }

    pub(super) fn free(&self) -> &Resources {
        &self.free
    }

    pub(super) fn shared(&self) -> &Resources {
        &self.shared
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = u32> + '_ {
        self.held.iter().map(|(subscription, _)| *subscription)
    }

    /// What a subscription holds here.
    pub(super) fn held_by(&self, subscription: u32) -> Option<&Resources> {
        self.held
            .binary_search_by_key(&subscription, |(holder, _)| *holder)
            .ok()
            .map(|at| &self.held[at].1)
    }

    /// Whether it is offered to anybody.
    pub(super) fn is_open(&self) -> bool {
        self.active && self.whitelisted
    }

    /// Whether a subscription is shown this agent.
    pub(super) fn is_shown_to(
        &self,
        subscription: &Subscription,
        filter_gpus: bool,
        classes: &Classes,
    ) -> bool {
        let capabilities = subscription.capabilities;
        (capabilities.gpu_resources || !(self.demands.gpus && filter_gpus))
            && (capabilities.region_aware || !self.demands.remote_region)
            && !(capabilities.multi_role && self.demands.single_role)
            && subscription
                .constraints
                .is_none_or(|class| classes.admit(class, &self.attributes, &self.verdicts))
    }

    /// Gives something free to a subscription. Returns by how much that raises what it holds, and whether it held nothing here before.
    ///
    /// Panics if it is not free: I1 would be broken.
    pub(super) fn grant(&mut self, subscription: u32, resources: &Resources) -> (Quantities, bool) {
        let taken = if !has_shared(resources) {
            self.free.try_subtract(resources)
        } else {
            self.free.try_subtract(&resources.non_shared())
        };
        assert!(
            taken.is_ok(),
            "I1 no-overcommit: handing out {resources} of {}",
            self.free
        );
        self.enter(subscription, resources)
    }

    /// Books something as held, whether it is free or not.
    pub(super) fn hold(&mut self, subscription: u32, resources: &Resources) -> (Quantities, bool) {
        let entered = self.enter(subscription, resources);
        self.reckon();
        entered
    }

    fn enter(&mut self, subscription: u32, resources: &Resources) -> (Quantities, bool) {
        let at = match self
            .held
            .binary_search_by_key(&subscription, |(holder, _)| *holder)
        {
            Ok(at) => at,
            Err(at) => {
                self.held.insert(at, (subscription, resources.clone()));
                return (resources.quantities(), true);
            }
        };
        let held = &mut self.held[at].1;
        if !has_shared(resources) {
            *held += resources;
            return (resources.quantities(), false);
        }
        // Copies of a shared volume count once.
        let before = held.quantities();
        *held += resources;
        let mut more = held.quantities();
        more -= &before;
        (more, false)
    }

    /// Takes back what a subscription holds of `resources`. Returns by how much that lowers what it holds, and whether it holds
    /// nothing here now.
    pub(super) fn recover(
        &mut self,
        subscription: u32,
        resources: &Resources,
    ) -> (Quantities, bool) {
        let Ok(at) = self
            .held
            .binary_search_by_key(&subscription, |(holder, _)| *holder)
        else {
            return (Quantities::new(), false);
        };
        let held = &mut self.held[at].1;
        let less = if !has_shared(resources)
            && !self.overcommitted
            && held.try_subtract(resources).is_ok()
        {
            self.free += resources;
            resources.quantities()
        } else {
            let mut less = held.quantities();
            held.subtract_overlap(resources);
            less -= &held.quantities();
            self.reckon();
            less
        };
        let nothing_left = self.held[at].1.is_empty();
        if nothing_left {
            self.held.remove(at);
        }
        (less, nothing_left)
    }

    /// Turns `before` into `after` in a subscription's holding and in the total; `None` if it does not hold that.
    pub(super) fn convert(
        &mut self,
        subscription: u32,
        before: &Resources,
        after: &Resources,
    ) -> Option<Conversion> {
        let at = self
            .held
            .binary_search_by_key(&subscription, |(holder, _)| *holder)
            .ok()?;
        let mut total = self.total.checked_sub(before)?;
        let held = &mut self.held[at].1;
        let conversion_before = held.quantities();
        held.try_subtract(before).ok()?;
        *held += after;
        let conversion = Conversion {
            before: conversion_before,
            after: held.quantities(),
        };
        if held.is_empty() {
            self.held.remove(at);
        }
        total += after;
        self.set_total(total);
        Some(conversion)
    }

    /// Everybody has to be tried.
    pub(super) fn try_all(&mut self) {
        self.todo = Todo::All;
    }

    /// Those who have become willing have to be tried.
    pub(super) fn try_eager(&mut self) {
        self.todo = match self.todo {
            Todo::Nothing | Todo::Eager => Todo::Eager,
            Todo::Some(_) | Todo::All => Todo::All,
        };
    }

    /// This one has to be tried.
    pub(super) fn try_one(&mut self, subscription: u32) {
        match &mut self.todo {
            Todo::Nothing => self.todo = Todo::Some(SmallVec::from_slice(&[subscription])),
            Todo::Some(list) if list.contains(&subscription) => {}
            Todo::Some(list) if list.len() < SOME_MAX => list.push(subscription),
            _ => self.todo = Todo::All,
        }
    }
}

/// Copies of shared volumes are held, and are never free: also where the agent has told that it has none of them any more.
fn has_shared(resources: &Resources) -> bool {
    resources.lots().any(|lot| lot.kind().is_shared())
}

/// What a subscription held on an agent before and after an operation.
#[derive(Debug)]
pub(super) struct Conversion {
    pub(super) before: Quantities,
    pub(super) after: Quantities,
}

//! The cluster, the events, and the clock; the same for the allocator alone and for the whole core.

use std::time::{Duration, Instant};

use tepui_model::Time;

use super::Scenario;
use crate::report::Latency;

/// What an agent has: as in Mesos' own benchmarks.
pub(super) const AGENT: &str = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]";
/// Events that are handed over together at most, as a busy shell does.
const BATCH: usize = 256;
/// How long a framework that declines does not want the same again: what clients say when they say nothing.
const REFUSAL: Duration = Duration::from_secs(5);

/// What is measured on.
pub(super) struct Plan {
    pub(super) agents: usize,
    pub(super) frameworks: usize,
    pub(super) roles: usize,
    pub(super) scenario: Scenario,
    /// Tasks that end in a second.
    pub(super) rate: u32,
    pub(super) time: Duration,
}

/// An offer that was made.
pub(super) struct Made<O> {
    pub(super) offer: O,
    pub(super) framework: usize,
    pub(super) agent: usize,
}

/// What decides: the allocator alone, or the whole core.
pub(super) trait Subject {
    type Offer;
    type Task;

    fn new(plan: &Plan) -> Self;
    fn add_framework(&mut self, index: usize, role: usize);
    fn add_agent(&mut self, index: usize);
    /// While this holds, `offers` makes none.
    fn hold_back(&mut self, held_back: bool);
    fn suppress(&mut self, framework: usize);
    fn revive(&mut self, framework: usize);
    /// Makes what offers can be made now. Returns whether more can be made at once.
    fn offers(&mut self, now: Time, out: &mut Vec<Made<Self::Offer>>) -> bool;
    /// One task takes all of the offer.
    fn accept(&mut self, now: Time, offer: Made<Self::Offer>) -> Self::Task;
    fn decline(&mut self, now: Time, offer: Made<Self::Offer>, refuse: Duration);
    /// The task ends. Returns the agent that it was on.
    fn finish(&mut self, now: Time, task: Self::Task) -> usize;
}

/// What was measured.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) full_cycle: Option<Duration>,
    pub(super) add_agents: Option<Duration>,
    pub(super) event_to_offer: Option<Latency>,
    pub(super) event_to_accept: Option<Latency>,
}

/// Time since the beginning, as the subject is told it.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Time {
        Time::EPOCH + self.0.elapsed()
    }
}

pub(super) fn measure<S: Subject>(plan: &Plan) -> Figures {
    let mut figures = Figures::default();
    if plan.scenario != Scenario::AddAgents {
        figures.full_cycle = Some(full_cycle::<S>(plan));
    }
    if plan.scenario != Scenario::Full {
        let clock = Clock(Instant::now());
        let mut subject = S::new(plan);
        add_frameworks(&mut subject, plan);
        let picky = if plan.scenario == Scenario::Declines {
            // They come when all is in use, or the beginning would be one long round of declines.
            let picky = 0..plan.frameworks * 9 / 10;
            picky
                .clone()
                .for_each(|framework| subject.suppress(framework));
            picky
        } else {
            0..0
        };
        let (time, offers) = add_agents(&mut subject, plan, &clock);
        figures.add_agents = Some(time);
        if plan.scenario != Scenario::AddAgents {
            for framework in picky.clone() {
                subject.revive(framework);
            }
            churn(&mut subject, plan, &clock, picky.end, offers, &mut figures);
        }
    }
    figures
}

fn add_frameworks<S: Subject>(subject: &mut S, plan: &Plan) {
    for index in 0..plan.frameworks {
        subject.add_framework(index, index % plan.roles);
    }
    if plan.scenario == Scenario::Suppressed {
        (0..plan.frameworks * 9 / 10).for_each(|framework| subject.suppress(framework));
    }
}

/// From a cluster that is free because nothing was offered yet, until all of it is offered.
fn full_cycle<S: Subject>(plan: &Plan) -> Duration {
    let clock = Clock(Instant::now());
    let mut subject = S::new(plan);
    subject.hold_back(true);
    add_frameworks(&mut subject, plan);
    (0..plan.agents).for_each(|agent| subject.add_agent(agent));
    let mut offers = Vec::new();
    let begun = Instant::now();
    subject.hold_back(false);
    while subject.offers(clock.now(), &mut offers) {}
    let time = begun.elapsed();
    assert_eq!(offers.len(), plan.agents, "all of it is offered");
    time
}

/// Agents come as fast as they are taken in, in batches, until all of them are offered.
fn add_agents<S: Subject>(
    subject: &mut S,
    plan: &Plan,
    clock: &Clock,
) -> (Duration, Vec<Made<S::Offer>>) {
    let mut offers = Vec::new();
    while subject.offers(clock.now(), &mut offers) {}
    let begun = Instant::now();
    for agent in 0..plan.agents {
        subject.add_agent(agent);
        if agent % BATCH == BATCH - 1 {
            subject.offers(clock.now(), &mut offers);
        }
    }
    while subject.offers(clock.now(), &mut offers) {}
    let time = begun.elapsed();
    assert_eq!(offers.len(), plan.agents, "all of them are offered");
    (time, offers)
}

/// Tasks end at a steady rate, whether the subject keeps up or not; each time is taken from when the event was due.
fn churn<S: Subject>(
    subject: &mut S,
    plan: &Plan,
    clock: &Clock,
    picky: usize,
    offers: Vec<Made<S::Offer>>,
    figures: &mut Figures,
) {
    let mut tasks: Vec<S::Task> = offers
        .into_iter()
        .map(|offer| subject.accept(clock.now(), offer))
        .collect();
    let (mut to_offer, mut to_accept) = (Latency::new(), Latency::new());
    // What came free on an agent, and is not offered or not accepted again: since when.
    let mut freed: Vec<Option<Instant>> = vec![None; plan.agents];
    let mut unused: Vec<Option<Instant>> = vec![None; plan.agents];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let (begun, gap) = (Instant::now(), Duration::from_secs(1) / plan.rate);
    let mut due = begun;
    let mut made = Vec::new();
    let mut more = true;
    while due < begun + plan.time {
        let mut events = 0;
        while due <= Instant::now() && events < BATCH && !tasks.is_empty() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % tasks.len();
            let agent = subject.finish(clock.now(), tasks.swap_remove(at));
            (freed[agent], unused[agent]) = (Some(due), Some(due));
            due += gap;
            events += 1;
        }
        if events == 0 && !more {
            // Nothing to do before the next event, as for a shell that waits for its sockets.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            continue;
        }
        more = subject.offers(clock.now(), &mut made);
        let now = Instant::now();
        more |= !made.is_empty();
        for offer in made.drain(..) {
            let agent = offer.agent;
            if let Some(since) = freed[agent].take() {
                to_offer.record(now - since);
            }
            if offer.framework < picky {
                subject.decline(clock.now(), offer, REFUSAL);
                freed[agent] = Some(now);
            } else {
                tasks.push(subject.accept(clock.now(), offer));
                if let Some(since) = unused[agent].take() {
                    to_accept.record(now - since);
                }
            }
        }
    }
    figures.event_to_offer = Some(to_offer);
    figures.event_to_accept = (picky > 0).then_some(to_accept);
}

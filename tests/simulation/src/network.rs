//! Ordered streams between hosts. What is sent on a stream arrives in order and once, or the stream breaks; a partition holds back
//! what is sent across it until it ends, as a transport that sends again would. The tail of an old stream may so arrive long after
//! a newer one was opened.

use std::collections::{BTreeMap, VecDeque};

use tepui_model::Time;
use tepui_proto::mesos::scheduler;
use tepui_proto::tepui::v1::{AgentMessage, MasterMessage};

/// Who can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Master(usize),
    Agent(usize),
    Framework(usize),
    /// A process of Marathon's.
    Marathon(usize),
    Store,
}

/// The directions of a stream: to the master, and from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up = 0,
    Down = 1,
}

/// What travels.
#[derive(Debug)]
pub(crate) enum Payload {
    Open,
    FromAgent(Box<AgentMessage>),
    ToAgent {
        epoch: u64,
        message: Box<MasterMessage>,
    },
    Call(Box<scheduler::Call>),
    Event(Box<scheduler::Event>),
    Closed,
}

/// One stream. It was opened by the client, an agent or a framework.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) client: Host,
    pub(crate) life: u32,
    pub(crate) master: usize,
    /// Nothing more is taken.
    pub(crate) over: bool,
    queues: [VecDeque<Payload>; 2],
    last: [Time; 2],
    /// Arrivals that a partition holds back.
    held: [u32; 2],
}

impl Wire {
    pub(crate) fn new(client: Host, life: u32, master: usize, now: Time) -> Self {
        Self {
            client,
            life,
            master,
            over: false,
            queues: Default::default(),
            last: [now; 2],
            held: [0; 2],
        }
    }

    pub(crate) fn ends(&self, way: Way) -> (Host, Host) {
        match way {
            Way::Up => (self.client, Host::Master(self.master)),
            Way::Down => (Host::Master(self.master), self.client),
        }
    }

    /// Puts it into the queue; returns when it arrives.
    pub(crate) fn push(&mut self, way: Way, payload: Payload, at: Time) -> Time {
        self.queues[way as usize].push_back(payload);
        let at = at.max(self.last[way as usize]);
        self.last[way as usize] = at;
        at
    }

    pub(crate) fn pop(&mut self, way: Way) -> Option<Payload> {
        self.queues[way as usize].pop_front()
    }

    pub(crate) fn queued(&self, way: Way) -> usize {
        self.queues[way as usize].len()
    }

    pub(crate) fn cut(&mut self, way: Way, kept: usize) {
        self.queues[way as usize].truncate(kept);
    }

    pub(crate) fn hold(&mut self, way: Way) {
        self.held[way as usize] += 1;
    }

    pub(crate) fn release(&mut self, way: Way) -> u32 {
        std::mem::take(&mut self.held[way as usize])
    }
}

/// Who does not hear whom; partitions may overlap.
#[derive(Debug, Default)]
pub(crate) struct Partitions(BTreeMap<(Host, Host), u32>);

impl Partitions {
    pub(crate) fn cut(&mut self, ends: (Host, Host)) {
        *self.0.entry(ends).or_default() += 1;
    }

    pub(crate) fn mend(&mut self, ends: (Host, Host)) {
        if let Some(count) = self.0.get_mut(&ends) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&ends);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn cuts(&self, ends: (Host, Host)) -> bool {
        self.0.contains_key(&ends)
    }
}

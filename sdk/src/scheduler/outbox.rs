//! Calls on their way to the master, collected from guards and handles and sent in batches by the session.
//!
//! Two kinds: *answers* (accept, decline, acknowledge) come from what the framework was given, so that their number is bounded by what
//! it was given: they always fit, and the session gives nothing more while too many wait. *Requests* are the author's own: beyond the
//! limit they are refused.
//!
//! What answers an offer is void with the subscription that made the offer. Tasks in it were never seen by a master: they are kept
//! for the session, which tells the framework that they were dropped.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tepui_proto::mesos::TaskInfo;
use tepui_proto::mesos::scheduler::{Call, call};
use tokio::sync::Notify;

use crate::error::Error;

/// The most calls that wait.
pub(super) const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    calls: VecDeque<Call>,
    /// So many of the first are the session's own.
    own: usize,
    /// Of the subscription that is or was last; calls of guards of earlier ones are void.
    subscription: u64,
    /// Launched on offers that were void by then.
    dropped: Vec<TaskInfo>,
    closed: bool,
}

impl State {
    fn drop_launches(&mut self, call: Call) {
        for operation in call.accept.into_iter().flat_map(|accept| accept.operations) {
            self.dropped.extend(
                operation
                    .launch
                    .into_iter()
                    .flat_map(|launch| launch.task_infos),
            );
            self.dropped.extend(
                operation
                    .launch_group
                    .into_iter()
                    .flat_map(|group| group.task_group.tasks),
            );
        }
    }
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an answer to an update or operation, whichever subscription it came with: the agent waits for it.
    pub(super) fn push_answer(&self, call: Call) {
        let mut state = self.state();
        if !state.closed {
            state.calls.push_back(call);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Takes an answer to an offer, unless the offer went with its subscription.
    pub(super) fn push_for_offer(&self, subscription: u64, call: Call) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        if state.subscription == subscription {
            state.calls.push_back(call);
        } else {
            state.drop_launches(call);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Takes a request.
    pub(super) fn push(&self, call: Call) -> Result<(), Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::Stopped);
        }
        if state.calls.len() >= LIMIT {
            return Err(Error::QueueFull {
                waiting: state.calls.len(),
            });
        }
        state.calls.push_back(call);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits until calls are there to be sent, or tasks to be told as dropped. One session waits at a time.
    pub(super) async fn filled(&self) {
        loop {
            {
                let state = self.state();
                if !state.calls.is_empty() || !state.dropped.is_empty() {
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Tasks that were launched on void offers.
    pub(super) fn take_dropped(&self) -> Vec<TaskInfo> {
        std::mem::take(&mut self.state().dropped)
    }

    /// Takes up to `most` calls out; so many of the first are the session's own.
    pub(super) fn take(&self, most: usize) -> (usize, Vec<Call>) {
        let mut state = self.state();
        let count = state.calls.len().min(most);
        let own = state.own.min(count);
        state.own -= own;
        (own, state.calls.drain(..count).collect())
    }

    /// Takes what the session itself asks for, before all else.
    pub(super) fn push_own(&self, calls: Vec<Call>) {
        let mut state = self.state();
        state.own += calls.len();
        for call in calls.into_iter().rev() {
            state.calls.push_front(call);
        }
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        self.state().calls.len()
    }

    /// A subscription has ended: what answers its offers is void, and so are guards of its offers.
    pub(super) fn void_offers(&self) -> u64 {
        let mut state = self.state();
        state.subscription += 1;
        let (void, rest): (VecDeque<Call>, VecDeque<Call>) = std::mem::take(&mut state.calls)
            .into_iter()
            .partition(answers_offers);
        state.calls = rest;
        for call in void {
            state.drop_launches(call);
        }
        state.subscription
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.calls.clear();
        state.own = 0;
    }
}

fn answers_offers(call: &Call) -> bool {
    matches!(
        call.r#type(),
        call::Type::Accept
            | call::Type::Decline
            | call::Type::AcceptInverseOffers
            | call::Type::DeclineInverseOffers
    )
}

//! Events on their way to the author. Filling it never waits, so that the session can always send calls; instead the session reads
//! nothing more from the master while there is no room, and what one frame brings may go beyond the limit.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::Error;

/// Events that wait before the master is left unread.
pub(crate) const LIMIT: usize = 1024;

#[derive(Debug)]
pub(crate) struct Inbox<E> {
    state: Mutex<State<E>>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug)]
struct State<E> {
    events: VecDeque<E>,
    /// Told once, after the events.
    error: Option<Error>,
    ended: bool,
}

impl<E> Default for Inbox<E> {
    fn default() -> Self {
        let state = State {
            events: VecDeque::new(),
            error: None,
            ended: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
            emptied: Notify::new(),
        }
    }
}

impl<E> Inbox<E> {
    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: E) {
        self.state().events.push_back(event);
        self.filled.notify_one();
    }

    /// Nothing comes after this.
    pub(crate) fn end(&self, error: Option<Error>) {
        let mut state = self.state();
        state.ended = true;
        state.error = error;
        drop(state);
        self.filled.notify_one();
    }

    pub(crate) fn has_room(&self) -> bool {
        self.state().events.len() < LIMIT
    }

    /// Waits until there is room. One session waits at a time.
    pub(crate) async fn room(&self) {
        while !self.has_room() {
            self.emptied.notified().await;
        }
    }

    /// Waits for the next event. One author waits at a time.
    pub(crate) async fn next(&self) -> Result<Option<E>, Error> {
        loop {
            {
                let mut state = self.state();
                if let Some(event) = state.events.pop_front() {
                    if state.events.len() < LIMIT {
                        self.emptied.notify_one();
                    }
                    return Ok(Some(event));
                }
                if let Some(error) = state.error.take() {
                    return Err(error);
                }
                if state.ended {
                    return Ok(None);
                }
            }
            self.filled.notified().await;
        }
    }
}

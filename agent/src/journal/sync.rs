//! Makes what was written durable, in a thread of its own: while one fdatasync runs, the next batch gathers.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Told the highest sequence number that is durable; false if nobody listens any more.
pub(crate) type Synced = Box<dyn FnMut(u64) -> bool + Send>;

struct State {
    file: Arc<File>,
    wanted: u64,
    done: u64,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct Syncer {
    shared: Arc<Shared>,
}

impl Syncer {
    pub(super) fn start(file: Arc<File>, mut synced: Synced) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                file,
                wanted: 0,
                done: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let work = move || {
            while let Some((file, wanted)) = theirs.next() {
                if let Err(error) = file.sync_data() {
                    // What is not durable is never told to be: updates wait, and the operator reads why.
                    tracing::error!(
                        "the journal cannot be made durable, so no updates leave this agent: {error}"
                    );
                    return;
                }
                theirs.locked().done = wanted;
                if !synced(wanted) {
                    return;
                }
            }
        };
        if let Err(error) = std::thread::Builder::new()
            .name("agent-journal".to_owned())
            .spawn(work)
        {
            tracing::error!(
                "the journal's thread cannot be started, so no updates leave this agent: {error}"
            );
        }
        Self { shared }
    }

    pub(super) fn request(&self, sequence: u64) {
        self.shared.locked().wanted = sequence;
        self.shared.changed.notify_one();
    }

    /// Another file from now on, which has all that the old one had and is durable.
    pub(super) fn replace(&self, file: Arc<File>) {
        self.shared.locked().file = file;
    }
}

impl Shared {
    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work; what is wanted last is done before the end.
    fn next(&self) -> Option<(Arc<File>, u64)> {
        let mut state = self.locked();
        loop {
            if state.wanted > state.done {
                return Some((Arc::clone(&state.file), state.wanted));
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.locked().closed = true;
        self.shared.changed.notify_one();
    }
}

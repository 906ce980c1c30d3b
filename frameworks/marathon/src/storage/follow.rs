//! What is written while a backup is made: told to who makes it, so that the store can be read beside the one who writes, who waits for nobody.
//!
//! What is read from the store at any moment, and then all that was written from the beginning on, in its order, is what the store holds after the last
//! of these writes. The end is between two writes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tepui_coordination::{SharedStore, StoreError, Transaction};
use tepui_marathon_core::Mutation;
use tokio::sync::{mpsc, oneshot};

use super::large::bytes_of;

/// The most bytes that wait to be taken; a backup that is slower than what is written beside it is given up.
const MAX_WAITING: usize = 64 << 20;

/// Asked of the one who writes, who answers between two writes.
#[derive(Debug)]
pub(crate) enum Request {
    /// To be told what is written from now on.
    Begin(oneshot::Sender<Written>),
    /// Whether all that was written was told; refused if another leads by now.
    End(oneshot::Sender<Result<(), StoreError>>),
}

/// What is written, as it is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) store: SharedStore,
    writes: mpsc::UnboundedReceiver<Vec<Mutation>>,
    waiting: Arc<AtomicUsize>,
}

impl Written {
    /// What was written since it was last asked; None: too much was, or the leadership is over.
    pub(crate) fn take(&mut self) -> Option<Vec<Mutation>> {
        let mut all = Vec::new();
        loop {
            match self.writes.try_recv() {
                Ok(write) => {
                    self.waiting.fetch_sub(bytes_of(&write), Ordering::Relaxed);
                    all.extend(write);
                }
                Err(mpsc::error::TryRecvError::Empty) => return Some(all),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
            }
        }
    }
}

/// Who is told; nobody, most of the time.
#[derive(Debug, Default)]
pub(super) struct Follower(Option<(mpsc::UnboundedSender<Vec<Mutation>>, Arc<AtomicUsize>)>);

impl Follower {
    pub(super) fn wants(&self) -> bool {
        self.0.as_ref().is_some_and(|(told, _)| !told.is_closed())
    }

    /// Tells a write that was made; waits for nobody.
    pub(super) fn tell(&mut self, write: Option<Vec<Mutation>>) {
        let Some((told, waiting)) = &self.0 else {
            return;
        };
        let write = write.unwrap_or_default();
        let bytes = bytes_of(&write);
        let before = waiting.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > MAX_WAITING || told.send(write).is_err() {
            self.0 = None;
        }
    }

    pub(super) async fn serve(&mut self, asked: Request, store: &SharedStore, epoch: u64) {
        match asked {
            Request::Begin(answer) => {
                let (told, writes) = mpsc::unbounded_channel();
                let waiting = Arc::<AtomicUsize>::default();
                self.0 = Some((told, Arc::clone(&waiting)));
                let store = Arc::clone(store);
                // Who has gone away does not want it any more.
                let written = Written {
                    store,
                    writes,
                    waiting,
                };
                if answer.send(written).is_err() {
                    self.0 = None;
                }
            }
            Request::End(answer) => {
                let led = store.commit(Transaction::new(epoch)).await;
                let _ = answer.send(led.map(drop)); // who has gone away
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_coordination::MemoryStore;

    use super::*;

    fn write(key: &str, bytes: usize) -> Option<Vec<Mutation>> {
        let (key, value) = (key.to_owned(), vec![b'x'; bytes].into());
        Some(vec![Mutation::Put { key, value }])
    }

    #[tokio::test]
    async fn what_is_written_is_told_in_its_order_and_a_slow_backup_is_given_up() {
        let store: SharedStore = Arc::new(MemoryStore::new());
        let mut follower = Follower::default();
        assert!(!follower.wants());
        let (asked, answer) = oneshot::channel();
        follower.serve(Request::Begin(asked), &store, 1).await;
        let mut written = answer.await.expect("it begins");
        assert!(follower.wants());
        assert_eq!(written.take(), Some(Vec::new()));
        follower.tell(write("a", 1));
        follower.tell(write("b", 1));
        let told: Vec<_> = [write("a", 1), write("b", 1)]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert_eq!(written.take(), Some(told));
        // What was taken counts no more.
        for _ in 0..20 {
            follower.tell(write("c", MAX_WAITING / 2));
            assert!(written.take().is_some());
        }
        follower.tell(write("c", MAX_WAITING / 2));
        follower.tell(write("c", MAX_WAITING / 2));
        assert!(!follower.wants(), "nobody waits for it");
        assert_eq!(written.take(), None);
    }
}

//! What waits to be sent to one peer: bounded in messages and bytes, filled by the driver once a batch, emptied by the task of the
//! peer's own stream, which also does the encoding.
//!
//! Promises: a batch costs one lock and at most one wake-up; a full outbox closes this peer's stream and no other; when the
//! receiving half is dropped (the peer went away), whoever fills the outbox is told through a closure given at the start.
//!
//! Peers that are each within their bound may still be too many: [`Outboxes`] counts what all of them hold together, and the driver
//! closes the fullest when that is too much (`driver/carry`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

/// How an outbox ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What was queued is sent, then the stream ends as it should.
    Finished,
    /// The peer did not read fast enough: what was queued is lost, the stream breaks.
    Overflow,
    /// This master does not lead any more: what was queued is sent, then the stream breaks.
    NotLeading,
}

struct Queue<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    ending: Option<Ending>,
    waker: Option<Waker>,
    receiver_gone: bool,
}

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    max_items: usize,
    max_bytes: usize,
    /// Bytes of all outboxes of the same family.
    held: Arc<AtomicUsize>,
}

impl<T> Shared<T> {
    /// Gives up everything that waits.
    fn clear(&self, queue: &mut Queue<T>) {
        self.held.fetch_sub(queue.bytes, Ordering::Relaxed);
        queue.items = VecDeque::new();
        queue.bytes = 0;
    }
}

/// The outboxes of all peers of one reign: their bounds, and what they hold together.
#[derive(Debug)]
pub(crate) struct Outboxes {
    max_items: usize,
    max_bytes: usize,
    /// Bytes that all of them may hold together.
    total_bytes: usize,
    held: Arc<AtomicUsize>,
}

impl Outboxes {
    /// Bounds of each in messages and bytes, and of all together in bytes.
    pub(crate) fn new(max_items: usize, max_bytes: usize, total_bytes: usize) -> Self {
        Self {
            max_items,
            max_bytes,
            total_bytes,
            held: Arc::default(),
        }
    }

    /// One more. `on_drop` is called when its emptying half goes away.
    pub(crate) fn open<T>(
        &self,
        on_drop: impl FnOnce() + Send + Sync + 'static,
    ) -> (Outbox<T>, Drainer<T>) {
        pair(
            self.max_items,
            self.max_bytes,
            Arc::clone(&self.held),
            on_drop,
        )
    }

    /// Bytes that wait in all of them.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether they hold more than they may.
    pub(crate) fn too_much(&self) -> bool {
        self.held_bytes() > self.total_bytes
    }

    /// How far below the bound they are brought once they are above it: an eighth, so that the fullest are not looked for at every
    /// batch.
    pub(crate) fn relief_bytes(&self) -> usize {
        self.total_bytes - self.total_bytes / 8
    }
}

/// The filling half.
pub(crate) struct Outbox<T> {
    shared: Arc<Shared<T>>,
}

/// The emptying half; dropping it tells the filler.
pub(crate) struct Drainer<T> {
    shared: Arc<Shared<T>>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// A pair of no family with these bounds. `on_drop` is called when the emptying half goes away.
pub(crate) fn outbox<T>(
    max_items: usize,
    max_bytes: usize,
    on_drop: impl FnOnce() + Send + Sync + 'static,
) -> (Outbox<T>, Drainer<T>) {
    pair(max_items, max_bytes, Arc::default(), on_drop)
}

fn pair<T>(
    max_items: usize,
    max_bytes: usize,
    held: Arc<AtomicUsize>,
    on_drop: impl FnOnce() + Send + Sync + 'static,
) -> (Outbox<T>, Drainer<T>) {
    let queue = Queue {
        items: VecDeque::new(),
        bytes: 0,
        ending: None,
        waker: None,
        receiver_gone: false,
    };
    let shared = Arc::new(Shared {
        queue: Mutex::new(queue),
        max_items,
        max_bytes,
        held,
    });
    (
        Outbox {
            shared: shared.clone(),
        },
        Drainer {
            shared,
            on_drop: Some(Box::new(on_drop)),
        },
    )
}

/// The outbox was full; it is closed now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Messages that were waiting.
    pub(crate) items: usize,
    /// Bytes that were waiting.
    pub(crate) bytes: usize,
}

impl<T> Outbox<T> {
    /// Queues a batch of messages with their (estimated) sizes. Without effect after the end.
    pub(crate) fn push(&self, batch: impl Iterator<Item = (T, usize)>) -> Result<(), Full> {
        let waker = {
            let mut queue = self.shared.queue.lock();
            if queue.ending.is_some() || queue.receiver_gone {
                return Ok(());
            }
            let before = queue.bytes;
            if queue.items.is_empty() {
                // Of tens of thousands of streams most hold a message at a time: no room for more than there are.
                queue.items.reserve_exact(batch.size_hint().0);
            }
            for (item, size) in batch {
                queue.bytes += size;
                queue.items.push_back((item, size));
            }
            self.shared
                .held
                .fetch_add(queue.bytes - before, Ordering::Relaxed);
            // One message alone always fits, however large: it was bounded when it came in.
            if queue.items.len() > self.shared.max_items
                || (queue.bytes > self.shared.max_bytes && queue.items.len() > 1)
            {
                let full = Full {
                    items: queue.items.len(),
                    bytes: queue.bytes,
                };
                self.overflow(queue);
                return Err(full);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// What waited is lost, and the stream breaks.
    fn overflow(&self, mut queue: MutexGuard<'_, Queue<T>>) {
        self.shared.clear(&mut queue);
        queue.ending = Some(Ending::Overflow);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Closes it as if it were full, because all together hold too much.
    pub(crate) fn evict(&self) -> Full {
        let queue = self.shared.queue.lock();
        let full = Full {
            items: queue.items.len(),
            bytes: queue.bytes,
        };
        self.overflow(queue);
        full
    }

    /// Ends the stream; the first ending counts.
    pub(crate) fn end(&self, ending: Ending) {
        let waker = {
            let mut queue = self.shared.queue.lock();
            if queue.ending.is_none() {
                queue.ending = Some(ending);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether nobody will ever empty it.
    pub(crate) fn abandoned(&self) -> bool {
        self.shared.queue.lock().receiver_gone
    }

    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.shared.queue.lock().bytes
    }

    /// Messages and bytes that wait.
    #[cfg(test)]
    pub(crate) fn depth(&self) -> (usize, usize) {
        let queue = self.shared.queue.lock();
        (queue.items.len(), queue.bytes)
    }
}

impl<T> Drop for Outbox<T> {
    /// A filler that goes away without a word has stopped leading.
    fn drop(&mut self) {
        self.end(Ending::NotLeading);
    }
}

impl<T> Drainer<T> {
    /// Takes messages, in order, up to about `max_bytes`; `Err` is how the outbox ended, once it is empty.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        max_bytes: usize,
    ) -> Poll<Result<Vec<T>, Ending>> {
        let mut queue = self.shared.queue.lock();
        if queue.items.is_empty() {
            if let Some(ending) = &queue.ending {
                return Poll::Ready(Err(ending.clone()));
            }
            if !queue
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                queue.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let mut taken = Vec::with_capacity(queue.items.len().min(1024));
        let mut bytes = 0;
        while let Some((_, size)) = queue.items.front() {
            if !taken.is_empty() && bytes + size > max_bytes {
                break;
            }
            if let Some((item, size)) = queue.items.pop_front() {
                bytes += size;
                queue.bytes -= size;
                taken.push(item);
            }
        }
        self.shared.held.fetch_sub(bytes, Ordering::Relaxed);
        // An idle stream holds nothing.
        if queue.items.is_empty() {
            queue.items = VecDeque::new();
        }
        Poll::Ready(Ok(taken))
    }
}

impl<T> Drop for Drainer<T> {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.queue.lock();
            queue.receiver_gone = true;
            self.shared.clear(&mut queue);
        }
        if let Some(tell) = self.on_drop.take() {
            tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    async fn take<T>(drainer: &mut Drainer<T>, max_bytes: usize) -> Result<Vec<T>, Ending> {
        std::future::poll_fn(|cx| drainer.poll_take(cx, max_bytes)).await
    }

    #[tokio::test]
    async fn batches_come_out_in_order_and_in_frames() {
        let (outbox, mut drainer) = outbox(10, 1000, || {});
        outbox
            .push([(1, 10), (2, 10), (3, 10)].into_iter())
            .expect("fits");
        assert_eq!(take(&mut drainer, 20).await, Ok(vec![1, 2]));
        assert_eq!(
            take(&mut drainer, 1).await,
            Ok(vec![3]),
            "one message always passes"
        );
        outbox.push([(4, 10)].into_iter()).expect("fits");
        outbox.end(Ending::Finished);
        assert_eq!(
            take(&mut drainer, 100).await,
            Ok(vec![4]),
            "what is queued is sent before the end"
        );
        assert_eq!(take(&mut drainer, 100).await, Err(Ending::Finished));
    }

    #[tokio::test]
    async fn a_full_outbox_ends_by_messages_and_by_bytes() {
        for (items, sizes) in [(2, vec![1, 1, 1]), (100, vec![600, 600])] {
            let (outbox, mut drainer) = outbox(items, 1000, || {});
            assert!(
                outbox
                    .push(sizes.into_iter().map(|size| ((), size)))
                    .is_err()
            );
            assert_eq!(
                outbox.depth(),
                (0, 0),
                "nothing is held for a peer that is given up"
            );
            assert_eq!(take(&mut drainer, 100).await, Err(Ending::Overflow));
        }
        let (outbox, mut drainer) = outbox(2, 1000, || {});
        outbox
            .push([((), 5000)].into_iter())
            .expect("one large message passes");
        assert_eq!(take(&mut drainer, 100).await, Ok(vec![()]));
    }

    #[tokio::test]
    async fn a_family_counts_what_its_members_hold() {
        let family = Outboxes::new(100, 1000, 1600);
        let (small, mut reader) = family.open::<u8>(|| {});
        let (large, mut slow) = family.open::<u8>(|| {});
        let (third, gone) = family.open::<u8>(|| {});
        small.push([(1, 300), (2, 400)].into_iter()).expect("fits");
        large.push([(1, 900)].into_iter()).expect("fits");
        assert!(!family.too_much());
        third.push([(1, 100)].into_iter()).expect("fits");
        assert!(family.too_much());
        assert_eq!((small.waiting_bytes(), large.waiting_bytes()), (700, 900));
        assert_eq!(
            large.evict(),
            Full {
                items: 1,
                bytes: 900
            }
        );
        assert_eq!(take(&mut slow, 100).await, Err(Ending::Overflow));
        assert_eq!(family.held_bytes(), 800);
        assert_eq!(take(&mut reader, 300).await, Ok(vec![1]));
        assert_eq!(family.held_bytes(), 500);
        drop(gone);
        assert_eq!(family.held_bytes(), 400);
        assert!(
            small.push([(3, 900)].into_iter()).is_err(),
            "its own bound holds too"
        );
        assert_eq!(family.held_bytes(), 0);
    }

    #[tokio::test]
    async fn both_halves_learn_that_the_other_went_away() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        let (outbox, drainer) = outbox::<u8>(2, 10, move || tell.store(true, Ordering::SeqCst));
        assert!(!outbox.abandoned());
        drop(drainer);
        assert!(outbox.abandoned());
        assert!(told.load(Ordering::SeqCst));
        outbox
            .push([(1, 1), (2, 1), (3, 1)].into_iter())
            .expect("nothing is kept for nobody");
        assert_eq!(outbox.depth(), (0, 0));
        let (outbox, mut drainer) = super::outbox::<u8>(2, 10, || {});
        drop(outbox);
        assert_eq!(take(&mut drainer, 1).await, Err(Ending::NotLeading));
    }
}

//! What waits to be sent to one peer: bounded in messages and bytes, filled by the driver once a batch, emptied by the task of the
//! peer's own stream, which also does the encoding.
//!
//! Promises: a batch costs one lock and at most one wake-up; a full outbox closes this peer's stream and no other; when the
//! receiving half is dropped (the peer went away), whoever fills the outbox is told through a closure given at the start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

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

/// A pair with these bounds. `on_drop` is called when the emptying half goes away.
pub(crate) fn outbox<T>(
    max_items: usize,
    max_bytes: usize,
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
            for (item, size) in batch {
                queue.bytes += size;
                queue.items.push_back((item, size));
            }
            // One message alone always fits, however large: it was bounded when it came in.
            if queue.items.len() > self.shared.max_items
                || (queue.bytes > self.shared.max_bytes && queue.items.len() > 1)
            {
                let full = Full {
                    items: queue.items.len(),
                    bytes: queue.bytes,
                };
                queue.items = VecDeque::new();
                queue.bytes = 0;
                queue.ending = Some(Ending::Overflow);
                let waker = queue.waker.take();
                drop(queue);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return Err(full);
            }
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
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
        // What a burst left behind is given back: an idle stream holds next to nothing.
        if queue.items.is_empty() && queue.items.capacity() > 1024 {
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
            queue.items = VecDeque::new();
            queue.bytes = 0;
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
    async fn both_halves_learn_that_the_other_went_away() {
        let told = Arc::new(AtomicBool::new(false));
        let tell = told.clone();
        let (outbox, drainer) = outbox::<u8>(2, 10, move || tell.store(true, Ordering::SeqCst));
        drop(drainer);
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

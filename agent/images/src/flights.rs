//! One at a time for each key: whoever wants what is being made already waits for the same. When nobody waits any more, the making ends.

use std::collections::HashMap;
use std::hash::Hash;

use futures::future::{BoxFuture, FutureExt, Shared, WeakShared};
use parking_lot::Mutex;

type Making<T> = BoxFuture<'static, T>;

/// What is being made, by key. Bounded by those who wait: ended ones are dropped with the next that starts.
pub(crate) struct Flights<K, T: Clone>(Mutex<HashMap<K, WeakShared<Making<T>>>>);

impl<K, T: Clone> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// Waits for what is being made under this key, or makes it. Also says whether somebody else had begun it.
    pub(crate) async fn run(&self, key: K, make: impl FnOnce() -> Making<T>) -> (T, bool) {
        let (making, joined) = self.join(key, make);
        (making.await, joined)
    }

    fn join(&self, key: K, make: impl FnOnce() -> Making<T>) -> (Shared<Making<T>>, bool) {
        let mut under_way = self.0.lock();
        // One that has ended, but is still held by a waiter that has not looked, is not joined: its outcome may be out of date.
        if let Some(making) = under_way.get(&key).and_then(WeakShared::upgrade)
            && making.peek().is_none()
        {
            return (making, true);
        }
        under_way.retain(|_, making| making.upgrade().is_some());
        let making = make().shared();
        if let Some(weak) = making.downgrade() {
            under_way.insert(key, weak);
        }
        (making, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_is_wanted_twice_is_made_once() {
        let flights: Flights<&str, usize> = Flights::default();
        let made = Arc::new(AtomicUsize::new(0));
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let counter = Arc::clone(&made);
        let first = flights.run("a", move || {
            Box::pin(async move {
                let _ = gone.await;
                counter.fetch_add(1, Ordering::SeqCst) + 1
            })
        });
        let second = flights.run("a", || unreachable!());
        let release = async { go.send(()).unwrap() };
        let (first, second, ()) = futures::join!(first, second, release);
        assert_eq!((first, second), ((1, false), (1, true)));
        let again = flights.run("a", || Box::pin(async { 2 })).await;
        assert_eq!(again, (2, false));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_ends() {
        let flights: Flights<&str, ()> = Flights::default();
        let (alive, mut ended) = tokio::sync::oneshot::channel::<()>();
        let mut waiting = Box::pin(flights.run("a", move || {
            Box::pin(async move {
                let _alive = alive;
                std::future::pending().await
            })
        }));
        assert!(futures::poll!(&mut waiting).is_pending());
        assert!(ended.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty));
        drop(waiting);
        assert!(ended.await.is_err());
    }
}

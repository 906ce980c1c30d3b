//! Threads of their own for whoever only looks.
//!
//! A client that polls a large `/state` keeps a processor busy, and a master may have two. So operators' requests are answered by threads
//! that give way to all others: frameworks and agents are served as if nobody looked.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Enough that one slow request does not hold up all others.
const THREADS: usize = 2;
/// What the system's scheduler is told of these threads (`nice`, 19 is the most modest): about a tenth of the share of others.
const NICENESS: i32 = 10;

/// The threads. They end with this.
#[derive(Debug)]
pub(crate) struct Readers {
    /// Taken when this is dropped.
    runtime: Option<Runtime>,
}

impl Readers {
    /// Starts them.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("tepui-readers")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// The way to them.
    pub(crate) fn handle(&self) -> Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle().clone(),
            // Only while it is being dropped, when nobody can call this.
            None => Handle::current(),
        }
    }

    /// Has them do something. It is given up when the future that this returns is dropped; `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        AbortOnDropHandle::new(self.handle().spawn(work)).await.ok()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped by a task, which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the calling thread (on Linux it is the thread's own). One that is already more modest stays so.
fn give_way() {
    let lowered = rustix::process::getpriority_process(None).and_then(|niceness| {
        if niceness < NICENESS {
            rustix::process::setpriority_process(None, NICENESS)
        } else {
            Ok(())
        }
    });
    if let Err(error) = lowered {
        warn!("readers run with the priority of all others: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_give_way_and_others_do_not() {
        let readers = Readers::start().expect("threads");
        let own = || rustix::process::getpriority_process(None).expect("its own");
        let before = own();
        let theirs = readers.run(async move { own() }).await;
        assert_eq!(theirs, Some(before.max(NICENESS)));
        assert_eq!(own(), before);
    }

    #[tokio::test]
    async fn a_panic_is_the_end_of_one_request_only() {
        let readers = Readers::start().expect("threads");
        let panicked: Option<()> = readers.run(async { panic!("as it should") }).await;
        assert!(panicked.is_none());
        assert_eq!(readers.run(async { 1 }).await, Some(1));
    }
}

//! From an operator's call to a container that runs, or to nothing: a launch that fails leaves nothing.

use std::sync::Arc;

use tepui_model::ContainerId as CoreId;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::attaching::Output;
use super::prepare::Wanted;
use super::streams::Board;
use super::tree::{Class, Refusal, Stage};
use super::{Nested, SIGKILL, runtime_id};
use crate::containerizer::{ContainerId, Held, Hold};

/// The connection by which a session lives: it ends with this.
pub(super) struct Session {
    nested: Nested,
    id: CoreId,
    number: u64,
}

impl Drop for Session {
    fn drop(&mut self) {
        // One that has ended by itself cannot be found.
        let _ = self.nested.kill_one(&self.id, Some(self.number), SIGKILL);
    }
}

/// A container that is being launched: of this number, and nobody else is at it.
struct Launching {
    number: u64,
    stage: watch::Receiver<Stage>,
    /// Somebody does not want it any more.
    unwanted: CancellationToken,
    at_work: OwnedMutexGuard<()>,
}

impl Nested {
    /// Launches a container and waits until it runs. It is launched also if nobody waits any more.
    pub(crate) async fn launch(&self, wanted: Wanted) -> Result<(), Refusal> {
        let launching = self.admit(&wanted)?;
        let nested = self.clone();
        let launched = async move { nested.carry_out(&wanted, launching).await.map(drop) };
        tokio::spawn(launched)
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    /// Launches a session, which ends when what it writes is dropped, and so at once if nobody waits any more.
    pub(crate) async fn open_session(&self, wanted: Wanted) -> Result<Output, Refusal> {
        let launching = self.admit(&wanted)?;
        let nested = self.clone();
        let opened = async move {
            let session = Session {
                nested: nested.clone(),
                id: wanted.id.clone(),
                number: launching.number,
            };
            let (held, stage) = nested.carry_out(&wanted, launching).await?;
            let failed = |error: std::io::Error| Refusal::Failed(error.to_string());
            let held = held.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
            let (board, pieces) = Board::start(held).map_err(failed)?;
            let mut room = nested.0.room.lock();
            if let Some(live) = room.live(&wanted.id, session.number)
                && !matches!(*stage.borrow(), Stage::Ended(_))
            {
                live.board = Some(board);
            }
            drop(room);
            Ok(Output::of_session(pieces, stage, session))
        };
        tokio::spawn(opened)
            .await
            .unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())))
    }

    fn admit(&self, wanted: &Wanted) -> Result<Launching, Refusal> {
        let mut room = self.0.room.lock();
        let runs = |id: &CoreId| self.0.containerizer.is_running(&runtime_id(id));
        let admitted = room.tree.admit(&wanted.id, wanted.class, runs)?;
        if let Some(evicted) = admitted.evicted {
            room.live.remove(&runtime_id(&evicted));
        }
        let live = room.enter(&wanted.id, admitted.number, Stage::Launching);
        let at_work = Arc::clone(&live.work).try_lock_owned();
        Ok(Launching {
            number: admitted.number,
            stage: live.stage.subscribe(),
            unwanted: live.unwanted.clone(),
            at_work: at_work.expect("nobody else has seen it yet"),
        })
    }

    async fn carry_out(
        &self,
        wanted: &Wanted,
        launching: Launching,
    ) -> Result<(Option<Held>, watch::Receiver<Stage>), Refusal> {
        let (id, number) = (&wanted.id, launching.number);
        let mut stage = launching.stage.clone();
        let held = match self.start(wanted, launching).await {
            Ok(held) => held,
            Err(problem) => {
                self.forget(id, number, true).await;
                return Err(Refusal::Failed(problem));
            }
        };
        // Fails only if the container is removed meanwhile; then it has ended.
        let reached = stage.wait_for(|stage| *stage != Stage::Launching).await;
        let reached = reached.map(|stage| stage.clone());
        let failure = match reached {
            Ok(Stage::Ended(ended)) if ended.failed => ended.message.clone(),
            _ => return Ok((held, stage)),
        };
        self.forget(id, number, true).await;
        Err(Refusal::Failed(failure.unwrap_or_default()))
    }

    /// Whoever wants the container away waits until this is done; what may take long is cut short then.
    async fn start(&self, wanted: &Wanted, launching: Launching) -> Result<Option<Held>, String> {
        let _at_work = launching.at_work;
        let name = &runtime_id(&wanted.id);
        let killed = "the container was killed before it was started";
        let spec = tokio::select! {
            biased;
            () = launching.unwanted.cancelled() => return Err(killed.to_owned()),
            spec = self.0.prepare(wanted, name) => spec?,
        };
        if launching.unwanted.is_cancelled() {
            return Err(killed.to_owned());
        }
        let containerizer = &self.0.containerizer;
        let launched = match wanted.class {
            Class::Plain => containerizer.launch(spec).await.map(|()| None),
            Class::Session => {
                let hold = spec.terminal.map_or(Hold::Pipes, Hold::Terminal);
                containerizer.launch_held(spec, hold).await.map(Some)
            }
        };
        let launched = launched.map_err(|error| error.to_string())?;
        self.handed_over(&wanted.id, launching.number, name);
        Ok(launched)
    }

    /// The containerizer has it: it will tell its end. What came while it did not know it yet is sent now.
    fn handed_over(&self, id: &CoreId, number: u64, name: &ContainerId) {
        let mut room = self.0.room.lock();
        if let Some(live) = room.live(id, number) {
            live.handed_over = true;
        }
        let signal = room.tree.numbered(id, number).and_then(|node| node.signal);
        if let Some(signal) = signal {
            // It may have ended by itself.
            let _ = self.send(name, signal);
        }
    }
}

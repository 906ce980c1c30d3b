//! What containers write and read, for whoever is attached to them.

use std::sync::Arc;

use tepui_model::ContainerId as CoreId;
use tokio::sync::watch;

use super::follow::Followed;
use super::launching::Session;
use super::streams::{self, Board, Kind, Piece, Pieces};
use super::tree::{Refusal, Stage};
use super::{Nested, runtime_id};
use crate::containerizer::{ContainerId, ContainerizerError, Window};

/// What a container writes.
pub(crate) struct Output {
    pieces: Pieces,
    stage: watch::Receiver<Stage>,
    /// Of a session's own connection.
    _session: Option<Session>,
}

impl Output {
    pub(super) fn of_session(
        pieces: Pieces,
        stage: watch::Receiver<Stage>,
        session: Session,
    ) -> Self {
        Self {
            pieces,
            stage,
            _session: Some(session),
        }
    }

    /// The next piece; `None` when the container has ended.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        if let Some(piece) = self.pieces.recv().await {
            return Some(piece);
        }
        // An error: it was removed, and so has ended.
        let _ = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
        None
    }
}

/// A hold on what a container reads, which nobody else has at the same time.
pub(crate) struct Typing {
    nested: Nested,
    name: ContainerId,
    number: u64,
    sink: Sink,
    stage: watch::Receiver<Stage>,
}

enum Sink {
    Board(Arc<Board>),
    /// A terminal that the supervisor keeps.
    Kept(tokio::net::unix::pipe::Sender),
}

impl Typing {
    /// Writes all of it, as fast as it is read. `false` if the container has ended.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<bool> {
        use tokio::io::AsyncWriteExt;
        let written = async {
            match &mut self.sink {
                Sink::Board(board) => board.write(bytes).await,
                Sink::Kept(pipe) => pipe.write_all(bytes).await,
            }
        };
        tokio::select! {
            written = written => written.map(|()| true),
            _ = self.stage.wait_for(|stage| matches!(stage, Stage::Ended(_))) => Ok(false),
        }
    }

    /// The end of input; a terminal has none.
    pub(crate) async fn close(&self) {
        if let Sink::Board(board) = &self.sink {
            board.close().await;
        }
    }

    /// Sets the size of the terminal.
    pub(crate) async fn resize(&self, window: Window) -> Result<(), String> {
        let resized = match &self.sink {
            Sink::Board(board) => board
                .resize(window)
                .await
                .map_err(|error| error.to_string()),
            Sink::Kept(_) => {
                let containerizer = &self.nested.0.containerizer;
                let resized = containerizer.resize(&self.name, window);
                resized.map_err(|error| error.to_string())
            }
        };
        resized.map_err(|error| format!("Unable to set the window size: {error}"))
    }

    /// Waits for the container's end.
    pub(crate) async fn ended(&mut self) {
        // An error: it was removed, and so has ended.
        let _ = self
            .stage
            .wait_for(|stage| matches!(stage, Stage::Ended(_)))
            .await;
    }
}

impl Drop for Typing {
    fn drop(&mut self) {
        let mut room = self.nested.0.room.lock();
        room.typing.remove(&(self.name.clone(), self.number));
    }
}

impl Nested {
    /// What a container writes from now on.
    pub(crate) fn output(&self, id: &CoreId) -> Result<Output, Refusal> {
        let name = runtime_id(id);
        let unknown = || Refusal::Unknown(format!("Container {id} cannot be found"));
        let stage = self.stage(&name).ok_or_else(unknown)?;
        let (board, sandbox) = {
            let room = self.0.room.lock();
            match room.tree.get(id) {
                Some(node) if matches!(node.stage, Stage::Ended(_)) => return Err(unknown()),
                Some(node) => {
                    let live = room.live.get(&name);
                    (live.and_then(|it| it.board.clone()), node.sandbox.clone())
                }
                None => (None, None),
            }
        };
        let output = |pieces| Output {
            pieces,
            stage: stage.clone(),
            _session: None,
        };
        if let Some(board) = board {
            let pieces = board.attach().ok_or_else(|| {
                Refusal::Conflict(format!("Too many are attached to container {id}"))
            })?;
            return Ok(output(pieces));
        }
        let sandbox = match sandbox {
            Some(sandbox) => sandbox,
            None => self.0.sandbox_of(id).ok_or_else(unknown)?,
        };
        let (to, pieces) = streams::queue();
        for (name, kind) in [("stdout", Kind::Out), ("stderr", Kind::Err)] {
            let followed = Followed {
                sandbox: sandbox.clone(),
                name,
                kind,
            };
            let (to, stage, id) = (to.clone(), stage.clone(), id.clone());
            tokio::spawn(async move {
                if let Err(error) = followed.run(to, stage).await {
                    tracing::warn!("the {name} of container {id} cannot be read: {error}");
                }
            });
        }
        Ok(output(pieces))
    }

    /// A hold on what a container reads.
    pub(crate) fn input(&self, id: &CoreId) -> Result<Typing, Refusal> {
        let name = runtime_id(id);
        let unknown = || Refusal::Unknown(format!("Container {id} cannot be found"));
        let stage = self.stage(&name).ok_or_else(unknown)?;
        if matches!(*stage.borrow(), Stage::Ended(_)) {
            return Err(unknown());
        }
        let (number, board) = match self.0.room.lock().live.get(&name) {
            Some(live) => (live.number, live.board.clone()),
            None => (0, None),
        };
        let sink = match board {
            Some(board) => Sink::Board(board),
            None => match self.0.containerizer.typing(&name) {
                Ok(Some(pipe)) => Sink::Kept(pipe),
                Ok(None) => {
                    return Err(Refusal::Busy(format!(
                        "Container {id} has no input to attach to: it is no session and has no terminal"
                    )));
                }
                Err(ContainerizerError::NotRunning(_)) => return Err(unknown()),
                Err(error) => return Err(Refusal::Busy(error.to_string())),
            },
        };
        let own = (name.clone(), number);
        if !self.0.room.lock().typing.insert(own) {
            return Err(Refusal::Conflict(
                "Multiple input connections are not allowed".to_owned(),
            ));
        }
        Ok(Typing {
            nested: self.clone(),
            name,
            number,
            sink,
            stage,
        })
    }
}

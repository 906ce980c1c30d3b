//! The one thread that runs the core: it takes what inputs are there, steps through them, writes their records in one go, and then
//! carries out what came of them, in order.

use std::sync::Arc;

use parking_lot::RwLock;
use tepui_agent_core::view::View;
use tepui_agent_core::{Agent, Change, Input, Output};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::executors::Executors;
use crate::hands::Hands;
use crate::journal::{Journal, JournalError};
use crate::link::Outbox;
use crate::volumes::VolumesRoom;

/// Inputs that may wait for the core. Beyond, those who bring them wait.
pub(crate) const INPUTS: usize = 4096;
/// Inputs that are stepped through together.
const BATCH: usize = 1024;

/// Why the core's thread has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was told to stop; containers run on.
    Stopped,
    /// The agent is done.
    Done(String),
    /// It cannot remember any more.
    Failed(JournalError),
}

/// The core and what it acts by.
pub(crate) struct Driver {
    pub(crate) core: Agent,
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    pub(crate) view: Arc<RwLock<View>>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) executors: Executors,
    pub(crate) hands: Hands,
    pub(crate) volumes: VolumesRoom,
    /// What carrying out outputs leads to at once; stepped before anything else.
    pub(crate) own: Vec<Input>,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) stop: CancellationToken,
}

impl Driver {
    /// Runs until it is told to stop or the agent is done. `first` are outputs of the recovery.
    pub(crate) async fn run(mut self, first: Vec<Output>) -> Ended {
        let mut batch = Vec::with_capacity(BATCH);
        let mut outputs = first;
        loop {
            match self.carry_out(&mut outputs) {
                Ok(None) => {}
                Ok(Some(reason)) => return Ended::Done(reason),
                Err(error) => return Ended::Failed(error),
            }
            if !self.own.is_empty() {
                for input in std::mem::take(&mut self.own) {
                    self.core.step(self.clock.now(), input, &mut outputs);
                }
                continue;
            }
            let stop = self.stop.clone();
            let deadline = self
                .core
                .next_deadline()
                .map(|deadline| self.clock.instant(deadline));
            let tick = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                count = self.inputs.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ended::Stopped;
                    }
                }
                () = tick => batch.push(Input::Tick),
            }
            for input in batch.drain(..) {
                self.core.step(self.clock.now(), input, &mut outputs);
            }
        }
    }

    /// Returns the reason if the agent is done.
    fn carry_out(&mut self, outputs: &mut Vec<Output>) -> Result<Option<String>, JournalError> {
        let mut last = 0;
        for output in outputs.iter() {
            if let Output::Checkpoint { sequence, entry } = output {
                self.journal.append(entry);
                last = *sequence;
            }
        }
        self.journal.write(last)?;
        let (mut changes, mut words) = (Vec::new(), Vec::new());
        let mut done = None;
        for output in outputs.drain(..) {
            match output {
                Output::Checkpoint { .. } => {}
                Output::Launch(launch) => self.hands.launch(launch),
                Output::Signal { container, signal } => self.hands.signal(container, signal),
                Output::Destroy { container } => self.hands.destroy(container),
                Output::Resize { container, limits } => self.hands.resize(container, limits),
                Output::Forget { container } => self.hands.forget(container),
                // In this thread: whatever follows counts on the volumes being there, or gone.
                Output::Volumes(volumes) => {
                    let result = self.volumes.carry_out(&volumes);
                    if let Err(why) = &result {
                        tracing::error!("an operation on volumes failed: {why}");
                    }
                    self.own.push(Input::VolumesDone {
                        operation: volumes.operation,
                        result,
                    });
                }
                Output::VolumesSettled { operation } => self.hands.delete_volumes(operation),
                Output::Probe(probe) => self.hands.probe(probe),
                Output::Changed(change) => {
                    // At once: a launch of this very batch makes its sandbox below the agent's id.
                    self.identify(&change);
                    changes.push(change);
                }
                Output::Exit { reason } => done = Some(reason),
                word @ (Output::ToMaster { .. }
                | Output::CloseStream { .. }
                | Output::ToExecutor { .. }
                | Output::CloseExecutor { .. }
                | Output::Answer { .. }) => words.push(word),
            }
        }
        // Whoever is told of something can read it: what is seen is shown before anything is said.
        self.show(changes);
        self.say(words);
        if self.journal.wants_compaction() {
            self.journal.compact(&self.core.snapshot())?;
        }
        Ok(done)
    }

    /// Says what is for the master and for executors.
    fn say(&self, words: Vec<Output>) {
        let mut sent = false;
        for word in words {
            match word {
                Output::ToMaster { stream, message } => {
                    sent = true;
                    self.outbox.put(stream, *message);
                }
                Output::CloseStream { stream, reason } => {
                    sent = true;
                    self.outbox.close(stream, reason);
                }
                Output::ToExecutor { connection, event } => {
                    self.executors.event(connection, *event)
                }
                Output::CloseExecutor { connection } => self.executors.close(connection),
                Output::Answer { call, result } => self.executors.answer(call, result),
                _ => {}
            }
        }
        if sent {
            self.outbox.flush();
        }
    }

    fn show(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut view = self.view.write();
        for change in changes {
            view.apply(change);
        }
    }

    fn identify(&self, change: &Change) {
        if let Change::Agent(agent) = change
            && let Some(id) = &agent.id
        {
            self.identified(id.as_str());
            // An agent is shown again whenever anything of it changes.
            let known = self.view.read().agent.as_ref().is_some_and(|known| {
                known.registered && known.id == agent.id && known.epoch == agent.epoch
            });
            if agent.registered && !known {
                tracing::info!("registered with the master as agent {id}");
            }
        }
    }

    fn identified(&self, id: &str) {
        let mut known = self.hands.agent.write();
        if *known != id {
            id.clone_into(&mut known);
            if let Err(error) = self.hands.layout.link_agent(id) {
                tracing::warn!(
                    "cannot make the directory of agent {id} in the work directory: {error}"
                );
            }
        }
    }
}

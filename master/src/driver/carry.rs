//! Carrying out what a batch of steps has decided: first it is published, then answered, then sent, each peer's share in one push.

use std::time::Instant;

use tepui_master_core::{Input, LinkKey, LogLevel, Output, StreamKey};

use super::{Driver, Line, Notice, Peer, Stopped, ToScheduler, Write, weigh};
use crate::outbox::Full;

impl Driver {
    /// Flushes the core and carries its outputs out, until peers that overflow (and are told to the core) are no more.
    pub(super) fn finish_batch(&mut self) -> Option<Stopped> {
        loop {
            self.flush();
            let stopped = self.carry_out();
            // Whoever is told of something, by event or answer, can read it: what is seen is published before anything is said.
            if !self.changes.is_empty() {
                self.outlets.view.publish(std::mem::take(&mut self.changes));
            }
            for (caller, reply) in self.answers.drain(..) {
                // A caller that hung up needs no answer.
                let _ = caller.send(reply);
            }
            self.closed_streams.drain(..).for_each(Peer::finish);
            self.closed_links.drain(..).for_each(Peer::finish);
            let overflowed = self.push_frames();
            if overflowed.is_empty() || stopped.is_some() {
                return stopped;
            }
            for notice in overflowed {
                self.step(notice.into());
            }
        }
    }

    /// Lets the core do what it does once a batch, and takes the time of the allocator if it ran.
    fn flush(&mut self) {
        let (began, runs) = (Instant::now(), self.core.counters().allocation_runs);
        self.step(Input::Flush);
        if self.core.counters().allocation_runs != runs {
            let metrics = &self.outlets.metrics;
            let waited = began.duration_since(self.batch_began);
            metrics.allocation_run.took(began.elapsed());
            metrics.allocation_run_latency.took(waited);
        }
    }

    fn carry_out(&mut self) -> Option<Stopped> {
        let mut stopped = None;
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Event { stream, event } => {
                    let size = weigh::event(&event);
                    self.tell_scheduler(stream, ToScheduler::Event(event), size);
                }
                Output::ToAgent { link, message } => {
                    if let Some(peer) = self.links.get_mut(&link) {
                        if peer.pending.is_empty() {
                            self.touched_links.push(link);
                        }
                        let size = weigh::message(&message);
                        peer.pending.push((*message, size));
                    }
                }
                Output::Change(change) => self.changes.push(change),
                Output::Store {
                    sequence,
                    operations,
                } => {
                    // The registrar lives as long as the reign; without it nothing is answered and this driver is about to stop.
                    let _ = self.outlets.writes.send(Write {
                        sequence,
                        operations,
                    });
                }
                Output::Reply { token, reply } => {
                    if let Some(waiter) = self.waiting.remove(&token) {
                        self.answer(waiter, reply);
                    }
                }
                Output::CloseStream { stream, reason } => {
                    if let Some(peer) = self.streams.remove(&stream) {
                        self.say(
                            LogLevel::Info,
                            format!("closing the stream {} of a framework: {reason}", stream.0),
                        );
                        self.closed_streams.push(peer);
                    }
                }
                Output::CloseLink { link, reason } => {
                    if let Some(peer) = self.links.remove(&link) {
                        self.say(
                            LogLevel::Info,
                            format!("closing the stream {} of an agent: {reason}", link.0),
                        );
                        self.closed_links.push(peer);
                    }
                }
                Output::Log { level, line } => self.say(level, line),
                Output::StepDown { reason } => stopped = Some(Stopped::Fenced(reason)),
            }
        }
        self.outputs = outputs;
        stopped
    }

    /// Hands each peer its frame of this batch. Those whose outbox overflowed are forgotten here and returned.
    fn push_frames(&mut self) -> Vec<Notice> {
        let mut overflowed = Vec::new();
        for stream in std::mem::take(&mut self.touched_streams) {
            if let Some(Err(full)) = self
                .streams
                .get_mut(&stream)
                .map(|peer| peer.outbox.push(peer.pending.drain(..)))
            {
                self.streams.remove(&stream);
                self.overflow("framework", stream.0, &full);
                overflowed.push(Notice::StreamClosed(stream));
            }
        }
        for link in std::mem::take(&mut self.touched_links) {
            // Nothing is kept for a link between batches: there are tens of thousands of them.
            if let Some(Err(full)) = self.links.get_mut(&link).map(|peer| {
                peer.outbox
                    .push(std::mem::take(&mut peer.pending).into_iter())
            }) {
                self.links.remove(&link);
                self.overflow("agent", link.0, &full);
                overflowed.push(Notice::LinkClosed(link));
            }
        }
        if self.outlets.outboxes.too_much() {
            self.evict(&mut overflowed);
        }
        let metrics = &self.outlets.metrics;
        metrics.peers(self.streams.len(), self.links.len());
        metrics.outboxes(self.outlets.outboxes.held_bytes());
        overflowed
    }

    /// Closes the streams with the fullest outboxes until all together are well below their bound. Those that read have next to
    /// nothing in theirs, so it is not they who pay for the others.
    fn evict(&mut self, overflowed: &mut Vec<Notice>) {
        enum Who {
            Stream(StreamKey),
            Link(LinkKey),
        }
        let streams = self
            .streams
            .iter()
            .map(|(key, peer)| (peer.outbox.waiting_bytes(), Who::Stream(*key)));
        let links = self
            .links
            .iter()
            .map(|(key, peer)| (peer.outbox.waiting_bytes(), Who::Link(*key)));
        let mut fullest: Vec<(usize, Who)> = streams.chain(links).collect();
        fullest.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, who) in fullest {
            if bytes == 0
                || self.outlets.outboxes.held_bytes() <= self.outlets.outboxes.relief_bytes()
            {
                break;
            }
            match who {
                Who::Stream(key) => {
                    if let Some(peer) = self.streams.remove(&key) {
                        self.overflow("framework", key.0, &peer.outbox.evict());
                        overflowed.push(Notice::StreamClosed(key));
                    }
                }
                Who::Link(key) => {
                    if let Some(peer) = self.links.remove(&key) {
                        self.overflow("agent", key.0, &peer.outbox.evict());
                        overflowed.push(Notice::LinkClosed(key));
                    }
                }
            }
            self.outlets.metrics.outbox_eviction();
        }
    }

    fn overflow(&self, who: &str, key: u64, full: &Full) {
        self.outlets.metrics.outbox_overflow();
        let line = format!(
            "the stream {key} of a {who} is closed: it did not read {} messages ({} bytes)",
            full.items, full.bytes
        );
        self.say(LogLevel::Warn, line);
    }

    fn say(&self, level: LogLevel, text: String) {
        if self.outlets.lines.try_send(Line { level, text }).is_err() {
            self.outlets.metrics.log_line_lost();
        }
    }
}

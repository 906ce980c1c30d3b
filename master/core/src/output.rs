//! Everything a master can ask its shell to do, as one closed enum. Outputs are carried out in order.

use tepui_proto::mesos::scheduler;
use tepui_proto::tepui::v1::MasterMessage;

use crate::change::Change;
use crate::input::{LinkKey, ReplyToken, StreamKey};
use crate::registry::RegistryOperation;

/// What the shell is to do.
#[derive(Debug)]
pub enum Output {
    /// Send one event on a framework's stream. Never after `CloseStream` of the same stream, nor after its `Input::StreamClosed`.
    Event {
        /// The stream.
        stream: StreamKey,
        /// The event.
        event: Box<scheduler::Event>,
    },
    /// Send what is queued for the stream, then end it. The core has forgotten it: `Input::StreamClosed` is not needed, and harmless.
    CloseStream {
        /// The stream.
        stream: StreamKey,
        /// Why, for the log.
        reason: &'static str,
    },
    /// Send one message to an agent; the shell puts the epoch on the frame. Never after `CloseLink` of the same link.
    ToAgent {
        /// The link.
        link: LinkKey,
        /// The message.
        message: Box<MasterMessage>,
    },
    /// Send what is queued for the link, then end it. The core has forgotten it.
    CloseLink {
        /// The link.
        link: LinkKey,
        /// Why, for the log.
        reason: String,
    },
    /// Answer a caller.
    Reply {
        /// The caller.
        token: ReplyToken,
        /// The answer.
        reply: Reply,
    },
    /// Write to the registry, all or nothing, under the condition that no later leader has written. Answered by `Input::Stored`.
    /// Writes may be joined by the shell, never reordered.
    Store {
        /// Names the write.
        sequence: u64,
        /// What to write.
        operations: Vec<RegistryOperation>,
    },
    /// Something that operators see has changed.
    Change(Change),
    /// Worth a line in the log.
    Log {
        /// How serious it is.
        level: LogLevel,
        /// The line.
        line: String,
    },
    /// This master has been fenced off by a later leader (I6). It does nothing more; the shell steps down.
    StepDown {
        /// Why.
        reason: String,
    },
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200.
    Ok,
    /// 202: taken; what comes of it is told by events.
    Accepted,
    /// Refused; nothing was changed.
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The body.
        message: String,
    },
}

/// How serious a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What an operator wants to find later.
    Info,
    /// Something is wrong with a peer or the surroundings.
    Warn,
}

//! Everything that the core wants done.

use std::sync::Arc;

use bytes::Bytes;
use tepui_proto::mesos::{TaskInfo, offer::Operation};

use crate::{
    event::Event, input::ReplyToken, path::PathId, policy::Metric, response::Response, view::Change,
};

/// What the core tells the shell, to be carried out in order.
///
/// Whatever rests on a change of durable state leaves the core only after [`Input::Stored`](crate::Input::Stored) has confirmed it: the
/// core holds it back itself, so a shell that obeys in order tells nobody what could still be lost.
#[derive(Clone, Debug)]
pub enum Output {
    /// The answer to a request.
    Reply(ReplyToken, Response),
    /// Write these, all or nothing, after all lower sequence numbers; then say [`Input::Stored`](crate::Input::Stored). May be batched.
    Store {
        /// Rises by one with each.
        sequence: u64,
        /// What to write.
        mutations: Vec<Mutation>,
    },
    /// ACCEPT: the operations in their order, then one LAUNCH. One of the two is never empty.
    Accept {
        /// The offers, all of one agent.
        offer_ids: Vec<String>,
        /// Other operations than LAUNCH.
        operations: Vec<Operation>,
        /// What to launch.
        tasks: Vec<TaskInfo>,
    },
    /// DECLINE.
    Decline {
        /// The offers.
        offer_ids: Vec<String>,
        /// `Filters.refuse_seconds`, in milliseconds.
        refuse_ms: u64,
    },
    /// KILL.
    Kill {
        /// The task.
        task_id: String,
        /// Where it runs, if known.
        agent_id: Option<String>,
    },
    /// REVIVE for these roles, which are subscribed to if they are not yet (UPDATE_FRAMEWORK).
    Revive {
        /// Roles.
        roles: Vec<String>,
    },
    /// SUPPRESS for these roles.
    Suppress {
        /// Roles.
        roles: Vec<String>,
    },
    /// ACCEPT_INVERSE_OFFERS or DECLINE_INVERSE_OFFERS.
    AnswerInverseOffers {
        /// Inverse offers.
        offer_ids: Vec<String>,
        /// Whether the machines may go down.
        accepted: bool,
        /// Not to be asked again for so long, in milliseconds.
        refuse_ms: u64,
    },
    /// RECONCILE; with no tasks it is implicit reconciliation.
    Reconcile {
        /// Task ids with the agent they run on, if known.
        tasks: Vec<(String, Option<String>)>,
    },
    /// ACKNOWLEDGE.
    Acknowledge {
        /// The agent of the update.
        agent_id: String,
        /// The task of the update.
        task_id: String,
        /// The uuid of the update.
        uuid: Bytes,
    },
    /// Begin to probe, until [`Output::StopHealthCheck`] with the same id; each probe that ended is an
    /// [`Input::HealthResult`](crate::Input::HealthResult), or what its target says.
    StartHealthCheck(Arc<Probe>),
    /// End a probe. Results that were under way may still come.
    StopHealthCheck(CheckId),
    /// Begin to measure, until [`Output::StopMeasure`] with the same id; each measurement is an [`Input::Measured`](crate::Input::Measured).
    StartMeasure(Arc<Measure>),
    /// End measuring. A measurement that was under way may still come.
    StopMeasure(CheckId),
    /// Publish on `/v2/events`.
    Event(Event),
    /// Apply to the [`View`](crate::view::View) from which reads are answered. Comes before the reply that it belongs to.
    Change(Change),
}

/// One write to the durable store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Create or replace the record of this key.
    Put {
        /// Segments joined with `/`, each percent-encoded where it holds a slash: `app/%2Fprod%2Fweb/2015-…Z`.
        key: String,
        /// JSON.
        value: Bytes,
    },
    /// Remove the record of this key, if it is there.
    Delete {
        /// As above.
        key: String,
    },
}

/// What the store held under one key, handed to [`Marathon::new`](crate::Marathon::new).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// As in [`Mutation::Put`].
    pub key: String,
    /// As in [`Mutation::Put`].
    pub value: Bytes,
}

/// Names one running probe: never used twice by one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

/// Something that autoscaling wants to know, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name.
    pub check: CheckId,
    /// The app.
    pub app: PathId,
    /// What.
    pub metric: Metric,
    /// From one measurement to the next, about: those that are due soon after one another may be made together.
    pub interval_ms: u64,
}

/// A check that the shell has to run against one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub check: CheckId,
    /// The task, for logs.
    pub task_id: String,
    /// What to do.
    pub target: ProbeTarget,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Wait this long before the first probe.
    pub first_after_ms: u64,
    /// From the end of one probe to the beginning of the next.
    pub interval_ms: u64,
    /// A probe that takes longer has failed.
    pub timeout_ms: u64,
}

/// How to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeTarget {
    /// GET; redirects are not followed, certificates not verified.
    Http {
        /// https instead of http.
        tls: bool,
        /// Begins with `/`.
        path: String,
        /// Answers of 1xx are [`ProbeOutcome::Ignored`](crate::ProbeOutcome::Ignored).
        ignore_1xx: bool,
    },
    /// Connect.
    Tcp,
    /// GET, and tell what comes as an [`Input::ReadinessResult`](crate::Input::ReadinessResult); certificates are not verified.
    Readiness {
        /// https instead of http.
        tls: bool,
        /// Begins with `/`.
        path: String,
    },
}

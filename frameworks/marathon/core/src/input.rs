//! Everything that can happen to the core.

use bytes::Bytes;
use serde::Serialize;
use tepui_proto::mesos::{InverseOffer, Offer, TaskStatus};

use crate::{deployment::Trial, ended::TaskQuery, output::CheckId};

/// What the shell tells the core. One variant for each kind of event; none ever makes the core panic.
#[derive(Clone, Debug)]
pub enum Input {
    /// A call of the REST API that changes something, or that only the core can answer. Legal at any time; answered by exactly one
    /// [`Output::Reply`](crate::Output::Reply) with the same token.
    Request(ReplyToken, ApiCall),
    /// The master has accepted SUBSCRIBE, for the first time or again. Legal at any time; starts reconciliation and asks for offers.
    Registered {
        /// The framework id; stored at once.
        framework_id: String,
        /// Host name of the master, for events.
        master: String,
    },
    /// The region of the master that has just accepted SUBSCRIBE, if it has one. Legal at any time, before `Registered`; holds until the next.
    HomeRegion(Option<String>),
    /// The stream to the master broke. Offers received before are void. Ignored when not registered.
    Disconnected,
    /// OFFERS. Used at once or declined; ignored (without decline) when not registered, since they are void then.
    Offers(Vec<Offer>),
    /// INVERSE_OFFERS: machines go down for maintenance. Answered at once; ignored when not registered, since they are void then.
    InverseOffers(Vec<InverseOffer>),
    /// UPDATE. Acknowledged by [`Output::Acknowledge`](crate::Output::Acknowledge) when it carries a uuid. Legal at any time.
    TaskUpdate(Box<TaskStatus>),
    /// A probe asked for by [`Output::StartHealthCheck`](crate::Output::StartHealthCheck) has ended. Ignored for unknown checks.
    HealthResult {
        /// Which check.
        check: CheckId,
        /// What came out.
        outcome: ProbeOutcome,
    },
    /// A probe with [`ProbeTarget::Readiness`](crate::ProbeTarget::Readiness) was answered. Ignored for unknown checks.
    ReadinessResult {
        /// Which check.
        check: CheckId,
        /// What came.
        answer: ReadinessAnswer,
    },
    /// What [`Output::StartMeasure`](crate::Output::StartMeasure) asked for was measured, or could not be. Ignored for unknown checks.
    Measured {
        /// Which.
        check: CheckId,
        /// What came out, or why nothing did.
        result: Result<Measured, String>,
    },
    /// The store holds every [`Output::Store`](crate::Output::Store) up to and including this sequence number. Lower numbers than the
    /// last are ignored. If the store fails for good, the shell drops the core: what was not stored was told to nobody.
    Stored {
        /// The highest sequence number that is durable.
        sequence: u64,
    },
    /// The time asked for by `next_deadline` has come. Harmless at any other time.
    Tick,
}

/// Ties a reply to its request; chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// What was measured for autoscaling.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// What tasks use; those that are not there were not measured.
    Usage(Vec<Usage>),
    /// A number for the whole app.
    Value(f64),
}

/// What one task uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// The task.
    pub task_id: String,
    /// Processors, over the time since it was measured last.
    pub cpus: f64,
    /// Memory without page cache, in MiB.
    pub mem_mib: f64,
}

/// Of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyPart {
    /// All of it.
    All,
    /// `autoscaling`.
    Autoscaling,
}

/// With a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// GET.
    Show,
    /// PUT.
    Put(Bytes),
    /// DELETE.
    Delete,
}

/// With how an app is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebalanceAction {
    /// GET.
    Show,
    /// POST.
    Ask {
        /// Only tell what would be moved.
        dry_run: bool,
    },
    /// DELETE: what was asked for is not done any further.
    Cancel,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Status 200 to 399, or connected.
    Healthy,
    /// Anything else, with the reason as people read it: the status line or the error.
    Unhealthy(String),
    /// To be disregarded (1xx with `ignoreHttp1xx`).
    Ignored,
}

/// What a task says when it is asked whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessAnswer {
    /// HTTP status; 504 if nothing came.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// As text; the shell bounds it.
    pub body: String,
}

/// Who asked, for `api_post_event`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Remote address, without port.
    pub client_ip: String,
    /// Path and query of the request.
    pub uri: String,
}

/// Calls of the REST API that go through the core. Ids are as they stood in the URL after percent-decoding (`prod/web`, `//prod/web`);
/// bodies are the bytes that came. `force`, `scale`, `wipe` and so on are the query parameters after their defaults.
#[derive(Clone, Debug)]
pub enum ApiCall {
    /// `POST /v2/apps`.
    CreateApp {
        /// An app definition.
        body: Bytes,
        /// Default false.
        force: bool,
        /// Who asked.
        origin: Origin,
    },
    /// `PUT /v2/apps/{id}` (`create`: true) and `PATCH /v2/apps/{id}` (`create`: false, `partial`: true).
    UpdateApp {
        /// From the URL.
        id: String,
        /// An app update.
        body: Bytes,
        /// Default false.
        force: bool,
        /// `partialUpdate`, default true.
        partial: bool,
        /// Whether a missing app is created.
        create: bool,
        /// Who asked.
        origin: Origin,
    },
    /// `PUT /v2/apps` (`create`: true) and `PATCH /v2/apps` (`create`: false, `partial`: true): an array of updates.
    UpdateApps {
        /// An array of app updates.
        body: Bytes,
        /// Default false.
        force: bool,
        /// `partialUpdate`, default true.
        partial: bool,
        /// Whether missing apps are created.
        create: bool,
    },
    /// `DELETE /v2/apps/{id}`.
    DeleteApp {
        /// From the URL.
        id: String,
        /// Default **true**.
        force: bool,
    },
    /// `POST /v2/apps/{id}/restart`.
    RestartApp {
        /// From the URL.
        id: String,
        /// Default false.
        force: bool,
    },
    /// `DELETE /v2/apps/{id}/tasks`.
    KillAppTasks {
        /// From the URL.
        id: String,
        /// Only tasks on this host; `*` and none mean all.
        host: Option<String>,
        /// Reduce `instances` too.
        scale: bool,
        /// Forget instances, with volumes and reservations.
        wipe: bool,
        /// Matters with `scale`.
        force: bool,
    },
    /// `DELETE /v2/apps/{id}/tasks/{taskId}`.
    KillAppTask {
        /// From the URL.
        id: String,
        /// A task id of any incarnation.
        task_id: String,
        /// Reduce `instances` too.
        scale: bool,
        /// Forget the instance.
        wipe: bool,
        /// Matters with `scale`.
        force: bool,
    },
    /// `POST /v2/tasks/delete`.
    KillTasks {
        /// `{"ids":[…]}`.
        body: Bytes,
        /// Reduce `instances` too.
        scale: bool,
        /// Forget the instances.
        wipe: bool,
        /// Matters with `scale`.
        force: bool,
    },
    /// `DELETE /v2/deployments/{id}`.
    CancelDeployment {
        /// From the URL.
        id: String,
        /// True: stop only; false: a new deployment that reverts it.
        force: bool,
    },
    /// `GET /v2/queue`.
    Queue {
        /// `embed=lastUnusedOffers`.
        last_unused_offers: bool,
    },
    /// `POST /v2/groups` and `POST /v2/groups/{base}`.
    CreateGroup {
        /// From the URL; `/` without.
        base: String,
        /// A group update.
        body: Bytes,
        /// Default false.
        force: bool,
    },
    /// `PUT /v2/groups` and `PUT /v2/groups/{id}`.
    UpdateGroup {
        /// From the URL; `/` without.
        id: String,
        /// A group update: of the structure, a version to go back to, or a factor to scale by.
        body: Bytes,
        /// Default false.
        force: bool,
        /// Only tell the steps.
        dry_run: bool,
    },
    /// `PATCH /v2/groups/{id}`.
    PatchGroup {
        /// From the URL.
        id: String,
        /// `{"enforceRole": …}`.
        body: Bytes,
    },
    /// `DELETE /v2/groups` and `DELETE /v2/groups/{id}`.
    DeleteGroup {
        /// From the URL; `/` without.
        id: String,
        /// Default false.
        force: bool,
    },
    /// `GET /v2/groups/{id}/versions`.
    GroupVersions {
        /// From the URL; `/` without.
        id: String,
    },
    /// `GET /v2/groups/{id}/versions/{version}`.
    GroupVersion {
        /// From the URL; `/` without.
        id: String,
        /// A timestamp.
        version: String,
    },
    /// `POST /v2/pods`.
    CreatePod {
        /// A pod definition.
        body: Bytes,
        /// Default false.
        force: bool,
        /// Who asked.
        origin: Origin,
    },
    /// `PUT /v2/pods/{id}`.
    UpdatePod {
        /// From the URL.
        id: String,
        /// A pod definition.
        body: Bytes,
        /// Default false.
        force: bool,
        /// Who asked.
        origin: Origin,
    },
    /// `DELETE /v2/pods/{id}`.
    DeletePod {
        /// From the URL.
        id: String,
        /// Default false.
        force: bool,
        /// Who asked.
        origin: Origin,
    },
    /// `DELETE /v2/pods/{id}::instances/{instance}`.
    KillPodInstance {
        /// From the URL.
        id: String,
        /// An instance id.
        instance: String,
        /// Forget the instance, with volumes and reservations.
        wipe: bool,
    },
    /// `DELETE /v2/pods/{id}::instances`.
    KillPodInstances {
        /// From the URL.
        id: String,
        /// An array of instance ids.
        body: Bytes,
        /// Forget the instances, with volumes and reservations.
        wipe: bool,
    },
    /// `POST /v3/plan`: changes nothing.
    Plan {
        /// An app update, an array of them, or a group update.
        body: Bytes,
        /// `partialUpdate`, default true.
        partial: bool,
        /// `canary`, `blueGreen`, `promoteAfterSeconds`: how the new version would be tried.
        trial: Option<Trial>,
    },
    /// `POST /v3/apply`.
    Apply {
        /// As for `Plan`.
        body: Bytes,
        /// `partialUpdate`, default true.
        partial: bool,
        /// Default false.
        force: bool,
        /// `deadlineSeconds`: after it the deployment is rolled back.
        deadline_seconds: Option<u64>,
        /// `canary`, `blueGreen`, `promoteAfterSeconds`: how the new version is tried.
        trial: Option<Trial>,
    },
    /// `POST /v3/deployments/{id}/promote`: goes on with what is tried.
    Promote {
        /// From the URL.
        id: String,
        /// Also if not all that is tried is ready.
        force: bool,
    },
    /// `GET /v3/deployments`.
    Deployments,
    /// `PUT /v3/deployments/{id}/deadline` and, without seconds, DELETE.
    Deadline {
        /// From the URL.
        id: String,
        /// From now.
        seconds: Option<u64>,
    },
    /// `/v3/apps/{id}/policy` and its parts.
    Policy {
        /// From the URL.
        id: String,
        /// Which.
        part: PolicyPart,
        /// What to do with it.
        action: PolicyAction,
    },
    /// `GET /v3/apps/{id}/history` and `GET /v3/pods/{id}/history`: tasks that have ended.
    EndedTasks {
        /// From the URL.
        id: String,
        /// Only of a pod.
        of_pod: bool,
        /// Which.
        query: TaskQuery,
    },
    /// `/v3/apps/{id}/rebalance`.
    Rebalance {
        /// From the URL.
        id: String,
        /// What to do.
        action: RebalanceAction,
    },
    /// `GET /v3/apps/{id}/instances`.
    Instances {
        /// From the URL.
        id: String,
    },
    /// `GET /v3/apps/{id}/explain`.
    Explain {
        /// From the URL.
        id: String,
    },
    /// `GET /v3/store/held`.
    Held,
    /// `POST /v3/store/free`.
    FreeHeld {
        /// `{"ids":[…]}`, `{"all":true}`, either with `"end":true`.
        body: Bytes,
    },
    /// `DELETE /v2/queue/{id}/delay`.
    ResetDelay {
        /// From the URL.
        id: String,
    },
}

//! Every path and method of the API with all that it takes and answers. The document and the page are made from it; tests hold it against the
//! router, both ways.

use tepui_marathon_core::TaskQuery;

use super::endpoint::Carries::{Backup, Empty, Events, Json, Text};
use super::endpoint::Takes::{Counted, Many, One};
use super::endpoint::{Answer, Endpoint, Parameter, Refusal, answer, deploys, flag, get, ok};

/// What any request may be answered.
pub(super) const ALWAYS: &[Refusal] = &[
    (500, "a follower's request to the leader broke off"),
    (502, "no leader is known, or it cannot be reached"),
    (
        503,
        "more requests than --http_max_concurrent_requests, or the leadership ended meanwhile",
    ),
];

const DEPLOYMENT_ID: &[&str] = &["Marathon-Deployment-Id"];
const CREATED: &[&str] = &["Location", "Marathon-Deployment-Id"];
const DEPLOYED: Answer = deploys(
    200,
    "a deployment has begun",
    Json("DeploymentResult"),
    DEPLOYMENT_ID,
);

const FORCE: Parameter = flag("force", false, "take over what other deployments hold");
const FORCE_BY_DEFAULT: Parameter = flag("force", true, "take over what other deployments hold");
const PARTIAL: Parameter = flag(
    "partialUpdate",
    true,
    "keep what is not named; otherwise it returns to its default",
);
const SCALE: Parameter = flag("scale", false, "want as many instances fewer");
const WIPE: Parameter = flag(
    "wipe",
    false,
    "forget the instances, with what is reserved for them and their volumes",
);

const CANARY: Parameter = Parameter {
    name: "canary",
    what: "first start so many instances of the new version beside the old ones, `3` or `20%`, and wait for promotion",
    takes: One,
};
const BLUE_GREEN: Parameter = flag(
    "blueGreen",
    false,
    "first start all instances of the new version beside the old ones, and wait for promotion",
);
const PROMOTE_AFTER: Parameter = Parameter {
    name: "promoteAfterSeconds",
    what: "promote by itself when what is tried was ready for so long",
    takes: Counted { required: false },
};

const EMBED_NAMES: &[&str] = &[
    "tasks",
    "counts",
    "deployments",
    "readiness",
    "lastTaskFailure",
    "failures",
    "taskStats",
];
const EMBED: Parameter = Parameter {
    name: "embed",
    what: "what is told of each app; also with the prefix `apps.`, `app.` or `group.apps.`",
    takes: Many(EMBED_NAMES),
};
const GROUP_EMBED: Parameter = Parameter {
    name: "embed",
    what: "what is told of the group; without it groups, apps and pods. What follows `group.apps.` is told of each app",
    takes: Many(&[
        "group.groups",
        "group.apps",
        "group.pods",
        "group.apps.tasks",
        "group.apps.counts",
        "group.apps.deployments",
        "group.apps.readiness",
        "group.apps.lastTaskFailure",
        "group.apps.failures",
        "group.apps.taskStats",
    ]),
};

const NO_APP: Refusal = (404, "there is no such app, or no such version of it");
const NO_GROUP: Refusal = (404, "there is no such group, or no such version of it");
const NO_POD: Refusal = (404, "there is no such pod, or no such version of it");
const NO_QUERY: Refusal = (
    422,
    "`limit` is no number above 0, `since` no timestamp, `status` no state in which tasks end, `cause` no cause, or there is no such parameter",
);
const ENDED_TASKS: &[Parameter] = &[
    Parameter {
        name: "limit",
        what: "show at most so many; 100 without",
        takes: Counted { required: false },
    },
    Parameter {
        name: "since",
        what: "a timestamp: those that ended then or later",
        takes: One,
    },
    Parameter {
        name: "status",
        what: "states in which they ended, with or without `TASK_`, also several with commas between; any of them fits",
        takes: Many(&[]),
    },
    Parameter {
        name: "cause",
        what: "why they ended, also several with commas between; any of them fits",
        takes: Many(TaskQuery::CAUSES),
    },
    Parameter {
        name: "task",
        what: "the one with this task id, or those of an instance with this id",
        takes: One,
    },
];
const NO_TIMESTAMP: Refusal = (422, "the version is no timestamp");
const TOO_MANY: Refusal = (
    403,
    "--max_apps, --max_instances, --max_running_deployments or the last service port is reached",
);
const LOCKED: Refusal = (
    409,
    "other deployments hold what it would change; `deployments` names them",
);
const UNREADABLE: Refusal = (
    400,
    "the body is not JSON, not YAML, or not of the right kind",
);
const TOO_LARGE: Refusal = (413, "the body is larger than 16 MiB");
const MEDIA: Refusal = (415, "the body is of another media type than JSON or YAML");
const INVALID: Refusal = (422, "what is wrong is told by path");

/// Of a change that has a body.
const CHANGES: &[Refusal] = &[
    UNREADABLE, TOO_MANY, NO_APP, LOCKED, TOO_LARGE, MEDIA, INVALID,
];
const CREATES: &[Refusal] = &[
    UNREADABLE,
    TOO_MANY,
    (
        409,
        "it is there already, or other deployments hold what it would change",
    ),
    TOO_LARGE,
    MEDIA,
    INVALID,
];
const CHANGES_GROUP: &[Refusal] = &[
    UNREADABLE, TOO_MANY, NO_GROUP, LOCKED, TOO_LARGE, MEDIA, INVALID,
];
const KILLS: &[Refusal] = &[
    (400, "`scale` and `wipe` do not go together"),
    TOO_MANY,
    (404, "there is no such app, or no such task of it"),
    LOCKED,
    INVALID,
];
/// Of a change without one.
const PLAIN: &[Refusal] = &[TOO_MANY, NO_APP, LOCKED, INVALID];
const PLAIN_GROUP: &[Refusal] = &[TOO_MANY, NO_GROUP, LOCKED, INVALID];
const POLICIES: &[Refusal] = &[UNREADABLE, NO_APP, TOO_LARGE, MEDIA, INVALID];
const PLANS: &[Refusal] = &[
    UNREADABLE,
    TOO_MANY,
    (404, "what it names is not there"),
    LOCKED,
    TOO_LARGE,
    MEDIA,
    INVALID,
];

/// The whole API, in the order of the page.
pub(super) const TABLE: &[Endpoint] = &[
    get(
        "/v2/apps",
        "The apps. Filters must all hold.",
        &[
            Parameter {
                name: "cmd",
                what: "a part of the command, in any letter case",
                takes: One,
            },
            Parameter {
                name: "id",
                what: "a part of the id, in any letter case",
                takes: One,
            },
            Parameter {
                name: "label",
                what: "`key`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, joined with commas; the key must be there",
                takes: One,
            },
            EMBED,
        ],
        &[ok("Apps")],
        &[(422, "the label selector cannot be read")],
    ),
    Endpoint {
        method: "POST",
        path: "/v2/apps",
        what: "Creates an app. Groups above it are made as needed.",
        parameters: &[FORCE],
        body: Some("AppSent"),
        answers: &[deploys(
            201,
            "the app, before service ports are assigned",
            Json("AppInfo"),
            CREATED,
        )],
        refusals: CREATES,
    },
    Endpoint {
        method: "PUT",
        path: "/v2/apps",
        what: "Changes apps, and creates those that are not there, in one deployment.",
        parameters: &[FORCE, PARTIAL],
        body: Some("AppUpdates"),
        answers: &[DEPLOYED],
        refusals: CHANGES,
    },
    Endpoint {
        method: "PATCH",
        path: "/v2/apps",
        what: "Changes apps that are there, in one deployment.",
        parameters: &[FORCE],
        body: Some("AppUpdates"),
        answers: &[DEPLOYED],
        refusals: CHANGES,
    },
    get("/v2/apps/*", "All apps.", &[EMBED], &[ok("AppsBelow")], &[]),
    get(
        "/v2/apps/*/tasks",
        "The tasks of all apps.",
        &[],
        &[ok("Tasks")],
        &[],
    ),
    get(
        "/v2/apps/{group}/*",
        "The apps below a group.",
        &[EMBED],
        &[ok("AppsBelow")],
        &[NO_GROUP],
    ),
    get(
        "/v2/apps/{group}/*/tasks",
        "The tasks of the apps below a group.",
        &[],
        &[ok("Tasks")],
        &[NO_GROUP],
    ),
    get(
        "/v2/apps/{id}",
        "An app with its tasks and its last failure.",
        &[EMBED],
        &[ok("OneApp")],
        &[NO_APP],
    ),
    Endpoint {
        method: "PUT",
        path: "/v2/apps/{id}",
        what: "Changes an app, or creates it; its id is that of the path. `{\"version\": …}` alone goes back to that version.",
        parameters: &[FORCE, PARTIAL],
        body: Some("AppUpdate"),
        answers: &[
            DEPLOYED,
            deploys(201, "the app is new", Json("DeploymentResult"), CREATED),
        ],
        refusals: CHANGES,
    },
    Endpoint {
        method: "PATCH",
        path: "/v2/apps/{id}",
        what: "Changes an app that is there.",
        parameters: &[FORCE],
        body: Some("AppUpdate"),
        answers: &[DEPLOYED],
        refusals: CHANGES,
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/apps/{id}",
        what: "Stops all instances of an app and forgets it, with all its versions.",
        parameters: &[FORCE_BY_DEFAULT],
        body: None,
        answers: &[DEPLOYED],
        refusals: PLAIN,
    },
    Endpoint {
        method: "POST",
        path: "/v2/apps/{id}/restart",
        what: "Replaces every instance of an app, by its upgrade strategy.",
        parameters: &[FORCE],
        body: None,
        answers: &[DEPLOYED],
        refusals: PLAIN,
    },
    get(
        "/v2/apps/{id}/tasks",
        "The tasks of an app.",
        &[],
        &[ok("Tasks")],
        &[NO_APP],
    ),
    Endpoint {
        method: "DELETE",
        path: "/v2/apps/{id}/tasks",
        what: "Kills the tasks of an app.",
        parameters: &[
            Parameter {
                name: "host",
                what: "only those on this host; `*`: all",
                takes: One,
            },
            SCALE,
            WIPE,
            FORCE,
        ],
        body: None,
        answers: &[ok("TasksOrDeployment")],
        refusals: KILLS,
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/apps/{id}/tasks/{taskId}",
        what: "Kills a task of an app; any incarnation of its instance may be named.",
        parameters: &[SCALE, WIPE, FORCE],
        body: None,
        answers: &[ok("TaskOrDeployment")],
        refusals: KILLS,
    },
    get(
        "/v2/apps/{id}/versions",
        "The versions of an app, newest first.",
        &[],
        &[ok("Versions")],
        &[NO_APP],
    ),
    get(
        "/v2/apps/{id}/versions/{version}",
        "An app as it was in a version.",
        &[],
        &[ok("App")],
        &[NO_APP, NO_TIMESTAMP],
    ),
    get(
        "/v2/groups",
        "The root group with all below it.",
        &[GROUP_EMBED],
        &[ok("GroupInfo")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/v2/groups",
        what: "Creates a group with all in it.",
        parameters: &[FORCE],
        body: Some("GroupUpdate"),
        answers: &[deploys(
            201,
            "the group is new",
            Json("DeploymentResult"),
            CREATED,
        )],
        refusals: CHANGES_GROUP,
    },
    Endpoint {
        method: "PUT",
        path: "/v2/groups",
        what: "Changes the root group, or the one that the body names; creates it as needed.",
        parameters: &[FORCE, flag("dryRun", false, "only tell the steps")],
        body: Some("GroupUpdate"),
        answers: &[ok("GroupAnswer")],
        refusals: CHANGES_GROUP,
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/groups",
        what: "Deletes everything.",
        parameters: &[FORCE],
        body: None,
        answers: &[DEPLOYED],
        refusals: PLAIN_GROUP,
    },
    get(
        "/v2/groups/apps",
        "All apps.",
        &[GROUP_EMBED],
        &[ok("AppList")],
        &[],
    ),
    get(
        "/v2/groups/versions",
        "The versions of the root group, newest first.",
        &[],
        &[ok("VersionList")],
        &[],
    ),
    get(
        "/v2/groups/versions/{version}",
        "Everything as it was at a version.",
        &[],
        &[ok("GroupInfo")],
        &[NO_GROUP, NO_TIMESTAMP],
    ),
    get(
        "/v2/groups/{id}",
        "A group with all below it.",
        &[GROUP_EMBED],
        &[ok("GroupInfo")],
        &[NO_GROUP],
    ),
    Endpoint {
        method: "POST",
        path: "/v2/groups/{id}",
        what: "Creates a group below this one, or this one.",
        parameters: &[FORCE],
        body: Some("GroupUpdate"),
        answers: &[deploys(
            201,
            "the group is new",
            Json("DeploymentResult"),
            CREATED,
        )],
        refusals: CHANGES_GROUP,
    },
    Endpoint {
        method: "PUT",
        path: "/v2/groups/{id}",
        what: "Changes a group, or creates it.",
        parameters: &[FORCE, flag("dryRun", false, "only tell the steps")],
        body: Some("GroupUpdate"),
        answers: &[ok("GroupAnswer")],
        refusals: CHANGES_GROUP,
    },
    Endpoint {
        method: "PATCH",
        path: "/v2/groups/{id}",
        what: "Changes whether a top-level group enforces its role.",
        parameters: &[],
        body: Some("GroupPartialUpdate"),
        answers: &[answer(200, "it is so", Empty)],
        refusals: CHANGES_GROUP,
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/groups/{id}",
        what: "Deletes a group with all below it.",
        parameters: &[FORCE],
        body: None,
        answers: &[DEPLOYED],
        refusals: PLAIN_GROUP,
    },
    get(
        "/v2/groups/{id}/apps",
        "The apps below a group.",
        &[GROUP_EMBED],
        &[ok("AppList")],
        &[NO_GROUP],
    ),
    get(
        "/v2/groups/{id}/versions",
        "The versions in which a group was there, newest first.",
        &[],
        &[ok("VersionList")],
        &[NO_GROUP],
    ),
    get(
        "/v2/groups/{id}/versions/{version}",
        "A group as it was at a version.",
        &[],
        &[ok("GroupInfo")],
        &[NO_GROUP, NO_TIMESTAMP],
    ),
    Endpoint {
        method: "HEAD",
        path: "/v2/pods",
        what: "Tells that there are pods here.",
        parameters: &[],
        body: None,
        answers: &[answer(200, "there are", Empty)],
        refusals: &[],
    },
    get(
        "/v2/pods",
        "The definitions of the pods.",
        &[],
        &[ok("Pods")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/v2/pods",
        what: "Creates a pod.",
        parameters: &[FORCE],
        body: Some("PodSent"),
        answers: &[deploys(201, "the pod", Json("Pod"), CREATED)],
        refusals: CREATES,
    },
    get(
        "/v2/pods/::status",
        "How all pods are, with their instances.",
        &[],
        &[ok("PodStatuses")],
        &[],
    ),
    get(
        "/v2/pods/{id}",
        "The definition of a pod.",
        &[],
        &[ok("Pod")],
        &[NO_POD],
    ),
    Endpoint {
        method: "PUT",
        path: "/v2/pods/{id}",
        what: "Replaces a pod as a whole, or creates it.",
        parameters: &[FORCE],
        body: Some("PodSent"),
        answers: &[deploys(200, "the pod", Json("Pod"), DEPLOYMENT_ID)],
        refusals: &[
            (
                400,
                "the body is not JSON, not YAML, not of the right kind, or has another id than the path",
            ),
            TOO_MANY,
            LOCKED,
            TOO_LARGE,
            MEDIA,
            INVALID,
        ],
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/pods/{id}",
        what: "Stops all instances of a pod and forgets it.",
        parameters: &[FORCE],
        body: None,
        answers: &[deploys(
            202,
            "a deployment has begun; `Location` is its id",
            Empty,
            CREATED,
        )],
        refusals: &[TOO_MANY, NO_POD, LOCKED, INVALID],
    },
    get(
        "/v2/pods/{id}::status",
        "How a pod is, with its instances.",
        &[],
        &[ok("PodStatus")],
        &[NO_POD],
    ),
    get(
        "/v2/pods/{id}::versions",
        "The versions of a pod, newest first.",
        &[],
        &[ok("VersionList")],
        &[NO_POD],
    ),
    get(
        "/v2/pods/{id}::versions/{version}",
        "A pod as it was in a version.",
        &[],
        &[ok("Pod")],
        &[NO_POD, NO_TIMESTAMP],
    ),
    Endpoint {
        method: "DELETE",
        path: "/v2/pods/{id}::instances",
        what: "Kills instances of a pod; those that are not there are passed over.",
        parameters: &[WIPE],
        body: Some("InstanceIds"),
        answers: &[answer(
            200,
            "those that are killed",
            Json("KilledInstances"),
        )],
        refusals: &[UNREADABLE, NO_POD, TOO_LARGE, MEDIA, INVALID],
    },
    Endpoint {
        method: "DELETE",
        path: "/v2/pods/{id}::instances/{instanceId}",
        what: "Kills an instance of a pod.",
        parameters: &[WIPE],
        body: None,
        answers: &[answer(200, "it is killed", Json("KilledInstance"))],
        refusals: &[(404, "there is no such pod, or no such instance of it")],
    },
    get(
        "/v2/tasks",
        "The tasks of all apps.",
        &[Parameter {
            name: "status",
            what: "only those that are so; also as `status[]`",
            takes: Many(&["running", "staging"]),
        }],
        &[ok("Tasks")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/v2/tasks/delete",
        what: "Kills tasks; those that are not there are passed over.",
        parameters: &[SCALE, WIPE, FORCE],
        body: Some("TaskIds"),
        answers: &[ok("TasksOrDeployment")],
        refusals: &[
            (
                400,
                "the body cannot be read, an id is none, or `scale` and `wipe` are together",
            ),
            TOO_MANY,
            LOCKED,
            TOO_LARGE,
            MEDIA,
            INVALID,
        ],
    },
    get(
        "/v2/deployments",
        "The deployments under way.",
        &[],
        &[ok("Deployments")],
        &[],
    ),
    Endpoint {
        method: "DELETE",
        path: "/v2/deployments/{deploymentId}",
        what: "Cancels a deployment: a new one goes back.",
        parameters: &[flag(
            "force",
            false,
            "leave everything as it is, and begin no other",
        )],
        body: None,
        answers: &[DEPLOYED, answer(202, "it is stopped; with `force`", Empty)],
        refusals: &[
            TOO_MANY,
            (404, "there is no such deployment"),
            LOCKED,
            INVALID,
        ],
    },
    get(
        "/v2/queue",
        "Apps and pods with instances that wait to be launched.",
        &[Parameter {
            name: "embed",
            what: "what is told of each",
            takes: Many(&["lastUnusedOffers"]),
        }],
        &[ok("Queue")],
        &[],
    ),
    Endpoint {
        method: "DELETE",
        path: "/v2/queue/{id}/delay",
        what: "Ends the back-off of an app, or a pod.",
        parameters: &[],
        body: None,
        answers: &[answer(
            204,
            "it is launched as soon as an offer does",
            Empty,
        )],
        refusals: &[(404, "nothing of that id waits")],
    },
    get("/v2/leader", "Who leads.", &[], &[ok("Leader")], &[]),
    Endpoint {
        method: "DELETE",
        path: "/v2/leader",
        what: "The leader gives the leadership up.",
        parameters: &[],
        body: None,
        answers: &[answer(200, "it will", Json("Error"))],
        refusals: &[],
    },
    get(
        "/v2/info",
        "What the leader was started with.",
        &[],
        &[ok("Info")],
        &[],
    ),
    get("/v2/plugins", "There are none.", &[], &[ok("Plugins")], &[]),
    get(
        "/v2/events",
        "Events as they happen, as server-sent events; `Accept` must name `text/event-stream`. The `data:` of each is an `Event`. \
         Followers answer 302 to the leader.",
        &[
            Parameter {
                name: "event_type",
                what: "only events of these types",
                takes: Many(&[]),
            },
            Parameter {
                name: "plan-format",
                what: "`light`; there is no other",
                takes: One,
            },
        ],
        &[answer(200, "the stream", Events)],
        &[(406, "`Accept` does not name `text/event-stream`")],
    ),
    get(
        "/ping",
        "pong",
        &[],
        &[
            answer(200, "it is there", Text),
            answer(204, "`Accept` names nothing that it can be said in", Empty),
        ],
        &[],
    ),
    get(
        "/metrics",
        "Metrics under Marathon's names.",
        &[],
        &[ok("Metrics")],
        &[],
    ),
    get(
        "/metrics/prometheus",
        "The same for Prometheus.",
        &[],
        &[answer(200, "the metrics", Text)],
        &[],
    ),
    get(
        "/v3/apps/{id}/explain",
        "Why instances of an app, or a pod, wait: what the last offer of each agent lacks, back-off, health.",
        &[],
        &[ok("Explanation")],
        &[NO_APP],
    ),
    get(
        "/v3/apps/{id}/policy",
        "What goes on with an app over time.",
        &[],
        &[ok("AppPolicy")],
        &[NO_APP],
    ),
    Endpoint {
        method: "PUT",
        path: "/v3/apps/{id}/policy",
        what: "Sets what goes on with an app over time, as a whole.",
        parameters: &[],
        body: Some("Policy"),
        answers: &[ok("AppPolicy")],
        refusals: POLICIES,
    },
    Endpoint {
        method: "DELETE",
        path: "/v3/apps/{id}/policy",
        what: "Nothing goes on with an app over time any more.",
        parameters: &[],
        body: None,
        answers: &[ok("AppPolicy")],
        refusals: &[NO_APP],
    },
    get(
        "/v3/apps/{id}/autoscaling",
        "How an app is scaled by itself, and what the last measurement led to.",
        &[],
        &[ok("ScaledApp")],
        &[NO_APP],
    ),
    Endpoint {
        method: "PUT",
        path: "/v3/apps/{id}/autoscaling",
        what: "Scales an app by itself.",
        parameters: &[],
        body: Some("Autoscaling"),
        answers: &[ok("ScaledApp")],
        refusals: POLICIES,
    },
    Endpoint {
        method: "DELETE",
        path: "/v3/apps/{id}/autoscaling",
        what: "Scales an app by itself no more.",
        parameters: &[],
        body: None,
        answers: &[ok("ScaledApp")],
        refusals: &[NO_APP],
    },
    get(
        "/v3/apps/{id}/history",
        "Tasks of an app, or a pod, that have ended, newest first: when, how, why, and where their files are. Also of one that is deleted, for as long as something is kept of it.",
        ENDED_TASKS,
        &[ok("TaskHistory")],
        &[NO_APP, NO_QUERY],
    ),
    get(
        "/v3/pods/{id}/history",
        "The same of a pod.",
        ENDED_TASKS,
        &[ok("TaskHistory")],
        &[NO_POD, NO_QUERY],
    ),
    get(
        "/v3/apps/{id}/rebalance",
        "How an app is spread over agents, and what would be moved by the offers of the last look.",
        &[],
        &[ok("Rebalancing")],
        &[NO_APP],
    ),
    Endpoint {
        method: "POST",
        path: "/v3/apps/{id}/rebalance",
        what: "Spreads the instances of an app more evenly, once: looks at offers for some seconds, and moves one after another until no move \
               gains anything.",
        parameters: &[flag(
            "dryRun",
            false,
            "only look, and tell what would be moved",
        )],
        body: None,
        answers: &[ok("Rebalancing")],
        refusals: &[
            NO_APP,
            (
                422,
                "its instances cannot be moved: a daemon app, or persistent volumes",
            ),
        ],
    },
    get(
        "/v3/apps/{id}/instances",
        "Every instance of an app, or a pod, also those that wait.",
        &[],
        &[ok("InstanceList")],
        &[NO_APP],
    ),
    Endpoint {
        method: "POST",
        path: "/v3/plan",
        what: "What a document would change; nothing is changed.",
        parameters: &[PARTIAL, CANARY, BLUE_GREEN, PROMOTE_AFTER],
        body: Some("Change"),
        answers: &[ok("Plan")],
        refusals: PLANS,
    },
    Endpoint {
        method: "POST",
        path: "/v3/apply",
        what: "Makes the change that /v3/plan tells of.",
        parameters: &[
            PARTIAL,
            FORCE,
            Parameter {
                name: "deadlineSeconds",
                what: "roll back by itself what is not done then",
                takes: Counted { required: false },
            },
            CANARY,
            BLUE_GREEN,
            PROMOTE_AFTER,
        ],
        body: Some("Change"),
        answers: &[DEPLOYED],
        refusals: PLANS,
    },
    get(
        "/v3/deployments",
        "The deployments under way, with what each waits for, and why.",
        &[],
        &[ok("WaitingDeployments")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/v3/deployments/{deploymentId}/promote",
        what: "Goes on with the new version that a deployment tries.",
        parameters: &[flag(
            "force",
            false,
            "also if not all that are tried are ready",
        )],
        body: None,
        answers: &[ok("Promoted")],
        refusals: &[
            (404, "there is no such deployment"),
            (
                409,
                "it tries nothing now, or not all instances that are tried are ready",
            ),
        ],
    },
    Endpoint {
        method: "PUT",
        path: "/v3/deployments/{deploymentId}/deadline",
        what: "Sets the deadline after which a deployment rolls back by itself.",
        parameters: &[Parameter {
            name: "seconds",
            what: "from now",
            takes: Counted { required: true },
        }],
        body: None,
        answers: &[ok("Deadline")],
        refusals: &[
            (404, "there is no such deployment"),
            (422, "`seconds` is not a number above 0"),
        ],
    },
    Endpoint {
        method: "DELETE",
        path: "/v3/deployments/{deploymentId}/deadline",
        what: "Takes the deadline of a deployment away.",
        parameters: &[],
        body: None,
        answers: &[ok("Deadline")],
        refusals: &[(404, "there is no such deployment")],
    },
    get(
        "/v3/backup",
        "All that is stored, as it is at one moment: a file that `tepui store restore` takes.",
        &[],
        &[answer(200, "the file", Backup)],
        &[],
    ),
    get(
        "/v3/store/held",
        "What is reserved for instances that nobody knows and left alone, since a backup was restored.",
        &[],
        &[ok("HeldList")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/v3/store/free",
        what: "Frees what is held since a backup was restored, volumes and all that is in them included, or ends the hold.",
        parameters: &[],
        body: Some("FreeHeld"),
        answers: &[ok("Freed")],
        refusals: &[
            UNREADABLE,
            (404, "nothing is held for one of the ids; nothing was freed"),
            (
                409,
                "nothing is held, or `end` is asked for while something would still be held",
            ),
            TOO_LARGE,
            MEDIA,
            (422, "it does not say what, or cannot be read"),
        ],
    },
    get(
        "/v3/openapi.json",
        "This API as an OpenAPI document.",
        &[],
        &[ok("Document")],
        &[],
    ),
];

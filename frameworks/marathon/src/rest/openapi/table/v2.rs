//! Marathon's own paths below /v2.

use super::{
    DEPLOYED, DEPLOYMENT_ID, FORCE, INVALID, LOCKED, MEDIA, NO_APP, NO_POD, PARTIAL, TOO_LARGE,
    TOO_MANY, UNREADABLE,
};
use crate::rest::openapi::endpoint::Carries::{Empty, Events, Json};
use crate::rest::openapi::endpoint::Takes::{Many, One};
use crate::rest::openapi::endpoint::{
    Endpoint, Parameter, Refusal, answer, deploys, flag, get, ok,
};

const CREATED: &[&str] = &["Location", "Marathon-Deployment-Id"];

const FORCE_BY_DEFAULT: Parameter = flag("force", true, "take over what other deployments hold");

const SCALE: Parameter = flag("scale", false, "want as many instances fewer");

const WIPE: Parameter = flag(
    "wipe",
    false,
    "forget the instances, with what is reserved for them and their volumes",
);

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

const NO_GROUP: Refusal = (404, "there is no such group, or no such version of it");

const NOT_TEXT: Refusal = (
    406,
    "`Accept` admits no `application/json`; the lists in plain text of old are gone",
);

const NO_TIMESTAMP: Refusal = (422, "the version is no timestamp");

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

/// In the order of the page.
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
        &[NOT_TEXT],
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
        &[NO_GROUP, NOT_TEXT],
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
        &[NO_APP, NOT_TEXT],
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
        &[NOT_TEXT],
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
];

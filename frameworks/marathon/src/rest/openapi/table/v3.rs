//! Tepui's additions.

use tepui_marathon_core::TaskQuery;

use super::{
    DEPLOYED, FORCE, INVALID, LOCKED, MEDIA, NO_APP, NO_POD, PARTIAL, TOO_LARGE, TOO_MANY,
    UNREADABLE,
};
use crate::rest::openapi::endpoint::Carries::Backup;
use crate::rest::openapi::endpoint::Takes::{Counted, Many, One};
use crate::rest::openapi::endpoint::{Endpoint, Parameter, Refusal, answer, flag, get, ok};

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

/// In the order of the page.
pub(super) const TABLE: &[Endpoint] = &[
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
    Endpoint {
        method: "DELETE",
        path: "/v3/apps/{id}/rebalance",
        what: "Calls off what was asked for; a move that has begun is finished.",
        parameters: &[],
        body: None,
        answers: &[ok("Rebalancing")],
        refusals: &[NO_APP],
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

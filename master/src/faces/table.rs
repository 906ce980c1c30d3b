//! Every path that the master answers, who answers it, and what it is for. Requests are routed by it, and `/help`, the OpenAPI document and
//! the page of the documentation are made from it, so that none of them can tell of what is not there.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::asked::{Asked, Response};
use super::legacy::{files, maintenance, operations, process, registry, writes};
use super::{Face, legacy, logging, openapi, operator, proxy, scheduler, tepui};

/// Which paths an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The path itself.
    Itself,
    /// What is below it.
    Below,
    /// Both.
    Both,
}

/// Answers requests.
pub(crate) type Handler = fn(Arc<Face>, Asked) -> BoxFuture<'static, Response>;

/// One path.
pub(crate) struct Entry {
    /// Without a slash at its beginning or end.
    pub(crate) path: &'static str,
    pub(crate) reach: Reach,
    /// Whether it is also reachable below `/master`.
    pub(crate) of_master: bool,
    pub(crate) handler: Handler,
    /// What is documented.
    pub(crate) endpoints: &'static [Endpoint],
}

/// A path and a method, as operators are told of it.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) what: &'static str,
    /// Of the query: name and meaning.
    pub(crate) parameters: &'static [(&'static str, &'static str)],
    pub(crate) body: Body,
    /// Status codes and when they come.
    pub(crate) answers: &'static [(u16, &'static str)],
    /// The media type of the answer; empty if it has no content.
    pub(crate) gives: &'static str,
}

/// What a request carries.
pub(crate) enum Body {
    Nothing,
    /// A form: names and meanings.
    Form(&'static [(&'static str, &'static str)]),
    /// JSON, by an example.
    Json(&'static str),
    /// A call of the operator API.
    Call,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const OK: &[(u16, &str)] = &[(200, "the answer")];
const TAGGED: &[(u16, &str)] = &[
    (200, "the answer"),
    (304, "the client has it already (If-None-Match)"),
];
const DONE: &[(u16, &str)] = &[(200, "done"), (400, "refused; the text says why")];
const OPERATION: &[(u16, &str)] = &[
    (202, "the operation is on its way to the agent"),
    (400, "the request is invalid, or the agent is unknown"),
    (409, "too little of it is free on the agent"),
];
const FILE: &[(u16, &str)] = &[
    (200, "the answer"),
    (400, "a parameter is missing or wrong"),
    (404, "there is no such file"),
];
const PATH: &[(&str, &str)] = &[("path", "the virtual path; the master shows /master/log")];

/// A GET that answers with JSON.
const fn get(
    path: &'static str,
    what: &'static str,
    answers: &'static [(u16, &'static str)],
) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        what,
        parameters: &[],
        body: Body::Nothing,
        answers,
        gives: JSON,
    }
}

/// Anything else that answers without content.
const fn with(
    method: &'static str,
    path: &'static str,
    what: &'static str,
    body: Body,
    answers: &'static [(u16, &'static str)],
) -> Endpoint {
    Endpoint {
        method,
        path,
        what,
        parameters: &[],
        body,
        answers,
        gives: "",
    }
}

macro_rules! entry {
    ($path:literal, $reach:ident, $of_master:literal, $handler:path, $endpoints:expr) => {
        Entry {
            path: $path,
            reach: Reach::$reach,
            of_master: $of_master,
            handler: |face, asked| Box::pin($handler(face, asked)),
            endpoints: &$endpoints,
        }
    };
    ($path:literal, $handler:path, $endpoints:expr) => {
        entry!($path, Itself, true, $handler, $endpoints)
    };
}

/// Everything but the pages of the UI.
pub(crate) static TABLE: &[Entry] = &[
    // Mesos lets whatever follows these two pass.
    entry!("api/v1/scheduler", Both, true, scheduler::call, []),
    entry!(
        "api/v1",
        Both,
        true,
        operator::call,
        [Endpoint {
            gives: JSON,
            ..with(
                "POST",
                "/api/v1",
                "The operator API: one call.",
                Body::Call,
                &[
                    (200, "done, or the answer"),
                    (202, "accepted; an operation is on its way to the agent"),
                    (400, "the call is malformed or invalid; the text says why"),
                    (404, "there is no such agent or file"),
                    (409, "the call conflicts with what is there"),
                    (
                        415,
                        "the Content-Type is neither application/json nor application/x-protobuf"
                    ),
                    (
                        406,
                        "the Accept header admits neither application/json nor application/x-protobuf"
                    ),
                    (503, "a conflicting transition is under way; try again"),
                ]
            )
        }]
    ),
    entry!(
        "state",
        legacy::state,
        [get(
            "/state",
            "Everything: agents, frameworks, tasks, flags.",
            TAGGED
        )]
    ),
    entry!(
        "state-summary",
        legacy::state_summary,
        [get(
            "/state-summary",
            "Agents and frameworks, with how many tasks they have in which state.",
            TAGGED
        )]
    ),
    entry!(
        "slaves",
        legacy::slaves,
        [Endpoint {
            parameters: &[("slave_id", "only this agent")],
            ..get(
                "/slaves",
                "Agents with all that is known of their resources.",
                TAGGED
            )
        }]
    ),
    entry!(
        "frameworks",
        legacy::frameworks,
        [Endpoint {
            parameters: &[("framework_id", "only this framework")],
            ..get(
                "/frameworks",
                "Frameworks with their tasks, offers and executors.",
                TAGGED
            )
        }]
    ),
    entry!(
        "tasks",
        legacy::tasks,
        [Endpoint {
            parameters: &[
                ("framework_id", "only tasks of this framework"),
                ("task_id", "only tasks of this id"),
                ("limit", "at most so many; 100 unless told otherwise"),
                ("offset", "without the first so many"),
                (
                    "order",
                    "asc: the oldest first; des, the default: the newest first"
                ),
            ],
            ..get(
                "/tasks",
                "Tasks of all kinds, a page of them.",
                &[
                    (200, "the answer"),
                    (304, "the client has it already (If-None-Match)"),
                    (400, "a parameter is no number")
                ]
            )
        }]
    ),
    entry!(
        "roles",
        legacy::roles,
        [get(
            "/roles",
            "Roles with weight, quota, and what they hold, sub-roles counted with their parents.",
            TAGGED
        )]
    ),
    entry!(
        "quota",
        writes::quota,
        [
            get("/quota", "Guarantees and limits of roles.", TAGGED),
            with(
                "POST",
                "/quota",
                "Deprecated: guarantee resources to a role without quota, and limit it to them.",
                Body::Json(
                    r#"{"role":"web","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}}],"force":false}"#
                ),
                &[
                    (200, "done"),
                    (400, "refused; the text says why"),
                    (
                        409,
                        "the cluster cannot give that much, and it is not forced"
                    )
                ]
            ),
        ]
    ),
    entry!(
        "quota",
        Below,
        true,
        writes::quota_of_role,
        [with(
            "DELETE",
            "/quota/{role}",
            "Deprecated: take a role's quota away.",
            Body::Nothing,
            DONE
        )]
    ),
    entry!(
        "weights",
        writes::weights,
        [
            get("/weights", "The weights that were set.", TAGGED),
            with(
                "PUT",
                "/weights",
                "Set weights of roles; others keep theirs.",
                Body::Json(r#"[{"weight":2.5,"role":"web"}]"#),
                DONE
            ),
        ]
    ),
    entry!(
        "reserve",
        operations::reserve,
        [with(
            "POST",
            "/reserve",
            "Reserve what is free on an agent for a role.",
            Body::Form(&[
                ("slaveId", "the agent"),
                (
                    "resources",
                    "a JSON list of resources with their reservations"
                ),
                ("source", "a JSON list: as they are reserved before")
            ]),
            OPERATION
        )]
    ),
    entry!(
        "unreserve",
        operations::unreserve,
        [with(
            "POST",
            "/unreserve",
            "Give a reservation back.",
            Body::Form(&[
                ("slaveId", "the agent"),
                ("resources", "a JSON list of reserved resources")
            ]),
            OPERATION
        )]
    ),
    entry!(
        "create-volumes",
        operations::create_volumes,
        [with(
            "POST",
            "/create-volumes",
            "Make persistent volumes of reserved disk.",
            Body::Form(&[
                ("slaveId", "the agent"),
                ("volumes", "a JSON list of volumes")
            ]),
            OPERATION
        )]
    ),
    entry!(
        "destroy-volumes",
        operations::destroy_volumes,
        [with(
            "POST",
            "/destroy-volumes",
            "Delete persistent volumes that nobody uses, with what is in them.",
            Body::Form(&[
                ("slaveId", "the agent"),
                ("volumes", "a JSON list of volumes")
            ]),
            OPERATION
        )]
    ),
    entry!(
        "teardown",
        writes::teardown,
        [with(
            "POST",
            "/teardown",
            "Remove a framework and everything that it runs.",
            Body::Form(&[("frameworkId", "the framework")]),
            DONE
        )]
    ),
    entry!(
        "maintenance/schedule",
        maintenance::schedule,
        [
            get(
                "/maintenance/schedule",
                "The windows of maintenance.",
                TAGGED
            ),
            with(
                "POST",
                "/maintenance/schedule",
                "Replace all windows of maintenance.",
                Body::Json(
                    r#"{"windows":[{"machine_ids":[{"hostname":"node1"}],"unavailability":{"start":{"nanoseconds":1900000000000000000},"duration":{"nanoseconds":3600000000000}}}]}"#
                ),
                DONE
            ),
        ]
    ),
    entry!(
        "maintenance/status",
        maintenance::status,
        [get(
            "/maintenance/status",
            "Machines that drain, with what frameworks answered, and machines that are down.",
            TAGGED
        )]
    ),
    entry!(
        "machine/down",
        maintenance::down,
        [with(
            "POST",
            "/machine/down",
            "Take machines down that are draining.",
            Body::Json(r#"[{"hostname":"node1"}]"#),
            DONE
        )]
    ),
    entry!(
        "machine/up",
        maintenance::up,
        [with(
            "POST",
            "/machine/up",
            "Bring machines that are down back into service.",
            Body::Json(r#"[{"hostname":"node1"}]"#),
            DONE
        )]
    ),
    entry!(
        "flags",
        legacy::flags,
        [get(
            "/flags",
            "The flags that this master was started with.",
            OK
        )]
    ),
    entry!(
        "health",
        legacy::health,
        [Endpoint {
            gives: "",
            ..get("/health", "This master answers.", &[(200, "it does")])
        }]
    ),
    entry!(
        "version",
        legacy::version,
        [get(
            "/version",
            "The version of Mesos whose API this is.",
            OK
        )]
    ),
    entry!(
        "redirect",
        legacy::to_leader,
        [Endpoint {
            gives: "",
            ..get(
                "/redirect",
                "To the leader.",
                &[(307, "where it is"), (503, "nobody leads")]
            )
        }]
    ),
    entry!(
        "metrics/snapshot",
        legacy::metrics_snapshot,
        [Endpoint {
            parameters: &[("timeout", "a duration such as 5secs; never needed")],
            ..get(
                "/metrics/snapshot",
                "All metrics by name.",
                &[(200, "the answer"), (400, "the timeout is no duration")]
            )
        }]
    ),
    entry!(
        "metrics",
        legacy::metrics_text,
        [Endpoint {
            gives: TEXT,
            ..get("/metrics", "All metrics, for Prometheus.", OK)
        }]
    ),
    entry!(
        "files/browse",
        files::browse,
        [Endpoint {
            parameters: PATH,
            ..get("/files/browse", "What is in a folder.", FILE)
        }]
    ),
    entry!(
        "files/read",
        files::read,
        [Endpoint {
            parameters: &[
                PATH[0],
                ("offset", "where to begin; -1 or nothing asks for the size"),
                ("length", "at most so many bytes, and no more than 65536")
            ],
            ..get("/files/read", "A part of a file as text.", FILE)
        }]
    ),
    entry!(
        "files/download",
        files::download,
        [Endpoint {
            parameters: PATH,
            gives: "application/octet-stream",
            ..get("/files/download", "A whole file.", FILE)
        }]
    ),
    entry!(
        "files/debug",
        files::debug,
        [get("/files/debug", "Virtual and real paths.", OK)]
    ),
    entry!(
        "logging/toggle",
        logging::toggle,
        [Endpoint {
            parameters: &[
                (
                    "level",
                    "0 is what it was started with, 1 adds debugging, 2 everything"
                ),
                ("duration", "for how long, such as 5mins")
            ],
            gives: TEXT,
            ..get(
                "/logging/toggle",
                "How much is logged; with both parameters: log more for a while.",
                &[
                    (200, "the level, or nothing when it was set"),
                    (400, "a parameter is missing or wrong"),
                    (
                        501,
                        "the program that runs this master cannot change its log"
                    )
                ]
            )
        }]
    ),
    entry!(
        "system/stats.json",
        process::system_stats,
        [get(
            "/system/stats.json",
            "Load and memory of the machine.",
            OK
        )]
    ),
    entry!(
        "registrar(1)/registry",
        registry::registry,
        [get(
            "/registrar(1)/registry",
            "What the registry keeps.",
            TAGGED
        )]
    ),
    entry!(
        "hierarchical-allocator(1)/offer_constraints_debug",
        legacy::offer_constraints_debug,
        [get(
            "/hierarchical-allocator(1)/offer_constraints_debug",
            "Which agents offer constraints hide from which framework and role.",
            OK
        ),]
    ),
    entry!(
        "help",
        Both,
        true,
        process::help,
        [Endpoint {
            gives: TEXT,
            ..get("/help", "Every endpoint and what it is for.", OK)
        }]
    ),
    entry!(
        "tepui/v1/info",
        Itself,
        false,
        tepui::info,
        [get(
            "/tepui/v1/info",
            "Who this master is and who leads; any master answers.",
            OK
        )]
    ),
    entry!(
        "tepui/v1/openapi.json",
        Itself,
        false,
        openapi::document,
        [get(
            "/tepui/v1/openapi.json",
            "This API as an OpenAPI document; any master answers.",
            OK
        )]
    ),
    entry!(
        "tepui/v1/events",
        Itself,
        false,
        tepui::events,
        [Endpoint {
            gives: "text/event-stream",
            ..get(
                "/tepui/v1/events",
                "Everything operators see, as server-sent events: a snapshot, then every change.",
                &[(200, "the stream"), (503, "there are too many subscribers")]
            )
        }]
    ),
    entry!(
        "tepui/v1/tasks",
        Both,
        false,
        tepui::tasks,
        [Endpoint {
            parameters: &[(
                "grace",
                "instead of the task's own grace period, such as 5secs"
            )],
            ..with(
                "POST",
                "/tepui/v1/tasks/{framework_id}/{task_id}/kill",
                "Kill a task; its framework sees an ordinary TASK_KILLED.",
                Body::Nothing,
                &[
                    (202, "it is being killed"),
                    (400, "the grace period is no duration"),
                    (404, "there is no such task")
                ]
            )
        }]
    ),
    entry!("tepui/v1/agents", Both, false, proxy::agent_files, []),
    entry!("tepui", Both, false, tepui::nothing, []),
    entry!("service", Both, false, proxy::service, []),
    entry!("agent", Both, false, proxy::agent, []),
];

//! Every call of the operator API in one table: the field that it needs, what it answers, and an example. The check of calls, the OpenAPI
//! document and the page of the documentation are made from it.

use tepui_proto::mesos::master::{Call, call};

/// Whether a field is there.
pub(crate) type IsThere = fn(&Call) -> bool;

/// One type of call.
pub(crate) struct CallRow {
    pub(crate) kind: call::Type,
    /// The field that has to be there, and whether it is.
    pub(crate) field: Option<(&'static str, IsThere)>,
    /// What it does, in a sentence.
    pub(crate) what: &'static str,
    /// Status codes beyond those that every call has, and when they come.
    pub(crate) answers: &'static [(u16, &'static str)],
    /// A call that is well-formed.
    pub(crate) example: &'static str,
}

const READ: &[(u16, &str)] = &[(200, "the answer")];
const DONE: &[(u16, &str)] = &[
    (200, "done, and kept in the registry"),
    (400, "refused; the text says why"),
];
const OPERATION: &[(u16, &str)] = &[
    (202, "the operation is on its way to the agent"),
    (400, "the operation is invalid, or the agent is unknown"),
    (409, "too little of it is free on the agent"),
];

macro_rules! row {
    ($kind:ident, $answers:expr, $what:literal, $example:literal) => {
        CallRow {
            kind: call::Type::$kind,
            field: None,
            what: $what,
            answers: $answers,
            example: $example,
        }
    };
    ($kind:ident, $field:ident, $answers:expr, $what:literal, $example:literal) => {
        CallRow {
            kind: call::Type::$kind,
            field: Some((stringify!($field), |call| call.$field.is_some())),
            what: $what,
            answers: $answers,
            example: $example,
        }
    };
}

/// The calls, in the order of their numbers.
pub(crate) const CALLS: &[CallRow] = &[
    row!(
        GetHealth,
        READ,
        "Whether this master works.",
        r#"{"type":"GET_HEALTH"}"#
    ),
    row!(
        GetFlags,
        READ,
        "The flags that it was started with.",
        r#"{"type":"GET_FLAGS"}"#
    ),
    row!(
        GetVersion,
        READ,
        "The version of Mesos whose API this is.",
        r#"{"type":"GET_VERSION"}"#
    ),
    row!(
        GetMetrics,
        get_metrics,
        READ,
        "All metrics by name.",
        r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":5000000000}}}"#
    ),
    row!(
        GetLoggingLevel,
        READ,
        "How much is logged: 0 is what it was started with.",
        r#"{"type":"GET_LOGGING_LEVEL"}"#
    ),
    row!(
        SetLoggingLevel,
        set_logging_level,
        &[
            (200, "the level holds for the duration, then 0 again"),
            (400, "the duration is negative or too long"),
            (
                501,
                "the program that runs this master cannot change its log"
            ),
        ],
        "Log more for a while: 1 adds debugging, 2 everything.",
        r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1,"duration":{"nanoseconds":60000000000}}}"#
    ),
    row!(
        ListFiles,
        list_files,
        &[(200, "what is there"), (404, "there is no such path")],
        "The files of a virtual folder.",
        r#"{"type":"LIST_FILES","list_files":{"path":"/master/log"}}"#
    ),
    row!(
        ReadFile,
        read_file,
        &[
            (200, "at most 64 KiB of it"),
            (404, "there is no such file")
        ],
        "A part of a file, and how large the whole is.",
        r#"{"type":"READ_FILE","read_file":{"path":"/master/log","offset":0,"length":100}}"#
    ),
    row!(
        GetState,
        READ,
        "Tasks, executors, frameworks and agents at one moment.",
        r#"{"type":"GET_STATE"}"#
    ),
    row!(
        GetAgents,
        READ,
        "Registered agents, and those of the registry that have not returned to this leader.",
        r#"{"type":"GET_AGENTS"}"#
    ),
    row!(
        GetFrameworks,
        READ,
        "Frameworks with their offers, and completed ones.",
        r#"{"type":"GET_FRAMEWORKS"}"#
    ),
    row!(
        GetExecutors,
        READ,
        "Executors and their agents.",
        r#"{"type":"GET_EXECUTORS"}"#
    ),
    row!(
        GetTasks,
        READ,
        "Active, unreachable and completed tasks.",
        r#"{"type":"GET_TASKS"}"#
    ),
    row!(
        GetRoles,
        READ,
        "Roles with weight, frameworks and resources.",
        r#"{"type":"GET_ROLES"}"#
    ),
    row!(
        GetWeights,
        READ,
        "The weights that were set.",
        r#"{"type":"GET_WEIGHTS"}"#
    ),
    row!(
        UpdateWeights,
        update_weights,
        DONE,
        "Set weights of roles; others keep theirs. Outstanding offers are rescinded.",
        r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"weight":2.5,"role":"web"}]}}"#
    ),
    row!(
        GetMaster,
        READ,
        "Who this master is, and since when it leads.",
        r#"{"type":"GET_MASTER"}"#
    ),
    row!(
        Subscribe,
        &[(
            200,
            "a stream of RecordIO that begins with SUBSCRIBED and a snapshot"
        )],
        "Be told of every change as it happens.",
        r#"{"type":"SUBSCRIBE"}"#
    ),
    row!(
        ReserveResources,
        reserve_resources,
        OPERATION,
        "Reserve what is free on an agent for a role.",
        r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"a1"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}]}]}}"#
    ),
    row!(
        UnreserveResources,
        unreserve_resources,
        OPERATION,
        "Give a reservation back.",
        r#"{"type":"UNRESERVE_RESOURCES","unreserve_resources":{"agent_id":{"value":"a1"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}]}]}}"#
    ),
    row!(
        CreateVolumes,
        create_volumes,
        OPERATION,
        "Make persistent volumes of reserved disk.",
        r#"{"type":"CREATE_VOLUMES","create_volumes":{"agent_id":{"value":"a1"},"volumes":[{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}],"disk":{"persistence":{"id":"v1","principal":"ops"},"volume":{"mode":"RW","container_path":"data"}}}]}}"#
    ),
    row!(
        DestroyVolumes,
        destroy_volumes,
        OPERATION,
        "Delete persistent volumes that nobody uses, with what is in them.",
        r#"{"type":"DESTROY_VOLUMES","destroy_volumes":{"agent_id":{"value":"a1"},"volumes":[{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}],"disk":{"persistence":{"id":"v1","principal":"ops"},"volume":{"mode":"RW","container_path":"data"}}}]}}"#
    ),
    row!(
        GetMaintenanceStatus,
        READ,
        "Machines that drain, with what frameworks answered, and machines that are down.",
        r#"{"type":"GET_MAINTENANCE_STATUS"}"#
    ),
    row!(
        GetMaintenanceSchedule,
        READ,
        "The windows of maintenance.",
        r#"{"type":"GET_MAINTENANCE_SCHEDULE"}"#
    ),
    row!(
        UpdateMaintenanceSchedule,
        update_maintenance_schedule,
        DONE,
        "Replace all windows of maintenance.",
        r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[{"hostname":"node1"}],"unavailability":{"start":{"nanoseconds":1900000000000000000},"duration":{"nanoseconds":3600000000000}}}]}}}"#
    ),
    row!(
        StartMaintenance,
        start_maintenance,
        DONE,
        "Take machines down that are draining: their agents are shut down and removed.",
        r#"{"type":"START_MAINTENANCE","start_maintenance":{"machines":[{"hostname":"node1"}]}}"#
    ),
    row!(
        StopMaintenance,
        stop_maintenance,
        DONE,
        "Bring machines that are down back into service.",
        r#"{"type":"STOP_MAINTENANCE","stop_maintenance":{"machines":[{"hostname":"node1"}]}}"#
    ),
    row!(
        GetQuota,
        READ,
        "Guarantees and limits of roles.",
        r#"{"type":"GET_QUOTA"}"#
    ),
    row!(
        SetQuota,
        set_quota,
        &[
            (200, "done, and kept in the registry"),
            (400, "refused; the text says why"),
            (
                409,
                "the cluster cannot give that much, and it is not forced"
            )
        ],
        "Deprecated: guarantee resources to a role without quota, and limit it to them.",
        r#"{"type":"SET_QUOTA","set_quota":{"quota_request":{"role":"web","guarantee":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}}]}}}"#
    ),
    row!(
        RemoveQuota,
        remove_quota,
        DONE,
        "Deprecated: take a role's quota away.",
        r#"{"type":"REMOVE_QUOTA","remove_quota":{"role":"web"}}"#
    ),
    row!(
        Teardown,
        teardown,
        DONE,
        "Remove a framework and everything that it runs.",
        r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f1"}}}"#
    ),
    row!(
        MarkAgentGone,
        mark_agent_gone,
        &[
            (200, "it is gone, or was before"),
            (404, "the agent is unknown"),
            (503, "another transition of the agent is under way"),
        ],
        "Declare that an agent will never return: its tasks are GONE_BY_OPERATOR.",
        r#"{"type":"MARK_AGENT_GONE","mark_agent_gone":{"agent_id":{"value":"a1"}}}"#
    ),
    row!(
        GetOperations,
        READ,
        "Operations that are not over or not acknowledged.",
        r#"{"type":"GET_OPERATIONS"}"#
    ),
    row!(
        GrowVolume,
        grow_volume,
        OPERATION,
        "Enlarge a persistent volume.",
        r#"{"type":"GROW_VOLUME","grow_volume":{"agent_id":{"value":"a1"},"volume":{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}],"disk":{"persistence":{"id":"v1","principal":"ops"},"volume":{"mode":"RW","container_path":"data"}}},"addition":{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}]}}}"#
    ),
    row!(
        ShrinkVolume,
        shrink_volume,
        OPERATION,
        "Make a persistent volume smaller.",
        r#"{"type":"SHRINK_VOLUME","shrink_volume":{"agent_id":{"value":"a1"},"volume":{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"reservations":[{"type":"DYNAMIC","role":"web","principal":"ops"}],"disk":{"persistence":{"id":"v1","principal":"ops"},"volume":{"mode":"RW","container_path":"data"}}},"subtract":{"value":32.0}}}"#
    ),
    row!(
        UpdateQuota,
        update_quota,
        DONE,
        "Set guarantees and limits of roles, all of them or none.",
        r#"{"type":"UPDATE_QUOTA","update_quota":{"force":false,"quota_configs":[{"role":"web","guarantees":{"cpus":{"value":2.0}},"limits":{"cpus":{"value":4.0}}}]}}"#
    ),
    row!(
        DrainAgent,
        drain_agent,
        &[
            (200, "it drains, and that is kept in the registry"),
            (
                400,
                "the agent is unknown, in a maintenance schedule, or too old"
            ),
            (409, "it is being marked gone"),
        ],
        "Deactivate an agent and kill what runs on it, each task with at most the given grace.",
        r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a1"},"max_grace_period":{"seconds":600,"nanos":0},"mark_gone":false}}"#
    ),
    row!(
        DeactivateAgent,
        deactivate_agent,
        DONE,
        "No more offers of an agent; its tasks run on.",
        r#"{"type":"DEACTIVATE_AGENT","deactivate_agent":{"agent_id":{"value":"a1"}}}"#
    ),
    row!(
        ReactivateAgent,
        reactivate_agent,
        DONE,
        "Offer an agent again that was deactivated or has drained.",
        r#"{"type":"REACTIVATE_AGENT","reactivate_agent":{"agent_id":{"value":"a1"}}}"#
    ),
];

/// Whether the call has a type that is known and the field that belongs to it.
pub(super) fn well_formed(call: &Call) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("Failed to validate master::Call: {why}"));
    if call.r#type.is_none() {
        return wrong("Expecting 'type' to be present");
    }
    let kind = call.r#type();
    match CALLS.iter().find(|row| row.kind == kind) {
        None => wrong("The type of the call is not known"),
        Some(CallRow {
            field: Some((field, present)),
            ..
        }) if !present(call) => wrong(&format!("Expecting '{field}' to be present")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_row_whose_example_is_well_formed() {
        let all = (1..64).filter_map(|number| call::Type::try_from(number).ok());
        assert!(
            all.eq(CALLS.iter().map(|row| row.kind)),
            "one row a type, in order"
        );
        for row in CALLS {
            let call: Call = tepui_proto::json::from_slice(row.example.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}", row.example));
            assert_eq!(call.r#type(), row.kind, "{}", row.example);
            assert_eq!(well_formed(&call), Ok(()), "{}", row.example);
        }
    }

    #[test]
    fn each_call_without_its_field_is_refused() {
        for row in CALLS {
            let bare = Call {
                r#type: Some(row.kind.into()),
                ..Call::default()
            };
            let expected = match row.field {
                None => Ok(()),
                Some((field, _)) => Err(format!(
                    "Failed to validate master::Call: Expecting '{field}' to be present"
                )),
            };
            assert_eq!(well_formed(&bare), expected, "{}", row.kind.as_str_name());
        }
    }
}

//! The core's counters and gauges by name.

use std::borrow::Cow;

use tepui_master_core::{Counters, FrameworkCounters};
use tepui_model::{FrameworkId, TaskState};
use tepui_proto::mesos::offer::operation;
use tepui_proto::mesos::scheduler::{call, event};
use tepui_proto::mesos::task_status;

use crate::driver::CoreNumbers;

use super::names::{Kind, Labelled, Numbers};

/// The numbers of the whole master.
pub(super) fn of_core(core: &Counters, numbers: &mut Numbers) {
    for (name, value) in [
        ("master/slaves_active", core.slaves_active),
        ("master/slaves_inactive", core.slaves_inactive),
        ("master/slaves_connected", core.slaves_connected),
        ("master/slaves_disconnected", core.slaves_disconnected),
        ("master/slaves_unreachable", core.slaves_unreachable),
        ("master/frameworks_active", core.frameworks_active),
        ("master/frameworks_inactive", core.frameworks_inactive),
        ("master/frameworks_connected", core.frameworks_connected),
        (
            "master/frameworks_disconnected",
            core.frameworks_disconnected,
        ),
        ("master/outstanding_offers", core.outstanding_offers),
        ("master/tasks_unreachable", core.tasks_unreachable),
        (
            "registrar/queued_operations",
            core.registrar_queued_operations,
        ),
        ("tepui/slaves_recovered", core.slaves_recovered),
    ] {
        numbers.gauge(name, value as f64);
    }
    for (name, state) in [
        ("master/tasks_staging", TaskState::Staging),
        ("master/tasks_starting", TaskState::Starting),
        ("master/tasks_running", TaskState::Running),
        ("master/tasks_killing", TaskState::Killing),
    ] {
        numbers.gauge(name, core.tasks_in(state) as f64);
    }
    for (name, state) in [
        ("master/tasks_finished", TaskState::Finished),
        ("master/tasks_failed", TaskState::Failed),
        ("master/tasks_killed", TaskState::Killed),
        ("master/tasks_lost", TaskState::Lost),
        ("master/tasks_error", TaskState::Error),
        ("master/tasks_dropped", TaskState::Dropped),
        ("master/tasks_gone", TaskState::Gone),
        ("master/tasks_gone_by_operator", TaskState::GoneByOperator),
    ] {
        numbers.counter(name, core.tasks_ended_in(state));
    }
    let messages = &core.messages;
    for (name, value) in [
        ("master/slave_registrations", core.slave_registrations),
        ("master/slave_reregistrations", core.slave_reregistrations),
        ("master/slave_removals", core.slave_removals),
        (
            "master/slave_removals/reason_unhealthy",
            core.slave_removals_unhealthy,
        ),
        (
            "master/slave_removals/reason_unregistered",
            core.slave_removals_unregistered,
        ),
        (
            "master/slave_removals/reason_registered",
            core.slave_removals_registered,
        ),
        (
            "master/slave_unreachable_scheduled",
            core.slave_unreachable_scheduled,
        ),
        (
            "master/slave_unreachable_completed",
            core.slave_unreachable_completed,
        ),
        (
            "master/slave_unreachable_canceled",
            core.slave_unreachable_canceled,
        ),
        ("master/slave_shutdowns_scheduled", 0),
        ("master/slave_shutdowns_completed", 0),
        ("master/slave_shutdowns_canceled", 0),
        (
            "master/recovery_slave_removals",
            core.recovery_slave_removals,
        ),
        // Tepui's own: agents that --recovery_agent_removal_limit has kept from being removed.
        ("tepui/recovery_agents_kept", core.recovery_slaves_kept),
        ("master/dropped_messages", core.dropped_messages),
        (
            "master/valid_framework_to_executor_messages",
            core.valid_framework_to_executor_messages,
        ),
        (
            "master/invalid_framework_to_executor_messages",
            core.invalid_framework_to_executor_messages,
        ),
        (
            "master/valid_executor_to_framework_messages",
            core.valid_executor_to_framework_messages,
        ),
        (
            "master/invalid_executor_to_framework_messages",
            core.invalid_executor_to_framework_messages,
        ),
        ("master/valid_status_updates", core.valid_status_updates),
        ("master/invalid_status_updates", core.invalid_status_updates),
        (
            "master/valid_status_update_acknowledgements",
            core.valid_status_update_acknowledgements,
        ),
        (
            "master/invalid_status_update_acknowledgements",
            core.invalid_status_update_acknowledgements,
        ),
        (
            "master/messages_register_framework",
            messages.register_framework,
        ),
        (
            "master/messages_reregister_framework",
            messages.reregister_framework,
        ),
        (
            "master/messages_unregister_framework",
            messages.unregister_framework,
        ),
        (
            "master/messages_deactivate_framework",
            messages.deactivate_framework,
        ),
        ("master/messages_kill_task", messages.kill_task),
        (
            "master/messages_status_update_acknowledgement",
            messages.status_update_acknowledgement,
        ),
        (
            "master/messages_resource_request",
            messages.resource_request,
        ),
        ("master/messages_launch_tasks", messages.launch_tasks),
        ("master/messages_decline_offers", messages.decline_offers),
        ("master/messages_revive_offers", messages.revive_offers),
        ("master/messages_suppress_offers", messages.suppress_offers),
        ("master/messages_reconcile_tasks", messages.reconcile_tasks),
        (
            "master/messages_reconcile_operations",
            messages.reconcile_operations,
        ),
        (
            "master/messages_framework_to_executor",
            messages.framework_to_executor,
        ),
        (
            "master/messages_executor_to_framework",
            messages.executor_to_framework,
        ),
        (
            "master/messages_operation_status_update",
            messages.operation_status_update,
        ),
        (
            "master/messages_operation_status_update_acknowledgement",
            messages.operation_status_update_acknowledgement,
        ),
        ("master/messages_register_slave", messages.register_slave),
        (
            "master/messages_reregister_slave",
            messages.reregister_slave,
        ),
        (
            "master/messages_unregister_slave",
            messages.unregister_slave,
        ),
        ("master/messages_status_update", messages.status_update),
        ("master/messages_exited_executor", messages.exited_executor),
        ("master/messages_update_slave", messages.update_slave),
        ("master/messages_authenticate", 0),
        ("allocator/mesos/allocation_runs", core.allocation_runs),
        ("tepui/tasks_launched", core.tasks_launched),
        ("tepui/offers_sent", core.offers.sent),
        ("tepui/offers_accepted", core.offers.accepted),
        ("tepui/offers_declined", core.offers.declined),
        ("tepui/offers_rescinded", core.offers.rescinded),
    ] {
        numbers.counter(name, value);
    }
    for ((state, source, reason), count) in &core.task_causes {
        let (Ok(state), Ok(source), Ok(reason)) = (
            TaskState::from_number(*state).ok_or(()),
            task_status::Source::try_from(*source),
            task_status::Reason::try_from(*reason),
        ) else {
            continue;
        };
        // The metric's names are older than the words agent and slave changed places.
        let name = format!(
            "master/{}/{}/{}",
            state.name(),
            source.as_str_name(),
            reason.as_str_name()
        );
        numbers.counter(name.to_lowercase().replace("agent", "slave"), *count);
    }
}

/// What is counted by role and by principal.
pub(super) fn of_roles_and_principals(core: &CoreNumbers, numbers: &mut Numbers) {
    for (role, active) in &core.offer_filters {
        numbers.labelled(Labelled {
            name: format!("allocator/mesos/offer_filters/roles/{role}/active"),
            kind: Kind::Gauge,
            value: *active as f64,
            family: "allocator_mesos_offer_filters_roles_active".to_owned(),
            labels: vec![("role", role.to_string())],
        });
    }
    for (principal, calls) in &core.calls_by_principal {
        // Whatever is received is processed at once: no rate is limited.
        for what in ["messages_received", "messages_processed"] {
            numbers.labelled(Labelled {
                name: format!("frameworks/{principal}/{what}"),
                kind: Kind::Counter,
                value: *calls as f64,
                family: format!("frameworks_{what}"),
                labels: vec![("principal", principal.clone())],
            });
        }
    }
}

/// The numbers of one framework.
pub(super) fn of_framework(
    id: &FrameworkId,
    name: &str,
    counters: &FrameworkCounters,
    numbers: &mut Numbers,
) {
    let mut push = |kind, rest: Cow<'static, str>, value: u64| {
        numbers.labelled(Labelled::of_framework(
            name,
            id.as_str(),
            kind,
            &rest,
            value as f64,
        ));
    };
    push(Kind::Counter, "calls".into(), counters.calls.iter().sum());
    for (at, count) in counters
        .calls
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        if let Some(kind) = i32::try_from(at)
            .ok()
            .and_then(|at| call::Type::try_from(at).ok())
        {
            push(
                Kind::Counter,
                format!("calls/{}", kind.as_str_name().to_lowercase()).into(),
                *count,
            );
        }
    }
    push(Kind::Counter, "events".into(), counters.events.iter().sum());
    for (at, count) in counters
        .events
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        if let Some(kind) = i32::try_from(at)
            .ok()
            .and_then(|at| event::Type::try_from(at).ok())
        {
            push(
                Kind::Counter,
                format!("events/{}", kind.as_str_name().to_lowercase()).into(),
                *count,
            );
        }
    }
    push(Kind::Counter, "offers/sent".into(), counters.offers.sent);
    push(
        Kind::Counter,
        "offers/accepted".into(),
        counters.offers.accepted,
    );
    push(
        Kind::Counter,
        "offers/declined".into(),
        counters.offers.declined,
    );
    push(
        Kind::Counter,
        "offers/rescinded".into(),
        counters.offers.rescinded,
    );
    let operations = &counters.operations;
    push(Kind::Counter, "operations".into(), operations.iter().sum());
    for (at, count) in operations
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
    {
        let kind = i32::try_from(at)
            .ok()
            .and_then(|at| operation::Type::try_from(at).ok());
        if let Some(kind) = kind {
            let name = kind.as_str_name().to_lowercase();
            push(Kind::Counter, format!("operations/{name}").into(), *count);
        }
    }
    for (list, kind, counts) in [
        ("active", Kind::Gauge, &counters.tasks_active),
        ("terminal", Kind::Counter, &counters.tasks_terminal),
    ] {
        for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            if let Some(state) = i32::try_from(at).ok().and_then(TaskState::from_number) {
                push(
                    kind,
                    format!("tasks/{list}/{}", state.name().to_lowercase()).into(),
                    *count,
                );
            }
        }
    }
}

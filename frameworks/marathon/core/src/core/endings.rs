//! What is remembered of tasks that have ended: who takes note of an end, and `/v3/apps/{id}/history`.
//!
//! An end is noted once, in the step that hears of it, and stored together with what else it changes. Why Marathon ends a task is noted at the
//! instance when that is decided (`blame`), and the first reason stays: a task that is killed because it is unhealthy was not scaled down.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tepui_proto::mesos::TaskStatus;

use super::{Marathon, Timer, records};
use crate::{
    config::Config,
    ended::{Bounds, Cause, ChunkRecord, Ended, TaskQuery, Written, exit},
    instance::Instance,
    output::{Mutation, Output},
    path::PathId,
    response::Response,
    view::{Change, no_pod},
};

/// How much is kept, as the operator has set it.
pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        of_app: config.max_ended_tasks_per_app,
        total: config.max_ended_tasks,
        age: Duration::from_millis(config.ended_tasks_age_ms),
    }
}

impl Marathon {
    /// Takes note why the task of an instance is ended, if it has one.
    pub(super) fn blame(&mut self, key: u64, cause: Cause) {
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        if instance.cause.is_none() && instance.task.is_some() && !instance.condition.is_terminal()
        {
            instance.cause = Some(cause);
            // The next leader may be the one who hears of the end.
            self.dirty.unstored.insert(key);
        }
    }

    /// Takes note of the end of an instance's task.
    pub(super) fn note_end(&mut self, key: u64, status: &TaskStatus) {
        if let Some(instance) = self.instances.get(&key).cloned() {
            self.note_end_of(&instance, Some(status));
        }
        if let Some(instance) = self.instances.get_mut(&key) {
            instance.cause = None;
        }
    }

    /// The same; without a status, its end was not heard of.
    pub(super) fn note_end_of(&mut self, instance: &Instance, status: Option<&TaskStatus>) {
        let framework: Option<Arc<str>> = self.framework_id.as_deref().map(Arc::from);
        let executor = &self.config.executor;
        let entry = Ended::of(instance, status, framework.as_ref(), executor, self.stamp());
        if let Some(entry) = entry {
            let written = self.ended.add(&instance.spec.id, entry, self.now);
            self.write_ended(written);
        }
    }

    /// Drops what has become too old.
    pub(super) fn trim_ended(&mut self) {
        let written = self.ended.trim(self.now);
        self.write_ended(written);
    }

    fn write_ended(&mut self, written: Written) {
        if let Some((app, chunk)) = written.put
            && let Some(record) = self.ended.chunk(&app, chunk)
        {
            let key = records::ended_key(&app, chunk);
            self.outbox.write(records::put(key, &record));
        }
        for (app, chunk) in written.gone {
            let key = records::ended_key(&app, chunk);
            self.outbox.write(Mutation::Delete { key });
        }
        if let Some(deadline) = self.ended.deadline()
            && self.ended_timer.is_none_or(|armed| deadline < armed)
        {
            self.ended_timer = Some(deadline);
            self.timers.insert((deadline, Timer::EndedTasks));
        }
        let (kept, dropped) = self.ended.counts();
        self.outbox
            .push(Output::Change(Change::EndedTasks { kept, dropped }));
    }

    /// The oldest entry may have become too old.
    pub(super) fn ended_over(&mut self) {
        self.ended_timer = None;
        self.trim_ended();
    }

    pub(super) fn recover_ended(&mut self, chunks: Vec<ChunkRecord>) {
        self.ended.restore(chunks);
        self.trim_ended();
    }

    /// `GET /v3/apps/{id}/history` and, of pods only, `/v3/pods/{id}/history`; also of one that is deleted, as long as something is kept of it.
    pub(super) fn ended_tasks(&self, id: &PathId, of_pod: bool, query: &TaskQuery) -> Response {
        let app = self.root.get(id);
        let (kept, dropped) = match self.ended.of(id) {
            Some((entries, before)) => (entries.rev().collect(), before),
            None => (Vec::new(), 0),
        };
        let is_pod = match (app, kept.first()) {
            (Some(app), _) => Some(app.pod.is_some()),
            (None, last) => last.map(|last| last.is_pod()),
        };
        match is_pod {
            Some(is_pod) if is_pod || !of_pod => {}
            _ if of_pod => return no_pod(id),
            _ => return Response::no_app(id, None),
        }
        let matching: Vec<&Ended> = (kept.iter().copied())
            .filter(|one| query.wants(one))
            .collect();
        let shown: Vec<Value> = matching
            .iter()
            .take(query.limit())
            .map(|one| shown(one))
            .collect();
        Response::json(
            200,
            &json!({
                "id": id,
                "deleted": app.is_none(),
                "kept": kept.len(),
                "dropped": dropped,
                "matching": matching.len(),
                "tasks": shown,
            }),
        )
    }
}

/// An entry as people see it.
fn shown(one: &Ended) -> Value {
    let (code, signal) = exit(&one.how.message);
    let containers = one.containers.iter().map(|container| {
        let (code, signal) = exit(&container.message);
        json!({
            "name": container.name,
            "taskId": container.task,
            "state": container.state,
            "message": container.message,
            "exitCode": code,
            "signal": signal,
        })
    });
    let mut shown = json!({
        "taskId": one.task,
        "instanceId": one.instance,
        "ordinal": one.ordinal,
        "version": one.version,
        "host": one.host,
        "agentId": one.agent,
        "stagedAt": one.staged_at,
        "startedAt": one.started_at,
        "endedAt": one.ended_at,
        "cause": one.cause,
        "state": one.how.state,
        "reason": one.how.reason,
        "source": one.how.source,
        "message": one.how.message,
        "exitCode": code,
        "signal": signal,
        "sandbox": one.sandbox().map(|path| json!({
            "frameworkId": one.framework,
            "executorId": one.executor(),
            "containerId": one.container,
            "path": path,
        })),
    });
    if one.is_pod() {
        shown["containers"] = containers.collect();
    }
    shown
}

//! What tests of daemon apps have in common.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tepui_marathon_core::ApiCall;
use tepui_proto::mesos::TaskState;

use super::{Agent, Cluster, body};

/// How many tasks that run of an app each agent has, of those that have one.
pub fn places(cluster: &Cluster, id: &str) -> BTreeMap<usize, usize> {
    let mut places = BTreeMap::new();
    for task in cluster.running(id) {
        *places.entry(cluster.tasks[&task].agent).or_default() += 1;
    }
    places
}

pub fn one_on(agents: &[usize]) -> BTreeMap<usize, usize> {
    agents.iter().map(|agent| (*agent, 1)).collect()
}

pub fn explain(cluster: &mut Cluster, id: &str) -> Value {
    body(&cluster.call(ApiCall::Explain { id: id.to_owned() }))
}

pub fn daemon(more: &Value) -> String {
    let mut app = json!({ "id": "/d", "cmd": "run 0", "cpus": 1, "mem": 32, "labels": { "TEPUI_DAEMON": "true" } });
    for (key, value) in more.as_object().unwrap() {
        app[key] = value.clone();
    }
    app.to_string()
}

/// An agent joins, and is offered.
pub fn join(cluster: &mut Cluster) {
    let at = cluster.agents.len();
    cluster.agents.push(Agent::new(at));
    cluster.offer();
    cluster.run();
}

/// An agent is lost: its tasks are unreachable.
pub fn lose(cluster: &mut Cluster, agent: usize) {
    cluster.agents[agent].alive = false;
    let tasks = cluster.tasks.iter();
    let there = tasks.filter(|(_, task)| task.agent == agent);
    for id in there.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
        cluster.report(&id, TaskState::TaskUnreachable);
    }
    cluster.run();
}

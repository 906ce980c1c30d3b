//! The older endpoints, whole: what each answers for one cluster that has something of everything, byte by byte but for ids, ports and
//! times, against the files in `golden/`. Those were read against Mesos' reference, member by member; `UPDATE_GOLDEN=1` writes them anew,
//! and the difference is to be read again.

use std::path::Path;

use prost::Message;
use serde_json::{Value, json};
use tepui_master::RunningMaster;
use tepui_proto::mesos::{self, TaskState, TaskStatus};
use tepui_proto::tepui::v1::{Pong, Register, RunTask, TaskUpdate, agent_message, master_message};

use crate::conformance::{Agent, Form, Talk, frame};
use crate::support::{Exchange, PATIENCE, get, master_with, post};

/// What stands where a time was: still a number, and of the same type.
const TIME: f64 = 1.0;

/// Each file, and the path that it is the answer of.
const GOLDEN: &[(&str, &str)] = &[
    ("state", "/state"),
    ("state-summary", "/state-summary"),
    ("slaves", "/slaves"),
    ("tasks", "/tasks?order=asc"),
    ("frameworks", "/frameworks"),
    ("roles", "/roles"),
    ("quota", "/quota"),
    ("weights", "/weights"),
    ("maintenance-schedule", "/maintenance/schedule"),
    ("maintenance-status", "/maintenance/status"),
    ("flags", "/flags"),
    ("version", "/version"),
    ("registry", "/registrar(1)/registry"),
    (
        "offer-constraints",
        "/hierarchical-allocator(1)/offer_constraints_debug",
    ),
    ("files-debug", "/files/debug"),
    ("system-stats", "/system/stats.json"),
    ("metrics", "/metrics/snapshot"),
];

/// An agent that runs what it is given: a task whose id begins with `ends` finishes, any other goes on.
struct Machine {
    id: String,
    work: tokio::task::JoinHandle<()>,
}

impl Machine {
    async fn start(
        master: &RunningMaster,
        hostname: &str,
        resources: &str,
        attributes: &[mesos::Attribute],
    ) -> Self {
        let change = |register: &mut Register| {
            register.agent.hostname = hostname.to_owned();
            register.agent.attributes = attributes.to_vec();
            register.agent.domain = Some(domain());
        };
        let mut agent = Agent::with(master, resources, change).await;
        let id = agent.id.clone();
        let work = tokio::spawn(async move {
            // The stream ends with the master.
            while let Ok(Some(received)) = agent.told.message().await {
                for message in received.messages {
                    let answers = answers(&agent.id, message.message);
                    for answer in answers {
                        let _ = agent.frames.send(frame(answer)).await;
                    }
                }
            }
        });
        Self { id, work }
    }

    /// The machine loses its power.
    fn vanish(&self) {
        self.work.abort();
    }
}

/// What an agent says to a message.
fn answers(agent: &str, message: Option<master_message::Message>) -> Vec<agent_message::Message> {
    match message {
        Some(master_message::Message::Ping(ping)) => {
            let sequence = ping.sequence;
            vec![agent_message::Message::Pong(Pong { sequence })]
        }
        Some(master_message::Message::RunTask(run)) => updates(agent, &run)
            .into_iter()
            .map(agent_message::Message::TaskUpdate)
            .collect(),
        _ => Vec::new(),
    }
}

/// What becomes of a task.
fn updates(agent: &str, run: &RunTask) -> Vec<TaskUpdate> {
    let mut states = vec![TaskState::TaskRunning];
    if run.task.task_id.value.starts_with("ends") {
        states.push(TaskState::TaskFinished);
    }
    let latest = states.last().copied().unwrap_or_default();
    let update = |(at, state): (usize, TaskState)| TaskUpdate {
        framework_id: run.framework_id.clone(),
        executor_id: run
            .task
            .executor
            .as_ref()
            .map(|executor| executor.executor_id.clone()),
        status: TaskStatus {
            task_id: run.task.task_id.clone(),
            state: state.into(),
            agent_id: Some(mesos::AgentId {
                value: agent.to_owned(),
            }),
            source: Some(mesos::task_status::Source::Executor.into()),
            timestamp: Some(1.5 + at as f64),
            uuid: Some(uuid::Uuid::new_v4().as_bytes().to_vec().into()),
            healthy: (state == TaskState::TaskRunning).then_some(true),
            labels: Some(labels("checked", "yes")),
            container_status: Some(mesos::ContainerStatus {
                network_infos: vec![mesos::NetworkInfo {
                    ip_addresses: vec![mesos::network_info::IpAddress {
                        protocol: Some(mesos::network_info::Protocol::IPv4.into()),
                        ip_address: Some("10.0.0.7".to_owned()),
                    }],
                    ..mesos::NetworkInfo::default()
                }],
                ..mesos::ContainerStatus::default()
            }),
            ..TaskStatus::default()
        },
        latest_state: latest.into(),
    };
    states.into_iter().enumerate().map(update).collect()
}

fn domain() -> mesos::DomainInfo {
    use mesos::domain_info::{FaultDomain, fault_domain};
    mesos::DomainInfo {
        fault_domain: Some(FaultDomain {
            region: fault_domain::RegionInfo {
                name: "north".to_owned(),
            },
            zone: fault_domain::ZoneInfo {
                name: "n1".to_owned(),
            },
        }),
    }
}

fn labels(key: &str, value: &str) -> mesos::Labels {
    mesos::Labels {
        labels: vec![mesos::Label {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        }],
    }
}

fn attribute(name: &str, value: &str) -> mesos::Attribute {
    mesos::Attribute {
        name: name.to_owned(),
        r#type: mesos::value::Type::Text.into(),
        text: Some(mesos::value::Text {
            value: value.to_owned(),
        }),
        ..mesos::Attribute::default()
    }
}

fn number(name: &str, value: f64) -> mesos::Attribute {
    mesos::Attribute {
        name: name.to_owned(),
        r#type: mesos::value::Type::Scalar.into(),
        scalar: Some(mesos::value::Scalar { value }),
        ..mesos::Attribute::default()
    }
}

async fn ask(master: &RunningMaster, method: &str, path: &str, media_type: &str, body: &str) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\ncontent-type: {media_type}\r\ncontent-length: {}",
        body.len()
    );
    let exchange = Exchange::start(master, &head, body.as_bytes()).await;
    let answer = exchange.finish().await;
    assert!(
        matches!(answer.status, 200 | 202),
        "{method} {path} {body}: {} {}",
        answer.status,
        answer.text()
    );
}

async fn json_to(master: &RunningMaster, method: &str, path: &str, body: Value) {
    ask(master, method, path, "application/json", &body.to_string()).await;
}

async fn form_to(master: &RunningMaster, path: &str, agent: &str, what: &str, list: Value) {
    let list = percent_encoding::utf8_percent_encode(
        &list.to_string(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let media_type = "application/x-www-form-urlencoded";
    let body = format!("slaveId={agent}&{what}={list}");
    ask(master, "POST", path, media_type, &body).await;
}

/// Reads until the document is as wanted: what is done is published soon after it is answered.
async fn until(master: &RunningMaster, path: &str, wanted: impl Fn(&Value) -> bool) {
    let seen = async {
        while !wanted(&get(master, path).await.json()) {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(PATIENCE, seen).await.is_err() {
        panic!("{path} stays {}", get(master, path).await.text());
    }
}

fn reserved(name: &str, amount: f64, volume: Option<&str>) -> Value {
    let mut resource = json!({ "name": name, "type": "SCALAR", "scalar": { "value": amount },
        "reservations": [{ "type": "DYNAMIC", "role": "ads", "principal": "op",
            "labels": { "labels": [{ "key": "for", "value": "logs" }] } }] });
    if let Some(id) = volume {
        resource["disk"] = json!({ "persistence": { "id": id, "principal": "op" },
            "volume": { "mode": "RW", "container_path": "data" } });
    }
    resource
}

fn task(id: &str, agent: &str) -> Value {
    json!({
        "name": format!("{id}-name"),
        "task_id": { "value": id },
        "agent_id": { "value": agent },
        "resources": [
            { "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.5 }, "allocation_info": { "role": "ads" } },
            { "name": "mem", "type": "SCALAR", "scalar": { "value": 32 }, "allocation_info": { "role": "ads" } }
        ],
        "command": { "value": "true", "user": "www" },
        "labels": { "labels": [{ "key": "tier", "value": "front" }] },
    })
}

/// A task that has whatever a TASK shows.
fn rich(id: &str, agent: &str) -> Value {
    let mut task = task(id, agent);
    task["limits"] = json!({ "cpus": { "value": 2 }, "mem": { "value": "Infinity" } });
    task["discovery"] = json!({ "visibility": "CLUSTER", "name": "web", "ports": { "ports": [
        { "number": 31000, "name": "http", "protocol": "tcp" }] } });
    task["container"] = json!({ "type": "MESOS", "volumes": [
        { "mode": "RO", "container_path": "/etc/site", "host_path": "/srv/site" }] });
    task["health_check"] =
        json!({ "type": "COMMAND", "command": { "value": "true" }, "grace_period_seconds": 3 });
    task
}

fn with_executor(id: &str, agent: &str) -> Value {
    let mut task = task(id, agent);
    let own = task["resources"].clone();
    let fields = task.as_object_mut().expect("an object");
    fields.remove("command");
    task["executor"] = json!({ "type": "CUSTOM", "executor_id": { "value": "worker" }, "name": "worker-name",
        "command": { "shell": false, "value": "/bin/worker", "arguments": ["worker", "--loud"],
            "environment": { "variables": [{ "name": "LEVEL", "value": "3" }] },
            "uris": [{ "value": "http://files.example/worker", "executable": true }] },
        "labels": { "labels": [{ "key": "kind", "value": "worker" }] },
        "resources": own });
    task
}

/// The next offer of this agent's resources.
async fn offer_of(talk: &mut Talk, agent: &str) -> Value {
    loop {
        let mut offers = talk.offers().await.into_iter();
        if let Some(offer) = offers.find(|offer| offer["agent_id"]["value"] == agent) {
            return offer;
        }
    }
}

async fn launch(master: &RunningMaster, talk: &Talk, offer: &Value, tasks: Vec<Value>) {
    let call = json!({ "type": "ACCEPT", "accept": {
        "offer_ids": [offer["id"]],
        "operations": [{ "type": "LAUNCH", "launch": { "task_infos": tasks } }],
        "filters": { "refuse_seconds": 1000 },
    } });
    let answer = talk.call(master, call).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// Acknowledges updates until this task is in this state.
async fn acknowledge_until(master: &RunningMaster, talk: &mut Talk, task: &str, state: &str) {
    loop {
        let update = talk.until("UPDATE").await;
        let status = &update["update"]["status"];
        if status["uuid"].is_string() {
            let call = json!({ "type": "ACKNOWLEDGE", "acknowledge": { "agent_id": status["agent_id"],
                "task_id": status["task_id"], "uuid": status["uuid"] } });
            let answer = talk.call(master, call).await;
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
        if status["task_id"]["value"] == task && status["state"] == state {
            return;
        }
    }
}

/// Everything that the endpoints tell of, made step by step so that it always comes out the same.
async fn cluster(master: &RunningMaster) -> (Vec<Machine>, Talk) {
    // A framework that has been: it never had an offer.
    let past = Talk::open(
        master,
        Form::Json,
        json!({ "name": "past", "role": "past", "hostname": "old.example" }),
    )
    .await;
    let media_type = "application/x-www-form-urlencoded";
    let body = format!("frameworkId={}", past.id);
    ask(master, "POST", "/teardown", media_type, &body).await;

    let attributes = [attribute("rack", "r1"), number("generation", 7.0)];
    let resources =
        "cpus:8;cpus(ads):2;mem:4096;disk:4096;gpus:1;ports:[31000-31009];licences:{a,b}";
    let first = Machine::start(master, "a.example", resources, &attributes).await;
    form_to(
        master,
        "/reserve",
        &first.id,
        "resources",
        json!([reserved("mem", 512.0, None), reserved("disk", 200.0, None)]),
    )
    .await;
    form_to(
        master,
        "/create-volumes",
        &first.id,
        "volumes",
        json!([reserved("disk", 100.0, Some("v1"))]),
    )
    .await;
    json_to(
        master,
        "PUT",
        "/weights",
        json!([{ "role": "ads", "weight": 2.5 }]),
    )
    .await;
    json_to(
        master,
        "POST",
        "/quota",
        json!({ "role": "web", "guarantee": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 } }] }),
    )
    .await;

    let mut talk = Talk::with(
        master,
        Form::Json,
        json!({
            "framework_info": {
                "user": "www", "name": "shop", "roles": ["ads"], "principal": "shop-principal", "checkpoint": true,
                "failover_timeout": 60, "hostname": "shop.example", "webui_url": "http://shop.example/",
                "labels": { "labels": [{ "key": "team", "value": "blue" }] },
                "capabilities": [{ "type": "MULTI_ROLE" }, { "type": "PARTITION_AWARE" },
                    { "type": "RESERVATION_REFINEMENT" }, { "type": "GPU_RESOURCES" }],
            },
            "offer_constraints": { "role_constraints": { "ads": { "groups": [{ "attribute_constraints": [
                { "selector": { "attribute_name": "rack" }, "predicate": { "exists": {} } }] }] } } },
        }),
    )
    .await;
    let offer = offer_of(&mut talk, &first.id).await;
    let tasks = vec![
        task("ends", &first.id),
        rich("runs", &first.id),
        with_executor("works", &first.id),
    ];
    launch(master, &talk, &offer, tasks).await;
    acknowledge_until(master, &mut talk, "ends", "TASK_FINISHED").await;
    // What it held is free again, so that it is all offered anew.
    until(master, "/frameworks", |state| {
        state["frameworks"][0]["offers"]
            .as_array()
            .map_or(0, Vec::len)
            == 1
    })
    .await;

    // A machine that loses its power with a task on it.
    let lost = Machine::start(
        master,
        "b.example",
        "cpus:2;mem:1024;disk:1024",
        &attributes,
    )
    .await;
    let offer = offer_of(&mut talk, &lost.id).await;
    launch(master, &talk, &offer, vec![task("away", &lost.id)]).await;
    acknowledge_until(master, &mut talk, "away", "TASK_RUNNING").await;
    lost.vanish();
    acknowledge_until(master, &mut talk, "away", "TASK_UNREACHABLE").await;

    // One whose offer is held.
    let idle = Machine::start(
        master,
        "c.example",
        "cpus:2;mem:1024;disk:1024",
        &attributes,
    )
    .await;
    offer_of(&mut talk, &idle.id).await;

    // One that is drained, in maintenance, and hidden by constraints; and one that is gone for good.
    let drained = Machine::start(master, "d.example", "cpus:1;mem:64", &[]).await;
    let gone = Machine::start(master, "e.example", "cpus:1;mem:64", &[]).await;
    let agent = json!({ "value": drained.id });
    json_to(
        master,
        "POST",
        "/api/v1",
        json!({ "type": "DRAIN_AGENT", "drain_agent": { "agent_id": agent,
            "max_grace_period": { "seconds": 60 }, "mark_gone": false } }),
    )
    .await;
    let agent = json!({ "value": gone.id });
    json_to(
        master,
        "POST",
        "/api/v1",
        json!({ "type": "MARK_AGENT_GONE", "mark_agent_gone": { "agent_id": agent } }),
    )
    .await;
    let machine = |name: &str| json!({ "hostname": name, "ip": "127.0.0.1" });
    json_to(
        master,
        "POST",
        "/maintenance/schedule",
        json!({ "windows": [
            { "machine_ids": [machine("d.example")], "unavailability": {
                "start": { "nanoseconds": 4_000_000_000_000_000_000_u64 }, "duration": { "nanoseconds": 3_600_000_000_000_u64 } } },
            { "machine_ids": [{ "hostname": "f.example" }], "unavailability": { "start": { "nanoseconds": 5 } } },
        ] }),
    )
    .await;
    json_to(
        master,
        "POST",
        "/machine/down",
        json!([{ "hostname": "f.example" }]),
    )
    .await;

    until(master, "/state", |state| {
        let ours = &state["frameworks"][0];
        let count = |list: &str| ours[list].as_array().map_or(0, Vec::len);
        let running = ours["tasks"].as_array().into_iter().flatten();
        running
            .filter(|task| task["state"] == "TASK_RUNNING")
            .count()
            == 2
            && count("completed_tasks") == 1
            && count("unreachable_tasks") == 1
            && count("offers") == 2
            && state["unreachable_slaves"] == 1.0
            && state["slaves"].as_array().map_or(0, Vec::len) == 3
    })
    .await;
    until(master, "/maintenance/status", |status| {
        status["down_machines"].is_array()
    })
    .await;
    (vec![first, lost, idle, drained, gone], talk)
}

/// Puts fixed words in the places of what differs from run to run.
fn normalised(master: &RunningMaster, text: &str) -> Value {
    let state: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut value = state;
    let port = master.addr().port();
    settle(&mut value, &|text| {
        let text = text.replace(&format!(":{port}"), ":PORT");
        match master_id(&text) {
            Some(id) => text.replace(&id, "MASTER"),
            None => text,
        }
    });
    if let Some(leader) = value.get_mut("leader_info") {
        assert_eq!(leader["port"], port);
        leader["port"] = json!(5050);
    }
    for info in ["/master/info/port", "/master/info/address/port"] {
        if let Some(found) = value.pointer_mut(info) {
            assert_eq!(*found, port);
            *found = json!(5050);
        }
    }
    value
}

/// The first UUID in a text: the master's id, with which those of agents, frameworks and offers begin.
fn master_id(text: &str) -> Option<String> {
    let uuid = |part: &str| {
        part.len() == 36
            && part.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    (0..text.len().saturating_sub(35))
        .filter_map(|at| text.get(at..at + 36))
        .find(|part| uuid(part))
        .map(str::to_owned)
}

fn settle(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, change)),
        Value::Object(members) => {
            let old = std::mem::take(members);
            for (key, mut item) in old {
                settle(&mut item, change);
                let time =
                    key.ends_with("_time") || key == "timestamp" || key.ends_with("_seconds");
                // Of today, not one that a test has chosen: in seconds, or in nanoseconds within an object.
                if time && item.as_f64().is_some_and(|seconds| seconds > 1e9) {
                    item = if item.is_f64() {
                        json!(TIME)
                    } else {
                        json!(TIME as i64)
                    };
                }
                if time && let Some(nanoseconds) = item.pointer_mut("/nanoseconds") {
                    *nanoseconds = json!(TIME as i64);
                }
                members.insert(change(&key), item);
            }
        }
        _ => {}
    }
}

/// Numbers that tell of the machine or of the moment: only that they are there, and of which type.
fn without_values(value: &mut Value) {
    for (_, item) in value.as_object_mut().expect("an object") {
        *item = match item {
            ref item if item.is_f64() => json!(0.0),
            _ => json!(0),
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_endpoints_answer_as_they_always_did() {
    let master = master_with(|config| {
        config.cluster = Some("golden".to_owned());
        config.domain = Some(domain());
        config.agent_ping_timeout = std::time::Duration::from_millis(500);
        config.max_agent_ping_timeouts = 4;
    })
    .await;
    let (_machines, _talk) = cluster(&master).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faces/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut different = Vec::new();
    for (name, path) in GOLDEN {
        let answer = get(&master, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let mut value = normalised(&master, &answer.text());
        if matches!(*name, "metrics" | "system-stats") {
            without_values(&mut value);
        }
        let mut text = serde_json::to_string_pretty(&value).expect("JSON");
        text.push('\n');
        let file = folder.join(name).with_extension("json");
        if update {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&file, &text).expect("written");
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        if golden != text {
            different.push(difference(name, &golden, &text));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    both_forms_say_the_same(&master).await;
    master.shutdown().await;
}

/// What is kept in JSON beside the objects, against what is made into protobuf for each request.
async fn both_forms_say_the_same(master: &RunningMaster) {
    for kind in [
        "GET_STATE",
        "GET_EXECUTORS",
        "GET_OPERATIONS",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_TASKS",
    ] {
        let ask = async |accept: &str| {
            let headers = format!("\r\ncontent-type: application/json\r\naccept: {accept}");
            let body = json!({ "type": kind }).to_string();
            let answer = post(master, "/api/v1", &headers, body.as_bytes()).await;
            assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
            answer
        };
        // Mesos' JSON has bare infinities, so that it is read as a message, too.
        let text = ask("application/json").await;
        let in_json: mesos::master::Response = tepui_proto::json::from_slice(&text.body)
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
        let binary = ask("application/x-protobuf").await;
        let message = mesos::master::Response::decode(&binary.body[..]).expect("a Response");
        // What has its default value is written out in JSON, and left out in protobuf: both are written the same way.
        let written = |message| String::from_utf8(tepui_proto::json::to_vec(message));
        assert_eq!(written(&in_json), written(&message), "{kind}");
        let nothing = format!("\"{}\":{{}}", kind.to_lowercase());
        assert!(!text.text().contains(&nothing), "{kind} tells of something");
    }
}

/// Where two texts part, with a little of what is around.
fn difference(name: &str, golden: &str, text: &str) -> String {
    let at = golden
        .lines()
        .zip(text.lines())
        .position(|(one, other)| one != other)
        .unwrap_or_else(|| golden.lines().count().min(text.lines().count()));
    let around = |text: &str| {
        let lines = text.lines().skip(at.saturating_sub(3)).take(8);
        lines.collect::<Vec<_>>().join("\n")
    };
    format!(
        "golden/{name}.json, line {}: expected\n{}\nfound\n{}\n(UPDATE_GOLDEN=1 writes it anew)",
        at + 1,
        around(golden),
        around(text)
    )
}

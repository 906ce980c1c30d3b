//! Containers that operators launch: inside of tasks' containers, inside of each other, alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use prost::Message;
use serde_json::{Value, json};
use tepui_agent::{Agent, Config, RunningAgent};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskKilled, TaskRunning};
use tokio::net::TcpStream;

use crate::http::{self, Answer};
use crate::master::Master;
use crate::{config, shell, sweep, until};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// An agent with a task that runs.
pub(crate) struct Scene {
    _folder: tempfile::TempDir,
    pub(crate) master: Master,
    pub(crate) config: Config,
    pub(crate) agent: RunningAgent,
    /// The task's.
    pub(crate) container: String,
    pub(crate) pid: u32,
}

impl Scene {
    pub(crate) async fn start(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut master = Master::start().await;
        let config = config(&master, folder.path());
        let agent = Agent::start(config.clone()).await.unwrap();
        master.admit().await;
        master.run(shell("t", command)).await;
        let running = master.until("t", TaskRunning).await;
        let status = running.container_status.unwrap();
        Self {
            _folder: folder,
            master,
            config,
            agent,
            container: status.container_id.unwrap().value,
            pid: status.executor_pid.unwrap(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.agent.addr()
    }

    pub(crate) fn id(&self, name: &str) -> Value {
        json!({"value": name, "parent": {"value": self.container}})
    }

    pub(crate) fn sandbox(&self) -> PathBuf {
        let runs = "slaves/S0/frameworks/f/executors/t/runs/latest";
        self.config.work_dir.join(runs).canonicalize().unwrap()
    }

    pub(crate) async fn call(&self, call: Value) -> Answer {
        post(self.addr(), &call).await
    }

    pub(crate) async fn launch(&self, name: &str, command: &str) -> Answer {
        let asked = json!({"container_id": self.id(name), "command": {"value": command}});
        self.call(json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": asked}))
            .await
    }

    pub(crate) async fn wait(&self, name: &str) -> Answer {
        let asked = json!({"container_id": self.id(name)});
        self.call(json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": asked}))
            .await
    }

    /// What a container that has ended wrote.
    async fn output(&self, name: &str) -> String {
        let waited = self.wait(name).await.json();
        let sandbox = self.sandbox().join("containers").join(name);
        let read = |name| std::fs::read_to_string(sandbox.join(name)).unwrap();
        assert_eq!(
            waited["wait_nested_container"]["exit_status"],
            0,
            "{}",
            read("stderr")
        );
        read("stdout")
    }

    pub(crate) async fn end(self) {
        sweep(&self.config, self.agent).await;
    }
}

pub(crate) async fn post(addr: SocketAddr, call: &Value) -> Answer {
    http::request(addr, "POST", "/api/v1", JSON, &call.to_string()).await
}

/// Asks to be told of a container's end, before that is brought about: who asks after it may hear that there is no such container.
async fn begin(addr: SocketAddr, wait: &Value) -> TcpStream {
    let body = wait.to_string();
    let stream = http::begin(addr, &[("Content-Type", JSON)], body.as_bytes()).await;
    // Whose connection came later has been answered: this one is being served.
    assert_eq!(http::get(addr, "/health").await.status, 200);
    stream
}

pub(crate) fn told(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, text)
}

pub(crate) fn namespace(pid: u32, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap()
}

/// Whether a process is there and not only waiting to be reaped.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_container_lives_in_its_parents_and_ends_by_itself() {
    let scene = Scene::start("exec sleep 1000").await;
    let show = "readlink /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/net; cat /proc/self/cgroup; \
                readlink /proc/self/ns/pid /proc/self/ns/mnt; pwd; echo $MESOS_SANDBOX $$";
    assert_eq!(
        told(&scene.launch("look", show).await),
        (200, String::new())
    );
    let seen = scene.output("look").await;
    let lines: Vec<&str> = seen.lines().collect();
    for (at, name) in ["ipc", "uts", "net"].iter().enumerate() {
        assert_eq!(Path::new(lines[at]), namespace(scene.pid, name), "{name}");
    }
    let inside = format!("/{}/nested-look", scene.container);
    assert!(lines.iter().any(|line| line.ends_with(&inside)), "{seen}");
    let own = &lines[lines.len() - 4..];
    assert_ne!(Path::new(own[0]), namespace(scene.pid, "pid"));
    assert_ne!(Path::new(own[1]), namespace(scene.pid, "mnt"));
    let sandbox = scene.sandbox().join("containers/look");
    assert_eq!(Path::new(own[2]), sandbox);
    // Process 2 of its own namespace: after its init.
    assert_eq!(own[3], format!("{} 2", sandbox.display()));

    let remove = |name: &str| json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": scene.id(name)}});
    assert_eq!(
        told(&scene.call(remove("look")).await),
        (200, String::new())
    );
    assert!(!sandbox.exists());
    let gone = format!("Container {}.look cannot be found", scene.container);
    assert_eq!(told(&scene.wait("look").await), (404, gone));
    let (status, why) = told(&scene.call(remove("look")).await);
    assert!(status == 500 && why.contains("cannot be found"), "{why}");

    // The parent's processes, if that is asked for.
    let asked = json!({
        "container_id": scene.id("see"),
        "command": {"shell": false, "value": "readlink", "arguments": ["readlink", "/proc/self/ns/pid"]},
        "container": {"type": "MESOS", "linux_info": {"share_pid_namespace": true}},
    });
    let launched = scene
        .call(json!({"type": "LAUNCH_CONTAINER", "launch_container": asked}))
        .await;
    assert_eq!(told(&launched), (200, String::new()));
    let seen = scene.output("see").await;
    assert_eq!(Path::new(seen.trim()), namespace(scene.pid, "pid"));
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_containers_are_killed_waited_for_and_counted() {
    let scene = Scene::start("exec sleep 1000").await;
    let polite = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done";
    scene.launch("polite", polite).await;
    scene.launch("outer", "exec sleep 1000").await;
    let inner = json!({"value": "inner", "parent": scene.id("outer")});
    let asked = json!({"container_id": inner, "command": {"value": "exec sleep 1000"}});
    let launched = scene
        .call(json!({"type": "LAUNCH_CONTAINER", "launch_container": asked}))
        .await;
    assert_eq!(told(&launched), (200, String::new()));

    let get = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}});
    let shown = scene.call(get).await.json()["get_containers"]["containers"].clone();
    let shown = shown.as_array().unwrap().clone();
    assert_eq!(shown.len(), 4);
    let found = shown
        .iter()
        .find(|one| one["container_id"] == inner)
        .unwrap();
    assert_eq!(found["framework_id"]["value"], "f");
    assert_eq!(found["executor_id"]["value"], "t");
    let inner_pid = found["container_status"]["executor_pid"].as_u64().unwrap();
    assert!(is_alive(u32::try_from(inner_pid).unwrap()));
    assert!(found["resource_statistics"]["timestamp"].is_f64());
    let plain = scene.call(json!({"type": "GET_CONTAINERS"})).await.json();
    let plain = plain["get_containers"]["containers"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(plain, 1);
    let shown = http::get(scene.addr(), "/containers?show_nested=true")
        .await
        .json();
    let text = format!("{}.outer.inner", scene.container);
    assert!(
        shown
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["container_id"] == text.as_str()),
        "{shown}"
    );

    let stdout = scene.sandbox().join("containers/polite/stdout");
    while std::fs::read_to_string(&stdout)
        .unwrap_or_default()
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let kill = |name: &str, signal: Value| json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": scene.id(name), "signal": signal}});
    assert_eq!(told(&scene.call(kill("polite", json!(15))).await).0, 200);
    let waited = scene.wait("polite").await.json();
    assert_eq!(waited["type"], "WAIT_NESTED_CONTAINER");
    assert_eq!(waited["wait_nested_container"]["exit_status"], 7 << 8);
    let (status, why) = told(&scene.call(kill("polite", json!(15))).await);
    assert_eq!(status, 404);
    assert_eq!(
        why,
        format!(
            "Container '{}.polite' cannot be found (or is already killed)",
            scene.container
        )
    );

    // SIGKILL unless another is named; what stands inside goes along.
    let killed =
        json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": scene.id("outer")}});
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": inner}});
    let waiting = begin(scene.addr(), &wait).await;
    assert_eq!(scene.call(killed).await.status, 200);
    let waited = http::answer(waiting).await.json();
    assert_eq!(
        (&waited["type"], &waited["wait_container"]["exit_status"]),
        (&json!("WAIT_CONTAINER"), &json!(9))
    );
    assert_eq!(
        scene.wait("outer").await.json()["wait_nested_container"]["exit_status"],
        9
    );
    let metrics = http::get(scene.addr(), "/metrics/snapshot").await.json();
    assert_eq!(metrics["containerizer/nested_containers_launched"], 3.0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_call_is_said() {
    let scene = Scene::start("exec sleep 1000").await;
    scene.launch("there", "exec sleep 1000").await;
    let valid = "Failed to validate agent::Call: ";
    let nested =
        |body: Value| json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": body});
    let any = |body: Value| json!({"type": "LAUNCH_CONTAINER", "launch_container": body});
    let session = |body: Value| json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {"container_id": scene.id("x"), "command": body}});
    let command = json!({"value": "true"});
    let deep = (0..33).fold(
        json!({"value": "e"}),
        |parent, _| json!({"value": "x", "parent": parent}),
    );
    let of = |container: Value| {
        any(json!({"container_id": scene.id("x"), "command": command, "container": container}))
    };
    let inside = |more: Value| {
        let id = json!({"value": "x", "parent": scene.id("there")});
        let mut body = json!({"container_id": id, "command": command});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        any(body)
    };
    let mem = json!([{"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}}]);
    let cases = [
        (
            json!({"type": "LAUNCH_NESTED_CONTAINER"}),
            400,
            format!("{valid}Expecting 'launch_nested_container' to be present"),
        ),
        (
            json!({"type": "LAUNCH_CONTAINER"}),
            400,
            format!("{valid}Expecting 'launch_container' to be present"),
        ),
        (
            json!({"type": "WAIT_NESTED_CONTAINER"}),
            400,
            format!("{valid}Expecting 'wait_nested_container' to be present"),
        ),
        (
            json!({"type": "KILL_CONTAINER"}),
            400,
            format!("{valid}Expecting 'kill_container' to be present"),
        ),
        (
            json!({"type": "REMOVE_CONTAINER"}),
            400,
            format!("{valid}Expecting 'remove_container' to be present"),
        ),
        (
            nested(json!({"container_id": {"value": "x"}})),
            400,
            format!("{valid}Expecting 'launch_nested_container.container_id.parent' to be present"),
        ),
        (
            json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": {"value": "x"}}}),
            400,
            format!("{valid}Expecting 'wait_nested_container.container_id.parent' to be present"),
        ),
        (
            nested(json!({"container_id": scene.id("a.b")})),
            400,
            format!(
                "{valid}'launch_nested_container.container_id' is invalid: 'ContainerID.value' 'a.b' contains invalid characters"
            ),
        ),
        (
            nested(json!({"container_id": {"value": "x", "parent": {"value": "a b"}}})),
            400,
            format!(
                "{valid}'launch_nested_container.container_id' is invalid: 'ContainerID.parent' is invalid"
            ),
        ),
        (
            nested(json!({"container_id": deep})),
            400,
            format!("{valid}'launch_nested_container.container_id' is invalid: more than 32"),
        ),
        (
            session(json!({"value": "true", "environment": {"variables": [{"name": "A"}]}})),
            400,
            format!(
                "{valid}'launch_nested_container.command' is invalid: Environment variable 'A'"
            ),
        ),
        (
            nested(
                json!({"container_id": {"value": "x", "parent": {"value": "nowhere"}}, "command": command}),
            ),
            400,
            "Parent container nowhere does not exist".to_owned(),
        ),
        (
            nested(json!({"container_id": scene.id("there"), "command": command})),
            202,
            String::new(),
        ),
        (
            session(json!({"shell": false, "value": "/nowhere"})),
            400,
            "Failed to execute '/nowhere': No such file or directory".to_owned(),
        ),
        (
            session(json!({"value": "true", "user": "no-such-user"})),
            400,
            "Failed to create the sandbox: there is no user 'no-such-user'".to_owned(),
        ),
        (
            nested(json!({"container_id": scene.id("x")})),
            400,
            "the command is empty".to_owned(),
        ),
        (
            of(json!({"type": "MESOS", "network_infos": [{"name": "net"}]})),
            400,
            "a container that an operator launches is on its parent's networks".to_owned(),
        ),
        (
            inside(json!({"resources": mem})),
            400,
            "only a container right below".to_owned(),
        ),
        (
            inside(json!({"container": {"type": "MESOS", "linux_info": {"share_cgroups": false}}})),
            400,
            "only a container right below".to_owned(),
        ),
        (
            any(
                json!({"container_id": {"value": "alone"}, "command": command, "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}, "role": "dev"}]}),
            ),
            400,
            format!("{valid}'launch_container.resources' is invalid: 'mem' is reserved"),
        ),
        (
            any(
                json!({"container_id": {"value": "alone"}, "command": command, "container": {"type": "MESOS", "linux_info": {"share_cgroups": true}}}),
            ),
            400,
            "a container without a parent cannot share".to_owned(),
        ),
        (
            json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": scene.id("there"), "signal": 9999}}),
            400,
            format!("{valid}'kill_nested_container.signal' is invalid"),
        ),
        (
            json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": scene.id("x")}}),
            404,
            format!(
                "Container '{}.x' cannot be found (or is already killed)",
                scene.container
            ),
        ),
        (
            json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": {"value": "x"}}}),
            404,
            "Container x cannot be found".to_owned(),
        ),
        (
            json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": scene.id("there")}}),
            500,
            format!(
                "Container {}.there cannot be removed: it has not ended",
                scene.container
            ),
        ),
    ];
    for (call, status, words) in cases {
        let (found, text) = told(&scene.call(call.clone()).await);
        assert_eq!(
            (found, text.starts_with(&words)),
            (status, true),
            "{call}: {text}"
        );
    }
    // A launch that failed leaves nothing.
    assert_eq!(scene.wait("x").await.status, 404);
    assert!(!scene.sandbox().join("containers/x").exists());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_containers_speak_protobuf_too() {
    use mesos::agent::{Call, call};
    let scene = Scene::start("exec sleep 1000").await;
    let id = mesos::ContainerId {
        value: "p".to_owned(),
        parent: Some(Box::new(mesos::ContainerId {
            value: scene.container.clone(),
            parent: None,
        })),
    };
    let launch = Call {
        r#type: Some(call::Type::LaunchNestedContainer.into()),
        launch_nested_container: Some(call::LaunchNestedContainer {
            container_id: id.clone(),
            command: shell("", "exit 3").command,
            container: None,
        }),
        ..Call::default()
    };
    let headers = [("Content-Type", PROTOBUF), ("Accept", PROTOBUF)];
    let answer = http::exchange(scene.addr(), &headers, &launch.encode_to_vec()).await;
    assert_eq!(told(&answer), (200, String::new()));
    let wait = Call {
        r#type: Some(call::Type::WaitNestedContainer.into()),
        wait_nested_container: Some(call::WaitNestedContainer { container_id: id }),
        ..Call::default()
    };
    let answer = http::exchange(scene.addr(), &headers, &wait.encode_to_vec()).await;
    let answer = mesos::agent::Response::decode(answer.body.as_slice()).unwrap();
    assert_eq!(
        answer.wait_nested_container.unwrap().exit_status,
        Some(3 << 8)
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_containers_outlive_the_agent_and_not_their_parent() {
    let mut scene = Scene::start("exec sleep 1000").await;
    scene.launch("long", "exec sleep 1000").await;
    scene.launch("short", "exit 4").await;
    scene.wait("short").await.json();
    let alone = json!({
        "container_id": {"value": "alone"},
        "command": {"value": "echo hello; exec sleep 1000"},
        "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}}],
    });
    let launched = scene
        .call(json!({"type": "LAUNCH_CONTAINER", "launch_container": alone}))
        .await;
    assert_eq!(told(&launched), (200, String::new()));
    let pids = |shown: Value| -> Vec<(String, u64)> {
        let mut all: Vec<_> = shown
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let id = one["container_id"].as_str().unwrap().to_owned();
                (id, one["status"]["executor_pid"].as_u64().unwrap())
            })
            .collect();
        all.sort();
        all
    };
    let everything = "/containers?show_nested=true&show_standalone=true";
    let before = pids(http::get(scene.addr(), everything).await.json());
    assert_eq!(before.len(), 3);
    scene.agent.shutdown().await.unwrap();

    scene.agent = Agent::start(scene.config.clone()).await.unwrap();
    scene.master.admit().await;
    let after = pids(http::get(scene.addr(), everything).await.json());
    assert_eq!(after, before, "the same processes as before");
    let waited = scene.wait("short").await.json();
    assert_eq!(waited["wait_nested_container"]["exit_status"], 4 << 8);

    let long = before
        .iter()
        .find(|(id, _)| id.ends_with(".long"))
        .map(|(_, pid)| u32::try_from(*pid).unwrap())
        .unwrap();
    let out = scene.config.work_dir.join("containers/alone/stdout");
    until("it has said it", || {
        std::fs::read(&out).is_ok_and(|said| said == b"hello\n")
    })
    .await;
    let wait = json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": scene.id("long")}});
    let waiting = begin(scene.addr(), &wait).await;
    scene.master.kill("t").await;
    scene.master.until("t", TaskKilled).await;
    let waited = http::answer(waiting).await;
    // The task's SIGTERM reaches all of its processes, these too; its end takes along what is left.
    let status = waited.json()["wait_nested_container"]["exit_status"].clone();
    assert!(status == 15 || status == 9, "{status}");
    assert!(!is_alive(long));
    assert!(is_gone(&scene.config, &scene.container));
    // The task's own is shown until the agent has heard that its end is known.
    loop {
        let shown = http::get(scene.addr(), everything).await.json();
        if shown.as_array().unwrap().len() == 1 {
            assert_eq!(shown[0]["container_id"], "alone");
            break;
        }
        tokio::task::yield_now().await;
    }
    let kill = json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": {"value": "alone"}, "signal": 15}});
    assert_eq!(scene.call(kill).await.status, 200);
    let wait =
        json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": {"value": "alone"}}});
    let waited = scene.call(wait).await.json();
    assert_eq!(waited["wait_container"]["exit_status"], 15);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "hello\n");
    scene.end().await;
}

/// Whether nothing is left of a container in any cgroup.
fn is_gone(config: &Config, container: &str) -> bool {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    hierarchies
        .map(|entry| entry.path().join(&config.cgroups_root).join(container))
        .all(|path| !path.exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_a_task_puts_in_the_way_is_not_followed_when_a_sandbox_is_removed() {
    let scene = Scene::start("exec sleep 1000").await;
    scene.launch("done", "true").await;
    scene.wait("done").await;
    // What the sandbox's owner may do, which the task's user is.
    let sandbox = scene.sandbox();
    let elsewhere = tempfile::tempdir().unwrap();
    let others = elsewhere.path().join("done");
    std::fs::create_dir(&others).unwrap();
    std::fs::rename(sandbox.join("containers"), sandbox.join("moved")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), sandbox.join("containers")).unwrap();
    let id = scene.id("done");
    let remove =
        json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": {"container_id": id}});
    assert_eq!(told(&scene.call(remove).await), (200, String::new()));
    assert!(others.exists(), "it is somebody else's");
    scene.end().await;
}

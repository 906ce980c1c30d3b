//! Sessions, and what is attached to containers: streams of RecordIO both ways.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFinished, TaskRunning};
use tokio::io::AsyncWriteExt;

use crate::http::{self, Answer};
use crate::master::Master;
use crate::nested::{Scene, is_alive, namespace};
use crate::streams::{Input, JSON, Output};
use crate::{config, shell, sweep};

fn told(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status, text)
}

fn exit_status(answer: &Answer) -> i64 {
    let answer = answer.json();
    answer["wait_nested_container"]["exit_status"]
        .as_i64()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_runs_as_its_task_does_and_is_piped_through() {
    let scene = Scene::start("export LATE=1; exec sleep 1000").await;
    let show = "for ns in pid mnt net ipc uts; do readlink /proc/self/ns/$ns; done; pwd; echo $MESOS_SANDBOX $OWN; echo oops >&2";
    let own = json!([{"name": "OWN", "value": "mine"}]);
    let command = json!({"value": show, "environment": {"variables": own}});
    let output = Output::session(&scene, "look", json!({"command": command})).await;
    assert!(
        output.head.contains("content-type: application/json"),
        "{}",
        output.head
    );
    let (out, err) = output.whole().await;
    let lines: Vec<&str> = out.lines().collect();
    for (at, name) in ["pid", "mnt", "net", "ipc", "uts"].iter().enumerate() {
        let parents = namespace(scene.pid, name);
        if *name == "pid" {
            // What its init is the first process of.
            let parents = std::fs::read_link(format!("/proc/{}/ns/pid_for_children", scene.pid));
            assert_eq!(std::path::Path::new(lines[at]), parents.unwrap());
        } else {
            assert_eq!(std::path::Path::new(lines[at]), parents, "{name}");
        }
    }
    let sandbox = lines[5];
    assert!(sandbox.ends_with(&scene.container), "{sandbox}");
    assert_eq!(lines[6], format!("{sandbox} mine"));
    assert_eq!(err, "oops\n");
    assert_eq!(exit_status(&scene.wait("look").await), 0);

    let mut output = Output::session(
        &scene,
        "cat",
        json!({"command": {"value": "cat; echo end; exit 5"}}),
    )
    .await;
    let mut input = Input::attach(scene.addr(), scene.id("cat")).await;
    input.type_in("one\n").await;
    output.until("one\n").await;
    let beside = Output::attach(scene.addr(), scene.id("cat")).await;
    let mut second = Input::attach(scene.addr(), scene.id("cat")).await;
    let refused = (409, "Multiple input connections are not allowed".to_owned());
    assert_eq!(second.answer().await, refused);
    input
        .control(json!({"type": "HEARTBEAT", "heartbeat": {}}))
        .await;
    input.type_in("two\n").await;
    input.type_in("").await;
    assert_eq!(output.whole().await.0, "one\ntwo\nend\n");
    assert_eq!(beside.whole().await.0, "two\nend\n");
    assert_eq!(input.end().await, (200, String::new()));
    assert_eq!(exit_status(&scene.wait("cat").await), 5 << 8);
    let attach = json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": scene.id("cat")}});
    assert_eq!(scene.call(attach).await.status, 404);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_connection_and_with_all_its_processes() {
    let scene = Scene::start("exec sleep 1000").await;
    let command = "setsid sleep 1000 & sleep 1000 & echo ready; wait";
    let mut output = Output::session(&scene, "s", json!({"command": {"value": command}})).await;
    output.until("ready\n").await;
    let get = json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}});
    let shown = scene.call(get).await.json();
    let shown = shown["get_containers"]["containers"].as_array().unwrap();
    let session = shown
        .iter()
        .find(|one| one["container_id"] == scene.id("s"));
    let pid = session.unwrap()["container_status"]["executor_pid"]
        .as_u64()
        .unwrap();
    let children = |pid: u64| -> Vec<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let text = text.unwrap_or_default();
        text.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    };
    let all: Vec<u64> = children(pid).into_iter().flat_map(children).collect();
    assert_eq!(all.len(), 2, "two that sleep");
    drop(output);
    assert_eq!(exit_status(&scene.wait("s").await), 9);
    for pid in all {
        assert!(!is_alive(u32::try_from(pid).unwrap()));
    }
    assert!(is_alive(scene.pid), "the task lives on");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_a_terminal_if_it_wants_one() {
    let scene = Scene::start("exec sleep 1000").await;
    let size = json!({"rows": 31, "columns": 107});
    let container = json!({"type": "MESOS", "tty_info": {"window_size": size}});
    let asked = json!({"command": {"value": "tty; stty noflsh; stty size; exec /bin/sh"}, "container": container});
    let mut output = Output::session(&scene, "tty", asked).await;
    output.until("31 107\r\n").await;
    assert!(output.seen.0.starts_with("/dev/pts/"), "{}", output.seen.0);
    let mut input = Input::attach(scene.addr(), scene.id("tty")).await;
    input.resize(40, 120).await;
    // The terminal shows what is typed: only the answer is in quotes that do not show.
    input.type_in("echo size is $(stty size)''.\n").await;
    output.until("size is 40 120.\r\n").await;
    input
        .type_in("exec sh -c 'trap \"echo inter\"\"rupted; exit 6\" INT; echo wait\"\"ing; while :; do sleep 0.02; done'\n")
        .await;
    output.until("waiting\r\n").await;
    input.type_in("\u{3}").await;
    output.until("interrupted\r\n").await;
    let (out, err) = output.whole().await;
    assert!(out.contains("size is 40 120."), "{out}");
    assert_eq!(err, "");
    assert_eq!(input.end().await.0, 200);
    assert_eq!(exit_status(&scene.wait("tty").await), 6 << 8);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_in_protobuf_if_that_is_wanted() {
    use mesos::agent::call::{AttachContainerInput, attach_container_input};
    use mesos::agent::process_io::{Data, data};
    use mesos::agent::{Call, ProcessIo, call, process_io};
    let scene = Scene::start("exec sleep 1000").await;
    let id = mesos::ContainerId {
        value: "p".to_owned(),
        parent: Some(Box::new(mesos::ContainerId {
            value: scene.container.clone(),
            parent: None,
        })),
    };
    let launch = Call {
        r#type: Some(call::Type::LaunchNestedContainerSession.into()),
        launch_nested_container_session: Some(call::LaunchNestedContainerSession {
            container_id: id.clone(),
            command: shell("", "cat >&2").command,
            container: None,
        }),
        ..Call::default()
    };
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Accept", "application/recordio"),
        ("Message-Accept", "application/x-protobuf"),
    ];
    let mut output = Output::open(scene.addr(), &headers, &launch.encode_to_vec()).await;
    assert!(
        output
            .head
            .contains("\r\ncontent-type: application/recordio\r\n"),
        "{}",
        output.head
    );
    assert!(
        output
            .head
            .contains("\r\nmessage-content-type: application/x-protobuf\r\n"),
        "{}",
        output.head
    );
    let mut input = Input::open(scene.addr(), "x-protobuf").await;
    let say = |attach| {
        let call = Call {
            r#type: Some(call::Type::AttachContainerInput.into()),
            attach_container_input: Some(attach),
            ..Call::default()
        };
        call.encode_to_vec()
    };
    let first = AttachContainerInput {
        r#type: Some(attach_container_input::Type::ContainerId.into()),
        container_id: Some(id),
        process_io: None,
    };
    input.record(&say(first)).await;
    for text in ["hello", ""] {
        let io = ProcessIo {
            r#type: Some(process_io::Type::Data.into()),
            data: Some(Data {
                r#type: Some(data::Type::Stdin.into()),
                data: Some(text.into()),
            }),
            control: None,
        };
        let record = AttachContainerInput {
            r#type: Some(attach_container_input::Type::ProcessIo.into()),
            container_id: None,
            process_io: Some(io),
        };
        input.record(&say(record)).await;
    }
    let record = ProcessIo::decode(output.record().await.unwrap()).unwrap();
    let data = record.data.unwrap();
    assert_eq!(
        (data.r#type(), &data.data.unwrap()[..]),
        (data::Type::Stderr, &b"hello"[..])
    );
    assert!(output.record().await.is_none());
    assert_eq!(input.end().await.0, 200);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_stream_is_said() {
    let scene = Scene::start("exec sleep 1000").await;
    let addr = scene.addr();
    let session = |asked: Value| {
        let mut asked = asked;
        if asked["container_id"].is_null() {
            asked["container_id"] = scene.id("x");
        }
        json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": asked})
    };
    let attach = |id: Value| json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
    let input = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": {"type": "CONTAINER_ID", "container_id": scene.id("x")}});
    let stream = ("Accept", "application/recordio");
    let valid = "Failed to validate agent::Call: ";
    let cases = [
        (
            vec![JSON],
            session(json!({"container_id": {"value": "x"}})),
            400,
            format!(
                "{valid}Expecting 'launch_nested_container_session.container_id.parent' to be present"
            ),
        ),
        (
            vec![JSON],
            json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION"}),
            400,
            format!("{valid}Expecting 'launch_nested_container_session' to be present"),
        ),
        (
            vec![JSON],
            session(json!({"command": {"shell": false, "value": "/nowhere"}})),
            400,
            "Failed to execute '/nowhere'".to_owned(),
        ),
        (
            vec![JSON],
            session(
                json!({"command": {"value": "true"}, "container": {"type": "MESOS", "linux_info": {"share_cgroups": false}}}),
            ),
            400,
            "a session shares its parent's cgroups".to_owned(),
        ),
        (
            vec![JSON],
            session(
                json!({"command": {"value": "true"}, "container": {"type": "MESOS", "volumes": [{"mode": "RW", "container_path": "x", "host_path": "/tmp"}]}}),
            ),
            400,
            "a session has its parent's root".to_owned(),
        ),
        (
            vec![JSON],
            json!({"type": "ATTACH_CONTAINER_OUTPUT"}),
            400,
            format!("{valid}Expecting 'attach_container_output' to be present"),
        ),
        (
            vec![JSON],
            attach(scene.id("x")),
            404,
            format!("Container {}.x cannot be found", scene.container),
        ),
        (
            vec![JSON],
            attach(json!({"value": "nobody"})),
            404,
            "Container nobody cannot be found".to_owned(),
        ),
        (
            vec![JSON, stream],
            json!({"type": "GET_HEALTH"}),
            406,
            "Streaming response is not supported for GET_HEALTH call".to_owned(),
        ),
        (
            vec![JSON, stream, ("Message-Accept", "text/plain")],
            attach(scene.id("x")),
            406,
            "Expecting 'Message-Accept' to allow".to_owned(),
        ),
        (
            vec![JSON, ("Message-Accept", "application/json")],
            attach(scene.id("x")),
            406,
            "Expecting 'Message-Accept' to be not set".to_owned(),
        ),
        (
            vec![JSON, ("Message-Content-Type", "application/json")],
            attach(scene.id("x")),
            415,
            "Expecting 'Message-Content-Type' to be not set".to_owned(),
        ),
        (
            vec![JSON],
            input.clone(),
            415,
            "Expecting 'Content-Type' to be application/recordio for ATTACH_CONTAINER_INPUT call"
                .to_owned(),
        ),
        (
            vec![("Content-Type", "application/recordio")],
            input,
            400,
            "Expecting 'Message-Content-Type' to be set for streaming requests".to_owned(),
        ),
    ];
    for (headers, call, status, words) in cases {
        let answer = http::exchange(addr, &headers, call.to_string().as_bytes()).await;
        let (found, text) = told(&answer);
        assert_eq!(
            (found, text.starts_with(&words)),
            (status, true),
            "{call}: {text}"
        );
    }

    let run = Output::session(
        &scene,
        "run",
        json!({"command": {"value": "exec sleep 1000"}}),
    )
    .await;
    let id = scene.id("run");
    let data = |kind: &str| json!({"type": "PROCESS_IO", "process_io": {"type": "DATA", "data": {"type": kind, "data": "aGk="}}});
    let size = json!({"type": "TTY_INFO", "tty_info": {"window_size": {"rows": 1, "columns": 1}}});
    let size = json!({"type": "PROCESS_IO", "process_io": {"type": "CONTROL", "control": size}});
    let first = json!({"type": "CONTAINER_ID", "container_id": id});
    let cases = [
        (vec![], 400, "Received EOF while reading request body"),
        (
            vec![data("STDIN")],
            400,
            "Expecting 'attach_container_input.type' to be CONTAINER_ID",
        ),
        (
            vec![json!({"type": "UNKNOWN"})],
            400,
            "Failed to validate agent::Call: 'attach_container_input.type' is unknown",
        ),
        (
            vec![json!({"type": "CONTAINER_ID", "container_id": scene.id("x")})],
            404,
            "Container ",
        ),
        (
            vec![json!({"type": "CONTAINER_ID", "container_id": {"value": scene.container}})],
            500,
            "Container ",
        ),
        (
            vec![first.clone(), data("STDOUT")],
            400,
            "Expecting 'process_io.data.type' to be 'STDIN'",
        ),
        (
            vec![first.clone(), first.clone()],
            400,
            "Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of: 'CONTAINER_ID'",
        ),
        (
            vec![first.clone(), size],
            400,
            "Unable to set the window size: ",
        ),
        (vec![first, data("STDIN")], 200, ""),
    ];
    for (records, status, words) in cases {
        let mut input = Input::open(addr, "json").await;
        for record in &records {
            input.say(record.clone()).await;
        }
        let (found, text) = input.end().await;
        assert_eq!(
            (found, text.starts_with(words)),
            (status, true),
            "{records:?}: {text}"
        );
    }
    let mut input = Input::open(addr, "json").await;
    input.0.write_all(b"3\r\nx\n1\r\n").await.unwrap();
    assert_eq!(input.end().await.0, 400);
    drop(run);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_with_a_terminal_is_typed_into_before_and_after_a_restart_of_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        http_heartbeat_interval: Duration::from_millis(100),
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let terminal = mesos::ContainerInfo {
        r#type: mesos::container_info::Type::Mesos.into(),
        tty_info: Some(mesos::TtyInfo {
            window_size: Some(mesos::tty_info::WindowSize {
                rows: 24,
                columns: 80,
            }),
        }),
        ..mesos::ContainerInfo::default()
    };
    let command = "tty; while read line; do echo got $line at $(stty size)''.; done; echo over";
    let task = mesos::TaskInfo {
        container: Some(Box::new(terminal)),
        ..shell("t", command)
    };
    master.run(task).await;
    let running = master.until("t", TaskRunning).await;
    let id = running
        .container_status
        .unwrap()
        .container_id
        .unwrap()
        .value;
    let id = json!({"value": id});

    let mut output = Output::attach(agent.addr(), id.clone()).await;
    let mut input = Input::attach(agent.addr(), id.clone()).await;
    // Once a heartbeat has come, it is attached.
    loop {
        let record = output.next().await.unwrap();
        if record["type"] == "CONTROL" {
            let interval = &record["control"]["heartbeat"]["interval"]["nanoseconds"];
            assert_eq!(*interval, 100_000_000);
            break;
        }
    }
    input.type_in("one\n").await;
    output.until("got one at 24 80.\r\n").await;
    assert_eq!(input.end().await, (200, String::new()));
    agent.shutdown().await.unwrap();

    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let output = Output::attach(agent.addr(), id.clone()).await;
    let mut input = Input::attach(agent.addr(), id).await;
    input.resize(30, 100).await;
    input.type_in("two\n").await;
    // Control-D.
    input.type_in("\u{4}").await;
    master.until("t", TaskFinished).await;
    assert_eq!(input.end().await.0, 200);
    drop(output);
    let path = "/frameworks/f/executors/t/runs/latest/stdout";
    let file = http::get(agent.addr(), &format!("/files/download?path={path}")).await;
    let text = String::from_utf8(file.body).unwrap();
    assert!(text.starts_with("/dev/pts/"), "{text}");
    for part in [
        "got one at 24 80.\r\n",
        "got two at 30 100.\r\n",
        "over\r\n",
    ] {
        assert!(text.contains(part), "{text}");
    }
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_container_can_be_watched_and_sessions_do_not_outlive_the_agent() {
    let mut scene = Scene::start("while ! test -e go; do sleep 0.02; done; echo went; echo oops >&2; while ! test -e end; do sleep 0.02; done; echo last").await;
    let id = json!({"value": scene.container});
    let output = Output::attach(scene.addr(), id).await;
    let sandbox = scene
        .config
        .work_dir
        .join("slaves/S0/frameworks/f/executors/t/runs/latest");
    std::fs::write(sandbox.join("go"), "").unwrap();
    let mut output = output;
    output.until("went\n").await;
    std::fs::write(sandbox.join("end"), "").unwrap();
    assert_eq!(
        output.whole().await,
        ("went\nlast\n".to_owned(), "oops\n".to_owned())
    );

    scene.master.run(shell("u", "exec sleep 1000")).await;
    let running = scene.master.until("u", TaskRunning).await;
    let status = running.container_status.unwrap();
    scene.container = status.container_id.unwrap().value;
    let mut output = Output::session(
        &scene,
        "s",
        json!({"command": {"value": "echo $$; exec sleep 1000"}}),
    )
    .await;
    output.until("\n").await;
    let everything = "/containers?show_nested=true";
    let shown = http::get(scene.addr(), everything).await.json();
    let name = format!("{}.s", scene.container);
    let session = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["container_id"] == name.as_str());
    let pid = session.unwrap()["status"]["executor_pid"].as_u64().unwrap();
    scene.agent.shutdown().await.unwrap();
    scene.agent = Agent::start(scene.config.clone()).await.unwrap();
    scene.master.admit().await;
    let shown = http::get(scene.addr(), everything).await.json();
    assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
    assert!(!is_alive(u32::try_from(pid).unwrap()));
    assert_eq!(scene.wait("s").await.status, 404);
    scene.end().await;
}

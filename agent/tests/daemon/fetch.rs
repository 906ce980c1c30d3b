//! URIs of commands: what the task finds, what is said when it finds nothing, and what ends a fetch that does not end.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{
    TaskFailed, TaskFinished, TaskKilled, TaskLost, TaskRunning,
};
use tepui_proto::mesos::v1::command_info::Uri;
use tepui_proto::mesos::v1::task_status::Reason;

use crate::kit::{archive, file, gzip};
use crate::master::Master;
use crate::{config, http, shell, sweep};

fn fetching(id: &str, command: &str, uris: &[&str]) -> mesos::TaskInfo {
    let mut task = shell(id, command);
    let uri = |value: &&str| Uri {
        value: (*value).to_owned(),
        cache: Some(true),
        ..Default::default()
    };
    task.command.as_mut().unwrap().uris = uris.iter().map(uri).collect();
    task
}

/// A server that says who came, and never answers.
pub(crate) fn silent() -> (String, mpsc::Receiver<std::net::TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/slow.tar.gz", listener.local_addr().unwrap());
    let (sender, came) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if sender.send(stream).is_err() {
                return;
            }
        }
    });
    (uri, came)
}

/// A server that has one answer.
fn serving(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/files.tar.gz", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&content);
        }
    });
    uri
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_finds_what_its_uris_ask_for_or_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config).await.unwrap();
    master.admit().await;
    let uri = serving(gzip(&archive(&[file("dir/words", "found\n")])));
    master
        .run(fetching(
            "good",
            "test \"$(cat dir/words)\" = found && ! test -e files.tar.gz",
            &[&uri],
        ))
        .await;
    let finished = master.until("good", TaskFinished).await;
    assert_eq!(finished.message(), "Command exited with status 0");

    master
        .run(fetching("bad", "true", &[&uri, "/no/such/file"]))
        .await;
    let failed = master.until("bad", TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
    let message = failed.message();
    assert!(
        message.contains("Failed to fetch all URIs for container '"),
        "{message}"
    );
    assert!(
        message.ends_with(
            "'/no/such/file': cannot open /no/such/file: No such file or directory (os error 2)"
        ),
        "{message}"
    );
    let metrics = http::get(agent.addr(), "/metrics/snapshot").await.json();
    let fetches =
        |name: &str| metrics[format!("containerizer/fetcher/task_fetches_{name}")].clone();
    assert_eq!(
        (fetches("succeeded"), fetches("failed")),
        (1.0.into(), 1.0.into())
    );
    assert!(
        metrics["containerizer/fetcher/cache_size_used_bytes"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_holds_up_nobody_and_ends_with_its_task_or_its_agent() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let (uri, came) = silent();
    master.run(fetching("slow", "true", &[&uri])).await;
    let mut stream = tokio::task::block_in_place(|| came.recv().unwrap());
    master.run(shell("other", "exec sleep 1000")).await;
    master.until("other", TaskRunning).await;
    master.kill("slow").await;
    master.until("slow", TaskKilled).await;
    // The connection ends with the task.
    let mut rest = Vec::new();
    tokio::task::block_in_place(|| stream.read_to_end(&mut rest)).unwrap();

    let (uri, came) = silent();
    master.run(fetching("interrupted", "true", &[&uri])).await;
    let _stream = tokio::task::block_in_place(|| came.recv().unwrap());
    agent.shutdown().await.unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let dropped = master.until("interrupted", TaskLost).await;
    assert_eq!(dropped.reason(), Reason::AgentRestarted);
    assert_eq!(
        dropped.message(),
        "the agent restarted while it launched the task"
    );
    sweep(&config, agent).await;
}

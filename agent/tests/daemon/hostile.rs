//! Tasks that put links to directories of the host where the agent works among their files: nothing of the host is touched or shown.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tepui_agent::Agent;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskRunning};

use crate::fetch::silent;
use crate::groups::run;
use crate::master::Master;
use crate::nested::{Scene, told};
use crate::{config, shell, sweep};

/// A directory of the host that looks like a sandbox. Returns what is in it too.
fn host(folder: &Path) -> (PathBuf, Vec<PathBuf>) {
    let host = folder.join("host");
    for name in ["containers/b", "containers/c", "shared", "tasks"] {
        std::fs::create_dir_all(host.join(name)).unwrap();
    }
    std::fs::write(host.join("shared/secret"), "secret").unwrap();
    let there = all(&host);
    (host, there)
}

/// All paths below a directory, and it itself.
fn all(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    while next < found.len() {
        if found[next].is_dir() {
            let entries = std::fs::read_dir(&found[next]).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        next += 1;
    }
    found.sort();
    found
}

/// What a hostile task does with a directory of its own.
fn swap(directory: &Path, host: &Path) {
    std::fs::rename(directory, directory.with_extension("aside")).unwrap();
    symlink(host, directory).unwrap();
}

fn launch(scene: &Scene, name: &str, command: Value, volumes: Value) -> Value {
    let asked = json!({
        "container_id": {"value": name, "parent": scene.id("a")},
        "command": command,
        "container": {"type": "MESOS", "volumes": volumes},
    });
    json!({"type": "LAUNCH_CONTAINER", "launch_container": asked})
}

fn volume(of: &str) -> Value {
    let source = json!({"type": "SANDBOX_PATH", "sandbox_path": {"type": of, "path": "shared"}});
    json!([{"mode": "RW", "container_path": "seen", "source": source}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parents_sandbox_that_becomes_a_link_is_not_entered() {
    let folder = tempfile::tempdir().unwrap();
    let (host, there) = host(folder.path());
    let scene = Scene::start("exec sleep 1000").await;
    assert_eq!(scene.launch("a", "exec sleep 1000").await.status, 200);
    let own = scene.sandbox().join("containers/a");

    // While what it fetches is on its way: its sandbox and its plan are made, and nothing is mounted yet.
    for (name, of) in [("b", "PARENT"), ("c", "SELF")] {
        let (uri, came) = silent();
        let copy = "cat seen/secret > copied";
        let command = json!({"value": copy, "uris": [{"value": uri, "extract": false}]});
        let swapped = async {
            let mut asking = tokio::task::spawn_blocking(move || came.recv().unwrap())
                .await
                .unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                asking.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            swap(&own, &host);
            asking
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .unwrap();
        };
        let launched = scene.call(launch(&scene, name, command, volume(of)));
        let (launched, ()) = tokio::join!(launched, swapped);
        let (status, why) = told(&launched);
        assert!(
            status == 400 && why.contains("Failed to open the sandbox"),
            "{why}"
        );
        assert_eq!(all(&host), there, "{of}");
        std::fs::remove_file(&own).unwrap();
        std::fs::rename(own.with_extension("aside"), &own).unwrap();
    }

    // Before it is launched.
    swap(&own, &host);
    let command = json!({"value": "true"});
    let launched = scene.call(launch(&scene, "d", command, json!([]))).await;
    let (status, why) = told(&launched);
    assert!(
        status == 400 && why.contains("Failed to create the sandbox"),
        "{why}"
    );
    assert_eq!(all(&host), there);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_a_group_leads_no_other_out_of_their_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let (host, there) = host(folder.path());
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let swap =
        "cd ../..; for d in containers tasks; do mv $d $d.aside; ln -s \"$HOST/$d\" $d; done";
    let command = format!(
        "HOST={}; {swap}; touch swapped; exec sleep 1000",
        host.display()
    );
    run(&master, vec![shell("hostile", &command)]).await;
    master.until("hostile", TaskRunning).await;
    let sandbox = "slaves/S0/frameworks/f/executors/pod/runs/latest/swapped";
    let swapped = config.work_dir.join(sandbox);
    crate::until("the links are there", || swapped.exists()).await;

    run(&master, vec![shell("led", "touch here")]).await;
    let failed = master.until("led", TaskFailed).await;
    assert!(
        failed.message().contains("Failed to create the sandbox"),
        "{}",
        failed.message()
    );
    assert_eq!(all(&host), there);
    sweep(&config, agent).await;
}

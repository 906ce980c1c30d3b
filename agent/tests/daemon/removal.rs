//! Nested containers are removed while others want the same, or the next of that id is there already.

use std::io::Write;

use serde_json::{Value, json};

use crate::nested::{Scene, told};
use crate::until;

/// Leaves something to remove.
const MUCH: &str = "seq -f d%g/e 300 | xargs mkdir -p";

fn remove(scene: &Scene, name: &str) -> Value {
    let asked = json!({"container_id": scene.id(name)});
    json!({"type": "REMOVE_NESTED_CONTAINER", "remove_nested_container": asked})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_removal_does_not_reach_the_next_container_of_that_id() {
    let scene = Scene::start("exec sleep 1000").await;
    for _ in 0..5 {
        assert_eq!(scene.launch("same", MUCH).await.status, 200);
        assert_eq!(scene.wait("same").await.status, 200);
        let removals =
            futures::future::join_all((0..8).map(|_| scene.call(remove(&scene, "same"))));
        // As soon as the id is free.
        let launched = async {
            loop {
                let answer = scene.launch("same", "echo here; exec sleep 1000").await;
                match told(&answer) {
                    (202, _) => tokio::task::yield_now().await,
                    other => break other,
                }
            }
        };
        let (removed, launched) = tokio::join!(removals, launched);
        assert_eq!(launched, (200, String::new()));
        for answer in &removed {
            let (status, why) = told(answer);
            assert!(
                status == 200 || why.contains("cannot be removed"),
                "{status} {why}"
            );
        }
        let stdout = scene.sandbox().join("containers/same/stdout");
        until("the new one writes", || {
            std::fs::read(&stdout).is_ok_and(|text| text == b"here\n")
        })
        .await;
        let killed = json!({"container_id": scene.id("same")});
        let killed = json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": killed});
        assert_eq!(told(&scene.call(killed).await), (200, String::new()));
        let waited = scene.wait("same").await;
        assert_eq!(waited.status, 200);
        assert_eq!(waited.json()["wait_nested_container"]["exit_status"], 9);
        let removed = scene.call(remove(&scene, "same")).await;
        assert_eq!(told(&removed), (200, String::new()));
        assert!(!scene.sandbox().join("containers/same").exists());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_is_done_whether_or_not_its_caller_stays() {
    let scene = Scene::start("exec sleep 1000").await;
    let names: Vec<String> = (0..16).map(|number| format!("c{number}")).collect();
    for name in &names {
        assert_eq!(scene.launch(name, MUCH).await.status, 200);
        assert_eq!(scene.wait(name).await.status, 200);
    }
    for name in &names {
        let body = remove(&scene, name).to_string();
        let length = body.len();
        let request = format!(
            "POST /api/v1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = std::net::TcpStream::connect(scene.addr()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        // The caller goes when the removal has begun.
        let record = format!("containers/{}.{name}", scene.container);
        let record = scene.config.runtime_dir.join(record);
        while record.exists() {
            tokio::task::yield_now().await;
        }
        drop(connection);
    }
    for name in &names {
        let sandbox = scene.sandbox().join("containers").join(name);
        until("the sandbox is removed", || !sandbox.exists()).await;
        while scene.wait(name).await.status != 404 {
            tokio::task::yield_now().await;
        }
    }
    scene.end().await;
}

//! Agents that are killed while they pull an image: what they had of it is not used, and the next life gets it whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFinished, TaskRunning, TaskStarting};

use crate::images::{in_image, layers, output};
use crate::kit::{self, archive, directory, file, gzip};
use crate::life::{Life, live};
use crate::master::Master;
use crate::{config_at, shell, until};

const FILES: usize = 400;

fn config_of(master: std::net::SocketAddr, folder: &Path) -> Config {
    let mut config = config_at(master, &folder.join("work"));
    // A download that was cut waits for ever, as far as this test is concerned.
    config.images.registry.pause = Duration::from_secs(600);
    config
}

/// No test: the agent of the one below, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_to_be_killed() {
    live(config_of).await;
}

/// When an agent dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// It has asked for this and got no answer yet.
    Asked(&'static str),
    /// It has got half of a layer.
    Half,
    /// It has got all, for so many milliseconds.
    Got(u64),
}

/// Runs a task of the image to its end; what it wrote.
async fn outcome(master: &mut Master, config: &Config, task: mesos::TaskInfo) -> String {
    let id = task.task_id.value.clone();
    master.run(task).await;
    let last = loop {
        let status = master.next_of(&id).await;
        if !matches!(status.state(), TaskStarting | TaskRunning) {
            break status;
        }
    };
    let (out, err) = (output(config, &id, "stdout"), output(config, &id, "stderr"));
    assert_eq!(last.state(), TaskFinished, "{}: {out}{err}", last.message());
    out
}

fn entries(directory: PathBuf) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_agent_had_of_an_image_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config_of(master.addr, folder.path());
    // A layer of many files, that takes a while to unpack.
    let mut many = vec![directory("data/")];
    let mut whole = Vec::new();
    for number in 0..FILES {
        let name = format!("data/{number:04}").leak();
        let mut state = number as u64 + 1;
        let content: String = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + (state >> 60) as u8)
        })
        .take(4096)
        .collect();
        whole.extend_from_slice(content.as_bytes());
        many.push(file(name, &content));
    }
    let mut all = layers();
    all.push(archive(&many));
    let made = kit::image(&all, gzip);
    let layer = made.layers[2].to_string();
    let blob = made.blobs[&layer].clone();
    let look = "cat /data/* | /bin/busybox sha256sum; /bin/busybox find /data -type f | wc -l; cat /changed";
    let digest = tepui_images::Digest::of(&whole).to_string();
    let expected = format!("{}  -\n{FILES}\nabove", &digest["sha256:".len()..]);

    let moments = [
        Moment::Asked("/manifests/"),
        Moment::Asked("/blobs/"),
        Moment::Half,
        Moment::Got(0),
        Moment::Got(10),
        Moment::Got(30),
        Moment::Got(60),
        Moment::Got(100),
        Moment::Got(160),
    ];
    let mut half_made = false;
    for (round, moment) in moments.into_iter().enumerate() {
        // Every round has an image of its own name; the layers are the same.
        let behaves = Arc::new(AtomicBool::new(false));
        let (now, wanted, half) = (Arc::clone(&behaves), layer.clone(), blob.clone());
        let registry = kit::Registry::start(made.clone(), move |asked, _| {
            if now.load(Ordering::Relaxed) {
                return None;
            }
            match moment {
                Moment::Asked(part) if asked.path.contains(part) => Some(kit::Answer {
                    cut_after: Some(0),
                    ..kit::Answer::new(200, half.clone())
                }),
                Moment::Half if asked.path.ends_with(&wanted) => Some(kit::Answer {
                    cut_after: Some(half.len() / 2),
                    ..kit::Answer::new(200, half.clone())
                }),
                _ => None,
            }
        })
        .await;
        let name = format!("{}/app", registry.address);
        let task = |id: &str| in_image(shell(&format!("{id}{round}"), look), &name);
        let life = Life::start("killed::an_agent_to_be_killed", &master, folder.path());
        master.admit().await;
        master.run(task("killed")).await;
        match moment {
            Moment::Asked(part) => {
                until("it has asked", || registry.count(part) > 0).await;
            }
            Moment::Half => {
                let store = config.work_dir.join("store/tmp");
                let got = || {
                    let found = std::fs::read_dir(&store).into_iter().flatten().flatten();
                    let mut sizes = found.filter_map(|it| Some(it.metadata().ok()?.len()));
                    sizes.any(|size| size == blob.len() as u64 / 2)
                };
                until("it has got half", got).await;
            }
            Moment::Got(milliseconds) => {
                until("it has asked for all", || {
                    registry.count("/blobs/") >= all.len()
                })
                .await;
                // Some moment of the unpacking: there is nothing to wait for.
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
        }
        drop(life);
        let left = entries(config.work_dir.join("store/tmp"));
        match moment {
            Moment::Asked(_) => {}
            Moment::Half => assert_ne!(left, 0),
            Moment::Got(_) => half_made |= left > 0,
        }
        behaves.store(true, Ordering::Relaxed);

        let life = Life::start("killed::an_agent_to_be_killed", &master, folder.path());
        master.admit().await;
        let store = config.work_dir.join("store");
        let found = outcome(&mut master, &config, task("whole")).await;
        assert_eq!(found.trim_end(), expected, "{moment:?}");
        assert_eq!(entries(store.join("tmp")), 0, "{moment:?}");
        drop(life);
        // The next round begins with nothing.
        std::fs::remove_dir_all(&store).unwrap();
    }
    assert!(half_made, "no agent was killed while it unpacked");
    let mut last = config.clone();
    last.ephemeral = true;
    let agent = Agent::start(last).await.unwrap();
    agent.shutdown().await.unwrap();
}

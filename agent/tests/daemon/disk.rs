//! How much disk tasks use, and what becomes of those that use too much.

use tepui_agent::DiskConfig;

use super::images::{image_in, in_image};
use super::*;

fn with_disk(id: &str, mib: f64, command: &str) -> mesos::TaskInfo {
    mesos::TaskInfo {
        resources: vec![
            scalar("cpus", 0.1),
            scalar("mem", 32.0),
            scalar("disk", mib),
        ],
        ..shell(id, command)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_is_measured_and_who_uses_too_much_of_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let agent = Agent::start(Config {
        ephemeral: true,
        disk: DiskConfig {
            watch: true,
            enforce: true,
            interval: Duration::from_secs(1),
        },
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    master.admit().await;
    // A look may come while they write: only the last piece is too much, so that what is told is the same then.
    let fill = "head -c 4259840 /dev/zero > file; exec sleep 1000";
    master.run(with_disk("modest", 64.0, fill)).await;
    master.until("modest", TaskRunning).await;
    master.run(with_disk("greedy", 4.0, fill)).await;
    let failed = master.until("greedy", TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLimitationDisk);
    let message = failed.message();
    assert!(
        message.starts_with("Disk usage (4") && message.ends_with(") exceeds quota (4MB)"),
        "{message}"
    );
    let limitation = failed.limitation.unwrap();
    assert_eq!(
        limitation.resources,
        [mesos::Resource {
            role: Some("*".to_owned()),
            ..scalar("disk", 4.0)
        }]
    );

    // What is written over an image counts too.
    let image = image_in(folder.path());
    let over =
        "/bin/busybox dd if=/dev/zero of=/file bs=64K count=65; exec /bin/busybox sleep 1000";
    let over = in_image(with_disk("over", 4.0, over), &image);
    master.run(over).await;
    let failed = master.until("over", TaskFailed).await;
    let message = failed.message();
    assert!(
        message.starts_with("Disk usage (4") && message.ends_with(") exceeds quota (4MB)"),
        "{message}"
    );

    // The other was measured in the same look, or will be in the next.
    let statistics = loop {
        let all = http::get(agent.addr(), "/monitor/statistics").await.json();
        let found = all[0]["statistics"].clone();
        if found["disk_used_bytes"].as_u64() >= Some(4 << 20) {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(statistics["disk_limit_bytes"], 64 << 20);
    master.kill("modest").await;
    master.until("modest", TaskKilled).await;
    agent.shutdown().await.unwrap();
}

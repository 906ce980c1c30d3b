//! Images on their way from registries: what goes wrong and how it is said, who waits and who does not, and a real registry (Debian:
//! docker-registry), to which other people's tools have brought one.

use std::path::Path;
use std::process::{Command, Stdio};

use tepui_agent::Agent;
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskKilled, TaskLost, TaskRunning, TaskStarting};
use tepui_proto::mesos::v1::container_info::DockerInfo;
use tepui_proto::mesos::v1::task_status::Reason;

use crate::images::{ephemeral, image_in, in_docker, in_image, layers, refused, run};
use crate::kit::{self, gzip};
use crate::master::Master;
use crate::{config, http, shell, sweep, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_fails_is_told_in_the_tasks_status() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let mut config = ephemeral(&master, folder.path());
    config.images.registry.pause = std::time::Duration::from_millis(1);
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let made = kit::image(&layers(), gzip);
    let layer = made.layers[1].to_string();
    for (index, (kind, why)) in [
        ("404", "does not have it (404"),
        ("401", "refuses access (401"),
        ("429", "answers 429"),
        ("503", "answers 503"),
        ("missing", "has the image's manifest, but not its layer"),
        ("digest", "a layer has the wrong digest"),
        ("cut", "was cut after"),
    ]
    .into_iter()
    .enumerate()
    {
        let (layer, blob) = (layer.clone(), made.blobs[&layer].clone());
        let registry = kit::Registry::start(made.clone(), move |asked, before| {
            let of_layer = asked.path.ends_with(&layer);
            match kind {
                "404" | "401" | "429" | "503" => Some(kit::Answer::new(kind.parse().unwrap(), "")),
                "missing" if of_layer => Some(kit::Answer::new(404, "")),
                "digest" if of_layer => {
                    let mut damaged = blob.clone();
                    damaged[20] ^= 1;
                    Some(kit::Answer::new(200, damaged))
                }
                "cut" if of_layer => Some(kit::Answer {
                    cut_after: Some(if before == 0 { 10 } else { 0 }),
                    ..kit::Answer::new(
                        if before == 0 { 200 } else { 206 },
                        blob[if before == 0 { 0 } else { 10 }..].to_vec(),
                    )
                }),
                _ => None,
            }
        })
        .await;
        let name = format!("{}/app", registry.address);
        let said = refused(
            &mut master,
            in_image(shell(&format!("t{index}"), "true"), &name),
        )
        .await;
        assert!(
            said.contains(why) && said.contains(&format!("image '{name}")),
            "{kind}: {said}"
        );
    }
    agent.shutdown().await.unwrap();
}

/// A registry that has the manifest and is silent about the layers.
async fn silent() -> kit::Registry {
    kit::Registry::start(kit::image(&layers(), gzip), |asked, _| {
        asked.path.contains("/blobs/").then(|| kit::Answer {
            headers: vec![("retry-after", "30".to_owned())],
            ..kit::Answer::new(503, "")
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_blocks_nobody_ends_with_a_kill_and_with_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let registry = silent().await;
    let name = format!("{}/app", registry.address);
    let mut master = Master::start().await;
    let config = config(&master, &folder.path().join("work"));
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    master.run(in_image(shell("killed", "true"), &name)).await;
    master.until("killed", TaskStarting).await;
    while registry.count("/blobs/") == 0 {
        tokio::task::yield_now().await;
    }
    run(
        &mut master,
        &config,
        in_image(shell("meanwhile", "true"), &image),
    )
    .await;
    master.kill("killed").await;
    let killed = master.until("killed", TaskKilled).await;
    assert_eq!(killed.reason(), Reason::TaskKilledDuringLaunch);

    master
        .run(in_image(shell("restarted", "true"), &name))
        .await;
    master.until("restarted", TaskStarting).await;
    master
        .run(in_image(shell("stays", "exec sleep 1000"), &image))
        .await;
    master.until("stays", TaskRunning).await;
    agent.shutdown().await.unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    // Told as lost to frameworks that do not know of partitions.
    let dropped = master.until("restarted", TaskLost).await;
    assert_eq!(dropped.reason(), Reason::AgentRestarted);
    // What runs on holds its image, also now.
    let prune = || {
        http::request(
            agent.addr(),
            "POST",
            "/api/v1",
            "application/json",
            r#"{"type":"PRUNE_IMAGES","prune_images":{}}"#,
        )
    };
    assert_eq!(prune().await.status, 200);
    let images = http::get(agent.addr(), "/tepui/v1/images").await.json();
    assert_eq!(
        (
            &images["images"][0]["name"],
            &images["images"][0]["containers"]
        ),
        (&image.as_str().into(), &1.into())
    );
    master.kill("stays").await;
    master.until("stays", TaskKilled).await;
    while http::get(agent.addr(), "/tepui/v1/images").await.json()["images"][0]["containers"] != 0 {
        tokio::task::yield_now().await;
    }
    let excluded = format!(
        r#"{{"type":"PRUNE_IMAGES","prune_images":{{"excluded_images":[{{"type":"DOCKER","docker":{{"name":"{image}"}}}}]}}}}"#
    );
    let answer = http::request(
        agent.addr(),
        "POST",
        "/api/v1",
        "application/json",
        &excluded,
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        http::get(agent.addr(), "/tepui/v1/images").await.json()["images"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(prune().await.status, 200);
    assert_eq!(
        http::get(agent.addr(), "/tepui/v1/images").await.json()["images"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    for part in ["layers", "containers", "tmp"] {
        let left = std::fs::read_dir(config.work_dir.join("store").join(part)).unwrap();
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert!(left.is_empty(), "{part}: {left:?}");
    }
    sweep(&config, agent).await;
}

/// Debian's docker-registry on a loopback port; killed when dropped.
struct DockerRegistry {
    process: std::process::Child,
    address: String,
}

impl DockerRegistry {
    /// It takes a port of its own choice, and says which.
    async fn start(folder: &Path) -> Self {
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
            folder.join("registry").display()
        );
        let (path, log) = (folder.join("registry.yml"), folder.join("registry.log"));
        std::fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .expect("this test needs Debian's docker-registry; ./test installs it");
        let mut registry = Self {
            process,
            address: String::new(),
        };
        let address = || {
            let said = std::fs::read_to_string(&log).unwrap();
            let (_, after) = said.split_once("listening on ")?;
            // Of a line that is being written the end is missing.
            let (address, _) = after.split_once('"')?;
            Some(address.to_owned())
        };
        until("the registry listens", || address().is_some()).await;
        registry.address = address().unwrap();
        registry
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tool(program: &str, arguments: &[&str]) {
    let done = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("this test needs Debian's {program} ({error}); ./test installs it")
        });
    assert!(
        done.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_by_other_peoples_tools_runs_from_a_real_registry() {
    let folder = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(folder.path()).await;
    let (layout, bundle) = (folder.path().join("made"), folder.path().join("bundle"));
    let (layout, bundle) = (layout.to_str().unwrap(), bundle.to_str().unwrap());
    let image = format!("{layout}:v1");
    tool("umoci", &["init", "--layout", layout]);
    tool("umoci", &["new", "--image", &image]);
    let rootless: &[&str] = if nix::unistd::geteuid().is_root() {
        &[]
    } else {
        &["--rootless"]
    };
    let unpack = [&["unpack"], rootless, &["--image", &image, bundle]].concat();
    tool("umoci", &unpack);
    let bin = Path::new(bundle).join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", bin.join("sh")).unwrap();
    tool("umoci", &["repack", "--image", &image, bundle]);
    tool(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.entrypoint",
            "/bin/sh",
            "--config.cmd",
            "-c",
            "--config.cmd",
            "echo $GREETING from $0",
            "--config.env",
            "GREETING=hello",
        ],
    );
    let target = format!("docker://{}/team/app:1", registry.address);
    tool(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            &format!("oci:{image}"),
            &target,
        ],
    );

    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let plain = mesos::CommandInfo {
        shell: Some(false),
        ..Default::default()
    };
    let task = |id: &str| mesos::TaskInfo {
        command: Some(plain.clone()),
        ..shell(id, "")
    };
    let name = format!("{}/team/app:1", registry.address);
    assert_eq!(
        run(&mut master, &config, in_image(task("mesos"), &name)).await,
        "hello from /bin/sh\n"
    );
    let docker = DockerInfo {
        image: name.clone(),
        force_pull_image: Some(true),
        ..Default::default()
    };
    assert_eq!(
        run(&mut master, &config, in_docker(task("docker"), docker)).await,
        "hello from /bin/sh\n"
    );
    let said = refused(
        &mut master,
        in_image(task("none"), &format!("{}/team/none", registry.address)),
    )
    .await;
    assert!(
        said.contains("does not have it (404: manifest unknown)"),
        "{said}"
    );
    agent.shutdown().await.unwrap();
}

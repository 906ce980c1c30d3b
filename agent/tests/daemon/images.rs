//! Containers with images: what they see, what they are told, what goes wrong and how it is said.
//!
//! The images are made here of the machine's static busybox (Debian: busybox-static) and reach the agent as OCI layouts, or by way of a real
//! registry (Debian: docker-registry), pushed with skopeo.

use std::path::Path;

use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskRunning, TaskStarting};
use tepui_proto::mesos::v1::container_info::{DockerInfo, MesosInfo};
use tepui_proto::mesos::v1::task_status::Reason;

use crate::kit::{self, Entry, archive, directory, file, gzip, other};
use crate::master::Master;
use crate::{config, shell, until};

/// The programs that the tests' images have, besides `sh`.
const APPLETS: [&str; 20] = [
    "bin/sh",
    "bin/cat",
    "bin/ls",
    "bin/id",
    "bin/pwd",
    "bin/env",
    "bin/sleep",
    "bin/echo",
    "bin/test",
    "bin/touch",
    "bin/mount",
    "bin/umount",
    "bin/mknod",
    "bin/ps",
    "bin/kill",
    "bin/dd",
    "bin/rm",
    "bin/df",
    "bin/wc",
    "bin/hostname",
];

fn busybox() -> Vec<u8> {
    std::fs::read("/bin/busybox")
        .expect("these tests need Debian's busybox-static; ./test installs it")
}

/// A small root file system, and one layer above it.
pub(crate) fn layers() -> Vec<Vec<u8>> {
    let mut entries = vec![
        directory("bin/"),
        directory("etc/"),
        directory("tmp/"),
        Entry {
            mode: 0o755,
            content: busybox(),
            ..file("bin/busybox", "")
        },
        file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\napp:x:1234:1235::/:/bin/sh\n",
        ),
        file("etc/group", "root:x:0:\nlog:x:7:app\n"),
        other("etc/hosts", tar::EntryType::Symlink, "/nowhere/hosts"),
        file("deleted", "below"),
        file("changed", "below"),
    ];
    entries.extend(APPLETS.map(|name| other(name, tar::EntryType::Symlink, "/bin/busybox")));
    let above = [file(".wh.deleted", ""), file("changed", "above")];
    vec![archive(&entries), archive(&above)]
}

/// Writes the image as a layout; its name.
pub(crate) fn image_in(folder: &Path) -> String {
    kit::layout(&kit::image(&layers(), gzip), &folder.join("image"));
    format!("oci:{}/image:v1", folder.display())
}

pub(crate) fn in_image(task: mesos::TaskInfo, name: &str) -> mesos::TaskInfo {
    let image = mesos::Image {
        r#type: mesos::image::Type::Docker.into(),
        docker: Some(mesos::image::Docker {
            name: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    mesos::TaskInfo {
        container: Some(Box::new(mesos::ContainerInfo {
            r#type: mesos::container_info::Type::Mesos.into(),
            mesos: Some(Box::new(MesosInfo { image: Some(image) })),
            ..Default::default()
        })),
        ..task
    }
}

pub(crate) fn in_docker(task: mesos::TaskInfo, docker: DockerInfo) -> mesos::TaskInfo {
    mesos::TaskInfo {
        container: Some(Box::new(mesos::ContainerInfo {
            r#type: mesos::container_info::Type::Docker.into(),
            docker: Some(Box::new(docker)),
            ..Default::default()
        })),
        ..task
    }
}

pub(crate) fn parameters(pairs: &[(&str, &str)]) -> Vec<mesos::Parameter> {
    pairs
        .iter()
        .map(|(key, value)| mesos::Parameter {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect()
}

pub(crate) fn ephemeral(master: &Master, folder: &Path) -> Config {
    Config {
        ephemeral: true,
        ..config(master, &folder.join("work"))
    }
}

/// What a task has written.
pub(crate) fn output(config: &Config, task: &str, name: &str) -> String {
    let run = format!("slaves/S0/frameworks/f/executors/{task}/runs/latest/{name}");
    std::fs::read_to_string(config.work_dir.join(run)).unwrap_or_default()
}

/// Runs a task to its good end; its output.
pub(crate) async fn run(master: &mut Master, config: &Config, task: mesos::TaskInfo) -> String {
    let id = task.task_id.value.clone();
    master.run(task).await;
    let last = loop {
        let status = master.next_of(&id).await;
        if status.state() != TaskStarting && status.state() != TaskRunning {
            break status;
        }
    };
    let (out, err) = (output(config, &id, "stdout"), output(config, &id, "stderr"));
    assert_eq!(last.state(), TaskFinished, "{}: {out}{err}", last.message());
    out
}

/// Runs a task to its bad end; what was said.
pub(crate) async fn refused(master: &mut Master, task: mesos::TaskInfo) -> String {
    let id = task.task_id.value.clone();
    master.run(task).await;
    let failed = master.until(&id, TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
    failed.message().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_sees_its_image_and_nothing_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let root = nix::unistd::geteuid().is_root();

    let seen = run(
        &mut master,
        &config,
        in_image(
            shell(
                "looks",
                "ls /; pwd; echo $A $MESOS_SANDBOX; cat /changed; test ! -e /deleted; cat /etc/hostname; \
                 echo written > /own; echo inside > made; hostname; cat /etc/hosts | wc -l",
            ),
            &image,
        ),
    )
    .await;
    let lines: Vec<&str> = seen.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == "/mnt/mesos/sandbox")
        .unwrap();
    for (name, there) in [
        ("bin", true),
        ("dev", true),
        ("proc", true),
        ("home", false),
        ("root", false),
        ("usr", false),
    ] {
        assert_eq!(lines[..at].contains(&name), there, "{name}: {seen}");
    }
    assert_eq!(lines[at + 1], "b /mnt/mesos/sandbox");
    assert!(lines[at + 2].starts_with("above"), "{seen}");
    assert_eq!(output(&config, "looks", "made"), "inside\n");

    // Another container of the same image sees none of it.
    let seen = run(
        &mut master,
        &config,
        in_image(shell("apart", "ls /own 2>&1 || true; ps | wc -l"), &image),
    )
    .await;
    assert!(seen.contains("No such file"), "{seen}");

    // What is masked cannot be read, what is read-only cannot be written, what would undo it cannot be done.
    let hostile = "\
        for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do \
            test ! -e $path || test -z \"$(dd if=$path bs=1 count=1 2>/dev/null)\" || echo read $path; done; \
        for path in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/mm/ksm/run; do \
            test ! -e $path || ! echo x 2>/dev/null > $path || echo wrote $path; done; \
        ls /sys/firmware | wc -l; \
        umount /proc/sys 2>/dev/null && echo unmounted; \
        mount -o remount,rw /sys 2>/dev/null && echo remounted; \
        mount -t proc proc /tmp 2>/dev/null && echo mounted; \
        mknod /tmp/disk b 254 0 2>/dev/null && echo device; \
        ls /sys/fs/cgroup | wc -l; ls -A /mnt/mesos; ls /dev; \
        kill -0 $PPID 2>/dev/null; ls -d /proc/[0-9]* | wc -l";
    let seen = run(
        &mut master,
        &config,
        in_image(shell("hostile", hostile), &image),
    )
    .await;
    for bad in [
        "read /",
        "wrote /",
        "unmounted",
        "remounted",
        "mounted",
        "device",
        "sda",
    ] {
        assert!(!seen.contains(bad), "{bad}: {seen}");
    }
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0].trim(), "0", "{seen}");
    assert!(
        lines.contains(&"sandbox") && lines.contains(&"null") && lines.contains(&"shm"),
        "{seen}"
    );
    // Init, the shell and what it runs.
    assert!(
        lines.last().unwrap().trim().parse::<usize>().unwrap() < 8,
        "{seen}"
    );
    if root {
        let caps = run(
            &mut master,
            &config,
            in_image(shell("caps", "cat /proc/self/status"), &image),
        )
        .await;
        let bounding = caps
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:\t"))
            .unwrap();
        assert_eq!(
            u64::from_str_radix(bounding, 16).unwrap() & (1 << 21 | 1 << 27 | 1 << 16),
            0,
            "{bounding}"
        );
    }

    // A file descriptor, a link and a working directory of the host are no way out.
    let seen = run(&mut master, &config, in_image(shell("ways", "ls -l /proc/self/fd /proc/1/cwd /proc/1/root 2>&1; ls /proc/1/root/home 2>&1 || true"), &image)).await;
    assert!(!seen.contains(&*folder.path().to_string_lossy()), "{seen}");
    // What ended containers have had goes, in its own time; the last one's may be there until its end is acknowledged.
    let roots = config.work_dir.join("store/containers");
    let few = || std::fs::read_dir(&roots).unwrap().count() <= 1;
    until("the containers' roots are removed", few).await;
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn type_docker_runs_without_docker() {
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let docker = |pairs: &[(&str, &str)]| DockerInfo {
        image: image.clone(),
        parameters: parameters(pairs),
        ..Default::default()
    };
    // The image's entrypoint is `/bin/sh`, its cmd `-c true`.
    let bare = |id: &str, arguments: &[&str]| mesos::TaskInfo {
        command: Some(mesos::CommandInfo {
            shell: Some(false),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            ..Default::default()
        }),
        ..shell(id, "")
    };
    assert_eq!(
        run(
            &mut master,
            &config,
            in_docker(bare("cmd", &[]), docker(&[]))
        )
        .await,
        ""
    );
    let said = run(
        &mut master,
        &config,
        in_docker(bare("args", &["-c", "pwd; echo $A"]), docker(&[])),
    )
    .await;
    assert_eq!(said, "/\nb\n");
    let options = [
        ("env", "A=c"),
        ("workdir", "/made/here"),
        ("hostname", "box"),
        ("add-host", "db:10.1.2.3"),
        ("shm-size", "1m"),
        ("tmpfs", "/scratch:size=1m"),
        ("read-only", "true"),
    ];
    let command = "pwd; echo $A; hostname; cat /etc/hosts; df -k /dev/shm | wc -l; touch /scratch/x && echo scratch; touch /x 2>&1 || true; touch $MESOS_SANDBOX/mine";
    let said = run(
        &mut master,
        &config,
        in_docker(bare("options", &["-c", command]), docker(&options)),
    )
    .await;
    assert!(said.starts_with("/made/here\nc\nbox\n"), "{said}");
    assert!(
        said.contains("10.1.2.3\tdb")
            && said.contains("scratch")
            && said.contains("Read-only file system"),
        "{said}"
    );
    assert_eq!(output(&config, "options", "mine"), "");
    if nix::unistd::geteuid().is_root() {
        let said = run(
            &mut master,
            &config,
            in_docker(
                bare("user", &["-c", "id; echo x > $MESOS_SANDBOX/mine"]),
                docker(&[("user", "app")]),
            ),
        )
        .await;
        assert_eq!(said, "uid=1234(app) gid=1235 groups=7(log),1235\n");
        let whose = config
            .work_dir
            .join("slaves/S0/frameworks/f/executors/user/runs/latest/mine");
        assert_eq!(
            std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(whose).unwrap()),
            1234
        );
        let said = refused(
            &mut master,
            in_docker(bare("nobody", &[]), docker(&[("user", "nobody")])),
        )
        .await;
        assert!(
            said.contains("find the user or group in the image's /etc/passwd"),
            "{said}"
        );
        let privileged = DockerInfo {
            privileged: Some(true),
            ..docker(&[])
        };
        let said = run(
            &mut master,
            &config,
            in_docker(
                bare("free", &["-c", "mount -t tmpfs none /tmp && echo mounted"]),
                privileged,
            ),
        )
        .await;
        assert_eq!(said, "mounted\n");
    }
    let none = DockerInfo {
        network: Some(mesos::container_info::docker_info::Network::None.into()),
        ..docker(&[])
    };
    let said = run(
        &mut master,
        &config,
        in_docker(
            bare("alone", &["-c", "ls /sys/class/net; cat /etc/hosts"]),
            none,
        ),
    )
    .await;
    assert!(said.starts_with("lo\n127.0.0.1\tlocalhost"), "{said}");
    for (docker, why) in [
        (
            docker(&[("pid", "host")]),
            "the docker parameter 'pid' has no equivalent",
        ),
        (
            DockerInfo {
                network: Some(mesos::container_info::docker_info::Network::User.into()),
                ..docker(&[])
            },
            "network USER of a DOCKER container needs a name in network_infos",
        ),
        (
            DockerInfo {
                image: "No Image".to_owned(),
                ..docker(&[])
            },
            "'No Image' is no image reference",
        ),
    ] {
        let said = refused(
            &mut master,
            in_docker(bare(&format!("bad-{}", why.len()), &[]), docker),
        )
        .await;
        assert!(said.contains(why), "{said}");
    }
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_of_every_kind_are_seen_and_end_with_the_container() {
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let host = folder.path().join("host");
    std::fs::create_dir_all(host.join("sub")).unwrap();
    std::fs::write(host.join("file"), "of the host").unwrap();
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let volumes = format!(
        r#"[{{"mode":"RO","container_path":"/in/deep","host_path":"{0}"}},
            {{"mode":"RW","container_path":"rel","host_path":"{0}/sub"}},
            {{"mode":"RO","container_path":"/one","host_path":"{0}/file"}},
            {{"mode":"RW","container_path":"/kept","source":{{"type":"SANDBOX_PATH","sandbox_path":{{"type":"SELF","path":"kept"}}}}}},
            {{"mode":"RO","container_path":"/key","source":{{"type":"SECRET","secret":{{"type":"VALUE","value":{{"data":"czNjcmV0"}}}}}}}},
            {{"mode":"RW","container_path":"other","image":{{"type":"DOCKER","docker":{{"name":"{image}"}}}}}}]"#,
        host.display()
    );
    let volumes: Vec<serde_json::Value> = serde_json::from_str(&volumes).unwrap();
    let volumes: Vec<mesos::Volume> = volumes
        .iter()
        .map(|volume| tepui_proto::json::from_slice(volume.to_string().as_bytes()).unwrap())
        .collect();
    let command = "cat /in/deep/file /one /key; echo; touch /in/deep/x 2>&1; echo w > rel/w; echo k > /kept/k; cat other/changed; touch other/x; df /key | wc -l; echo $PASSWORD";
    let mut task = in_image(shell("sees", command), &image);
    task.container.as_mut().unwrap().volumes = volumes.clone();
    task.command.as_mut().unwrap().environment = Some(
        tepui_proto::json::from_slice(
            br#"{"variables":[{"name":"PASSWORD","type":"SECRET","secret":{"type":"VALUE","value":{"data":"aHVzaA=="}}}]}"#,
        )
        .unwrap(),
    );
    let said = run(&mut master, &config, task).await;
    assert!(said.starts_with("of the hostof the hosts3cret\n"), "{said}");
    assert!(
        said.contains("Read-only file system")
            && said.contains("above")
            && said.ends_with("hush\n"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(host.join("sub/w")).unwrap(), "w\n");
    assert!(!host.join("x").exists());
    assert_eq!(output(&config, "sees", "kept/k"), "k\n");

    // Where a container has the host's root, an absolute place must be there, and only this container sees it changed.
    let place = folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut task = shell(
        "hosted",
        &format!("cat {}/file; cat rel/w", place.display()),
    );
    let mut seen = vec![volumes[0].clone(), volumes[1].clone()];
    seen[0].container_path = place.display().to_string();
    task.container = Some(Box::new(mesos::ContainerInfo {
        r#type: mesos::container_info::Type::Mesos.into(),
        volumes: seen,
        ..Default::default()
    }));
    assert_eq!(run(&mut master, &config, task).await, "of the hostw\n");
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);

    // A link in the sandbox of an image's making leads nowhere.
    let mut bad = in_image(shell("gone", "true"), &image);
    bad.container.as_mut().unwrap().volumes = vec![mesos::Volume {
        host_path: Some("/no/such/path".to_owned()),
        ..volumes[0].clone()
    }];
    let said = refused(&mut master, bad).await;
    assert!(said.contains("host path '/no/such/path'"), "{said}");
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_image_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let outside: &'static str =
        Box::leak(format!("{}/outside", folder.path().display()).into_boxed_str());
    std::fs::create_dir(outside).unwrap();
    let mut master = Master::start().await;
    let config = ephemeral(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let link = |name, target| other(name, tar::EntryType::Symlink, target);
    let descriptor = |number: usize| -> &'static str {
        Box::leak(format!("/proc/self/fd/{number}").into_boxed_str())
    };
    let mut cases = vec![
        ("mnt", vec![link("mnt", outside)]),
        ("etc", vec![link("etc", outside)]),
        ("dev", vec![link("dev", outside)]),
        ("up", vec![link("mnt", "../../../../../..")]),
        ("users", vec![other("etc/passwd", tar::EntryType::Fifo, "")]),
    ];
    for number in 3..12 {
        let name: &'static str = Box::leak(format!("fd{number}").into_boxed_str());
        cases.push((name, vec![link("work", descriptor(number))]));
    }
    for (name, above) in cases {
        let place = folder.path().join(name);
        let all = [layers(), vec![archive(&above)]].concat();
        kit::layout(&kit::image(&all, gzip), &place);
        let docker = DockerInfo {
            image: format!("oci:{}", place.display()),
            parameters: parameters(&[("workdir", "/work"), ("user", "app")]),
            ..Default::default()
        };
        let command = "ls -d ../../../../../../root ../../../../../../../home 2>/dev/null; \
             ls / > $MESOS_SANDBOX/root; pwd";
        let task = in_docker(shell(name, command), docker);
        master.run(task).await;
        // It may be refused, or run within its bounds; it may not see or change anything of the host.
        let last = loop {
            let status = master.next_of(name).await;
            if status.state() != TaskStarting && status.state() != TaskRunning {
                break status;
            }
        };
        if last.state() == TaskFailed {
            assert_eq!(
                last.reason(),
                Reason::ContainerLaunchFailed,
                "{name}: {}",
                last.message()
            );
        }
        let said = output(&config, name, "stdout");
        assert!(
            !said.contains("root") && !said.contains("home"),
            "{name}: {said}"
        );
        let left: Vec<_> = std::fs::read_dir(outside).unwrap().flatten().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    agent.shutdown().await.unwrap();
}

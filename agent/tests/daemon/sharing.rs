//! What containers share with each other and with the agent: memory between processes, processes, cgroups.
//!
//! As root: what another user may do depends on the machine, and what is tested here is what is shared.

use std::path::PathBuf;

use serde_json::json;
use tepui_agent::{Agent, Config};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning};
use tepui_proto::mesos::v1::linux_info::IpcMode;
use tepui_proto::mesos::v1::linux_info::IpcMode::{Private, ShareParent};
use tepui_proto::mesos::v1::task_status::Reason;

use crate::groups::{run, run_in};
use crate::images::{image_in, in_image, output, refused};
use crate::master::Master;
use crate::nested::{Scene, is_alive, namespace, post, told};
use crate::{config, http, privileged, scalar, shell, sweep, until};

const MIB: u64 = 1 << 20;

/// A wish about sharing.
#[derive(Clone, Copy, Default)]
struct Wish {
    ipc: Option<IpcMode>,
    shm_mib: Option<u32>,
    pids: bool,
    cgroups: Option<bool>,
}

fn container(wish: Wish) -> mesos::ContainerInfo {
    let mut linux = mesos::LinuxInfo {
        shm_size: wish.shm_mib,
        share_pid_namespace: Some(wish.pids),
        share_cgroups: wish.cgroups,
        ..Default::default()
    };
    if let Some(mode) = wish.ipc {
        linux.set_ipc_mode(mode);
    }
    mesos::ContainerInfo {
        r#type: mesos::container_info::Type::Mesos.into(),
        linux_info: Some(Box::new(linux)),
        ..Default::default()
    }
}

fn wishing(mut task: mesos::TaskInfo, wish: Wish) -> mesos::TaskInfo {
    let linux = container(wish).linux_info;
    let own = task.container.get_or_insert_with(|| {
        let mut own = mesos::ContainerInfo::default();
        own.set_type(mesos::container_info::Type::Mesos);
        Box::new(own)
    });
    own.linux_info = linux;
    task
}

/// What a task of the group has written into a file of its sandbox.
fn said(config: &Config, task: &str, file: &str) -> String {
    let sandbox = "slaves/S0/frameworks/f/executors/pod/runs/latest/tasks";
    let path = config.work_dir.join(sandbox).join(task).join(file);
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Names of the container and its parent, and the pid of its init.
fn place(status: &mesos::TaskStatus) -> (String, String, u32) {
    let status = status.container_status.as_ref().unwrap();
    let id = status.container_id.as_ref().unwrap();
    let parent = id.parent.as_ref().unwrap().value.clone();
    (parent, id.value.clone(), status.executor_pid.unwrap())
}

/// Puts five letters into a segment of System V and a file of POSIX' memory.
const WRITE: &str = "perl -e '$id = shmget(4711, 4096, 0666 | 01000); defined $id or die $!; shmwrite($id, \"hello\", 0, 5) or die $!'; \
                     echo hello > /dev/shm/posix; ";
/// Says what is found of them.
const READ: &str = "perl -e '$id = shmget(4711, 0, 0); shmread($id, $b, 0, 5) if defined $id; print defined $id ? $b : \"nothing\", \"\\n\"'; \
                    cat /dev/shm/posix || echo nothing";

/// Of the processes that are seen here those that have this in their command lines.
fn look_for(marker: &str) -> String {
    // The look itself must not be found.
    let (head, tail) = marker.split_at(3);
    format!(
        "perl -e '$m = \"{head}\" . \"{tail}\"; for (</proc/[0-9]*/cmdline>) {{ open F, $_ or next; print \"seen\\n\" if <F> =~ /\\Q$m/ }}'"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_a_group_share_memory_and_processes_as_they_ask() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = config(&master, &folder.path().join("work"));
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let of_group = container(Wish {
        ipc: Some(Private),
        shm_mib: Some(8),
        ..Wish::default()
    });
    let sharing = Wish {
        ipc: Some(ShareParent),
        pids: true,
        ..Wish::default()
    };
    // Its second process is nobody's child: only its cgroup tells whose it is.
    // How long it sleeps tells it from others, also from what a test that was killed has left.
    let stray = format!("65{:07}", std::process::id());
    let writes = format!("{WRITE} (setsid sleep {stray} &); echo > written; exec sleep 1000");
    let writer = wishing(shell("writer", &writes), sharing);
    run_in(&master, Some(of_group.clone()), vec![writer]).await;
    let running = master.until("writer", TaskRunning).await;
    let (pod, own, pid) = place(&running);
    until("it is written", || {
        !said(&config, "writer", "written").is_empty()
    })
    .await;

    let reads = format!(
        "({READ}; {}) > found; mv found said; exec sleep 1000",
        look_for(&stray)
    );
    let readers = [
        ("sees", sharing, "hello\nhello\nseen\n"),
        // Nobody has said: Mesos' tasks are in their executor's IPC namespace, and have the machine's /dev/shm.
        ("usual", Wish::default(), "hello\nnothing\n"),
        (
            "apart",
            Wish {
                ipc: Some(Private),
                shm_mib: Some(4),
                ..Wish::default()
            },
            "nothing\nnothing\n",
        ),
    ];
    for (name, wish, expected) in readers {
        let reader = wishing(shell(name, &reads), wish);
        run_in(&master, Some(of_group.clone()), vec![reader]).await;
        let running = master.until(name, TaskRunning).await;
        assert_eq!(place(&running).0, pod);
        until("it has looked", || !said(&config, name, "said").is_empty()).await;
        assert_eq!(
            said(&config, name, "said"),
            expected,
            "{name}: {}",
            said(&config, name, "stderr")
        );
        let (.., other) = place(&running);
        let same = |what: &str| namespace(pid, what) == namespace(other, what);
        assert_eq!(same("ipc"), wish.ipc != Some(Private), "{name}");
        assert_eq!(same("pid"), wish.pids, "{name}");
    }
    // Memory of a container's own is as large as it asks for, and nobody else's.
    let size = wishing(
        shell(
            "size",
            "perl -e 'open F, \">/dev/shm/x\"; $| = 1; for (1..9) { print F \"x\" x 1048576 or last } close F; print -s \"/dev/shm/x\", \"\\n\"' > said",
        ),
        Wish {
            ipc: Some(Private),
            shm_mib: Some(4),
            ..Wish::default()
        },
    );
    run_in(&master, Some(of_group.clone()), vec![size]).await;
    master.until("size", TaskFinished).await;
    assert_eq!(said(&config, "size", "said"), format!("{}\n", 4 * MIB));

    // With a root of its own, too.
    let inside = "(cat /dev/shm/posix; for p in /proc/[0-9]*; do test \"$(cat $p/comm)\" = sleep && echo sleeps; done; echo inside > /dev/shm/inside) > found 2>&1; \
         /bin/busybox mv found said; exec sleep 1000";
    let image_task = wishing(in_image(shell("inside", inside), &image), sharing);
    run_in(&master, Some(of_group.clone()), vec![image_task]).await;
    let running = master.until("inside", TaskRunning).await;
    let (.., inside_pid) = place(&running);
    until("it has looked", || {
        !said(&config, "inside", "said").is_empty()
    })
    .await;
    let found = said(&config, "inside", "said");
    assert!(
        found.starts_with("hello\n") && found.contains("sleeps"),
        "{found}"
    );
    assert_eq!(namespace(pid, "pid"), namespace(inside_pid, "pid"));

    // All of it outlives the agent, and is there for who comes later.
    agent.shutdown().await.unwrap();
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let late = wishing(
        shell(
            "late",
            &format!("({READ}; cat /dev/shm/inside) > found; mv found said; exec sleep 1000"),
        ),
        sharing,
    );
    run_in(&master, Some(of_group.clone()), vec![late]).await;
    let late = master.until("late", TaskRunning).await;
    until("it has looked", || {
        !said(&config, "late", "said").is_empty()
    })
    .await;
    assert_eq!(said(&config, "late", "said"), "hello\nhello\ninside\n");

    // The end of one is nobody else's.
    let strays = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        let own = format!("sleep\0{stray}\0");
        lines.filter(|line| line == own.as_bytes()).count()
    };
    assert_eq!(strays(), 1);
    master.kill("writer").await;
    master.until("writer", TaskKilled).await;
    assert_eq!(strays(), 0, "also what was nobody's child is gone");
    assert!(!is_alive(pid) && is_alive(inside_pid) && is_alive(place(&late).2));
    let state = http::get(agent.addr(), "/containers?show_nested=true")
        .await
        .json();
    let shown = |id: &str| {
        let all = state.as_array().unwrap();
        all.iter().find(|one| one["container_id"] == id).cloned()
    };
    assert!(shown(&format!("{pod}.{own}")).is_none());
    let holder = shown(&pod).unwrap()["status"]["executor_pid"]
        .as_u64()
        .unwrap();
    let holder = u32::try_from(holder).unwrap();
    assert_eq!(namespace(holder, "ipc"), namespace(inside_pid, "ipc"));

    // What holds it goes with the last.
    for task in ["sees", "usual", "apart", "inside", "late"] {
        master.kill(task).await;
        master.until(task, TaskKilled).await;
    }
    until("nothing is held any more", || !is_alive(holder)).await;
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_share_nothing_need_no_holder() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let alone = Wish {
        ipc: Some(Private),
        cgroups: Some(false),
        ..Wish::default()
    };
    run(
        &master,
        vec![wishing(shell("alone", "exec sleep 1000"), alone)],
    )
    .await;
    let running = master.until("alone", TaskRunning).await;
    let (pod, own, _) = place(&running);
    let record = |name: &str| config.runtime_dir.join("containers").join(name);
    assert!(record(&format!("{pod}.{own}")).exists() && !record(&pod).exists());
    sweep(&config, agent).await;
}

/// Takes memory, and says so.
fn takes(mib: u64) -> String {
    format!(
        "perl -e '$x .= \"a\" x 1048576 for 1..{mib}; open F, \">taken\"; print F length $x; close F; sleep 1000'"
    )
}

/// The cgroup of a task in the hierarchy that limits memory, as the kernel tells it of its first process.
fn cgroup(config: &Config, task: &str) -> PathBuf {
    let told = said(config, task, "cgroup");
    let line = told
        .lines()
        .find(|line| line.contains(":memory:"))
        .or_else(|| told.lines().find(|line| line.starts_with("0::")));
    PathBuf::from(line.unwrap().rsplit(':').next().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tasks_of_a_group_use_is_counted_and_limited_together_unless_they_ask_otherwise() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (shared, work) in [(None, "shared"), (Some(false), "apart")] {
        let mut master = Master::start().await;
        let config = config(&master, &folder.path().join(work));
        let agent = Agent::start(config.clone()).await.unwrap();
        master.admit().await;
        let wish = Wish {
            cgroups: shared,
            ..Wish::default()
        };
        let task = |name: &str, command: &str| {
            let mut task = shell(name, &format!("cat /proc/self/cgroup > cgroup; {command}"));
            task.resources = vec![scalar("cpus", 0.1), scalar("mem", 32.0)];
            wishing(task, wish)
        };
        let together = shared.is_none();
        // Beyond what both may have together, where neither is beyond what it might have alone; or what one may have.
        let (first, second) = if together { (50, 60) } else { (20, 100) };
        run(&master, vec![task("a", &takes(first))]).await;
        run(
            &master,
            vec![task(
                "b",
                "while ! test -e go; do sleep 0.02; done; exec sh take",
            )],
        )
        .await;
        let a = place(&master.until("a", TaskRunning).await);
        let b = place(&master.until("b", TaskRunning).await);
        assert_eq!(a.0, b.0);
        until("it is taken", || {
            let errors = said(&config, "a", "stderr");
            assert!(is_alive(a.2), "{errors}");
            !said(&config, "a", "taken").is_empty()
        })
        .await;
        until("both have looked", || {
            !said(&config, "b", "cgroup").is_empty()
        })
        .await;
        let (of_a, of_b) = (cgroup(&config, "a"), cgroup(&config, "b"));
        if together {
            assert_eq!(of_a.parent(), of_b.parent(), "below their executor's");
            assert!(of_a.parent().unwrap().ends_with(&a.0), "{of_a:?}");
        } else {
            assert!(of_a.ends_with(format!("{}.{}", a.0, a.1)), "{of_a:?}");
            assert!(of_b.ends_with(format!("{}.{}", b.0, b.1)), "{of_b:?}");
        }

        // What is told of the executor is what its tasks use together, either way.
        let all = http::get(agent.addr(), "/monitor/statistics").await.json();
        let used = &all[0]["statistics"];
        let bytes = |name: &str| used[name].as_u64().unwrap();
        assert!(bytes("mem_rss_bytes") >= first * MIB, "{used}");
        let limit = if together { 64 + 32 } else { 2 * (32 + 32) };
        assert_eq!(bytes("mem_limit_bytes"), limit * MIB, "{used}");
        assert!(bytes("processes") >= 2, "{used}");
        let parts = http::get(agent.addr(), "/containers?show_nested=true")
            .await
            .json();
        let part = parts
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["container_id"] == format!("{}.{}", a.0, a.1).as_str());
        let own = &part.unwrap()["statistics"];
        assert!(
            own["mem_rss_bytes"].as_u64().unwrap() >= first * MIB,
            "{own}"
        );
        let limited = own["mem_limit_bytes"].as_u64();
        assert_eq!(limited, (!together).then_some(64 * MIB), "{own}");

        // A limit is kept also by an agent that has come later.
        agent.shutdown().await.unwrap();
        let agent = Agent::start(config.clone()).await.unwrap();
        master.admit().await;
        let sandbox = "slaves/S0/frameworks/f/executors/pod/runs/latest/tasks/b";
        let sandbox = config.work_dir.join(sandbox);
        std::fs::write(sandbox.join("take"), takes(second)).unwrap();
        std::fs::write(sandbox.join("go"), "").unwrap();
        let limited = master.until("b", TaskFailed).await;
        assert_eq!(
            limited.reason(),
            Reason::ContainerLimitationMemory,
            "{}",
            limited.message()
        );
        let told = &limited.limitation.as_ref().unwrap().resources[0];
        assert!(told.scalar.unwrap().value > 32.0, "{told:?}");
        if together {
            let other = master.until("a", TaskFailed).await;
            assert_eq!(
                other.reason(),
                Reason::ContainerLimitationMemory,
                "{}",
                other.message()
            );
            assert!(!is_alive(a.2));
        } else {
            assert!(is_alive(a.2), "it has its own");
            master.kill("a").await;
            master.until("a", TaskKilled).await;
        }
        sweep(&config, agent).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_end_give_back_their_part_of_what_is_shared() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    run(&master, vec![shell("a", "exec sleep 1000")]).await;
    let (pod, ..) = place(&master.until("a", TaskRunning).await);
    let shares = || {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let found = mounts
            .lines()
            .filter(|line| line.contains(" - cgroup"))
            .find_map(|line| {
                let mount = PathBuf::from(line.split(' ').nth(4).unwrap());
                let of_pod = mount.join(&config.cgroups_root).join(&pod);
                let v1 = std::fs::read_to_string(of_pod.join("cpu.shares"));
                v1.or_else(|_| std::fs::read_to_string(of_pod.join("cpu.weight")))
                    .ok()
            });
        found.unwrap().trim().parse::<u64>().unwrap()
    };
    let alone = shares();
    // An operator's container right below the executor is inside of what holds it, and ends with it.
    let inside = json!({"value": "inside", "parent": {"value": pod}});
    let asked = json!({"container_id": inside, "command": {"value": "exec sleep 1000"}});
    let launch = json!({"type": "LAUNCH_CONTAINER", "launch_container": asked});
    let launched = post(agent.addr(), &launch).await;
    assert_eq!(told(&launched), (200, String::new()));
    let mut more = shell("b", "exec sleep 1000");
    more.resources = vec![scalar("cpus", 2.0), scalar("mem", 32.0)];
    run(&master, vec![more]).await;
    master.until("b", TaskRunning).await;
    until("both count", || shares() > 10 * alone).await;
    master.kill("b").await;
    master.until("b", TaskKilled).await;
    until("one counts", || shares() == alone).await;
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": inside}});
    master.kill("a").await;
    master.until("a", TaskKilled).await;
    let waited = post(agent.addr(), &wait).await;
    // Removed with its parent, or still to be waited for.
    if waited.status == 200 {
        assert_eq!(waited.json()["wait_container"]["exit_status"], 9);
    }
    let containers = config.runtime_dir.join("containers");
    until("nothing of it is left", || {
        std::fs::read_dir(&containers).unwrap().next().is_none()
    })
    .await;
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tasks_of_an_executor_share_cgroups_or_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let apart = Wish {
        cgroups: Some(false),
        ..Wish::default()
    };
    run(&master, vec![shell("a", "exec sleep 1000")]).await;
    master.until("a", TaskRunning).await;
    run(&master, vec![wishing(shell("b", "true"), apart)]).await;
    let refused = master.until("b", mesos::TaskState::TaskError).await;
    assert!(
        refused.message().contains("share_cgroups"),
        "{}",
        refused.message()
    );
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_without_a_parent_shares_what_the_agent_has_if_it_is_let() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image_in(folder.path());
    let mut master = Master::start().await;
    let config = config(&master, &folder.path().join("work"));
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let (pids, ipc) = (
        Wish {
            pids: true,
            ..Wish::default()
        },
        Wish {
            ipc: Some(ShareParent),
            ..Wish::default()
        },
    );
    let marker = format!("/dev/shm/tepui-{}", std::process::id());
    std::fs::write(&marker, "the agent's\n").unwrap();
    let look = format!(
        "cat {marker}; test -e /proc/{} && echo seen; exec sleep 1000",
        std::process::id()
    );
    for (name, wish, with_image) in [
        ("pids", pids, false),
        ("ipc", ipc, false),
        ("pids-inside", pids, true),
        ("ipc-inside", ipc, true),
    ] {
        let plain = shell(name, &look);
        let task = if with_image {
            in_image(plain, &image)
        } else {
            plain
        };
        master.run(wishing(task, wish)).await;
        let running = master.until(name, TaskRunning).await;
        let pid = running.container_status.unwrap().executor_pid.unwrap();
        let own = std::process::id();
        assert_eq!(
            namespace(pid, "pid") == namespace(own, "pid"),
            wish.pids,
            "{name}"
        );
        assert_eq!(
            namespace(pid, "ipc") == namespace(own, "ipc"),
            !wish.pids,
            "{name}"
        );
        let shm = !with_image || !wish.pids;
        let expected = format!(
            "{}{}",
            if shm { "the agent's\n" } else { "" },
            if wish.pids { "seen\n" } else { "" }
        );
        until("it has looked", || {
            output(&config, name, "stdout") == expected
        })
        .await;
        master.kill(name).await;
        master.until(name, TaskKilled).await;
        assert!(!is_alive(pid), "{name}");
    }
    std::fs::remove_file(&marker).unwrap();
    sweep(&config, agent).await;

    let mut master = Master::start().await;
    let mut config = crate::config(&master, &folder.path().join("other"));
    config.isolation.disallow_sharing_agent_pids = true;
    config.isolation.disallow_sharing_agent_ipc = true;
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    for (name, wish, flag) in [
        ("no-pids", pids, "--disallow_sharing_agent_pid_namespace"),
        ("no-ipc", ipc, "--disallow_sharing_agent_ipc_namespace"),
    ] {
        let why = refused(&mut master, wishing(shell(name, "true"), wish)).await;
        assert!(why.contains(flag), "{why}");
        // The container of an executor that the agent plays has no parent either.
        run_in(
            &master,
            Some(container(wish)),
            vec![shell(&format!("{name}-group"), "true")],
        )
        .await;
        let failed = master.until(&format!("{name}-group"), TaskFailed).await;
        assert!(failed.message().contains(flag), "{}", failed.message());
    }
    sweep(&config, agent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_launches_shares_its_parents_memory_if_asked() {
    if !privileged() {
        return;
    }
    let mut scene = Scene::start("exec sleep 1000").await;
    let own = Wish {
        ipc: Some(Private),
        ..Wish::default()
    };
    let command = format!("{WRITE} echo > written; exec sleep 1000");
    scene.master.run(wishing(shell("own", &command), own)).await;
    let running = scene.master.until("own", TaskRunning).await;
    let id = running
        .container_status
        .unwrap()
        .container_id
        .unwrap()
        .value;
    until("it is written", || {
        !output(&scene.config, "own", "written").is_empty()
    })
    .await;
    for (name, linux, expected) in [
        (
            "shares",
            json!({"ipc_mode": "SHARE_PARENT"}),
            "hello\nhello\n",
        ),
        ("usual", json!({}), "hello\nnothing\n"),
        (
            "private",
            json!({"ipc_mode": "PRIVATE"}),
            "nothing\nnothing\n",
        ),
    ] {
        let container_id = json!({"value": name, "parent": {"value": id}});
        let asked = json!({"container_id": container_id, "command": {"value": READ}, "container": {"type": "MESOS", "linux_info": linux}});
        let launched = scene
            .call(json!({"type": "LAUNCH_CONTAINER", "launch_container": asked}))
            .await;
        assert_eq!(told(&launched), (200, String::new()), "{name}");
        let wait =
            json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": container_id}});
        scene.call(wait).await;
        let said = output(&scene.config, "own", &format!("containers/{name}/stdout"));
        assert_eq!(said, expected, "{name}");
    }
    let session = json!({
        "container_id": {"value": "s", "parent": {"value": id}},
        "command": {"value": "true"},
        "container": {"type": "MESOS", "linux_info": {"ipc_mode": "PRIVATE"}},
    });
    let refused = scene
        .call(json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": session}))
        .await;
    let (status, why) = told(&refused);
    assert!(
        status != 200 && why.contains("IPC namespace"),
        "{status} {why}"
    );
    scene.end().await;
}

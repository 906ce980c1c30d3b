//! Pods on a real master and agent: a group of containers with a default executor, over the REST API.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get, get_json, post, put},
    cluster::{Daemon, no_deployments, whole},
    until,
};

/// Serves once it has found what the other container wrote.
const READER: &str = "until grep -q $RELEASE in/release; do sleep 0.1; done; \
    exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => $ENV{ENDPOINT_HTTP}, Listen => 16, ReuseAddr => 1) or die; \
    while ($c = $s->accept) { close $c }'";

fn pod(release: &str) -> Value {
    json!({ "id": "/pod", "scaling": { "kind": "fixed", "instances": 1 },
        "scheduling": { "backoff": { "backoff": 0 } },
        "environment": { "RELEASE": release },
        "volumes": [{ "name": "shared" }],
        "containers": [
            { "name": "writer", "resources": { "cpus": 0.1, "mem": 32 },
              "exec": { "command": { "shell": "echo $RELEASE > out/release; exec sleep 1000" } },
              "volumeMounts": [{ "name": "shared", "mountPath": "out" }] },
            { "name": "reader", "resources": { "cpus": 0.1, "mem": 32 },
              "endpoints": [{ "name": "http", "labels": { "a": "b" } }],
              "exec": { "command": { "shell": READER } },
              "healthCheck": { "tcp": { "endpoint": "http" }, "intervalSeconds": 2, "timeoutSeconds": 1, "delaySeconds": 0 },
              "volumeMounts": [{ "name": "shared", "mountPath": "in" }] },
        ] })
}

/// The status of the pod once its only instance is stable and is not `other`.
fn stable(marathon: &Daemon, other: &str) -> Value {
    until("a stable instance", PATIENCE, || {
        let status = get_json(&format!("{}/v2/pods/pod::status", marathon.url))?;
        let instances = status["instances"].as_array()?;
        let fits = instances.len() == 1 && instances[0]["status"] == "STABLE";
        let id = instances.first()?["id"].as_str()?;
        (fits && id != other && status["status"] == "STABLE").then(|| status.clone())
    })
}

#[test]
fn containers_share_volumes_ports_and_fate() {
    let (_cluster, master, _agent, mut marathon) = whole(&[]);
    let pods = format!("{}/v2/pods", marathon.url);
    let created = until("an answer of Marathon", PATIENCE, || {
        post(&pods, &pod("one"))
    });
    assert_eq!(created.status, 201, "{}", created.body);
    // It is done when the reader has found what the writer wrote.
    no_deployments(&marathon);
    let status = stable(&marathon, "");
    let instance = &status["instances"][0];
    let first = instance["id"].as_str().unwrap().to_owned();
    let reader = &instance["containers"][1];
    assert_eq!(reader["conditions"][0]["value"], "true", "{reader}");
    assert!(
        reader["endpoints"][0]["allocatedHostPort"]
            .as_u64()
            .is_some()
    );
    assert_eq!(
        instance["specReference"]
            .as_str()
            .unwrap()
            .split("::")
            .next(),
        Some("/v2/pods/pod")
    );

    // Killed it comes back as the same instance, also under another leader.
    let url = format!("{pods}/pod::instances/{first}");
    assert_eq!(delete(&url).unwrap().status, 200);
    until("the second incarnation", PATIENCE, || {
        let status = get_json(&format!("{pods}/pod::status"))?;
        let container = &status["instances"][0]["containers"][0];
        let task = container["containerId"].as_str()?;
        (task == format!("{first}.writer.2") && container["status"] == "TASK_RUNNING").then_some(())
    });
    marathon.kill();
    marathon.restart();
    assert_eq!(stable(&marathon, "")["instances"][0]["id"], first);

    // An update replaces it.
    let changed = until("an answer of Marathon", PATIENCE, || {
        put(&format!("{pods}/pod"), &pod("two")).filter(|answer| answer.status != 409)
    });
    assert_eq!(changed.status, 200, "{}", changed.body);
    let second = stable(&marathon, &first)["instances"][0]["id"].clone();
    no_deployments(&marathon);
    let versions = get_json(&format!("{pods}/pod::versions")).unwrap();
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(
        get_json(&format!("{}/v2/apps", marathon.url)).unwrap(),
        json!({ "apps": [] })
    );

    let deleted = delete(&format!("{pods}/pod")).unwrap();
    assert_eq!((deleted.status, deleted.body.as_str()), (202, ""));
    until("the end of the tasks", PATIENCE, || {
        let state = get_json(&format!("{}/state", master.url))?;
        let framework = &state["frameworks"][0];
        let gone = framework["tasks"].as_array()?.is_empty()
            && framework["executors"].as_array()?.is_empty();
        gone.then_some(())
    });
    assert_eq!(get(&format!("{pods}/pod")).unwrap().status, 404, "{second}");
}

const OWN_NETWORK: &str = "TEPUI_TEST_IN_OWN_NETWORK";

/// Runs the test again in a network namespace of its own, unless it is there already: what agents make there is not seen on the machine.
fn is_alone(test: &str) -> bool {
    if std::env::var_os(OWN_NETWORK).is_some() {
        return true;
    }
    let start = "ip link set lo up && exec \"$@\"";
    let status = std::process::Command::new("unshare")
        .args(["--net", "sh", "-c", start, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(OWN_NETWORK, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    false
}

#[test]
fn a_pod_on_the_bridge_is_reached_by_the_machines_port() {
    if !is_alone("a_pod_on_the_bridge_is_reached_by_the_machines_port") {
        return;
    }
    const SERVE: &str = "mkdir www && hostname > www/name && exec busybox httpd -f -p 8080 -h www";
    const LOOK: &str = "until busybox wget -q -O seen http://127.0.0.1:$EP_CONTAINER_HTTP/name; do sleep 0.1; done; exec sleep 1000";
    let container = |name: &str, command: &str| json!({ "name": name, "resources": { "cpus": 0.1, "mem": 32 }, "exec": { "command": { "shell": command } } });
    let mut web = container("web", SERVE);
    web["endpoints"] = json!([{ "name": "http", "containerPort": 8080, "hostPort": 0 }]);
    let mut side = container("side", LOOK);
    // Healthy once it has reached its neighbour.
    side["healthCheck"] = json!({ "exec": { "command": { "shell": "test -s seen" } },
        "intervalSeconds": 2, "timeoutSeconds": 1, "delaySeconds": 0 });
    let pod = json!({ "id": "/pod", "scheduling": { "backoff": { "backoff": 0 } },
        "networks": [{ "mode": "container/bridge" }], "containers": [web, side] });

    let (_cluster, _master, _agent, marathon) = whole(&[]);
    let pods = format!("{}/v2/pods", marathon.url);
    let created = until("an answer of Marathon", PATIENCE, || post(&pods, &pod));
    assert_eq!(created.status, 201, "{}", created.body);
    no_deployments(&marathon);
    let status = stable(&marathon, "");
    let instance = &status["instances"][0];
    let networks = instance["networks"].as_array().unwrap();
    assert_eq!(
        (networks.len(), &networks[0]["name"]),
        (1, &json!("mesos-bridge"))
    );
    let address = networks[0]["addresses"][0].as_str().unwrap();
    assert!(address.starts_with("10."), "{instance}");
    let port = &instance["containers"][0]["endpoints"][0]["allocatedHostPort"];
    let by_machine = get(&format!("http://127.0.0.1:{port}/name")).unwrap();
    let by_address = get(&format!("http://{address}:8080/name")).unwrap();
    assert_eq!(
        (by_machine.status, &by_machine.body),
        (200, &by_address.body)
    );

    assert_eq!(delete(&format!("{pods}/pod")).unwrap().status, 202);
    until("the end of the port", PATIENCE, || {
        get(&format!("http://127.0.0.1:{port}/name"))
            .is_none()
            .then_some(())
    });
}

/// The command line on a cluster: its exit code, and what it prints.
fn tepui(marathon: &Daemon, args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(tepui_tests::process::tepui())
        .args(args)
        .env("TEPUI_MARATHON", &marathon.url)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn the_command_line_deploys_shows_scales_kills_and_removes_pods() {
    let (cluster, _master, _agent, marathon) = whole(&[]);
    let _ = marathon.get("/v2/info");
    let file = |name: &str, document: &Value| {
        let path = cluster.folder().join(name);
        std::fs::write(&path, document.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = file("one.json", &pod("one"));
    let run = |args: &[&str]| {
        let (code, text) = tepui(&marathon, args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        text
    };
    let (code, planned) = tepui(&marathon, &["app", "plan", "--detailed-exitcode", &one]);
    assert_eq!(code, Some(2), "{planned}");
    assert!(planned.contains("+ pod /pod: new, 1 instance"), "{planned}");
    let told = run(&["pod", "deploy", &one]);
    assert!(
        told.contains("/pod: 1 wanted, 0 starting, 1 stable") && told.contains("done in"),
        "{told}"
    );
    assert!(run(&["pod", "list"]).contains("writer,reader"));
    let first = stable(&marathon, "")["instances"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = run(&["pod", "show", "/pod"]);
    assert!(
        shown.contains(&first) && shown.contains("http=127.0.0.1:"),
        "{shown}"
    );
    // `app deploy` knows what it is given.
    let two = file("two.json", &pod("two"));
    assert!(run(&["app", "plan", &two]).contains("~ /environment/RELEASE: \"one\" -> \"two\""));
    assert!(run(&["app", "deploy", &two]).contains("done in"));
    let second = stable(&marathon, &first)["instances"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(run(&["pod", "history", "/pod"]).lines().count(), 2);
    assert!(run(&["pod", "kill", "/pod", &second]).contains("is killed"));
    let (code, told) = tepui(&marathon, &["pod", "kill", "/pod", "pod.instance-none"]);
    assert!(
        code == Some(1) && told.contains("has no instance pod.instance-none"),
        "{told}"
    );
    assert!(run(&["pod", "rollback", "/pod"]).contains("done in"));
    let pod_now = marathon.get("/v2/pods/pod");
    assert_eq!(pod_now["environment"]["RELEASE"], "one");
    assert!(run(&["pod", "scale", "/pod", "0"]).contains("done in"));
    let app = file("app.json", &json!({ "id": "/app", "cmd": "sleep 1000" }));
    let (code, told) = tepui(&marathon, &["pod", "deploy", &app]);
    assert!(code == Some(2) && told.contains("it is an app"), "{told}");
    assert!(run(&["pod", "destroy", "/pod"]).contains("done in"));
    assert_eq!(marathon.get("/v2/pods"), json!([]));
}

/// A pod whose second container serves once it has found in shared memory what the first has put there, and its cgroup where it is to be.
fn sharing(id: &str, legacy: bool) -> Value {
    let serve = READER.split_once("exec perl").unwrap().1;
    // Below the executor's it has this prefix.
    let below = if legacy { 0 } else { 1 };
    let reads = format!(
        "until grep -q hello /dev/shm/told; do sleep 0.1; done; grep -q /nested- /proc/self/cgroup; test $? = {below} || exit 1; exec perl{serve}"
    );
    let linux = json!({ "ipcInfo": { "mode": "SHARE_PARENT" } });
    let mut pod = json!({ "id": id, "scaling": { "kind": "fixed", "instances": 1 },
        "scheduling": { "backoff": { "backoff": 0 } },
        "linuxInfo": { "ipcInfo": { "mode": "PRIVATE", "shmSize": 4 } },
        "containers": [
            { "name": "writer", "resources": { "cpus": 0.1, "mem": 32 }, "linuxInfo": linux,
              "exec": { "command": { "shell": "echo hello > /dev/shm/told; exec sleep 1000" } } },
            { "name": "reader", "resources": { "cpus": 0.1, "mem": 32 }, "linuxInfo": linux,
              "endpoints": [{ "name": "http" }],
              "exec": { "command": { "shell": reads } },
              "healthCheck": { "tcp": { "endpoint": "http" }, "intervalSeconds": 2, "timeoutSeconds": 1, "delaySeconds": 0 } },
        ] });
    if legacy {
        pod["legacySharedCgroups"] = json!(true);
    }
    pod
}

/// Needs cgroups of memory and root, which the agent has here.
#[test]
fn containers_of_a_pod_share_memory_and_cgroups_if_it_says_so() {
    let (_cluster, _master, agent, marathon) = whole(&[]);
    let pods = format!("{}/v2/pods", marathon.url);
    for (id, legacy) in [("/together", true), ("/apart", false)] {
        let created = until("an answer of Marathon", PATIENCE, || {
            post(&pods, &sharing(id, legacy))
        });
        assert_eq!(created.status, 201, "{}", created.body);
        no_deployments(&marathon);
        let status = until("a stable instance", PATIENCE, || {
            let status = get_json(&format!("{pods}{id}::status"))?;
            (status["status"] == "STABLE").then_some(status)
        });
        let shown = status["spec"].get("legacySharedCgroups");
        assert_eq!(shown, legacy.then_some(&json!(true)), "{status}");
        // What is told of the executor: one limit for both and the executor, or the sum of theirs.
        let statistics = get_json(&format!("{}/monitor/statistics", agent.url)).unwrap();
        let of_pod = statistics.as_array().unwrap().iter().find(|one| {
            let name = one["executor_id"].as_str().unwrap();
            name.contains(&id[1..])
        });
        let limit = of_pod.unwrap()["statistics"]["mem_limit_bytes"].as_u64();
        // Whoever has a limit has 32 MiB more, for which nobody is charged: once for the executor and both, or for each of them.
        let limits: &[u64] = if legacy { &[3 * 32] } else { &[32, 32] };
        let expected: u64 = limits.iter().map(|mib| (mib + 32) << 20).sum();
        assert_eq!(limit, Some(expected), "{statistics}");
    }
}

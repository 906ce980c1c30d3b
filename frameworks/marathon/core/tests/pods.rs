//! Pods: several containers that live and die together.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeMap;

use cluster::{Behaviour, Cluster, body, volumes};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Origin, Response, view::Query};
use tepui_proto::mesos::network_info::IpAddress;
use tepui_proto::mesos::{NetworkInfo, TaskInfo, TaskState};

const POD: &str = r#"{"id":"/dev/pod","labels":{"a.b":"c"},"environment":{"A":"pod","B":"pod"},"user":"nobody",
    "containers":[
        {"name":"web","exec":{"command":{"shell":"serve"}},"resources":{"cpus":0.5,"mem":64},"environment":{"A":"web"},
         "endpoints":[{"name":"http-api","protocol":["tcp"],"labels":{"VIP":"1"}}],
         "healthCheck":{"http":{"endpoint":"http-api","path":"/ok"}},
         "volumeMounts":[{"name":"shared","mountPath":"in"}],"lifecycle":{"killGracePeriodSeconds":1.5}},
        {"name":"side","exec":{"command":{"argv":["log","-v"]}},"resources":{"cpus":0.1,"mem":32},
         "image":{"kind":"DOCKER","id":"alpine"},"volumeMounts":[{"name":"shared","mountPath":"/out","readOnly":true},{"name":"etc","mountPath":"/etc/x"}],
         "artifacts":[{"uri":"http://h/a.tgz"}]}],
    "volumes":[{"name":"shared"},{"name":"etc","host":"/etc"}],"scaling":{"kind":"fixed","instances":2}}"#;

fn create(cluster: &mut Cluster, document: &str) -> Response {
    cluster.call(ApiCall::CreatePod {
        body: document.to_owned().into(),
        force: false,
        origin: Origin::default(),
    })
}

fn put(cluster: &mut Cluster, id: &str, document: &str) -> Response {
    cluster.call(ApiCall::UpdatePod {
        id: id.to_owned(),
        body: document.to_owned().into(),
        force: false,
        origin: Origin::default(),
    })
}

fn status(cluster: &Cluster, id: &str) -> Value {
    let id = id.to_owned();
    cluster.get(&Query::PodStatus { id }).1
}

/// All containers with a check are well.
fn make_healthy(cluster: &mut Cluster, healthy: bool) {
    let ids: Vec<String> = cluster
        .tasks
        .keys()
        .filter(|id| id.contains(".web."))
        .cloned()
        .collect();
    for id in ids {
        cluster.report_health(&id, healthy);
    }
    cluster.run();
}

fn variables(info: &TaskInfo) -> BTreeMap<String, String> {
    let environment = info.command.as_ref().unwrap().environment.clone().unwrap();
    let pairs = environment.variables.into_iter();
    pairs.map(|one| (one.name, one.value.unwrap())).collect()
}

#[test]
fn a_pod_is_launched_as_a_group_with_a_task_for_each_container() {
    let mut cluster = Cluster::new(2);
    let created = create(&mut cluster, POD);
    assert_eq!(
        (created.status, created.location.as_deref()),
        (201, Some("/dev/pod"))
    );
    assert!(created.deployment_id.is_some());
    assert_eq!(
        body(&created)["executorResources"],
        json!({ "cpus": 0.1, "mem": 32.0, "disk": 10.0 })
    );
    assert_eq!((cluster.groups.len(), cluster.tasks.len()), (2, 4));
    let group = cluster.groups[0].launch_group.clone().unwrap();
    let (executor, tasks) = (group.executor, group.task_group.tasks);
    let instance = tasks[0].task_id.value.trim_end_matches(".web.1").to_owned();
    assert_eq!(tasks[1].task_id.value, format!("{instance}.side.1"));
    let uuid = instance.trim_start_matches("dev_pod.instance-");
    assert_eq!(
        executor.executor_id.value,
        format!("instance-dev_pod.{uuid}")
    );
    let amounts = |resources: &[tepui_proto::mesos::Resource]| -> Vec<(String, f64)> {
        let scalars = resources
            .iter()
            .filter_map(|one| Some((one.name.clone(), one.scalar?.value)));
        scalars.collect()
    };
    let pair = |name: &str, amount: f64| (name.to_owned(), amount);
    assert_eq!(
        amounts(&executor.resources),
        [pair("cpus", 0.1), pair("mem", 32.0), pair("disk", 10.0)]
    );
    assert_eq!(
        amounts(&tasks[0].resources),
        [pair("cpus", 0.5), pair("mem", 64.0)]
    );
    assert_eq!(
        amounts(&tasks[1].resources),
        [pair("cpus", 0.1), pair("mem", 32.0)]
    );
    let port = tasks[0].resources[2].ranges.as_ref().unwrap().range[0]
        .begin
        .to_string();
    let web = variables(&tasks[0]);
    for (name, want) in [
        ("A", "web"),
        ("B", "pod"),
        ("HOST", "host0"),
        ("MESOS_TASK_ID", &tasks[0].task_id.value),
        ("MESOS_EXECUTOR_ID", &executor.executor_id.value),
        ("MARATHON_APP_ID", "/dev/pod"),
        ("MARATHON_CONTAINER_ID", "web"),
        ("MARATHON_CONTAINER_RESOURCE_CPUS", "0.5"),
        ("MARATHON_CONTAINER_RESOURCE_GPUS", "0"),
        ("MARATHON_APP_LABELS", "A_B"),
        ("MARATHON_APP_LABEL_A_B", "c"),
        ("ENDPOINT_HTTP_API", &port),
        ("EP_HOST_HTTP_API", &port),
    ] {
        assert_eq!(web.get(name).map(String::as_str), Some(want), "{name}");
    }
    assert!(!web.contains_key("EP_CONTAINER_HTTP_API"));
    let side = variables(&tasks[1]);
    assert_eq!(
        (&side["A"], &side["ENDPOINT_HTTP_API"]),
        (&"pod".to_owned(), &port)
    );
    let command = tasks[1].command.as_ref().unwrap();
    assert_eq!(
        (
            command.shell(),
            command.value(),
            command.arguments.join(" ")
        ),
        (false, "log", "log -v".to_owned())
    );
    assert_eq!(
        (command.user(), command.uris[0].value.as_str()),
        ("nobody", "http://h/a.tgz")
    );
    let check = tasks[0]
        .health_check
        .as_ref()
        .unwrap()
        .http
        .as_ref()
        .unwrap();
    assert_eq!((check.port.to_string(), check.path()), (port, "/ok"));
    let grace = tasks[0]
        .kill_policy
        .as_ref()
        .unwrap()
        .grace_period
        .as_ref()
        .unwrap();
    assert_eq!(grace.nanoseconds, 1_500_000_000);
    let mounts = &tasks[1].container.as_ref().unwrap().volumes;
    let shared = mounts[0]
        .source
        .as_ref()
        .unwrap()
        .sandbox_path
        .as_ref()
        .unwrap();
    assert_eq!(
        (shared.path.as_str(), mounts[0].mode().as_str_name()),
        ("volumes/shared", "RO")
    );
    assert_eq!(mounts[1].host_path(), "/etc");
}

#[test]
fn a_deployment_waits_for_all_containers_and_the_status_tells_how_they_are() {
    let mut cluster = Cluster::new(2);
    create(&mut cluster, POD);
    let deployment = cluster.deployments();
    assert_eq!(deployment[0]["affectedPods"], json!(["/dev/pod"]));
    assert_eq!(deployment[0]["affectedApps"], json!([]));
    assert_eq!(
        deployment[0]["currentActions"],
        json!([{ "action": "ScalePod", "pod": "/dev/pod", "readinessCheckResults": [] }])
    );
    assert_eq!(status(&cluster, "/dev/pod")["status"], "STABLE");
    make_healthy(&mut cluster, true);
    assert_eq!(cluster.deployments(), json!([]));
    let told = status(&cluster, "/dev/pod");
    let instance = &told["instances"][0];
    assert_eq!(
        [&instance["status"], &instance["agentHostname"]],
        ["STABLE", "host0"]
    );
    assert_eq!(
        instance["resources"],
        json!({ "cpus": 0.7, "mem": 128.0, "disk": 10.0, "gpus": 0 })
    );
    let web = &instance["containers"][0];
    assert_eq!([&web["name"], &web["status"]], ["web", "TASK_RUNNING"]);
    assert_eq!(web["conditions"][0]["value"], "true");
    let endpoint = &web["endpoints"][0];
    assert_eq!(
        [&endpoint["name"], &endpoint["healthy"]],
        [&json!("http-api"), &json!(true)]
    );
    assert!(endpoint["allocatedHostPort"].as_u64().is_some());
    let reference = format!(
        "/v2/pods/dev/pod::versions/{}",
        told["spec"]["version"].as_str().unwrap()
    );
    assert_eq!(instance["specReference"], reference);
    make_healthy(&mut cluster, false);
    let told = status(&cluster, "/dev/pod");
    assert_eq!(told["status"], "DEGRADED");
    assert_eq!(
        told["instances"][0]["message"],
        "at least one container is not healthy"
    );
    let types = cluster.event_types();
    for name in [
        "pod_created_event",
        "status_update_event",
        "instance_health_changed_event",
    ] {
        assert!(types.contains(&name), "{name}");
    }
    // Apps know nothing of it.
    let apps = cluster
        .get(&Query::Apps {
            cmd: None,
            id: None,
            label: None,
            embed: Default::default(),
        })
        .1;
    assert_eq!(apps, json!({ "apps": [] }));
    assert_eq!(
        cluster.get(&Query::Tasks { status: Vec::new() }).1,
        json!({ "tasks": [] })
    );
    let groups = cluster
        .get(&Query::Group {
            id: "/dev".into(),
            embed: tepui_marathon_core::view::GroupEmbed::parse([]),
        })
        .1;
    assert_eq!(groups["pods"][0]["id"], "/dev/pod");
}

#[test]
fn a_container_that_fails_takes_the_instance_down_and_it_comes_back() {
    let mut cluster = Cluster::new(1);
    create(&mut cluster, POD);
    make_healthy(&mut cluster, true);
    let task = cluster
        .tasks
        .keys()
        .find(|id| id.contains(".side."))
        .unwrap()
        .clone();
    cluster.report(&task, TaskState::TaskFailed);
    cluster.run();
    assert_eq!(cluster.tasks.len(), 2, "the whole instance has ended");
    let history = status(&cluster, "/dev/pod")["terminationHistory"].clone();
    assert_eq!(history[0]["containers"][0]["containerId"], task);
    assert_eq!(history[0]["containers"][0]["lastKnownState"], "TASK_FAILED");
    cluster.fail_over();
    cluster.pass(2);
    assert_eq!(cluster.tasks.len(), 4);
    assert!(
        cluster
            .tasks
            .contains_key(&task.replace(".side.1", ".side.2")),
        "the same instance"
    );
    // Killed by its id it comes back too; wiped another takes its place.
    let instance = task.trim_end_matches(".side.1").to_owned();
    let kill = |instance: &str, wipe| ApiCall::KillPodInstance {
        id: "/dev/pod".into(),
        instance: instance.to_owned(),
        wipe,
    };
    let killed = cluster.call(kill(&instance, false));
    assert_eq!(
        (killed.status, body(&killed)["instanceId"].as_str()),
        (200, Some(instance.as_str()))
    );
    cluster.pass(2);
    assert!(
        cluster
            .tasks
            .contains_key(&task.replace(".side.1", ".side.3"))
    );
    let list = json!([instance]).to_string();
    let wiped = cluster.call(ApiCall::KillPodInstances {
        id: "/dev/pod".into(),
        body: list.into(),
        wipe: true,
    });
    assert_eq!(body(&wiped)[0]["state"]["goal"], "Running");
    cluster.pass(2);
    assert!(!cluster.tasks.keys().any(|id| id.starts_with(&instance)) && cluster.tasks.len() == 4);
    assert_eq!(cluster.call(kill("dev_pod.instance-x", false)).status, 404);
    let bad = cluster.call(ApiCall::KillPodInstances {
        id: "/dev/pod".into(),
        body: "[\"x\"]".into(),
        wipe: false,
    });
    assert_eq!(bad.status, 422);
}

#[test]
fn an_update_replaces_instances_and_versions_are_kept() {
    let mut cluster = Cluster::new(2);
    create(&mut cluster, POD);
    make_healthy(&mut cluster, true);
    let first = status(&cluster, "/dev/pod")["spec"]["version"].clone();
    let before: Vec<String> = cluster.tasks.keys().cloned().collect();
    // What instances do not notice restarts nothing, and is taken over all the same.
    let quiet = POD.replace(
        "\"scaling\"",
        "\"scheduling\":{\"killSelection\":\"OLDEST_FIRST\"},\"scaling\"",
    );
    assert_eq!(put(&mut cluster, "/dev/pod", &quiet).status, 200);
    assert_eq!(cluster.tasks.keys().cloned().collect::<Vec<_>>(), before);
    let spec = status(&cluster, "/dev/pod")["spec"].clone();
    assert_eq!(
        (&spec["version"], &spec["scheduling"]["killSelection"]),
        (&first, &json!("OLDEST_FIRST"))
    );
    let changed = put(&mut cluster, "/dev/pod", &POD.replace("serve", "serve 2"));
    assert_eq!(changed.status, 200);
    make_healthy(&mut cluster, true);
    make_healthy(&mut cluster, true);
    assert_eq!(cluster.deployments(), json!([]));
    assert!(cluster.tasks.len() == 4 && before.iter().all(|id| !cluster.tasks.contains_key(id)));
    let id = || "/dev/pod".to_owned();
    let versions = cluster.get(&Query::PodVersions { id: id() }).1;
    assert_eq!(
        (versions.as_array().unwrap().len(), &versions[1]),
        (2, &first)
    );
    let version = first.as_str().unwrap().to_owned();
    let old = cluster.get(&Query::PodVersion { id: id(), version }).1;
    assert_eq!(old["containers"][0]["exec"]["command"]["shell"], "serve");
    let scaled = POD
        .replace("serve", "serve 2")
        .replace("\"instances\":2", "\"instances\":1");
    put(&mut cluster, "/dev/pod", &scaled);
    assert_eq!((cluster.tasks.len(), cluster.deployments()), (2, json!([])));
    let gone = cluster.call(ApiCall::DeletePod {
        id: id(),
        force: false,
        origin: Origin::default(),
    });
    assert_eq!(
        (gone.status, gone.location, gone.body.len()),
        (202, gone.deployment_id, 0)
    );
    assert!(cluster.tasks.is_empty() && cluster.executors.is_empty());
    assert_eq!(cluster.get(&Query::Pod { id: id() }).0, 404);
    assert!(cluster.event_types().contains(&"pod_deleted_event"));
}

#[test]
fn pods_and_apps_do_not_share_ids_and_groups_leave_pods_alone() {
    let mut cluster = Cluster::new(1);
    create(&mut cluster, POD);
    assert_eq!(create(&mut cluster, POD).status, 409);
    let app = cluster.create(r#"{"id":"/dev/pod","cmd":"sleep 1"}"#);
    let shared = "Applications and Pods may not share the same id";
    assert_eq!(body(&app)["details"][0]["errors"], json!([shared]));
    cluster.create(r#"{"id":"/dev/app","cmd":"sleep 1"}"#);
    let pod = create(&mut cluster, &POD.replace("/dev/pod", "/dev/app"));
    assert_eq!(body(&pod)["details"][0]["errors"], json!([shared]));
    let mismatch = put(&mut cluster, "/dev/other", POD);
    assert_eq!(
        (mismatch.status, body(&mismatch)["message"].as_str()),
        (
            400,
            Some("'/dev/other' does not match definition's id ('/dev/pod')")
        )
    );
    let update = cluster.call(ApiCall::UpdateGroup {
        id: "/dev".into(),
        body: r#"{"apps":[]}"#.into(),
        force: true,
        dry_run: false,
    });
    assert_eq!(update.status, 200);
    assert_eq!(
        cluster
            .get(&Query::Pod {
                id: "/dev/pod".into()
            })
            .0,
        200
    );
    assert_eq!(
        cluster
            .get(&Query::App {
                id: "/dev/app".into(),
                embed: Default::default()
            })
            .0,
        404
    );
    let refused = cluster.call(ApiCall::DeleteApp {
        id: "/dev/pod".into(),
        force: true,
    });
    assert_eq!(refused.status, 404);
    cluster.call(ApiCall::DeleteGroup {
        id: "/dev".into(),
        force: true,
    });
    assert!(cluster.tasks.is_empty(), "with its group it goes");
}

#[test]
fn a_pod_that_waits_is_in_the_queue() {
    let mut cluster = Cluster::new(1);
    cluster
        .behaviour
        .insert("serve".to_owned(), Behaviour::Fails);
    create(
        &mut cluster,
        &POD.replace("\"instances\":2", "\"instances\":1"),
    );
    let queue = body(&cluster.call(ApiCall::Queue {
        last_unused_offers: false,
    }));
    assert_eq!(queue["queue"][0]["pod"]["id"], "/dev/pod");
    assert_eq!(
        queue["queue"][0]["delay"],
        json!({ "timeLeftSeconds": 1, "overdue": false })
    );
    assert!(cluster.tasks.is_empty());
}

#[test]
fn a_pod_keeps_its_persistent_volumes() {
    let mut cluster = Cluster::new(2);
    let document = r#"{"id":"/dev/db","role":"dev","containers":[{"name":"a","resources":{"cpus":0.1},"exec":{"command":{"shell":"one"}},
        "endpoints":[{"name":"x"}],"volumeMounts":[{"name":"data","mountPath":"d"}]},
        {"name":"b","resources":{"cpus":0.1},"exec":{"command":{"shell":"two"}}}],"volumes":[{"name":"data","persistent":{"size":10}}]}"#;
    assert_eq!(create(&mut cluster, document).status, 201);
    let executor = cluster.groups[0]
        .launch_group
        .as_ref()
        .unwrap()
        .executor
        .clone();
    let holder = TaskInfo {
        resources: executor.resources,
        ..TaskInfo::default()
    };
    let volume = volumes(&holder);
    assert!(volume.len() == 1 && volume[0].starts_with("dev_db#data#"));
    let mount = cluster.launched[0].container.as_ref().unwrap().volumes[0].clone();
    assert_eq!(mount.source.unwrap().sandbox_path.unwrap().path, "data");
    assert_eq!(cluster.deployments(), json!([]));
    put(
        &mut cluster,
        "/dev/db",
        &document.replace("\"two\"", "\"three\""),
    );
    cluster.pass(2);
    assert_eq!(
        (cluster.deployments(), cluster.groups.len()),
        (json!([]), 2)
    );
    let again = cluster.groups[1]
        .launch_group
        .as_ref()
        .unwrap()
        .executor
        .clone();
    let holder = TaskInfo {
        resources: again.resources,
        ..TaskInfo::default()
    };
    assert_eq!(volumes(&holder), volume);
    assert_eq!(
        status(&cluster, "/dev/db")["instances"][0]["localVolumes"][0]["persistenceId"],
        volume[0]
    );
    let refused = put(&mut cluster, "/dev/db", &document.replace("0.1", "0.2"));
    assert_eq!(
        body(&refused)["details"][0]["errors"],
        json!(["cpus cannot be updated if a pod has persistent volumes"])
    );
    cluster.call(ApiCall::DeletePod {
        id: "/dev/db".into(),
        force: true,
        origin: Origin::default(),
    });
    cluster.pass(1);
    assert!(cluster.reserved().is_empty() && cluster.tasks.is_empty());
}

#[test]
fn a_pod_with_networks_shows_its_addresses_there() {
    const DOCUMENT: &str = r#"{"id":"/net","networks":[{"name":"blue","labels":{"a":"b"}},{"name":"green"}],"containers":[
        {"name":"web","resources":{},"exec":{"command":{"shell":"serve"}},
         "endpoints":[{"name":"http","containerPort":80,"hostPort":0,"networkNames":["green"]}]},
        {"name":"side","resources":{},"exec":{"command":{"shell":"log"}}}]}"#;
    let mut cluster = Cluster::new(1);
    assert_eq!(create(&mut cluster, DOCUMENT).status, 201);
    let group = cluster.groups[0].launch_group.clone().unwrap();
    let joined = group.executor.container.unwrap().network_infos;
    let names: Vec<&str> = joined.iter().map(NetworkInfo::name).collect();
    assert_eq!(names, ["blue", "green"]);
    assert!(joined[0].port_mappings.is_empty() && joined[0].labels.is_some());
    let port = &joined[1].port_mappings[0];
    assert_eq!((port.container_port, port.protocol()), (80, "tcp"));

    let tasks: Vec<String> = cluster.tasks.keys().cloned().collect();
    let infos = [("blue", "10.0.0.7"), ("green", "10.1.0.9")].map(|(name, ip)| NetworkInfo {
        name: Some(name.to_owned()),
        ip_addresses: vec![IpAddress {
            protocol: None,
            ip_address: Some(ip.to_owned()),
        }],
        ..NetworkInfo::default()
    });
    let expected = json!([{ "name": "blue", "addresses": ["10.0.0.7"] }, { "name": "green", "addresses": ["10.1.0.9"] }]);
    for task in &tasks {
        cluster.report_networks(task, infos.to_vec());
    }
    cluster.run();
    let told = status(&cluster, "/net");
    let instance = &told["instances"][0];
    assert_eq!(instance["networks"], expected);
    let endpoint = json!([{ "name": "http", "allocatedHostPort": port.host_port }]);
    assert_eq!(instance["containers"][1]["name"], "side");
    assert_eq!(instance["containers"][0]["endpoints"], endpoint);

    // The next leader knows them too.
    cluster.fail_over();
    assert_eq!(
        status(&cluster, "/net")["instances"][0]["networks"],
        expected
    );
}

#[test]
fn a_pod_that_cannot_be_made_of_what_was_taken_waits_and_says_so() {
    let mut cluster = Cluster::new(1);
    assert_eq!(create(&mut cluster, POD).status, 201);
    cluster.pass(1);
    cluster.call(ApiCall::UpdatePod {
        id: "/dev/pod".to_owned(),
        body: POD.replace("\"instances\":2", "\"instances\":0").into(),
        force: true,
        origin: Origin::default(),
    });
    cluster.pass(60);
    assert!(cluster.tasks.is_empty());
    // A store whose sum is less than its parts, as a former release wrote it.
    for (key, value) in &mut cluster.store {
        let of_pod = key.starts_with("app/") || key.starts_with("version/");
        let mut record: Value = serde_json::from_slice(value).unwrap();
        if of_pod {
            record["data"]["cpus"] = json!(0.3);
            record["data"]["instances"] = json!(1);
            *value = record.to_string().into();
        }
    }
    cluster.fail_over();
    cluster.pass(10);
    assert!(cluster.tasks.is_empty() && cluster.groups.len() == 2);
    let shown = status(&cluster, "/dev/pod");
    assert_eq!(shown["instances"], json!([]), "none counts as launched");
    let explained = body(&cluster.call(ApiCall::Explain {
        id: "/dev/pod".to_owned(),
    }));
    let reasons = explained["reasons"].as_array().unwrap();
    let why = "was not launched on host0: what was taken of the offer is too little for its container 'web'";
    assert!(
        reasons
            .iter()
            .any(|one| one.as_str().unwrap().contains(why)),
        "{explained}"
    );
    // With what it needs it is launched, and nothing is left to say.
    assert_eq!(put(&mut cluster, "/dev/pod", POD).status, 200);
    cluster.pass(10);
    assert_eq!(cluster.groups.len(), 4);
    let explained = body(&cluster.call(ApiCall::Explain {
        id: "/dev/pod".to_owned(),
    }));
    assert!(
        !explained["reasons"]
            .to_string()
            .contains("was not launched"),
        "{explained}"
    );
}

#[test]
fn checks_and_the_pods_own_view_of_the_kernel_are_launched() {
    let mut cluster = Cluster::new(1);
    let created = create(
        &mut cluster,
        r#"{"id":"/dev/pod","linuxInfo":{"ipcInfo":{"mode":"PRIVATE","shmSize":8}},"containers":[
            {"name":"a","exec":{"command":{"shell":"a"}},"resources":{"cpus":0.1,"mem":8},"endpoints":[{"name":"web"}],
             "check":{"http":{"endpoint":"web","path":"/x"},"intervalSeconds":7}},
            {"name":"b","exec":{"command":{"shell":"b"}},"resources":{"cpus":0.1,"mem":8},
             "check":{"exec":{"command":{"argv":["true"]}}}}]}"#,
    );
    assert_eq!(created.status, 201, "{:?}", body(&created));
    let group = cluster.groups[0].launch_group.clone().unwrap();
    let of_executor = group.executor.container.unwrap().linux_info.unwrap();
    assert_eq!(
        (of_executor.ipc_mode(), of_executor.shm_size),
        (tepui_proto::mesos::linux_info::IpcMode::Private, Some(8))
    );
    let tasks = group.task_group.tasks;
    let shares = |task: &TaskInfo| {
        let linux = task.container.as_ref().unwrap().linux_info.as_ref();
        linux.unwrap().share_cgroups
    };
    assert!(tasks.iter().all(|task| shares(task) == Some(false)));
    let port = tasks[0].resources[2].ranges.as_ref().unwrap().range[0].begin;
    let check = tasks[0].check.as_ref().unwrap();
    let http = check.http.as_ref().unwrap();
    assert_eq!((u64::from(http.port), http.path()), (port, "/x"));
    assert_eq!(check.interval_seconds, Some(7.0));
    let command = &tasks[1]
        .check
        .as_ref()
        .unwrap()
        .command
        .as_ref()
        .unwrap()
        .command;
    assert_eq!(command.arguments, ["true"]);
}

/// To Mesos a task that says nothing shares its executor's cgroups; Marathon's pods do so only if they ask for it.
#[test]
fn containers_share_cgroups_and_memory_if_the_pod_says_so() {
    let mut cluster = Cluster::new(1);
    let created = create(
        &mut cluster,
        r#"{"id":"/dev/pod","legacySharedCgroups":true,"containers":[
            {"name":"a","exec":{"command":{"shell":"a"}},"resources":{"cpus":0.1,"mem":8},"linuxInfo":{"ipcInfo":{"mode":"SHARE_PARENT"}}},
            {"name":"b","exec":{"command":{"shell":"b"}},"resources":{"cpus":0.1,"mem":8}}]}"#,
    );
    assert_eq!(created.status, 201, "{:?}", body(&created));
    let group = cluster.groups[0].launch_group.clone().unwrap();
    // An executor may not have it set, in Mesos.
    assert!(group.executor.container.is_none());
    let linux: Vec<_> = group
        .task_group
        .tasks
        .iter()
        .map(|task| task.container.as_ref().unwrap().linux_info.clone().unwrap())
        .collect();
    assert_eq!(linux[0].share_cgroups, Some(true));
    assert_eq!(
        linux[0].ipc_mode(),
        tepui_proto::mesos::linux_info::IpcMode::ShareParent
    );
    assert_eq!(
        (linux[1].share_cgroups, linux[1].ipc_mode),
        (Some(true), None)
    );
}

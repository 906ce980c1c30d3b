//! Apps on executors of their own, and with external volumes: what Mesos is told, and how they are upgraded.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::{Cluster, body, update};
use serde_json::{Value, json};
use tepui_marathon_core::{ApiCall, Config, Origin};
use tepui_proto::mesos::{Resource, volume};

fn scalars(resources: &[Resource]) -> Vec<(&str, f64)> {
    let all = resources.iter();
    all.filter_map(|one| Some((one.name.as_str(), one.scalar.as_ref()?.value)))
        .collect()
}

#[test]
fn an_executor_of_its_own_is_told_what_the_app_runs() {
    let mut cluster = Cluster::new(1);
    let document = json!({ "id": "/a", "cpus": 0.5, "mem": 64, "cmd": "serve --now", "executor": "./my 'executor'",
        "executorResources": { "cpus": 0.25, "mem": 32, "disk": 10 }, "taskKillGracePeriodSeconds": 7, "user": "web",
        "fetch": [{ "uri": "http://x/my" }], "env": { "A": "b" },
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "/x", "hostPath": "/y", "mode": "RO" }] } });
    let created = cluster.create(&document.to_string());
    assert_eq!(
        (created.status, &body(&created)["executor"]),
        (201, &json!("./my 'executor'"))
    );
    let info = cluster.launched[0].clone();
    assert!(info.command.is_none() && info.container.is_none() && info.data.is_none());
    assert_eq!(scalars(&info.resources), [("cpus", 0.5), ("mem", 64.0)]);
    assert!(info.resources.iter().any(|one| one.name == "ports"));
    let grace = info.kill_policy.as_ref().unwrap().grace_period.as_ref();
    assert_eq!(grace.unwrap().nanoseconds, 7_000_000_000);
    let executor = info.executor.as_ref().unwrap();
    assert_eq!(
        executor.executor_id.value,
        format!("marathon-{}", info.task_id.value)
    );
    assert_eq!(
        scalars(&executor.resources),
        [("cpus", 0.25), ("mem", 32.0), ("disk", 10.0)]
    );
    assert_eq!(executor.container.as_ref().unwrap().volumes.len(), 1);
    let command = executor.command.as_ref().unwrap();
    assert_eq!(
        command.value(),
        r"chmod ug+rx './my '\''executor'\''' && exec './my '\''executor'\''' serve --now"
    );
    assert!(command.shell() && command.arguments.is_empty());
    assert_eq!((command.user(), command.uris.len()), ("web", 1));
    let variables = &command.environment.as_ref().unwrap().variables;
    let told = |name: &str, value: &str| {
        let mut all = variables.iter();
        all.any(|one| one.name == name && one.value() == value)
    };
    assert!(told("A", "b") && told("MARATHON_APP_RESOURCE_CPUS", "0.5"));

    // A program and its arguments are words of the line; an executor's resources alone restart nothing.
    let words = json!({ "id": "/b", "cpus": 0.1, "mem": 1, "args": ["serve", "two words"], "executor": "/bin/e" });
    cluster.create(&words.to_string());
    let executor = cluster.launched[1].executor.clone().unwrap();
    assert_eq!(
        executor.command.as_ref().unwrap().value(),
        "chmod ug+rx '/bin/e' && exec '/bin/e' serve 'two words'"
    );
    assert_eq!(executor.resources, []);
    cluster.update(
        "/b",
        r#"{"executorResources":{"cpus":0.1,"mem":32,"disk":10}}"#,
    );
    assert_eq!(cluster.launched.len(), 2);
    cluster.update("/b", r#"{"executor":"//cmd"}"#);
    assert_eq!(cluster.launched.len(), 3);
    assert!(cluster.launched[2].executor.is_none() && cluster.launched[2].command.is_some());
}

#[test]
fn an_executors_part_is_asked_of_the_offer() {
    let mut cluster = Cluster::new(1);
    let cpus = cluster.agents[0].cpus;
    let app = |executor: &str| json!({ "id": "/a", "cmd": "serve", "cpus": cpus - 0.1, "mem": 1, "executor": executor, "executorResources": { "cpus": 0.2 } });
    cluster.create(&app("./e").to_string());
    assert_eq!(cluster.launched.len(), 0);
    cluster.call(update("/a", r#"{"executor":""}"#, true));
    cluster.run();
    cluster.pass(5);
    assert_eq!(cluster.launched.len(), 1);
}

#[test]
fn apps_that_name_no_executor_have_the_one_of_the_flag() {
    let config = Config {
        executor: "/opt/executor".to_owned(),
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    let mut cluster = Cluster::with(1, config);
    for (id, more) in [
        ("/none", json!({ "executorResources": { "cpus": 0.5 } })),
        ("/empty", json!({ "executor": "" })),
        ("/own", json!({ "executor": "./own" })),
        (
            "/command",
            json!({ "executor": "//cmd", "executorResources": { "cpus": 0.5 } }),
        ),
    ] {
        let mut document = json!({ "id": id, "cmd": "serve", "cpus": 0.1, "mem": 1 });
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        assert_eq!(cluster.create(&document.to_string()).status, 201);
    }
    assert_eq!(
        cluster.app("/none")["executor"],
        "",
        "it is not written into definitions"
    );
    let pod = json!({ "id": "/pod", "containers": [{ "name": "c", "resources": { "cpus": 0.1, "mem": 1 },
        "exec": { "command": { "shell": "serve" } } }] });
    let created = cluster.call(ApiCall::CreatePod {
        body: pod.to_string().into(),
        force: false,
        origin: Origin::default(),
    });
    assert_eq!(created.status, 201);
    let executor = |at: usize| {
        let info = &cluster.launched[at];
        let executor = info.executor.as_ref()?;
        let line = executor.command.as_ref()?.value().to_owned();
        Some((line, scalars(&executor.resources).len()))
    };
    let own = |path: &str, parts| {
        let line = format!("chmod ug+rx '{path}' && exec '{path}' serve");
        Some((line, parts))
    };
    let all: Vec<_> = (0..4).map(executor).collect();
    assert_eq!(
        all,
        [
            own("/opt/executor", 3),
            own("/opt/executor", 0),
            own("./own", 0),
            None
        ]
    );
    let group = cluster.groups[0].launch_group.as_ref().unwrap();
    assert!(group.executor.command.is_none(), "a pod has Mesos' own");
}

/// A cluster whose Marathon takes external volumes.
fn with_volumes(agents: usize) -> Cluster {
    let config = Config {
        external_volumes: true,
        min_revive_offers_interval_ms: 0,
        ..Config::default()
    };
    Cluster::with(agents, config)
}

fn app(id: &str, external: &Value) -> Value {
    json!({ "id": id, "cmd": "serve", "cpus": 0.1, "mem": 1,
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "external": external }] } })
}

fn disk(shared: bool) -> Value {
    json!({ "name": "disk", "provider": "dvdi", "shared": shared, "size": 5,
        "options": { "dvdi/driver": "rexray", "dvdi/tag": " x ", "dvdi/size": "7", "other/x": "y" } })
}

#[test]
fn an_external_volume_is_a_volume_of_a_docker_volume_driver() {
    let mut cluster = with_volumes(1);
    cluster.create(&app("/a", &disk(false)).to_string());
    let container = cluster.launched[0].container.clone().unwrap();
    let volume = &container.volumes[0];
    assert_eq!(
        (
            volume.container_path.as_str(),
            volume.mode(),
            &volume.host_path
        ),
        ("data", volume::Mode::Rw, &None)
    );
    let source = volume.source.as_ref().unwrap();
    assert_eq!(source.r#type(), volume::source::Type::DockerVolume);
    let docker = source.docker_volume.as_ref().unwrap();
    assert_eq!((docker.driver(), docker.name.as_str()), ("rexray", "disk"));
    let options = &docker.driver_options.as_ref().unwrap().parameter;
    let options: Vec<_> = options
        .iter()
        .map(|one| (one.key.as_str(), one.value.as_str()))
        .collect();
    assert_eq!(options, [("size", "5"), ("tag", "x")]);
    let plain = json!({ "id": "/b", "cpus": 0.1, "mem": 1, "container": { "docker": { "image": "x" }, "volumes": [
        { "containerPath": "/d", "mode": "RO", "external": { "name": "other", "provider": "dvdi", "options": { "dvdi/driver": "d" } } }] } });
    cluster.create(&plain.to_string());
    let container = cluster.launched[1].container.clone().unwrap();
    let source = container.volumes[0].source.clone().unwrap();
    assert_eq!(source.docker_volume.unwrap().driver_options, None);
}

fn csi(mode: &str) -> Value {
    json!({ "name": "vol-1", "provider": "csi", "options": { "pluginName": "p", "volumeContext": { "pool": "fast" },
        "capability": { "accessMode": mode, "accessType": "mount", "fsType": "xfs", "mountFlags": ["noatime"] } } })
}

#[test]
fn an_external_volume_is_a_volume_of_a_csi_plugin() {
    let mut cluster = with_volumes(1);
    cluster.create(&app("/a", &csi("MULTI_NODE_MULTI_WRITER")).to_string());
    let container = cluster.launched[0].container.clone().unwrap();
    let volume = &container.volumes[0];
    assert_eq!(volume.mode(), volume::Mode::Rw);
    let source = volume.source.as_ref().unwrap();
    assert_eq!(source.r#type(), volume::source::Type::CsiVolume);
    assert_eq!(
        serde_json::from_slice::<Value>(&tepui_proto::json::to_vec(source.as_ref())).unwrap(),
        json!({ "type": "CSI_VOLUME", "csi_volume": { "plugin_name": "p", "static_provisioning": {
            "volume_id": "vol-1", "volume_context": { "pool": "fast" },
            "volume_capability": { "access_mode": { "mode": "MULTI_NODE_MULTI_WRITER" },
                "mount": { "fs_type": "xfs", "mount_flags": ["noatime"] } } } } })
    );
    let mut block = csi("SINGLE_NODE_WRITER");
    block["name"] = json!("vol-2");
    block["options"]["capability"] =
        json!({ "accessMode": "SINGLE_NODE_WRITER", "accessType": "block" });
    cluster.create(&app("/b", &block).to_string());
    let container = cluster.launched[1].container.clone().unwrap();
    let source = container.volumes[0].source.clone().unwrap();
    let provisioned = source.csi_volume.unwrap().static_provisioning.unwrap();
    let device =
        volume::source::csi_volume::volume_capability::AccessType::Block(Default::default());
    assert_eq!(provisioned.volume_capability.access_type, Some(device));
}

#[test]
fn names_of_csi_volumes_are_those_of_one_app_as_far_as_their_access_modes_say() {
    let conflict = |id: &str, other: &str| {
        json!({ "path": format!("/apps/{id}/container"),
            "errors": [format!("Volume name 'vol-1' in {id} conflicts with volume(s) of same name in app(s): {other}")] })
    };
    let (writes, reads) = ("MULTI_NODE_SINGLE_WRITER", "MULTI_NODE_SINGLE_WRITER");
    let (a, b) = (conflict("/a", "/b"), conflict("/b", "/a"));
    for (first, second, told) in [
        (
            ("RW", "SINGLE_NODE_WRITER"),
            ("RW", "SINGLE_NODE_WRITER"),
            vec![a.clone(), b.clone()],
        ),
        (("RW", writes), ("RW", writes), vec![a, b.clone()]),
        (("RW", writes), ("RO", reads), vec![]),
        (("RO", reads), ("RO", reads), vec![]),
        (
            ("RW", "MULTI_NODE_MULTI_WRITER"),
            ("RW", "MULTI_NODE_MULTI_WRITER"),
            vec![],
        ),
        (
            ("RW", "SINGLE_NODE_WRITER"),
            ("RW", "MULTI_NODE_MULTI_WRITER"),
            vec![b],
        ),
    ] {
        let mut cluster = with_volumes(1);
        let one = |id: &str, (mode, access): (&str, &str)| {
            let mut one = app(id, &csi(access));
            one["container"]["volumes"][0]["mode"] = json!(mode);
            one.to_string()
        };
        assert_eq!(cluster.create(&one("/a", first)).status, 201);
        let answer = cluster.create(&one("/b", second));
        if told.is_empty() {
            assert_eq!(answer.status, 201, "{first:?} {second:?}");
        } else {
            assert_eq!(answer.status, 422);
            assert_eq!(
                body(&answer)["details"],
                json!(told),
                "{first:?} {second:?}"
            );
        }
    }
    // Another provider's is another volume.
    let mut cluster = with_volumes(1);
    let mut driver = disk(false);
    driver["name"] = json!("vol-1");
    assert_eq!(cluster.create(&app("/a", &driver).to_string()).status, 201);
    let other = app("/b", &csi("SINGLE_NODE_WRITER")).to_string();
    assert_eq!(cluster.create(&other).status, 201);
    let refused = cluster.call(ApiCall::UpdateGroup {
        id: "/".to_owned(),
        body: r#"{"scaleBy":2}"#.into(),
        force: false,
        dry_run: false,
    });
    assert_eq!(
        body(&refused)["details"][1],
        json!({ "path": "/apps//b/instances", "errors": ["got 2, expected 1 or less while non-shareable CSI volumes are defined"] })
    );
}

#[test]
fn an_unshared_volume_is_never_mounted_for_two_instances() {
    let mut cluster = with_volumes(2);
    cluster.create(&app("/a", &disk(false)).to_string());
    assert_eq!(cluster.running("/a").len(), 1);
    let first = cluster.launched[0].task_id.value.clone();
    let put = update("/a", r#"{"env":{"A":"b"}}"#, false);
    cluster.send(put);
    // Whatever is offered at whichever moment: the new one comes after the end of the old one.
    for _ in 0..200 {
        cluster.run_some(1);
        assert!(cluster.running("/a").len() <= 1);
        let launched = cluster.launched.len();
        assert!(launched == 1 || !cluster.tasks.contains_key(&first));
    }
    cluster.run();
    assert_eq!(
        (cluster.launched.len(), cluster.running("/a").len()),
        (2, 1)
    );

    let refused = cluster.call(update("/a", r#"{"instances":2}"#, false));
    assert_eq!(refused.status, 422);
    let refused = cluster.call(ApiCall::UpdateGroup {
        id: "/".to_owned(),
        body: r#"{"scaleBy":2}"#.into(),
        force: false,
        dry_run: false,
    });
    assert_eq!(body(&refused)["details"][0]["path"], "/apps//a");
    cluster.create(
        &app(
            "/shared",
            &json!({ "name": "s", "provider": "dvdi", "shared": true,
        "options": { "dvdi/driver": "d" } }),
        )
        .to_string(),
    );
    cluster.update("/shared", r#"{"instances":3}"#);
    assert_eq!(cluster.running("/shared").len(), 3);
}

#[test]
fn names_of_external_volumes_are_those_of_one_app_unless_all_share_them() {
    let mut cluster = with_volumes(1);
    cluster.create(&app("/a", &disk(false)).to_string());
    let conflict = |id: &str, others: &str| {
        json!({ "path": format!("/apps/{id}/container"),
            "errors": [format!("Volume name 'disk' in {id} conflicts with volume(s) of same name in app(s): {others}")] })
    };
    for shared in [false, true] {
        let refused = cluster.create(&app("/dev/b", &disk(shared)).to_string());
        assert_eq!(refused.status, 422);
        let told = body(&refused)["details"].clone();
        // Of two neither of which shares it, both are named.
        let both = [conflict("/a", "/dev/b"), conflict("/dev/b", "/a")];
        assert_eq!(told, json!(if shared { &both[1..] } else { &both[..] }));
    }
    cluster.update(
        "/a",
        &json!({ "container": app("/a", &disk(true))["container"] }).to_string(),
    );
    assert_eq!(
        cluster
            .create(&app("/dev/b", &disk(true)).to_string())
            .status,
        201
    );
    // Who shares it is named also if it is another who changes.
    let container = json!({ "container": app("/a", &disk(false))["container"] });
    let refused = cluster.call(update("/a", &container.to_string(), true));
    assert_eq!(body(&refused)["details"], json!([conflict("/dev/b", "/a")]));
    // A group is judged as a whole.
    let group = json!({ "id": "/g", "apps": [app("c", &json!({ "name": "c", "provider": "dvdi", "options": { "dvdi/driver": "d" } })),
        app("d", &json!({ "name": "c", "provider": "dvdi", "options": { "dvdi/driver": "d" } }))] });
    let refused = cluster.call(ApiCall::CreateGroup {
        base: "/".to_owned(),
        body: group.to_string().into(),
        force: false,
    });
    assert_eq!(body(&refused)["details"].as_array().unwrap().len(), 2);
}

//! What Mesos is told of containers, networks and ports, on a cluster in memory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use cluster::Cluster;
use serde_json::json;
use tepui_proto::mesos::{TaskInfo, container_info};

fn launched(cluster: &mut Cluster, document: &str) -> TaskInfo {
    let created = cluster.create(document);
    assert_eq!(
        created.status,
        201,
        "{}",
        String::from_utf8_lossy(&created.body)
    );
    cluster.run();
    cluster.launched.last().unwrap().clone()
}

fn variable(task: &TaskInfo, name: &str) -> Option<String> {
    let environment = task.command.as_ref()?.environment.as_ref()?;
    let found = environment.variables.iter().find(|one| one.name == name);
    found.and_then(|one| one.value.clone())
}

#[test]
fn a_bridged_docker_app_gets_its_image_its_port_and_its_label() {
    let mut cluster = Cluster::new(1);
    let task = launched(
        &mut cluster,
        r#"{"id":"/d","cpus":0.1,"mem":32,"args":["a","b"],"container":{"type":"DOCKER","docker":{"image":"busybox:1","forcePullImage":true,
            "parameters":[{"key":"k","value":"v"}]},"volumes":[{"containerPath":"/c","hostPath":"/h","mode":"RO"}],
            "portMappings":[{"containerPort":80,"name":"http"},{"containerPort":0,"hostPort":31500,"protocol":"udp,tcp"}]},
            "networks":[{"mode":"container/bridge"}],"fetch":[{"uri":"file:///x","extract":false,"cache":true}]}"#,
    );
    let container = task.container.clone().unwrap();
    assert_eq!(container.r#type(), container_info::Type::Docker);
    let docker = container.docker.clone().unwrap();
    assert_eq!(
        (
            docker.image.as_str(),
            docker.force_pull_image(),
            docker.network()
        ),
        (
            "busybox:1",
            true,
            container_info::docker_info::Network::Bridge
        )
    );
    let parameters: Vec<(&str, &str)> = docker
        .parameters
        .iter()
        .map(|one| (one.key.as_str(), one.value.as_str()))
        .collect();
    let label = format!("MESOS_TASK_ID={}", task.task_id.value);
    assert_eq!(parameters, [("k", "v"), ("label", label.as_str())]);
    let ports = cluster.app("/d")["tasks"][0]["ports"].clone();
    assert_eq!(ports[1], json!(31_500));
    let first = u32::try_from(ports[0].as_u64().unwrap()).unwrap();
    assert!(first != 31_500);
    let mappings: Vec<(u32, u32, &str)> = docker
        .port_mappings
        .iter()
        .map(|one| (one.host_port, one.container_port, one.protocol()))
        .collect();
    assert_eq!(
        mappings,
        [
            (first, 80, "tcp"),
            (31_500, 31_500, "udp"),
            (31_500, 31_500, "tcp")
        ]
    );
    assert_eq!(
        (
            container.volumes[0].container_path.as_str(),
            container.volumes[0].host_path()
        ),
        ("/c", "/h")
    );
    let command = task.command.clone().unwrap();
    assert_eq!(
        (
            command.shell,
            command.value.clone(),
            command.arguments.clone()
        ),
        (Some(false), None, vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!(
        (
            command.uris[0].value.as_str(),
            command.uris[0].extract(),
            command.uris[0].cache()
        ),
        ("file:///x", false, true)
    );
    assert_eq!(variable(&task, "PORT0"), Some(first.to_string()));
    assert_eq!(variable(&task, "PORT_80"), Some(first.to_string()));
    assert_eq!(variable(&task, "PORT_HTTP"), Some(first.to_string()));
    assert_eq!(variable(&task, "PORTS"), Some(format!("{first},31500")));
    assert_eq!(
        variable(&task, "MARATHON_APP_DOCKER_IMAGE").as_deref(),
        Some("busybox:1")
    );
    // Service ports are assigned to mappings too.
    let mappings = cluster.app("/d")["container"]["portMappings"].clone();
    assert_eq!(
        (&mappings[0]["servicePort"], &mappings[1]["servicePort"]),
        (&json!(10_000), &json!(10_001))
    );
    let discovery = task.discovery.clone().unwrap().ports.unwrap();
    assert_eq!(discovery.ports.len(), 3);
    assert_eq!(
        discovery.ports[0].labels.clone().unwrap().labels[0].value(),
        "host"
    );
}

#[test]
fn an_app_on_a_named_network_takes_no_port_of_the_agent() {
    let mut cluster = Cluster::new(1);
    let task = launched(
        &mut cluster,
        r#"{"id":"/m","cpus":0.1,"mem":32,"cmd":"sleep 1","container":{"type":"MESOS","docker":{"image":"busybox"},
            "portMappings":[{"containerPort":8080,"name":"api"}]},"networks":[{"mode":"container","name":"blue"}],
            "healthChecks":[{"protocol":"MESOS_TCP"}]}"#,
    );
    assert!(
        task.resources
            .iter()
            .all(|resource| resource.name != "ports")
    );
    let container = task.container.clone().unwrap();
    let image = container.mesos.clone().unwrap().image.unwrap();
    assert_eq!(
        (image.docker.unwrap().name.as_str(), image.cached),
        ("busybox", Some(true))
    );
    assert_eq!(container.network_infos[0].name(), "blue");
    assert!(container.network_infos[0].port_mappings.is_empty());
    assert_eq!(variable(&task, "PORT_8080").as_deref(), Some("8080"));
    assert_eq!(
        (variable(&task, "PORT"), variable(&task, "PORTS")),
        (None, None)
    );
    let port = &task.discovery.clone().unwrap().ports.unwrap().ports[0];
    let labels: Vec<(String, String)> = port
        .labels
        .clone()
        .unwrap()
        .labels
        .into_iter()
        .map(|one| (one.key.clone(), one.value().to_owned()))
        .collect();
    let want = [("network-name", "blue"), ("network-scope", "container")];
    assert_eq!(
        (port.number, labels),
        (
            8080,
            want.map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec()
        )
    );
    assert_eq!(task.health_check.clone().unwrap().tcp.unwrap().port, 8080);
    assert_eq!(cluster.app("/m")["tasks"][0]["ports"], json!([]));
}

#[test]
fn a_bridge_of_mesos_is_its_cni_network_with_the_mappings() {
    let mut cluster = Cluster::new(1);
    let task = launched(
        &mut cluster,
        r#"{"id":"/b","cpus":0.1,"mem":32,"cmd":"sleep 1","networks":[{"mode":"container/bridge"}]}"#,
    );
    let network = task.container.clone().unwrap().network_infos[0].clone();
    assert_eq!(network.name(), "mesos-bridge");
    let port = network.port_mappings[0].host_port;
    assert_eq!(
        (port, variable(&task, "PORT0")),
        (
            network.port_mappings[0].container_port,
            Some(port.to_string())
        )
    );
}

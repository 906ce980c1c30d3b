//! Networks of containers, for real: each test runs again in a network namespace of its own (`unshare --net`), so that nothing of it is seen
//! on the machine.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tepui_agent::{Agent, Config, NetworksConfig};
use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning};
use tepui_proto::mesos::v1::task_status::Reason;
use tepui_proto::mesos::v1::{NetworkInfo, container_info, health_check, network_info, value};

use crate::master::Master;
use crate::{config, http, privileged, scalar, shell, sweep};

const OWN_NETWORK: &str = "TEPUI_TEST_IN_OWN_NETWORK";
/// Says its own address, and serves it.
pub(crate) const SERVER: &str = "mkdir www && grep \"$(hostname)\" /etc/hosts > www/index.html && exec busybox httpd -f -p 8080 -h www";

/// Whether this process is in a network of its own; if not, runs the test in one that is.
fn alone(test: &str) -> bool {
    alone_as(&format!("networks::{test}"))
}

/// The same of a test by its whole name.
pub(crate) fn alone_as(test: &str) -> bool {
    if std::env::var_os(OWN_NETWORK).is_some() {
        return true;
    }
    if !privileged() {
        return false;
    }
    let output = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(OWN_NETWORK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

pub(crate) fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What would be left of containers' networks: links and rules of the agent's own.
pub(crate) fn left() -> Vec<String> {
    let links = said("ip", &["-o", "link"]);
    let rules = said("iptables", &["-t", "nat", "-S"]) + &said("iptables", &["-S"]);
    let links = links
        .lines()
        .filter(|line| line.contains(": tv") || line.contains(": tp"));
    let rules = rules
        .lines()
        .filter(|line| line.contains("TEPUI-") || line.contains(" tp"));
    links.chain(rules).map(str::to_owned).collect()
}

pub(crate) fn namespaces(config: &Config) -> usize {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let directory = config.runtime_dir.join("networks");
    let directory = directory.to_str().unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(directory))
        .count()
}

/// A task on a network, with a port of the machine that leads to its port 8080.
pub(crate) fn on_network(
    id: &str,
    command: &str,
    network: &str,
    host_port: u32,
) -> mesos::TaskInfo {
    let range = value::Range {
        begin: host_port.into(),
        end: host_port.into(),
    };
    let ports = mesos::Resource {
        r#type: value::Type::Ranges.into(),
        scalar: None,
        ranges: Some(value::Ranges { range: vec![range] }),
        ..scalar("ports", 0.0)
    };
    let mut task = shell(id, command);
    task.resources.push(ports);
    task.container = Some(Box::new(mesos::ContainerInfo {
        r#type: container_info::Type::Mesos.into(),
        network_infos: vec![NetworkInfo {
            name: Some(network.to_owned()),
            port_mappings: vec![network_info::PortMapping {
                host_port,
                container_port: 8080,
                protocol: None,
            }],
            ..Default::default()
        }],
        ..Default::default()
    }));
    task
}

pub(crate) fn address(status: &mesos::TaskStatus) -> String {
    let networks = &status.container_status.as_ref().unwrap().network_infos;
    assert_eq!(networks.len(), 1);
    networks[0].ip_addresses[0].ip_address().to_owned()
}

/// What is served there, as soon as it is.
pub(crate) async fn served(address: &str, port: u16) -> String {
    let address = SocketAddr::new(address.parse().unwrap(), port);
    while tokio::net::TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
    let answer = http::get(address, "/index.html").await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body).unwrap()
}

pub(crate) fn healthy(port: u32) -> mesos::HealthCheck {
    mesos::HealthCheck {
        r#type: Some(health_check::Type::Http.into()),
        http: Some(health_check::HttpCheckInfo {
            port,
            path: Some("/index.html".to_owned()),
            ..Default::default()
        }),
        delay_seconds: Some(0.0),
        interval_seconds: Some(0.1),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_built_in_bridge_gives_addresses_ports_and_names_and_leaves_nothing() {
    if !alone("the_built_in_bridge_gives_addresses_ports_and_names_and_leaves_nothing") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let mut one = on_network("one", SERVER, "mesos-bridge", 31_000);
    one.health_check = Some(Box::new(healthy(8080)));
    one.container.as_mut().unwrap().hostname = Some("first".to_owned());
    master.run(one).await;
    let running = master.until("one", TaskRunning).await;
    let ip = address(&running);
    let networks = &running.container_status.as_ref().unwrap().network_infos;
    assert_eq!(networks[0].name(), "mesos-bridge");
    assert_eq!(networks[0].port_mappings[0].host_port, 31_000);
    assert!(ip.starts_with("10."), "{ip}");
    assert_eq!(served(&ip, 8080).await, format!("{ip}\tfirst\n"));
    // By the machine's port, from the machine itself.
    assert_eq!(served("127.0.0.1", 31_000).await, format!("{ip}\tfirst\n"));
    // The check looks from inside: nobody listens on the machine's 8080.
    while !master.until("one", TaskRunning).await.healthy() {}

    // Another one reaches it, and sees nothing of the machine's own ports.
    let look = format!(
        "test \"$(busybox wget -q -O - http://{ip}:8080/index.html)\" = \"$(printf '{ip}\\tfirst')\" && ! busybox nc -w 1 127.0.0.1 31000 </dev/null"
    );
    master
        .run(on_network("two", &look, "tepui-bridge", 31_001))
        .await;
    let two = master.until("two", TaskRunning).await;
    assert_ne!(address(&two), ip);
    master.until("two", TaskFinished).await;
    let containers = http::get(agent.addr(), "/containers").await.json();
    assert_eq!(
        containers[0]["status"]["network_infos"][0]["ip_addresses"][0]["ip_address"],
        ip.as_str()
    );
    // It was asked for a page twice, and has sent it.
    let number = |name: &str| containers[0]["statistics"][name].as_u64().unwrap();
    assert!(number("net_rx_packets") > 4 && number("net_tx_bytes") > 200);
    master.kill("one").await;
    master.until("one", TaskKilled).await;
    assert_eq!((left(), namespaces(&config)), (vec![], 0));

    master
        .run(on_network("lost", "true", "nowhere", 31_000))
        .await;
    let failed = master.until("lost", TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
    let message = failed.message();
    assert!(message.contains("there is no network 'nowhere' here: the agent was started without --network_cni_config_dir"), "{message}");
    let mut greedy = on_network("greedy", "true", "mesos-bridge", 31_000);
    greedy.resources.pop();
    master.run(greedy).await;
    let failed = master.until("greedy", TaskFailed).await;
    assert!(
        failed
            .message()
            .contains("31000 is not among the task's resources")
    );
    agent.shutdown().await.unwrap();
    assert_eq!((left(), namespaces(&config)), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_outlive_the_agent_and_go_with_containers_that_ended_meanwhile() {
    if !alone("networks_outlive_the_agent_and_go_with_containers_that_ended_meanwhile") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = config(&master, folder.path());
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    master
        .run(on_network("stays", SERVER, "tepui-bridge", 31_000))
        .await;
    master
        .run(on_network("goes", SERVER, "tepui-bridge", 31_001))
        .await;
    let stays = address(&master.until("stays", TaskRunning).await);
    let goes = master.until("goes", TaskRunning).await;
    assert!(!served("127.0.0.1", 31_001).await.is_empty());
    agent.shutdown().await.unwrap();
    let pid = goes.container_status.unwrap().executor_pid.unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();

    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    master.until("goes", TaskFailed).await;
    assert!(served("127.0.0.1", 31_000).await.starts_with(&stays));
    let rules = said("iptables", &["-t", "nat", "-S"]);
    assert!(
        rules.contains("--dport 31000") && !rules.contains("--dport 31001"),
        "{rules}"
    );
    assert_eq!(namespaces(&config), 1);
    master.kill("stays").await;
    // Told from what was written down.
    assert_eq!(address(&master.until("stays", TaskKilled).await), stays);
    assert_eq!((left(), namespaces(&config)), (vec![], 0));
    sweep(&config, agent).await;
}

fn plugins() -> Option<&'static Path> {
    ["/usr/lib/cni", "/opt/cni/bin"]
        .map(Path::new)
        .into_iter()
        .find(|directory| directory.join("bridge").exists())
}

/// A network `office` of CNI plugins, whose addresses begin with `net` (three numbers of four).
pub(crate) fn office(folder: &Path, net: &str) -> NetworksConfig {
    let configs = folder.join("cni");
    std::fs::create_dir(&configs).unwrap();
    let network = serde_json::json!({
        "name": "office", "cniVersion": "0.4.0", "type": "bridge", "bridge": "office0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "subnet": format!("{net}.0/24"), "routes": [{"dst": "0.0.0.0/0"}], "dataDir": folder.join("leases")},
        "dns": {"nameservers": [format!("{net}.1")], "search": ["office.example"]},
    });
    std::fs::write(configs.join("office.conf"), network.to_string()).unwrap();
    NetworksConfig {
        plugins_dir: plugins()
            .expect("Debian: containernetworking-plugins")
            .to_owned(),
        config_dir: Some(configs),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cni_plugins_attach_and_detach() {
    if !alone("cni_plugins_attach_and_detach") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let networks = office(folder.path(), "10.77.0");
    let configs = networks.config_dir.clone().unwrap();
    let broken =
        serde_json::json!({"name": "broken", "cniVersion": "0.4.0", "type": "no-such-plugin"});
    std::fs::write(configs.join("broken.conf"), broken.to_string()).unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        networks,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let command = format!("grep -q '^search office.example$' /etc/resolv.conf && {SERVER}");
    master
        .run(on_network("one", &command, "office", 31_000))
        .await;
    let ip = address(&master.until("one", TaskRunning).await);
    assert!(ip.starts_with("10.77.0."), "{ip}");
    assert!(served(&ip, 8080).await.starts_with(&ip));
    assert!(served("127.0.0.1", 31_000).await.starts_with(&ip));
    let leases = folder.path().join("leases");
    assert!(leases.join("office").join(&ip).exists());
    master.kill("one").await;
    master.until("one", TaskKilled).await;
    assert!(!leases.join("office").join(&ip).exists());
    assert!(!said("iptables", &["-t", "nat", "-S"]).contains("31000"));
    assert!(!said("ip", &["-o", "link"]).contains("veth"));
    assert_eq!(namespaces(&config), 0);

    master
        .run(on_network("two", "true", "broken", 31_000))
        .await;
    let failed = master.until("two", TaskFailed).await;
    assert!(
        failed.message().contains(
            "cannot join the network 'broken': the CNI plugin 'no-such-plugin' is not in"
        ),
        "{}",
        failed.message()
    );
    assert_eq!(namespaces(&config), 0);
    agent.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bridge_of_type_docker_needs_no_docker() {
    if !alone("bridge_of_type_docker_needs_no_docker") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let config = Config {
        ephemeral: true,
        ..config(&master, folder.path())
    };
    let agent = Agent::start(config.clone()).await.unwrap();
    master.admit().await;
    let command = "mkdir www && grep \"$(cat /etc/hostname)\" /etc/hosts > www/index.html && ls /sys/class/net >> www/index.html && exec /bin/busybox httpd -f -p 80 -h www";
    let task = on_network("web", command, "unused", 31_000);
    let docker = container_info::DockerInfo {
        image: crate::images::image_in(folder.path()),
        network: Some(container_info::docker_info::Network::Bridge.into()),
        port_mappings: vec![container_info::docker_info::PortMapping {
            host_port: 31_000,
            container_port: 80,
            protocol: Some("tcp".to_owned()),
        }],
        ..Default::default()
    };
    master.run(crate::images::in_docker(task, docker)).await;
    let ip = address(&master.until("web", TaskRunning).await);
    let said = served("127.0.0.1", 31_000).await;
    assert!(
        said.starts_with(&ip) && said.ends_with("\neth0\nlo\n"),
        "{said}"
    );
    master.kill("web").await;
    master.until("web", TaskKilled).await;
    agent.shutdown().await.unwrap();
    assert_eq!((left(), namespaces(&config)), (vec![], 0));
}

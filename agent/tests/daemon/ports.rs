//! Which ports tasks listen on, and what becomes of those that listen where they must not.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use tepui_agent::PortsConfig;

use super::*;

/// Ports on which nobody listens, if there are such not among those that the kernel gives to whoever asks for any: another would have it before the task.
fn free_ports() -> [u16; 3] {
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let mut given = given.split_whitespace().map(|port| port.parse().unwrap());
    let given: std::ops::RangeInclusive<u16> = given.next().unwrap()..=given.next().unwrap();
    let mut all: Vec<u16> = (1024..=u16::MAX).rev().collect();
    all.sort_by_key(|port| given.contains(port));
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let free: Vec<u16> = all.into_iter().filter(free).take(3).collect();
    free.try_into().unwrap()
}

/// A task that listens on a port, and was given one.
fn listener(id: &str, listens: u16, given: u16) -> mesos::TaskInfo {
    let range = mesos::value::Range {
        begin: given.into(),
        end: given.into(),
    };
    let mut task = shell(id, &format!("exec busybox nc -ll -p {listens} -e cat"));
    task.resources.push(mesos::Resource {
        name: "ports".to_owned(),
        r#type: mesos::value::Type::Ranges.into(),
        ranges: Some(mesos::value::Ranges { range: vec![range] }),
        ..Default::default()
    });
    task
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_on_a_port_that_it_was_not_given_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut master = Master::start().await;
    let agent = Agent::start(Config {
        ephemeral: true,
        ports: PortsConfig {
            watch: true,
            enforce: true,
            interval: Duration::from_secs(1),
            only: None,
        },
        ..config(&master, folder.path())
    })
    .await
    .unwrap();
    master.admit().await;
    let [honest, stolen, given] = free_ports();
    master.run(listener("honest", honest, honest)).await;
    master.until("honest", TaskRunning).await;
    until("it listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, honest)).is_ok()
    })
    .await;
    master.run(listener("thief", stolen, given)).await;
    let failed = master.until("thief", TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLimitation);
    let message = failed.message();
    assert!(
        message.ends_with(&format!(
            " is listening on unallocated port(s): [{stolen}-{stolen}]"
        )),
        "{message}"
    );
    let limitation = failed.limitation.unwrap();
    let [ports] = limitation.resources.as_slice() else {
        panic!("{limitation:?}");
    };
    assert_eq!(ports.name, "ports");
    let ranges = ports.ranges.as_ref().unwrap();
    assert_eq!(ranges.range[0].begin, u64::from(stolen));
    // The look that found one saw the other too.
    master.kill("honest").await;
    master.until("honest", TaskKilled).await;
    agent.shutdown().await.unwrap();
}

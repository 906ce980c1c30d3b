//! Marathon with a master that speaks nothing but the v1 HTTP API, as Apache Mesos does: between the two stands a gate that lets no HTTP/2 through, and so no gRPC.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;
use tepui_tests::{
    PATIENCE,
    client::{delete, get_json, put},
    cluster::{Cluster, Daemon, active_agents, deploy, no_deployments, running, sleeper},
    until,
};

/// How a connection of HTTP/2 begins.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

#[derive(Default)]
struct Seen {
    /// Connections of HTTP/2, which were closed.
    refused: usize,
    /// Both ends of those that were let through.
    open: Vec<TcpStream>,
    /// The first line of each of them.
    lines: Vec<String>,
}

/// A port that leads to a master, for HTTP/1.1 alone.
struct Gate {
    port: u16,
    seen: Arc<Mutex<Seen>>,
}

impl Gate {
    fn to(master: &Daemon) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
        };
        let (seen, master) = (Arc::clone(&gate.seen), master.port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || pass(client, master, &seen));
            }
        });
        gate
    }

    /// Closes all connections.
    fn cut(&self) {
        for connection in self.seen.lock().unwrap().open.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Serves one connection. Whoever closes it, both ends are closed.
fn pass(mut client: TcpStream, master: u16, seen: &Mutex<Seen>) -> io::Result<()> {
    let mut first = [0; 256];
    let length = client.read(&mut first)?;
    let first = &first[..length];
    if first.starts_with(&HTTP2[..length.min(HTTP2.len())]) {
        seen.lock().unwrap().refused += 1;
        return Ok(());
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, master))?;
    {
        let mut seen = seen.lock().unwrap();
        let text = String::from_utf8_lossy(first);
        seen.lines.extend(text.lines().next().map(str::to_owned));
        seen.open.extend([client.try_clone()?, server.try_clone()?]);
    }
    server.write_all(first)?;
    let (mut back, mut to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut back, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut client, &mut server);
    server.shutdown(Shutdown::Both)
}

#[test]
fn marathon_needs_no_more_of_a_master_than_mesos_has() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let _agent = cluster.agent(&[]);
    let gate = Gate::to(&master);
    let mut marathon = Cluster::at(&format!("127.0.0.1:{}", gate.port)).marathon(&[]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });

    let mut web = sleeper("/web", 2);
    web["healthChecks"] = json!([{ "protocol": "COMMAND", "command": { "value": "true" }, "intervalSeconds": 1, "delaySeconds": 0 }]);
    let first = deploy(&marathon.url, &web, 2);
    let app = format!("{}/v2/apps/web", marathon.url);
    until("two healthy instances", PATIENCE, || {
        (get_json(&app)?["app"]["tasksHealthy"] == 2).then_some(())
    });
    let db = json!({ "id": "/dev/db", "role": "dev", "cmd": "echo kept > data/file; exec sleep 1000", "cpus": 0.1, "mem": 32, "disk": 5,
        "container": { "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 20 } }] } });
    let kept = deploy(&marathon.url, &db, 1);
    no_deployments(&marathon);

    let upgrade = put(&app, &json!({ "env": { "VERSION": "2" } })).unwrap();
    assert_eq!(upgrade.status, 200, "{}", upgrade.body);
    no_deployments(&marathon);
    let second = running(&marathon.url, "/web", 2);
    assert!(first.iter().all(|id| !second.contains(id)), "{second:?}");

    // The next Marathon finds them by reconciliation.
    marathon.restart();
    assert_eq!(running(&marathon.url, "/web", 2), second);
    assert_eq!(running(&marathon.url, "/dev/db", 1), kept);

    // A stream that breaks is subscribed to again.
    gate.cut();
    let scaled = until("a scaling", PATIENCE, || {
        put(&app, &json!({ "instances": 3 })).filter(|answer| answer.status == 200)
    });
    assert!(scaled.body.contains("deploymentId"), "{}", scaled.body);
    let third = running(&marathon.url, "/web", 3);
    assert!(second.iter().all(|id| third.contains(id)), "{third:?}");
    no_deployments(&marathon);

    for url in [app, format!("{}/v2/apps/dev/db", marathon.url)] {
        assert_eq!(delete(&url).unwrap().status, 200);
    }
    let slaves = format!("{}/slaves", master.url);
    until("nothing in use, nothing reserved", PATIENCE, || {
        let agent = &get_json(&slaves)?["slaves"][0];
        let free = agent["used_resources"]["cpus"] == 0.0;
        (free && agent["reserved_resources"] == json!({})).then_some(())
    });

    let seen = gate.seen.lock().unwrap();
    assert!(seen.refused > 0, "it tried gRPC first");
    let calls = seen.lines.iter();
    assert!(calls.clone().all(|line| line.ends_with("HTTP/1.1")));
    assert!(
        calls
            .clone()
            .any(|line| line.starts_with("POST /api/v1/scheduler")),
        "{:?}",
        seen.lines
    );
}

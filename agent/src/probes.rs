//! Looks at tasks as the core asks: runs a command in the container, asks over HTTP, opens a TCP connection. One look each.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tepui_agent_core::{Probe, ProbeKind, ProbeResult};
use tepui_proto::mesos::v1::{
    CheckStatusInfo, CommandInfo, check_info, check_status_info, health_check, network_info,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::containerizer::{ContainerId, Containerizer, DEFAULT_PATH, ExecSpec};
use crate::networks::within;
use crate::spec::{variables, what_runs};

/// The start of an answer is all that a look reads.
const ANSWER_BYTES: usize = 8 << 10;
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// What there is to do.
enum Look<'a> {
    Command(&'a CommandInfo),
    Http {
        https: bool,
        v6: bool,
        port: u32,
        path: &'a str,
    },
    Tcp {
        v6: bool,
        port: u32,
    },
}

fn is_v6(protocol: network_info::Protocol) -> bool {
    protocol == network_info::Protocol::IPv6
}

fn look(kind: &ProbeKind) -> Option<Look<'_>> {
    Some(match kind {
        ProbeKind::Health(check) => match check.r#type() {
            health_check::Type::Command => Look::Command(check.command.as_ref()?),
            health_check::Type::Http => {
                let http = check.http.as_ref()?;
                Look::Http {
                    https: http.scheme() == "https",
                    v6: is_v6(http.protocol()),
                    port: http.port,
                    path: http.path(),
                }
            }
            health_check::Type::Tcp => {
                let tcp = check.tcp.as_ref()?;
                Look::Tcp {
                    v6: is_v6(tcp.protocol()),
                    port: tcp.port,
                }
            }
            health_check::Type::Unknown => return None,
        },
        ProbeKind::Check(check) => match check.r#type() {
            check_info::Type::Command => Look::Command(&check.command.as_ref()?.command),
            check_info::Type::Http => {
                let http = check.http.as_ref()?;
                Look::Http {
                    https: false,
                    v6: false,
                    port: http.port,
                    path: http.path(),
                }
            }
            check_info::Type::Tcp => Look::Tcp {
                v6: false,
                port: check.tcp.as_ref()?.port,
            },
            check_info::Type::Unknown => return None,
        },
    })
}

/// Looks once.
pub(crate) async fn probe(containerizer: Arc<Containerizer>, probe: Box<Probe>) -> ProbeResult {
    let Some(look) = look(&probe.kind) else {
        return ProbeResult::Failed("the check does not say what to look at".to_owned());
    };
    let looking = async {
        match look {
            Look::Command(command) => run(&containerizer, &probe, command).await,
            Look::Http { https: true, .. } => Err("HTTPS is not built yet".to_owned()),
            Look::Http { v6, port, path, .. } => {
                let network = network(&containerizer, &probe)?;
                ask(network.as_ref(), v6, port, path).await
            }
            Look::Tcp { v6, port } => {
                let network = network(&containerizer, &probe)?;
                let connected = connect(network.as_ref(), v6, port).await;
                Ok(CheckStatusInfo {
                    r#type: Some(check_info::Type::Tcp.into()),
                    tcp: Some(check_status_info::Tcp {
                        succeeded: Some(connected.is_ok()),
                    }),
                    ..Default::default()
                })
            }
        }
    };
    match tokio::time::timeout(probe.timeout, looking).await {
        Ok(Ok(found)) => ProbeResult::Found(found),
        Ok(Err(why)) => ProbeResult::Failed(why),
        Err(_) => ProbeResult::Failed(format!("no answer within {}", seconds(probe.timeout))),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

async fn run(
    containerizer: &Containerizer,
    probe: &Probe,
    command: &CommandInfo,
) -> Result<CheckStatusInfo, String> {
    let container =
        ContainerId::new(probe.container.to_string()).map_err(|error| error.to_string())?;
    let of_task = probe
        .task
        .command
        .as_ref()
        .and_then(|command| command.environment.as_ref());
    let mut environment: std::collections::BTreeMap<String, String> = variables(of_task).collect();
    environment.extend(variables(command.environment.as_ref()));
    environment
        .entry("PATH".to_owned())
        .or_insert_with(|| DEFAULT_PATH.to_owned());
    let spec = ExecSpec {
        command: what_runs(command)?,
        environment: environment.into_iter().collect(),
        working_directory: None,
        user: command.user.clone().filter(|user| user != "root"),
        output_limit_bytes: 4 << 10,
    };
    let output = containerizer
        .exec(&container, spec)
        .await
        .map_err(|error| error.to_string())?;
    let code = output
        .status
        .code()
        .ok_or_else(|| format!("the command {}", output.status))?;
    Ok(CheckStatusInfo {
        r#type: Some(check_info::Type::Command.into()),
        command: Some(check_status_info::Command {
            exit_code: Some(code),
        }),
        ..Default::default()
    })
}

/// The container's network namespace; `None` if that is the agent's.
fn network(containerizer: &Containerizer, probe: &Probe) -> Result<Option<Arc<File>>, String> {
    let container =
        ContainerId::new(probe.container.to_string()).map_err(|error| error.to_string())?;
    let network = containerizer.network(&container);
    Ok(network.map_err(|error| error.to_string())?.map(Arc::new))
}

async fn connect(network: Option<&Arc<File>>, v6: bool, port: u32) -> Result<TcpStream, String> {
    let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
    let host = if v6 { "::1" } else { "127.0.0.1" };
    let failed = |error: io::Error| format!("cannot connect to {host}:{port}: {error}");
    let Some(network) = network else {
        return TcpStream::connect((host, port)).await.map_err(failed);
    };
    // A socket stays in the namespace in which it is made.
    let network = Arc::clone(network);
    let made = tokio::task::spawn_blocking(move || {
        within(&network, || {
            if v6 {
                TcpSocket::new_v6()
            } else {
                TcpSocket::new_v4()
            }
        })
    });
    let socket = made
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(failed)?;
    let address = SocketAddr::new(
        if v6 {
            Ipv6Addr::LOCALHOST.into()
        } else {
            Ipv4Addr::LOCALHOST.into()
        },
        port,
    );
    socket.connect(address).await.map_err(failed)
}

/// GETs a path of this machine and takes the status, after redirects that stay on it.
async fn ask(
    network: Option<&Arc<File>>,
    v6: bool,
    port: u32,
    path: &str,
) -> Result<CheckStatusInfo, String> {
    let mut port = port;
    let mut path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    for _ in 0..=REDIRECTS {
        let (status, location) = get(network, v6, port, &path).await?;
        match location
            .filter(|_| (301..=308).contains(&status))
            .and_then(|location| follow(&location, port))
        {
            Some((next, there)) => (port, path) = (next, there),
            None => {
                return Ok(CheckStatusInfo {
                    r#type: Some(check_info::Type::Http.into()),
                    http: Some(check_status_info::Http {
                        status_code: Some(status),
                    }),
                    ..Default::default()
                });
            }
        }
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

/// Port and path of a redirect to this machine.
fn follow(location: &str, port: u32) -> Option<(u32, String)> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some((port, location.to_owned()));
    }
    let uri: http::Uri = location.parse().ok()?;
    let local = matches!(uri.host()?, "127.0.0.1" | "localhost" | "::1" | "[::1]");
    let plain = uri.scheme_str() == Some("http");
    (local && plain).then(|| {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        (uri.port_u16().map_or(80, u32::from), path.to_owned())
    })
}

async fn get(
    network: Option<&Arc<File>>,
    v6: bool,
    port: u32,
    path: &str,
) -> Result<(u32, Option<String>), String> {
    if path.contains([' ', '\r', '\n']) {
        return Err("the path has a blank or a line break in it".to_owned());
    }
    let mut stream = connect(network, v6, port).await?;
    let host = if v6 { "[::1]" } else { "127.0.0.1" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: tepui-agent\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let failed = |error: io::Error| format!("the conversation with port {port} broke: {error}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    while answer.len() < ANSWER_BYTES && !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await.map_err(failed)? == 0 {
            break;
        }
    }
    head(&answer).ok_or_else(|| format!("port {port} does not answer in HTTP"))
}

/// Status and Location of an answer.
fn head(answer: &[u8]) -> Option<(u32, Option<String>)> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let location = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.trim().to_owned());
    Some((status, location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_answers() {
        assert_eq!(
            head(b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n"),
            Some((204, None))
        );
        assert_eq!(
            head(b"HTTP/1.0 302 Found\r\nlocation: /there\r\n\r\n"),
            Some((302, Some("/there".to_owned())))
        );
        assert_eq!(head(b"SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(head(b""), None);
    }

    #[test]
    fn redirects_are_followed_on_this_machine_only() {
        assert_eq!(follow("/x?y", 8080), Some((8080, "/x?y".to_owned())));
        assert_eq!(
            follow("http://localhost:81/x", 8080),
            Some((81, "/x".to_owned()))
        );
        assert_eq!(follow("http://example.com/x", 8080), None);
        assert_eq!(follow("//example.com/x", 8080), None);
    }

    #[tokio::test]
    async fn http_and_tcp_against_a_real_socket() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 302 Found\r\nLocation: /b\r\n\r\n",
                "HTTP/1.1 503 Busy\r\n\r\n",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                assert!(request[..read].starts_with(b"GET /"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let found = ask(None, false, port, "a").await.unwrap();
        assert_eq!(found.http.unwrap().status_code, Some(503));
        assert!(connect(None, false, 0).await.is_err());
        assert!(connect(None, false, 70_000).await.is_err());
    }
}

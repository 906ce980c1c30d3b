//! Looks at tasks as the core asks: runs a command in the container as the task runs, asks over HTTP, opens a TCP connection. One look each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tepui_agent_core::{Probe, ProbeKind, ProbeResult};
use tepui_proto::mesos::v1::{
    CheckStatusInfo, CommandInfo, check_info, check_status_info, health_check, network_info,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::containerizer::{ContainerId, Containerizer, ExecSpec};
use crate::networks::within;
use crate::spec::{Surroundings, secrets, variables, what_runs};

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
pub(crate) async fn probe(
    containerizer: Arc<Containerizer>,
    surroundings: Surroundings,
    probe: Box<Probe>,
) -> ProbeResult {
    let Some(look) = look(&probe.kind) else {
        return ProbeResult::Failed("the check does not say what to look at".to_owned());
    };
    let looking = async {
        match look {
            Look::Command(command) => run(&containerizer, &surroundings, &probe, command).await,
            Look::Http {
                https,
                v6,
                port,
                path,
            } => {
                let network = network(&containerizer, &probe)?;
                let page = Page::new(https, port, path);
                ask(network.as_ref(), v6, page).await
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
    surroundings: &Surroundings,
    probe: &Probe,
    command: &CommandInfo,
) -> Result<CheckStatusInfo, String> {
    let container =
        ContainerId::new(probe.container.to_string()).map_err(|error| error.to_string())?;
    let mut environment: BTreeMap<String, String> =
        variables(command.environment.as_ref()).collect();
    environment.extend(secrets(command.environment.as_ref())?);
    let user = command.user.as_deref();
    // As the task runs: where it does, with its variables, as its user.
    let spec = ExecSpec {
        command: what_runs(command)?,
        environment: environment.into_iter().collect(),
        inherit: true,
        user: user.and_then(|user| surroundings.named(user)),
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

/// What is asked for on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    https: bool,
    port: u32,
    /// Begins with a slash.
    path: String,
}

impl Page {
    fn new(https: bool, port: u32, path: &str) -> Self {
        let slash = if path.starts_with('/') { "" } else { "/" };
        Self {
            https,
            port,
            path: format!("{slash}{path}"),
        }
    }

    /// Where a redirect leads, if it stays on this machine.
    fn follow(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self::new(self.https, self.port, location));
        }
        let uri: http::Uri = location.parse().ok()?;
        if !matches!(uri.host()?, "127.0.0.1" | "localhost" | "::1" | "[::1]") {
            return None;
        }
        let https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let usual = if https { 443 } else { 80 };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self::new(
            https,
            uri.port_u16().map_or(usual, u32::from),
            path,
        ))
    }
}

/// GETs a page of this machine and takes the status, after redirects that stay on it.
async fn ask(
    network: Option<&Arc<File>>,
    v6: bool,
    mut page: Page,
) -> Result<CheckStatusInfo, String> {
    for _ in 0..=REDIRECTS {
        let (status, location) = get(network, v6, &page).await?;
        match location
            .filter(|_| (301..=308).contains(&status))
            .and_then(|location| page.follow(&location))
        {
            Some(next) => page = next,
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

/// A connection, whatever it goes through.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// TLS with whoever answers: as in Mesos, a check does not ask for whom a certificate is, nor who vouches for it.
async fn encrypt(stream: TcpStream, v6: bool, port: u32) -> Result<impl Stream, String> {
    static CONNECTOR: OnceLock<TlsConnector> = OnceLock::new();
    let connector = CONNECTOR.get_or_init(|| Arc::new(tepui_http::tls::any_certificate()).into());
    let name = if v6 {
        ServerName::from(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST))
    } else {
        ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST))
    };
    let encrypted = connector.connect(name, stream).await;
    encrypted.map_err(|error| format!("port {port} does not answer in TLS: {error}"))
}

async fn get(
    network: Option<&Arc<File>>,
    v6: bool,
    page: &Page,
) -> Result<(u32, Option<String>), String> {
    let Page { https, port, path } = page;
    if path.contains([' ', '\r', '\n']) {
        return Err("the path has a blank or a line break in it".to_owned());
    }
    let plain = connect(network, v6, *port).await?;
    let mut stream: Box<dyn Stream> = if *https {
        Box::new(encrypt(plain, v6, *port).await?)
    } else {
        Box::new(plain)
    };
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
        let page = Page::new(true, 8080, "a");
        let local = |https, port, path| Some(Page::new(https, port, path));
        for (location, leads) in [
            ("/x?y", local(true, 8080, "/x?y")),
            ("http://localhost:81/x", local(false, 81, "/x")),
            ("http://localhost/x", local(false, 80, "/x")),
            ("https://127.0.0.1", local(true, 443, "/")),
            ("ftp://localhost/x", None),
            ("http://example.com/x", None),
            ("//example.com/x", None),
        ] {
            assert_eq!(page.follow(location), leads, "{location}");
        }
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
        let found = ask(None, false, Page::new(false, port, "a")).await.unwrap();
        assert_eq!(found.http.unwrap().status_code, Some(503));
        assert!(connect(None, false, 0).await.is_err());
        assert!(connect(None, false, 70_000).await.is_err());
    }

    #[tokio::test]
    async fn https_is_asked_for_whatever_the_certificate_says() {
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
        use tokio_rustls::rustls::{ServerConfig, crypto::ring};
        // Signed by nobody else, for another host, and out of date.
        let certificate = CertificateDer::from(&include_bytes!("testdata/certificate.der")[..]);
        let key = PrivatePkcs8KeyDer::from(&include_bytes!("testdata/key.der")[..]);
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = vec![0; 1024];
                let read = stream.read(&mut request).await.unwrap();
                let answer: &[u8] = if request[..read].starts_with(b"GET /old ") {
                    b"HTTP/1.1 307 There\r\nLocation: /new\r\n\r\n"
                } else {
                    b"HTTP/1.1 204 Good\r\n\r\n"
                };
                stream.write_all(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
        let found = ask(None, false, Page::new(true, port, "/old"))
            .await
            .unwrap();
        assert_eq!(found.http.unwrap().status_code, Some(204));
        // Somebody who does not speak it is not taken for a task in good health.
        ask(None, false, Page::new(false, port, "/"))
            .await
            .unwrap_err();
        let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(plain.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = plain.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        });
        let refused = ask(None, false, Page::new(true, port, "/"))
            .await
            .unwrap_err();
        assert!(refused.contains("does not answer in TLS"), "{refused}");
    }
}

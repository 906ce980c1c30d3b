//! Checks that Marathon runs itself: health over HTTP, HTTPS and TCP, readiness over HTTP and HTTPS; one small task each.
//!
//! The core says when to begin and end; a probe waits its first delay, then probes, reports, and waits its interval, for ever. How many are under way
//! at once is bounded (`--max_concurrent_marathon_health_checks`), so that ten thousand instances do not open ten thousand sockets together.

mod http;
mod tls;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tepui_marathon_core::{CheckId, Input, Probe, ProbeOutcome, ProbeTarget, ReadinessAnswer};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

pub(crate) use http::Client as HttpClient;

use crate::engine::EngineHandle;

/// The running probes of one term of leadership. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    engine: EngineHandle,
    runtime: Handle,
    permits: Arc<Semaphore>,
    client: http::Client,
    running: HashMap<CheckId, AbortHandle>,
}

impl Prober {
    /// `runtime` is where probes run; `max_concurrent` of them at once.
    pub(crate) fn new(engine: EngineHandle, runtime: Handle, max_concurrent: usize) -> Self {
        Self {
            engine,
            runtime,
            permits: Arc::new(Semaphore::new(max_concurrent.max(1))),
            client: http::Client::new(),
            running: HashMap::new(),
        }
    }

    /// Begins a probe. The core never uses an id twice.
    pub(crate) fn start(&mut self, probe: Arc<Probe>) {
        let (check, engine, permits, client) = (
            probe.check,
            self.engine.clone(),
            Arc::clone(&self.permits),
            self.client.clone(),
        );
        let task = self.runtime.spawn(async move {
            sleep(Duration::from_millis(probe.first_after_ms)).await;
            loop {
                let result = {
                    let Ok(_permit) = permits.acquire().await else {
                        return;
                    };
                    result(&client, &probe).await
                };
                engine.input(result).await;
                sleep(Duration::from_millis(probe.interval_ms)).await;
            }
        });
        self.running.insert(check, task.abort_handle());
    }

    /// Ends a probe; unknown ids are ignored.
    pub(crate) fn stop(&mut self, check: CheckId) {
        if let Some(task) = self.running.remove(&check) {
            task.abort();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        for task in self.running.values() {
            task.abort();
        }
    }
}

async fn result(client: &http::Client, probe: &Probe) -> Input {
    let check = probe.check;
    if let ProbeTarget::Readiness { tls, path } = &probe.target {
        let answer = ask(client, probe, *tls, path).await;
        return Input::ReadinessResult { check, answer };
    }
    let outcome = run(client, probe).await;
    Input::HealthResult { check, outcome }
}

fn target<'a>(probe: &'a Probe, tls: bool, path: &'a str) -> http::Target<'a> {
    http::Target {
        host: &probe.host,
        port: probe.port,
        tls,
        path,
    }
}

/// Asks a task whether it is ready; that it does not answer counts as an answer of its own.
async fn ask(client: &http::Client, probe: &Probe, tls: bool, path: &str) -> ReadinessAnswer {
    let target = target(probe, tls, path);
    let limit = Duration::from_millis(probe.timeout_ms);
    let answer = timeout(limit, client.ask(target)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(format!("no answer within {} ms", probe.timeout_ms)));
    answer.unwrap_or_else(|reason| ReadinessAnswer {
        status: 504,
        content_type: "text/plain".into(),
        body: format!("Marathon could not query {}: {reason}", target.url()),
    })
}

async fn run(client: &http::Client, probe: &Probe) -> ProbeOutcome {
    let attempt = async {
        match &probe.target {
            ProbeTarget::Readiness { .. } => ProbeOutcome::Ignored, // asked by `ask`
            ProbeTarget::Tcp => match TcpStream::connect((probe.host.as_str(), probe.port)).await {
                Ok(_) => ProbeOutcome::Healthy,
                Err(error) => ProbeOutcome::Unhealthy(error.to_string()),
            },
            ProbeTarget::Http {
                tls,
                path,
                ignore_1xx,
            } => client.probe(target(probe, *tls, path), *ignore_1xx).await,
        }
    };
    let limit = Duration::from_millis(probe.timeout_ms);
    timeout(limit, attempt).await.unwrap_or_else(|_| {
        ProbeOutcome::Unhealthy(format!("no answer within {} ms", probe.timeout_ms))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpSocket},
    };

    fn probe(port: u16, target: ProbeTarget) -> Probe {
        Probe {
            check: CheckId(1),
            task_id: "t".into(),
            target,
            host: "127.0.0.1".into(),
            port,
            first_after_ms: 0,
            interval_ms: 1000,
            timeout_ms: 60_000,
        }
    }

    /// Of somebody who says nothing.
    fn short(port: u16, target: ProbeTarget) -> Probe {
        Probe {
            timeout_ms: 500,
            ..probe(port, target)
        }
    }

    fn http_target() -> ProbeTarget {
        ProbeTarget::Http {
            tls: false,
            path: "/health".into(),
            ignore_1xx: false,
        }
    }

    /// A server that answers each connection with these bytes; with none it says nothing.
    async fn server(answer: &'static str) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    if answer.is_empty() {
                        sleep(Duration::from_secs(60)).await;
                    }
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn http_probes_judge_by_status() {
        let client = http::Client::new();
        for (answer, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                ProbeOutcome::Healthy,
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
                ProbeOutcome::Healthy,
            ),
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
                ProbeOutcome::Unhealthy("503 Service Unavailable".into()),
            ),
        ] {
            let port = server(answer).await;
            assert_eq!(run(&client, &probe(port, http_target())).await, expected);
        }
    }

    #[tokio::test]
    async fn readiness_probes_tell_what_came() {
        let client = http::Client::new();
        let asked = async |probe: Probe| match result(&client, &probe).await {
            Input::ReadinessResult { answer, .. } => answer,
            other => panic!("{other:?}"),
        };
        let target = || ProbeTarget::Readiness {
            tls: false,
            path: "/ready".into(),
        };
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\nsoon";
        assert_eq!(
            asked(probe(server(answer).await, target())).await,
            ReadinessAnswer {
                status: 503,
                content_type: "text/x".into(),
                body: "soon".into()
            }
        );
        let port = server("").await;
        let silent = asked(short(port, target())).await;
        let why = format!(
            "Marathon could not query http://127.0.0.1:{port}/ready: no answer within 500 ms"
        );
        assert_eq!((silent.status, silent.body), (504, why));
    }

    #[tokio::test]
    async fn silence_and_refusal_are_unhealthy() {
        let client = http::Client::new();
        let silent = server("").await;
        assert_eq!(
            run(&client, &short(silent, http_target())).await,
            ProbeOutcome::Unhealthy("no answer within 500 ms".into())
        );
        assert_eq!(
            run(&client, &probe(silent, ProbeTarget::Tcp)).await,
            ProbeOutcome::Healthy
        );
        // Held, so that nobody else listens there.
        let held = TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let closed = held.local_addr().unwrap().port();
        for target in [http_target(), ProbeTarget::Tcp] {
            let outcome = run(&client, &probe(closed, target)).await;
            assert!(
                matches!(&outcome, ProbeOutcome::Unhealthy(reason) if reason.contains("refused")),
                "{outcome:?}"
            );
        }
    }
}

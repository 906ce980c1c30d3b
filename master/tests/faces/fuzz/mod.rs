//! Every endpoint of a master, fed with valid calls, with calls damaged in their structure, and with rubbish: as JSON, as protobuf,
//! packed, in forms and in queries. Laws: no panic, an answer to everything, no 5xx but 501 and 503 (and 502 and 504 of the proxies), what
//! is refused changes nothing, memory is bounded.
//!
//! `TEPUI_FUZZ_SECONDS` sets for how long, `TEPUI_FUZZ_SEED` where to begin; a failure shows the request that caused it.

mod corpus;
mod mutate;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::{Value, json};
use tepui_master::RunningMaster;
use tepui_proto::json::Json;
use tepui_proto::mesos::{master, scheduler};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::conformance::Agent;
use crate::support::{PATIENCE, Subscription, get};
use corpus::{Face, PATHS};
use mutate::Source;

/// In `cargo test`.
const SHORT_SECONDS: u64 = 8;
/// A master lives for so many requests: what they leave behind is part of what is tested, but not all of it for ever.
const REQUESTS_PER_MASTER: usize = 4_000;
/// What a process may grow by, whatever is sent to it.
const GROWTH_BYTES: u64 = 512 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A master with somebody on it, and what is known of them.
struct Target {
    master: RunningMaster,
    /// The id of an agent on which nothing happens by itself.
    agent: String,
    _still: tokio::task::JoinHandle<()>,
    framework: Subscription,
}

/// A request as it will be sent.
struct Request {
    method: &'static str,
    path: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    fn head(&self) -> String {
        format!(
            "{} {} HTTP/1.1\r\ncontent-length: {}{}",
            self.method,
            self.path,
            self.body.len(),
            self.headers
        )
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = self.body.escape_ascii();
        write!(f, "{}\n\n{body}", self.head())
    }
}

impl Target {
    async fn start() -> Self {
        let master = crate::support::master_with(|config| {
            config.limits.body_bytes = 1 << 20;
        })
        .await;
        let agent = Agent::start(&master, "cpus:4;mem:1024;disk:1024;gpus:1;ports:[1-9]").await;
        let (agent, still) = (agent.id.clone(), agent.keep_still());
        let framework = Subscription::open(&master, "fuzzed").await;
        Self {
            master,
            agent,
            _still: still,
            framework,
        }
    }

    /// What operators see, without what comes and goes by itself.
    async fn state(&self) -> Value {
        let mut state = get(&self.master, "/state").await.json();
        let agents = state["slaves"].as_array().into_iter().flatten();
        if agents
            .into_iter()
            .any(|agent| agent["drain_info"]["state"] == "DRAINING")
        {
            // That it has drained, or is gone then, is written by itself, and begun before its drain was answered.
            self.written().await;
            state = get(&self.master, "/state").await.json();
        }
        // Frameworks that have hung up go when their time is up.
        state["completed_frameworks"].take();
        if let Some(frameworks) = state["frameworks"].as_array_mut() {
            frameworks.retain(|framework| framework["connected"] == true);
        }
        for framework in state["frameworks"].as_array_mut().into_iter().flatten() {
            for own in ["offers", "offered_resources", "resources", "inverse_offers"] {
                framework[own].take();
            }
        }
        for agent in state["slaves"].as_array_mut().into_iter().flatten() {
            agent["offered_resources"].take();
            agent["offered_resources_full"].take();
        }
        state
    }

    /// Waits until the registry has answered all writes.
    async fn written(&self) {
        let quiet = async {
            loop {
                let metrics = get(&self.master, "/metrics/snapshot").await.json();
                if metrics["registrar/queued_operations"].as_f64() == Some(0.0) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let written = tokio::time::timeout(PATIENCE, quiet).await;
        assert!(written.is_ok(), "writes to the registry do not end");
    }

    /// An offer that the framework holds, if it does.
    async fn offer(&self) -> String {
        let state = get(&self.master, "/state").await.json();
        let frameworks = state["frameworks"].as_array().into_iter().flatten();
        frameworks
            .flat_map(|one| one["offers"].as_array().into_iter().flatten())
            .find_map(|offer| offer["id"].as_str())
            .unwrap_or("no-offer")
            .to_owned()
    }

    /// Waits until every stream that a request opened is known to be over.
    async fn settle(&self) {
        let quiet = async {
            loop {
                let metrics = get(&self.master, "/metrics/snapshot").await.json();
                if metrics["tepui/framework_streams"].as_f64() <= Some(1.0) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, quiet).await;
        assert!(
            settled.is_ok(),
            "streams whose clients have gone do not end"
        );
    }

    /// Sends one request: the answer's status, and whether its body is a stream that may have no end. `None` if the connection broke
    /// before an answer, which a server may do that has no use for the rest of a body.
    async fn send(&self, request: &Request) -> Option<(u16, bool)> {
        let mut stream = TcpStream::connect(self.master.addr())
            .await
            .expect("listens");
        let head = format!("{}\r\nhost: test\r\n\r\n", request.head());
        stream.write_all(head.as_bytes()).await.ok()?;
        let _ = stream.write_all(&request.body).await;
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await;
            let read = read.unwrap_or_else(|_| panic!("no answer: {request}"));
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.contains("transfer-encoding: chunked")))
    }

    /// Whether the framework and the agent are still good for something.
    async fn useful(&self) -> bool {
        let revived = self
            .framework
            .call(&self.master, r#""type":"REVIVE""#)
            .await;
        let agents = get(&self.master, "/slaves").await.json();
        let agents = agents["slaves"].as_array().into_iter().flatten();
        revived.status == 202
            && agents
                .into_iter()
                .any(|agent| agent["id"] == self.agent.as_str())
    }
}

/// Puts what exists into the places of a corpus entry.
fn filled(text: &str, target: &Target, offer: &str) -> String {
    text.replace("$F", &target.framework.framework_id)
        .replace("$A", &target.agent)
        .replace("$O", offer)
}

/// The call in protobuf, if it can be written so.
fn protobuf<M: Json + Message + Default>(text: &[u8]) -> Option<Vec<u8>> {
    tepui_proto::json::from_slice::<M>(text)
        .ok()
        .map(|call| call.encode_to_vec())
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer
        .write_all(body)
        .and_then(|()| packer.finish())
        .expect("memory")
}

/// Makes the next request.
fn request(source: &mut Source, target: &Target, offer: &str) -> Request {
    let face = source.pick(&[Face::Scheduler, Face::Operator, Face::Legacy, Face::Legacy]);
    let mut headers = String::new();
    let mut add = |name: &str, value: &str| headers.push_str(&format!("\r\n{name}: {value}"));
    let mut body;
    let mut media_type = "application/json";
    let (method, path) = match face {
        Face::Scheduler | Face::Operator => {
            let calls = match face {
                Face::Scheduler => corpus::SCHEDULER,
                _ => corpus::OPERATOR,
            };
            let text = filled(source.pick(calls), target, offer);
            let mut call: Value = serde_json::from_str(&text).expect("the corpus is JSON");
            if face == Face::Scheduler && source.below(8) > 0 {
                call["framework_id"] = json!({ "value": target.framework.framework_id });
            }
            for _ in 0..source.below(4) {
                let other = filled(source.pick(calls), target, offer);
                let other = serde_json::from_str(&other).expect("the corpus is JSON");
                mutate::value(&mut call, &other, source);
            }
            body = call.to_string().into_bytes();
            if source.below(2) == 0 {
                let binary = match face {
                    Face::Scheduler => protobuf::<scheduler::Call>(&body),
                    _ => protobuf::<master::Call>(&body),
                };
                if let Some(binary) = binary {
                    body = binary;
                    media_type = "application/x-protobuf";
                }
            }
            let path = match face {
                Face::Scheduler => "/api/v1/scheduler",
                _ => "/api/v1",
            };
            ("POST", path.to_owned())
        }
        Face::Legacy => {
            let entry = source.pick(PATHS);
            let query = filled(source.pick(corpus::QUERIES), target, offer);
            let form = filled(source.pick(corpus::FORMS), target, offer);
            let mut path = filled(entry, target, offer);
            if source.below(2) == 0 {
                path = format!("{path}?{query}");
            }
            media_type = source.pick(&[
                "application/x-www-form-urlencoded",
                "application/json",
                "text/plain",
            ]);
            body = match source.below(3) {
                0 => Vec::new(),
                1 => form.into_bytes(),
                _ => filled(source.pick(corpus::DOCUMENTS), target, offer).into_bytes(),
            };
            (source.pick(&["GET", "GET", "POST", "PUT", "DELETE"]), path)
        }
    };
    if source.below(4) == 0 {
        mutate::bytes(&mut body, source);
    }
    let mut path = path;
    if source.below(8) == 0 {
        let mut raw = path.into_bytes();
        mutate::bytes(&mut raw, source);
        raw.retain(|byte| byte.is_ascii_graphic());
        path = String::from_utf8(raw).expect("ASCII");
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
    }
    let mut method = method;
    if source.below(32) == 0 {
        path = source.pick(corpus::TARGETS).to_owned();
        method = source.pick(&["CONNECT", "GET", "OPTIONS", method]);
    }
    if source.below(8) == 0 {
        body = packed(&body);
        if source.below(3) == 0 {
            mutate::bytes(&mut body, source);
        }
        add("content-encoding", "gzip");
    }
    if source.below(16) == 0 {
        media_type = source.pick(&[
            "application/recordio",
            "",
            "application/json; charset=utf-8",
            "multipart/form-data",
        ]);
    }
    add("content-type", media_type);
    if source.below(4) == 0 {
        add(
            "accept",
            source.pick(&[
                "application/x-protobuf",
                "*/*",
                "text/html",
                "application/json;q=0",
                ",;q=",
                "application/recordio",
            ]),
        );
    }
    if source.below(4) == 0 {
        add("accept-encoding", "gzip");
    }
    if source.below(8) > 0 {
        add("mesos-stream-id", &target.framework.stream_id);
    }
    Request {
        method,
        path,
        headers,
        body,
    }
}

/// Bytes that need not be HTTP at all: there is an answer, or the connection ends.
async fn rubbish(target: &Target, request: &Request, source: &mut Source) {
    let mut raw = format!(
        "{}\r\nhost: test\r\nconnection: close\r\n\r\n",
        request.head()
    )
    .into_bytes();
    raw.extend_from_slice(&request.body);
    mutate::bytes(&mut raw, source);
    let mut stream = TcpStream::connect(target.master.addr())
        .await
        .expect("listens");
    let _ = stream.write_all(&raw).await; // It may be cut off in the middle.
    let _ = stream.shutdown().await;
    let mut answer = vec![0; 64 << 10];
    // What follows its beginning may be a stream without end: this side hangs up.
    let answered = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await;
    assert!(
        answered.is_ok(),
        "neither an answer nor an end: {}",
        raw.escape_ascii()
    );
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("a number") << 10
}

fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(otherwise)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_survives_anything() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Those of this test's own thread are its findings; all others are bugs.
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let seconds = number("TEPUI_FUZZ_SECONDS", || SHORT_SECONDS);
    let seed = number("TEPUI_FUZZ_SEED", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64)
    });
    println!("TEPUI_FUZZ_SEED={seed} for {seconds} s");
    let mut source = Source::new(seed);
    let (started, before) = (Instant::now(), resident_bytes());
    let (mut count, mut refused, mut cut) = (0_usize, 0_usize, 0_usize);
    let mut statuses = std::collections::BTreeMap::new();
    while started.elapsed() < Duration::from_secs(seconds) {
        let target = Target::start().await;
        let mut seen = target.state().await;
        for _ in 0..REQUESTS_PER_MASTER {
            if started.elapsed() >= Duration::from_secs(seconds) {
                break;
            }
            let offer = target.offer().await;
            let request = request(&mut source, &target, &offer);
            if source.below(64) == 0 {
                rubbish(&target, &request, &mut source).await;
                target.settle().await;
                seen = target.state().await;
                continue;
            }
            let Some((status, streamed)) = target.send(&request).await else {
                assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic: {request}");
                cut += 1;
                seen = target.state().await;
                continue;
            };
            count += 1;
            *statuses.entry(status).or_insert(0_usize) += 1;
            let proxied = request.path.contains("/service/") || request.path.contains("agent");
            let allowed = status < 500
                || matches!(status, 501 | 503)
                || (proxied && matches!(status, 502 | 504));
            assert!(allowed, "{status}: {request}");
            assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a panic: {request}");
            if streamed {
                target.settle().await;
            }
            let now = target.state().await;
            if status >= 400 {
                refused += 1;
                assert!(
                    now == seen,
                    "{status}, and yet something has changed: {request}\nbefore {seen}\nafter {now}"
                );
            }
            seen = now;
            if count % 64 == 0 && !target.useful().await {
                break;
            }
        }
        assert_eq!(get(&target.master, "/health").await.status, 200);
        target.master.shutdown().await;
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES, "grown by {} MiB", grown >> 20);
    }
    println!(
        "{count} requests, {refused} refused, {cut} cut off, {statuses:?}, grown by {} MiB",
        resident_bytes().saturating_sub(before) >> 20
    );
    assert!(refused > 0 && refused < count, "both kinds were there");
    assert!(cut * 20 < count, "answers are the rule");
    let _ = std::panic::take_hook();
}

//! A scheduler on Mesos' v1 HTTP API in JSON, as plain as it can be: one connection for its events, one for its calls, no thread.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

/// How long a read may take: heartbeats come every 15 s.
const SILENCE: Duration = Duration::from_secs(40);

/// A subscription whose events nobody has to read.
#[derive(Debug)]
pub struct Scheduler {
    address: String,
    events: BufReader<TcpStream>,
    calls: Option<BufReader<TcpStream>>,
    /// Bytes of the stream without chunk boundaries.
    pending: Vec<u8>,
    stream_id: String,
    /// Offers that came while something else was waited for.
    offers: VecDeque<Value>,
    /// The framework's id: what it asked for, or what it was given with the first event that was read.
    pub id: String,
}

/// Status and headers of an answer, whose body is still to be read.
fn head(stream: &mut BufReader<TcpStream>) -> Option<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? <= 2 {
            return Some((status, headers));
        }
        let (name, value) = line.trim_end().split_once(": ")?;
        headers.push((name.to_lowercase(), value.to_owned()));
    }
}

fn header<'a>(headers: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.as_str())
}

fn connect(address: &str) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).expect("the master listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(SILENCE)).expect("a socket");
    // Small, so that what nobody reads does not stay within the system.
    BufReader::with_capacity(4 << 10, stream)
}

fn post(stream: &mut BufReader<TcpStream>, extra: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n{extra}content-length: {}\r\n\r\n",
        body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

impl Scheduler {
    /// Subscribes at `host:port` and reads no event yet. With an id in `framework` it is the framework's from the start.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn subscribe(address: &str, framework: &Value) -> Self {
        let mut events = connect(address);
        let mut call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": framework } });
        let id = framework["id"]["value"].as_str().unwrap_or_default();
        if !id.is_empty() {
            call["framework_id"] = framework["id"].clone();
        }
        post(&mut events, "", call.to_string().as_bytes()).expect("sent");
        let (status, headers) = head(&mut events).expect("an answer");
        assert_eq!(status, 200, "{call}");
        Self {
            address: address.to_owned(),
            events,
            calls: None,
            pending: Vec::new(),
            stream_id: header(&headers, "mesos-stream-id")
                .expect("a stream id")
                .to_owned(),
            offers: VecDeque::new(),
            id: id.to_owned(),
        }
    }

    /// The socket of the events.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.events.get_ref()
    }

    /// Closes the connection of the calls; the next call opens another.
    pub fn hang_up_calls(&mut self) {
        self.calls = None;
    }

    /// Sends a call (`type` and its field; the framework's id is added) and gives the answer's status; `None` if nobody answers.
    pub fn call(&mut self, call: &Value) -> Option<u16> {
        let mut call = call.clone();
        call["framework_id"] = json!({ "value": self.id });
        self.send(call.to_string().as_bytes())
    }

    /// Sends a call as it is.
    pub fn send(&mut self, body: &[u8]) -> Option<u16> {
        let extra = format!("mesos-stream-id: {}\r\n", self.stream_id);
        let mut stream = self.calls.take().unwrap_or_else(|| connect(&self.address));
        post(&mut stream, &extra, body).ok()?;
        let (status, headers) = head(&mut stream)?;
        let length = header(&headers, "content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).ok()?;
        self.calls = Some(stream);
        Some(status)
    }

    /// The next event; `None` at the end of the stream.
    pub fn event(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let length: usize = std::str::from_utf8(&self.pending[..end])
                    .ok()?
                    .parse()
                    .ok()?;
                let whole = end + 1 + length;
                if self.pending.len() >= whole {
                    let event: Value =
                        serde_json::from_slice(&self.pending[end + 1..whole]).ok()?;
                    self.pending.drain(..whole);
                    if let Some(id) = event["subscribed"]["framework_id"]["value"].as_str() {
                        id.clone_into(&mut self.id);
                    }
                    return Some(event);
                }
            }
            let mut line = String::new();
            self.events.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            self.events.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return None;
            }
            self.pending.extend_from_slice(&chunk[..size]);
        }
    }

    /// The next event of a type. Offers that come before it are kept for [`Scheduler::offer`].
    ///
    /// # Panics
    /// The stream ends before.
    #[track_caller]
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self
                .event()
                .unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
            self.keep_offers(&event);
        }
    }

    /// An offer that was neither used nor rescinded.
    ///
    /// # Panics
    /// The stream ends before there is one.
    #[track_caller]
    pub fn offer(&mut self) -> Value {
        loop {
            if let Some(offer) = self.offers.pop_front() {
                return offer;
            }
            let event = self.event().expect("the stream goes on");
            self.keep_offers(&event);
        }
    }

    /// An offer with at least so much; smaller ones are declined, so that they come back together.
    ///
    /// # Panics
    /// The stream ends before there is one.
    #[track_caller]
    pub fn offer_of(&mut self, cpus: f64, mem: f64) -> Value {
        loop {
            let offer = self.offer();
            if amount(&offer, "cpus") >= cpus && amount(&offer, "mem") >= mem {
                return offer;
            }
            self.decline(&offer);
        }
    }

    /// Gives an offer back, so that what it has comes again, with what else there is by then.
    ///
    /// # Panics
    /// The master refuses.
    #[track_caller]
    pub fn decline(&mut self, offer: &Value) {
        let decline = json!({ "offer_ids": [offer["id"]], "filters": { "refuse_seconds": 0 } });
        assert_eq!(
            self.call(&json!({ "type": "DECLINE", "decline": decline })),
            Some(202)
        );
    }

    fn keep_offers(&mut self, event: &Value) {
        self.offers.extend(
            event["offers"]["offers"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
        let rescinded = &event["rescind"]["offer_id"];
        self.offers.retain(|offer| offer["id"] != *rescinded);
    }

    /// The next status of a task, acknowledged if it wants to be.
    ///
    /// # Panics
    /// The stream ends before.
    #[track_caller]
    pub fn status(&mut self) -> Value {
        let status = self.until("UPDATE")["update"]["status"].clone();
        if status["uuid"].is_string() {
            let acknowledge = json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"] });
            assert_eq!(
                self.call(&json!({ "type": "ACKNOWLEDGE", "acknowledge": acknowledge })),
                Some(202)
            );
        }
        status
    }

    /// Launches one command task on an offer and waits for its end.
    ///
    /// # Panics
    /// The master refuses, or the stream ends.
    #[track_caller]
    pub fn run(&mut self, offer: &Value, task: &str, command: &str, resources: &Value) -> Value {
        let info = json!({
            "name": task,
            "task_id": { "value": task },
            "agent_id": offer["agent_id"],
            "resources": resources,
            "command": { "value": command },
        });
        let accept = json!({
            "offer_ids": [offer["id"]],
            "operations": [{ "type": "LAUNCH", "launch": { "task_infos": [info] } }],
            "filters": { "refuse_seconds": 0 },
        });
        assert_eq!(
            self.call(&json!({ "type": "ACCEPT", "accept": accept })),
            Some(202)
        );
        loop {
            let status = self.status();
            let over = !matches!(
                status["state"].as_str(),
                Some("TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING")
            );
            if status["task_id"]["value"] == task && over {
                return status;
            }
        }
    }
}

/// How much of a scalar is in an offer.
#[must_use]
pub fn amount(offer: &Value, name: &str) -> f64 {
    let resources = offer["resources"].as_array().into_iter().flatten();
    resources
        .filter(|resource| resource["name"] == name)
        .filter_map(|resource| resource["scalar"]["value"].as_f64())
        .sum()
}

/// Resources of a task out of what is reserved for a role (`*` for what is not).
#[must_use]
pub fn resources(role: &str, cpus: f64, mem: f64) -> Value {
    let scalar = |name: &str, value: f64| {
        let mut resource = json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } });
        if role != "*" {
            resource["role"] = json!(role);
        }
        resource
    };
    json!([scalar("cpus", cpus), scalar("mem", mem)])
}

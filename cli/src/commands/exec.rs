//! `tepui task exec` and `tepui task attach`: a command beside a task, or the task itself, at the caller's terminal.
//!
//! Both speak to the task's agent: the output is the answer to one call, what is typed is the body of another. A terminal is handed over
//! raw, so that every key is the command's business, and is given back however this ends.

use std::convert::Infallible;
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use tepui_proto::recordio::{self, Decoder};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::task::{Place, place};
use super::{CommandError, Context, text};

/// The largest record that is read.
const RECORD_BYTES: usize = 8 << 20;
/// Records that wait to be sent.
const WAITING: usize = 64;
/// What is read of standard input at once.
const PIECE_BYTES: usize = 8 << 10;
/// How often the agent hears that the one who types is there.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Of an explanation.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Control-P, Control-Q.
const DETACH: [u8; 2] = [0x10, 0x11];

/// How a command is run beside a task.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExecArgs {
    /// Give it what comes on standard input.
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal.
    #[arg(short, long)]
    tty: bool,
    /// Run it as this user of the agent's machine instead of the task's.
    #[arg(long, short)]
    user: Option<String>,
    /// The task's id, or the beginning of it.
    task: String,
    /// The command with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs a command beside a task; its exit code is ours.
pub(crate) async fn exec(context: &Context, args: &ExecArgs) -> Result<(), CommandError> {
    let place = place(context, &args.task).await?;
    let id = json!({"value": format!("exec-{}", uuid::Uuid::new_v4()), "parent": place.container});
    let mut command = json!({"shell": false, "value": args.command[0], "arguments": args.command});
    if let Some(user) = &args.user {
        command["user"] = json!(user);
    }
    let mut session = json!({"container_id": id, "command": command});
    if args.tty {
        let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
        session["command"]["environment"] = json!({"variables": [{"name": "TERM", "value": term}]});
        session["container"] = json!({"type": "MESOS", "tty_info": tty_info()});
    }
    let call = json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION", "launch_nested_container_session": session});
    let output = send(&place, &call).await?;
    let raw = (args.tty && args.interactive).then(Raw::enter).flatten();
    let typing = args
        .interactive
        .then(|| type_in(&place, &id, args.tty, false));
    let done = carry(output, typing).await;
    drop(raw);
    done?;
    let wait =
        json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": id}});
    exit(&place, &wait, "wait_nested_container").await
}

/// Shows what a task writes, and types into it if it has a terminal; its exit code is ours.
pub(crate) async fn attach(context: &Context, task: &str) -> Result<(), CommandError> {
    let place = place(context, task).await?;
    let id = place.container.clone();
    let call =
        json!({"type": "ATTACH_CONTAINER_OUTPUT", "attach_container_output": {"container_id": id}});
    let output = send(&place, &call).await?;
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": id}});
    let raw = place.terminal.then(Raw::enter).flatten();
    if raw.is_some() {
        eprint!("(Control-P, Control-Q leaves the task alone)\r\n");
    }
    let typing = place
        .terminal
        .then(|| type_in(&place, &id, true, raw.is_some()));
    // Asked before its end: afterwards the agent may know nothing of it any more.
    let waiting = exit(&place, &wait, "wait_container");
    let (done, ended) = {
        let carrying = carry(output, typing);
        tokio::pin!(carrying, waiting);
        tokio::select! {
            done = &mut carrying => match done {
                Ok(Left::Ended) => (Ok(()), Some(waiting.await)),
                other => (other.map(drop), None),
            },
            ended = &mut waiting => (carrying.await.map(drop), Some(ended)),
        }
    };
    drop(raw);
    done?;
    ended.unwrap_or(Ok(()))
}

/// Why nothing more is carried.
enum Left {
    /// The container has ended.
    Ended,
    /// The one who types wants to go.
    Detached,
}

/// Shows what comes until its end.
async fn carry(
    output: Response<Incoming>,
    typing: Option<impl Future<Output = Result<Left, CommandError>>>,
) -> Result<Left, CommandError> {
    let showing = show(output.into_body());
    let Some(typing) = typing else {
        return showing.await.map(|()| Left::Ended);
    };
    tokio::pin!(showing, typing);
    tokio::select! {
        shown = &mut showing => shown.map(|()| Left::Ended),
        typed = &mut typing => match typed? {
            Left::Detached => Ok(Left::Detached),
            // There is nothing more to type; what the command still says is shown.
            Left::Ended => showing.await.map(|()| Left::Ended),
        },
    }
}

async fn show(mut body: Incoming) -> Result<(), CommandError> {
    let mut decoder = Decoder::new(RECORD_BYTES);
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let broken = |error: &dyn std::fmt::Display| {
        CommandError::Failed(format!("the agent sent a broken stream: {error}"))
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        decoder.push(&data);
        while let Some(record) = decoder.next_record().map_err(|error| broken(&error))? {
            let record: Value = serde_json::from_slice(&record).map_err(|error| broken(&error))?;
            if text(&record, "type") != "DATA" {
                continue;
            }
            let bytes = BASE64_STANDARD
                .decode(text(&record["data"], "data"))
                .map_err(|error| broken(&error))?;
            let written = if text(&record["data"], "type") == "STDERR" {
                err.write_all(&bytes).and_then(|()| err.flush())
            } else {
                out.write_all(&bytes).and_then(|()| out.flush())
            };
            if written.is_err() {
                return Ok(()); // the reader of our output has gone
            }
        }
    }
    Ok(())
}

/// Types what comes on standard input into the container until its end, or until `detach` is typed.
async fn type_in(place: &Place, id: &Value, tty: bool, detach: bool) -> Result<Left, CommandError> {
    let (records, waiting) = mpsc::channel::<Bytes>(WAITING);
    let body = futures::stream::unfold(waiting, |mut waiting| async move {
        let record = waiting.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(record)), waiting))
    });
    let say = |attach: Value| {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": attach});
        let mut record = Vec::new();
        recordio::encode(call.to_string().as_bytes(), &mut record);
        records.send(record.into())
    };
    let io = |io: Value| say(json!({"type": "PROCESS_IO", "process_io": io}));
    // The queue takes these before anybody reads it.
    let _ = say(json!({"type": "CONTAINER_ID", "container_id": id})).await;
    if tty {
        let _ = io(window()).await;
    }
    let request = Request::builder()
        .header(header::CONTENT_TYPE, "application/recordio")
        .header("Message-Content-Type", "application/json");
    let answer = post(place, request, BoxBody::new(StreamBody::new(body)));
    tokio::pin!(answer);
    let (typed, mut typing) = mpsc::channel(WAITING);
    // Of its own, and left behind: nothing ends a read of standard input.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(length) = stdin.read(&mut piece) {
            let bytes = Bytes::copy_from_slice(&piece[..length]);
            if typed.blocking_send(bytes).is_err() || length == 0 {
                return;
            }
        }
    });
    let mut resized = signal(SignalKind::window_change())
        .map_err(|error| CommandError::Failed(format!("signals cannot be listened to: {error}")))?;
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let (mut open, mut last) = (true, 0);
    loop {
        tokio::select! {
            answer = &mut answer => return answer.map(|_| Left::Ended),
            bytes = typing.recv(), if open => {
                let bytes = bytes.unwrap_or_default();
                if detach && leaves(&mut last, &bytes) {
                    return Ok(Left::Detached);
                }
                open = !bytes.is_empty();
                let data = if bytes.is_empty() && tty { "\u{4}".into() } else { bytes };
                let data = json!({"type": "STDIN", "data": BASE64_STANDARD.encode(&data)});
                let _ = io(json!({"type": "DATA", "data": data})).await;
            }
            _ = resized.recv(), if tty => drop(io(window()).await),
            _ = heartbeat.tick() => {
                let interval = json!({"nanoseconds": HEARTBEAT.as_nanos() as u64});
                let heartbeat = json!({"type": "HEARTBEAT", "heartbeat": {"interval": interval}});
                let _ = io(json!({"type": "CONTROL", "control": heartbeat})).await;
            }
        }
    }
}

/// Whether the keys that leave have been typed; `last` is the key before.
fn leaves(last: &mut u8, typed: &[u8]) -> bool {
    typed.iter().any(|key| {
        let before = std::mem::replace(last, *key);
        [before, *key] == DETACH
    })
}

fn tty_info() -> Value {
    let (columns, rows) =
        terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0, height.0));
    json!({"window_size": {"rows": rows, "columns": columns}})
}

fn window() -> Value {
    json!({"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": tty_info()}})
}

/// A call whose answer is a stream.
async fn send(place: &Place, call: &Value) -> Result<Response<Incoming>, CommandError> {
    let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
    post(place, request, BoxBody::new(Full::from(call.to_string()))).await
}

/// Posts to the agent on a connection of its own; a refusal is an error with the agent's own words.
async fn post(
    place: &Place,
    request: http::request::Builder,
    body: BoxBody<Bytes, Infallible>,
) -> Result<Response<Incoming>, CommandError> {
    let url = format!("http://{}/api/v1", place.agent);
    let unreachable = |error: &dyn std::fmt::Display| {
        CommandError::Failed(format!(
            "the task's agent at {url} cannot be reached: {error}"
        ))
    };
    let stream = TcpStream::connect(&place.agent)
        .await
        .map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(&error))?;
    tokio::spawn(connection);
    let request = request
        .method(Method::POST)
        .uri("/api/v1")
        .header(header::HOST, &place.agent)
        .header(header::ACCEPT, "application/json")
        .body(body)
        .map_err(|error| unreachable(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| unreachable(&error))?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_MESSAGE_BYTES);
    let told = body.collect().await.map(|told| told.to_bytes());
    let told = told.unwrap_or_default();
    Err(CommandError::Failed(format!(
        "the agent refused ({status}): {}",
        String::from_utf8_lossy(&told).trim()
    )))
}

/// Waits for the container's end, whose exit code becomes ours.
async fn exit(place: &Place, wait: &Value, field: &str) -> Result<(), CommandError> {
    let answer = send(place, wait).await?;
    let body = Limited::new(answer.into_body(), MAX_MESSAGE_BYTES);
    let body = body
        .collect()
        .await
        .map_err(|error| CommandError::Failed(format!("the agent's answer broke off: {error}")))?;
    let answer: Value = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| CommandError::Failed(format!("the agent's answer is no JSON: {error}")))?;
    match answer[field]["exit_status"].as_i64().map(code) {
        Some(0) => Ok(()),
        Some(code) => Err(CommandError::Exit(code)),
        None => Err(CommandError::Failed(
            "the agent does not know how it ended".to_owned(),
        )),
    }
}

/// A wait status as shells tell it: 128 and the signal if one ended it.
fn code(status: i64) -> u8 {
    let (signal, code) = (status & 0x7f, (status >> 8) & 0xff);
    let code = if signal == 0 { code } else { 128 + signal };
    u8::try_from(code).unwrap_or(1)
}

/// Standard input as a raw terminal, until it is dropped.
struct Raw(Termios);

impl Raw {
    /// `None` if it is no terminal.
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_exit_codes() {
        for (status, expected) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(code(status), expected, "{status}");
        }
    }

    #[test]
    fn two_keys_leave() {
        for (typed, expected) in [
            (&["\u{10}\u{11}"][..], true),
            (&["ab\u{10}", "\u{11}"], true),
            (&["\u{10}", "x\u{11}"], false),
            (&["\u{11}\u{10}"], false),
        ] {
            let mut last = 0;
            let left = typed
                .iter()
                .any(|piece| leaves(&mut last, piece.as_bytes()));
            assert_eq!(left, expected, "{typed:?}");
        }
    }
}

//! LAUNCH_NESTED_CONTAINER_SESSION, ATTACH_CONTAINER_OUTPUT and ATTACH_CONTAINER_INPUT: what containers write and read, as streams of RecordIO.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::StatusCode;
use tepui_http::negotiate::Format;
use tepui_proto::mesos::v1::DurationInfo;
use tepui_proto::mesos::v1::agent::call::{AttachContainerInput, attach_container_input};
use tepui_proto::mesos::v1::agent::process_io::{Control, Data, control, data};
use tepui_proto::mesos::v1::agent::{Call, ProcessIo, call, process_io};
use tepui_proto::recordio;

use super::Face;
use super::asked::{Asked, Response, text};
use super::media::Media;
use super::nested::{container_id, refused, wanted};
use super::operator::{invalid, missing};
use crate::containerizer::Window;
use crate::nested::streams::{Kind, Piece};
use crate::nested::tree::Class;
use crate::nested::{Output, Typing};

/// The largest record that is read.
const RECORD_BYTES: usize = 8 << 20;

/// Heartbeats do not come more often.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Calls that come as a stream.
pub(super) struct Calls {
    decoder: recordio::Decoder,
    format: Format,
}

impl Calls {
    pub(super) fn new(format: Format) -> Self {
        Self {
            decoder: recordio::Decoder::new(RECORD_BYTES),
            format,
        }
    }

    /// The next call; `None` at the end of the body.
    pub(super) async fn next(&mut self, asked: &mut Asked) -> Result<Option<Call>, Response> {
        let bad = |problem: String| text(StatusCode::BAD_REQUEST, problem);
        loop {
            match self.decoder.next_record() {
                Ok(Some(record)) => return self.format.decode(&record).map(Some).map_err(bad),
                Ok(None) => {}
                Err(error) => return Err(bad(error.to_string())),
            }
            match asked.piece().await {
                Some(Ok(piece)) => self.decoder.push(&piece),
                Some(Err(_)) => return Err(bad("The body broke off".to_owned())),
                None if self.decoder.is_at_boundary() => return Ok(None),
                None => return Err(bad("The body ends within a record".to_owned())),
            }
        }
    }
}

/// LAUNCH_NESTED_CONTAINER_SESSION.
pub(super) async fn session(face: &Arc<Face>, call: &Call, media: Media) -> Response {
    const FIELD: &str = "launch_nested_container_session";
    let Some(asked) = &call.launch_nested_container_session else {
        return missing(FIELD);
    };
    let (id, command) = ((&asked.container_id, true), &asked.command);
    let wanted = match wanted(FIELD, id, command, &asked.container, Class::Session) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal,
    };
    match face.nested.open_session(wanted).await {
        Ok(output) => stream(face, output, media),
        Err(refusal) => refused(refusal),
    }
}

/// ATTACH_CONTAINER_OUTPUT.
pub(super) fn output(face: &Arc<Face>, call: &Call, media: Media) -> Response {
    const FIELD: &str = "attach_container_output";
    let Some(asked) = &call.attach_container_output else {
        return missing(FIELD);
    };
    let id = match container_id(FIELD, &asked.container_id, false) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    match face.nested.output(&id) {
        Ok(output) => stream(face, output, media),
        Err(refusal) => refused(refusal),
    }
}

fn stream(face: &Face, output: Output, media: Media) -> Response {
    let interval = face.config.http_heartbeat_interval.max(SHORTEST_INTERVAL);
    let records = records(output, media.format, interval);
    let mut answer = warp::reply::Reply::into_response(warp::reply::stream(records));
    media.label(&mut answer);
    answer
}

/// What a container writes, with heartbeats.
fn records(
    output: Output,
    format: Format,
    interval: Duration,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let next = tokio::time::Instant::now() + interval;
    futures::stream::unfold((output, next), move |(mut output, mut next)| async move {
        let message = tokio::select! {
            piece = output.next() => of_piece(piece?),
            () = tokio::time::sleep_until(next) => {
                next = tokio::time::Instant::now() + interval;
                heartbeat(interval)
            }
        };
        let mut out = Vec::new();
        recordio::encode(&format.to_vec(&message), &mut out);
        Some((Ok(out.into()), (output, next)))
    })
}

fn of_piece(piece: Piece) -> ProcessIo {
    let kind = match piece.kind {
        Kind::Out => data::Type::Stdout,
        Kind::Err => data::Type::Stderr,
    };
    ProcessIo {
        r#type: Some(process_io::Type::Data.into()),
        data: Some(Data {
            r#type: Some(kind.into()),
            data: Some(piece.data),
        }),
        control: None,
    }
}

fn heartbeat(interval: Duration) -> ProcessIo {
    ProcessIo {
        r#type: Some(process_io::Type::Control.into()),
        data: None,
        control: Some(Control {
            r#type: Some(control::Type::Heartbeat.into()),
            tty_info: None,
            heartbeat: Some(control::Heartbeat {
                interval: Some(DurationInfo {
                    nanoseconds: i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX),
                }),
            }),
        }),
    }
}

/// ATTACH_CONTAINER_INPUT; `call` is the first of the stream.
pub(super) async fn input(
    face: &Arc<Face>,
    call: &Call,
    mut calls: Calls,
    mut asked: Asked,
) -> Response {
    const FIELD: &str = "attach_container_input";
    let Some(first) = &call.attach_container_input else {
        return missing(FIELD);
    };
    if first.r#type.is_none() {
        return missing("attach_container_input.type");
    }
    match first.r#type() {
        attach_container_input::Type::Unknown => {
            return invalid("'attach_container_input.type' is unknown");
        }
        attach_container_input::Type::ProcessIo => {
            return text(
                StatusCode::BAD_REQUEST,
                "Expecting 'attach_container_input.type' to be CONTAINER_ID",
            );
        }
        attach_container_input::Type::ContainerId => {}
    }
    let Some(id) = &first.container_id else {
        return missing("attach_container_input.container_id");
    };
    let id = match container_id(FIELD, id, false) {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    let mut typing = match face.nested.input(&id) {
        Ok(typing) => typing,
        Err(refusal) => return refused(refusal),
    };
    loop {
        let next = tokio::select! {
            next = calls.next(&mut asked) => next,
            () = typing.ended() => return text(StatusCode::OK, ""),
        };
        let carried = match next {
            Ok(Some(call)) => carry(&mut typing, call).await,
            Ok(None) => return text(StatusCode::OK, ""),
            Err(refusal) => return refusal,
        };
        match carried {
            Ok(true) => {}
            Ok(false) => return text(StatusCode::OK, ""),
            Err(refusal) => return refusal,
        }
    }
}

/// Carries out one record; `false` if the container has ended.
async fn carry(typing: &mut Typing, call: Call) -> Result<bool, Response> {
    let bad = |problem: &str| text(StatusCode::BAD_REQUEST, problem);
    let expect = |what: &str| bad(&format!("Expecting '{what}' to be present"));
    if call.r#type() != call::Type::AttachContainerInput {
        return Err(bad("Expecting 'type' to be 'ATTACH_CONTAINER_INPUT'"));
    }
    let Some(record) = call.attach_container_input else {
        return Err(expect("attach_container_input"));
    };
    match read(record).map_err(|problem| bad(&problem))? {
        Typed::Nothing => Ok(true),
        Typed::Window(window) => match typing.resize(window).await {
            Ok(()) => Ok(true),
            Err(problem) => Err(bad(&problem)),
        },
        Typed::Data(data) if data.is_empty() => {
            typing.close().await;
            Ok(true)
        }
        Typed::Data(data) => typing.write(&data).await.map_err(|error| {
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("Failed writing to stdin: {error}"),
            )
        }),
    }
}

/// What a record of input says.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Nothing,
    Window(Window),
    Data(Bytes),
}

fn read(record: AttachContainerInput) -> Result<Typed, String> {
    let present = |what: &str| format!("Expecting '{what}' to be present");
    if record.r#type() != attach_container_input::Type::ProcessIo {
        return Err(format!(
            "Expecting 'attach_container_input.type' to be 'PROCESS_IO' instead of: '{}'",
            record.r#type().as_str_name()
        ));
    }
    let io = record
        .process_io
        .ok_or_else(|| present("attach_container_input.process_io"))?;
    if io.r#type.is_none() {
        return Err(present("process_io.type"));
    }
    match io.r#type() {
        process_io::Type::Unknown => Err("'process_io.type' is unknown".to_owned()),
        process_io::Type::Data => {
            let data = io.data.ok_or_else(|| present("process_io.data"))?;
            if data.r#type.is_none() {
                return Err(present("process_io.data.type"));
            }
            if data.r#type() != data::Type::Stdin {
                return Err("Expecting 'process_io.data.type' to be 'STDIN'".to_owned());
            }
            let data = data.data.ok_or_else(|| present("process_io.data.data"))?;
            Ok(Typed::Data(data))
        }
        process_io::Type::Control => {
            let control = io.control.ok_or_else(|| present("process_io.control"))?;
            if control.r#type.is_none() {
                return Err(present("process_io.control.type"));
            }
            match control.r#type() {
                control::Type::Unknown => Err("'process_io.control.type' is unknown".to_owned()),
                control::Type::Heartbeat => match control.heartbeat {
                    Some(_) => Ok(Typed::Nothing),
                    None => Err(present("process_io.control.heartbeat")),
                },
                control::Type::TtyInfo => {
                    let info = control
                        .tty_info
                        .ok_or_else(|| present("process_io.control.tty_info"))?;
                    let size = info
                        .window_size
                        .ok_or_else(|| present("tty_info.window_size"))?;
                    let small = |number| u16::try_from(number).unwrap_or(u16::MAX);
                    Ok(Typed::Window(Window {
                        rows: small(size.rows),
                        columns: small(size.columns),
                    }))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_input_are_checked_as_mesos_does() {
        let io = |json: &str| format!(r#"{{"type":"PROCESS_IO","process_io":{json}}}"#);
        let data = |text: &str| Ok(Typed::Data(Bytes::copy_from_slice(text.as_bytes())));
        let cases = [
            (
                r#"{"type":"CONTAINER_ID"}"#.to_owned(),
                Err("'PROCESS_IO' instead of: 'CONTAINER_ID'"),
            ),
            (
                r#"{"type":"PROCESS_IO"}"#.to_owned(),
                Err("'attach_container_input.process_io'"),
            ),
            (io("{}"), Err("'process_io.type' to be present")),
            (io(r#"{"type":"DATA"}"#), Err("'process_io.data' to be")),
            (
                io(r#"{"type":"DATA","data":{}}"#),
                Err("'process_io.data.type' to be present"),
            ),
            (
                io(r#"{"type":"DATA","data":{"type":"STDOUT","data":"aGk="}}"#),
                Err("to be 'STDIN'"),
            ),
            (
                io(r#"{"type":"DATA","data":{"type":"STDIN"}}"#),
                Err("'process_io.data.data'"),
            ),
            (
                io(r#"{"type":"DATA","data":{"type":"STDIN","data":"aGk="}}"#),
                data("hi"),
            ),
            (
                io(r#"{"type":"DATA","data":{"type":"STDIN","data":""}}"#),
                data(""),
            ),
            (
                io(r#"{"type":"CONTROL"}"#),
                Err("'process_io.control' to be"),
            ),
            (
                io(r#"{"type":"CONTROL","control":{}}"#),
                Err("'process_io.control.type' to be"),
            ),
            (
                io(r#"{"type":"CONTROL","control":{"type":"HEARTBEAT"}}"#),
                Err("'process_io.control.heartbeat'"),
            ),
            (
                io(r#"{"type":"CONTROL","control":{"type":"HEARTBEAT","heartbeat":{}}}"#),
                Ok(Typed::Nothing),
            ),
            (
                io(r#"{"type":"CONTROL","control":{"type":"TTY_INFO"}}"#),
                Err("'process_io.control.tty_info'"),
            ),
            (
                io(r#"{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{}}}"#),
                Err("'tty_info.window_size'"),
            ),
            (
                io(
                    r#"{"type":"CONTROL","control":{"type":"TTY_INFO","tty_info":{"window_size":{"rows":70000,"columns":80}}}}"#,
                ),
                Ok(Typed::Window(Window {
                    rows: u16::MAX,
                    columns: 80,
                })),
            ),
        ];
        for (json, expected) in cases {
            let record = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
            match (read(record), expected) {
                (Err(told), Err(part)) => assert!(told.contains(part), "{json}: {told}"),
                (found, expected) => assert_eq!(found.map_err(|_| ""), expected, "{json}"),
            }
        }
    }
}

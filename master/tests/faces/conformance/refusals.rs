//! Sections 2 to 4: the order of checks with its status codes, what bodies and answers may be in, and stream ids. Several rows have
//! more than one fault; they are told of the first in the reference's order.

use serde_json::{Value, json};

use super::{Agent, FORMS, Form, PATH, Talk, said, state};
use crate::support::{Exchange, get, master, post};

/// What identifies the caller in a row.
#[derive(Clone, Copy)]
enum Stream {
    Own,
    None,
    Other,
}

struct Row {
    name: &'static str,
    method: &'static str,
    /// Instead of the form's own; `Some("")` sends none.
    content_type: Option<&'static str>,
    accept: Option<&'static str>,
    stream: Stream,
    body: Body,
    status: u16,
    /// A part of the text.
    text: &'static str,
}

enum Body {
    /// A call that can be written in both forms, with the subscribed framework's id for `$ID`.
    Call(Value),
    /// Not even that.
    Rubbish,
}

fn row(name: &'static str, body: Body, status: u16, text: &'static str) -> Row {
    Row {
        name,
        method: "POST",
        content_type: None,
        accept: None,
        stream: Stream::Own,
        body,
        status,
        text,
    }
}

fn own(kind: &str) -> Value {
    json!({ "type": kind, "framework_id": { "value": "$ID" } })
}

fn rows() -> Vec<Row> {
    let subscribe = || json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "u", "name": "n" } } });
    let mut rows = vec![
        Row {
            method: "GET",
            content_type: Some(""),
            ..row(
                "4: the method comes before the content type",
                Body::Rubbish,
                405,
                "POST",
            )
        },
        Row {
            method: "PUT",
            ..row("4: PUT is no POST", Body::Call(own("REVIVE")), 405, "POST")
        },
        Row {
            method: "DELETE",
            ..row("4: nor is DELETE", Body::Call(own("REVIVE")), 405, "POST")
        },
        Row {
            content_type: Some(""),
            ..row(
                "5: the content type comes before the body",
                Body::Rubbish,
                400,
                "Expecting 'Content-Type' to be present",
            )
        },
        Row {
            content_type: Some("text/plain"),
            ..row(
                "5: another type",
                Body::Rubbish,
                415,
                "Expecting 'Content-Type' of",
            )
        },
        Row {
            content_type: Some("application/json; charset=utf-8"),
            ..row(
                "5: exactly the two names",
                Body::Call(own("REVIVE")),
                415,
                "Expecting 'Content-Type' of",
            )
        },
        Row {
            content_type: Some("application/recordio"),
            ..row(
                "5: no streams of calls",
                Body::Call(own("REVIVE")),
                415,
                "Expecting 'Content-Type' of",
            )
        },
        Row {
            accept: Some("text/html"),
            ..row(
                "6: the body comes before Accept",
                Body::Rubbish,
                400,
                "Failed to",
            )
        },
        row(
            "6: no type",
            Body::Call(json!({ "framework_id": { "value": "$ID" } })),
            400,
            "Expecting 'type' to be present",
        ),
        row(
            "6: an empty call",
            Body::Call(json!({})),
            400,
            "Expecting 'type' to be present",
        ),
        Row {
            accept: Some("text/html"),
            ..row(
                "6: validity comes before Accept",
                Body::Call(json!({ "type": "SUBSCRIBE" })),
                400,
                "Expecting 'subscribe' to be present",
            )
        },
        Row {
            accept: Some("text/html"),
            ..row(
                "7: Accept cannot be met",
                Body::Call(subscribe()),
                406,
                "Expecting 'Accept' to allow",
            )
        },
        Row {
            accept: Some("application/recordio"),
            stream: Stream::None,
            ..row(
                "7: nor by the framing's name",
                Body::Call(subscribe()),
                406,
                "Expecting 'Accept' to allow",
            )
        },
        Row {
            accept: Some("text/html"),
            ..row(
                "7: RECONCILE_OPERATIONS needs it too, before the framework is looked for",
                Body::Call(
                    json!({ "type": "RECONCILE_OPERATIONS", "framework_id": { "value": "nobody" }, "reconcile_operations": {} }),
                ),
                406,
                "Expecting 'Accept' to allow",
            )
        },
        row(
            "4: a stream id on SUBSCRIBE",
            Body::Call(subscribe()),
            400,
            "should not include the 'Mesos-Stream-Id' header",
        ),
        Row {
            stream: Stream::None,
            ..row(
                "8: no framework id, before the stream id",
                Body::Call(json!({ "type": "REVIVE" })),
                400,
                "Expecting 'framework_id' to be present",
            )
        },
        Row {
            stream: Stream::None,
            ..row(
                "8: an unknown framework, before the stream id",
                Body::Call(json!({ "type": "REVIVE", "framework_id": { "value": "nobody" } })),
                400,
                "Framework cannot be found",
            )
        },
        Row {
            stream: Stream::None,
            ..row(
                "8: no stream id",
                Body::Call(own("REVIVE")),
                400,
                "'Mesos-Stream-Id'",
            )
        },
        Row {
            stream: Stream::Other,
            ..row(
                "8: another stream id",
                Body::Call(own("REVIVE")),
                400,
                "didn't match the stream ID currently associated",
            )
        },
        row(
            "9: type UNKNOWN (Mesos aborts)",
            Body::Call(own("UNKNOWN")),
            400,
            "",
        ),
        Row {
            stream: Stream::None,
            ..row(
                "SUBSCRIBE with an id in one place only",
                Body::Call(
                    json!({ "type": "SUBSCRIBE", "framework_id": { "value": "a" }, "subscribe": { "framework_info": { "user": "u", "name": "n" } } }),
                ),
                400,
                "framework_id",
            )
        },
        Row {
            stream: Stream::None,
            ..row(
                "SUBSCRIBE with two different ids",
                Body::Call(
                    json!({ "type": "SUBSCRIBE", "framework_id": { "value": "a" }, "subscribe": { "framework_info": { "user": "u", "name": "n", "id": { "value": "b" } } } }),
                ),
                400,
                "framework_id",
            )
        },
    ];
    for (kind, text) in [
        ("ACCEPT", "Expecting 'accept' to be present"),
        ("DECLINE", "Expecting 'decline' to be present"),
        (
            "ACCEPT_INVERSE_OFFERS",
            "Expecting 'accept_inverse_offers' to be present",
        ),
        (
            "DECLINE_INVERSE_OFFERS",
            "Expecting 'decline_inverse_offers' to be present",
        ),
        ("KILL", "Expecting 'kill' to be present"),
        ("SHUTDOWN", "Expecting 'shutdown' to be present"),
        ("ACKNOWLEDGE", "Expecting 'acknowledge' to be present"),
        (
            "ACKNOWLEDGE_OPERATION_STATUS",
            "Expecting 'acknowledge_operation_status' to be present",
        ),
        ("RECONCILE", "Expecting 'reconcile' to be present"),
        (
            "RECONCILE_OPERATIONS",
            "Expecting 'reconcile_operations' to be present",
        ),
        ("MESSAGE", "Expecting 'message' to be present"),
        ("REQUEST", "Expecting 'request' to be present"),
        (
            "UPDATE_FRAMEWORK",
            "Expecting 'update_framework' to be present",
        ),
    ] {
        rows.push(row(
            "6: the type's own field is missing",
            Body::Call(own(kind)),
            400,
            text,
        ));
        // Also when another type's field is there.
        let mut other = own(kind);
        other["revive"] = json!({});
        rows.push(row(
            "6: another type's field does not help",
            Body::Call(other),
            400,
            text,
        ));
    }
    rows
}

#[tokio::test]
async fn each_refusal_comes_in_its_order_and_changes_nothing() {
    for form in FORMS {
        let master = master().await;
        let _agent = Agent::start(&master, "cpus:4;mem:1024").await;
        let mut talk = Talk::open(&master, form, json!({})).await;
        talk.offers().await;
        let before = state(&master).await;
        for row in rows() {
            let body = match &row.body {
                Body::Call(call) => {
                    let call = call.to_string().replace("$ID", &talk.id);
                    form.encode(&serde_json::from_str(&call).expect("JSON"))
                }
                Body::Rubbish => b"\x7f\x7f{".to_vec(),
            };
            let mut head = format!(
                "{} {PATH} HTTP/1.1\r\ncontent-length: {}",
                row.method,
                body.len()
            );
            let mut add = |name: &str, value: &str| {
                if !value.is_empty() {
                    head.push_str(&format!("\r\n{name}: {value}"));
                }
            };
            add(
                "content-type",
                row.content_type.unwrap_or(form.media_type()),
            );
            add("accept", row.accept.unwrap_or_default());
            match row.stream {
                Stream::Own => add("mesos-stream-id", &talk.stream_id),
                Stream::None => {}
                Stream::Other => add("mesos-stream-id", "00000000-0000-4000-8000-000000000000"),
            }
            let answer = Exchange::start(&master, &head, &body).await.finish().await;
            let told = said(&answer);
            assert_eq!(answer.status, row.status, "{form:?} {}: {told}", row.name);
            assert!(
                told.contains(row.text) && !answer.body.is_empty(),
                "{form:?} {}: {told}",
                row.name
            );
            if row.status == 405 {
                assert_eq!(answer.header("allow"), Some("POST"), "{}", row.name);
            }
            assert_eq!(
                state(&master).await,
                before,
                "{form:?} {} has changed something",
                row.name
            );
        }
        let revive = talk.call(&master, json!({ "type": "REVIVE" })).await;
        assert_eq!(
            said(&revive),
            "202 ",
            "Accept counts only where something is answered"
        );
        master.shutdown().await;
    }
}

/// Numbers that no member of the enum has, and names that are none, read as an unset type.
#[tokio::test]
async fn types_that_nobody_knows() {
    let master = master().await;
    let talk = Talk::open(&master, Form::Json, json!({})).await;
    let before = state(&master).await;
    let id = talk.id.as_bytes();
    let mut number = vec![
        0x0a,
        u8::try_from(id.len() + 2).expect("short"),
        0x0a,
        u8::try_from(id.len()).expect("short"),
    ];
    number.extend_from_slice(id);
    number.extend_from_slice(&[0x10, 99]);
    let name = format!(
        r#"{{"type":"DANCE","framework_id":{{"value":"{}"}}}}"#,
        talk.id
    );
    for (form, body) in [(Form::Protobuf, number), (Form::Json, name.into_bytes())] {
        let headers = format!(
            "\r\ncontent-type: {}\r\nmesos-stream-id: {}",
            form.media_type(),
            talk.stream_id
        );
        let answer = post(&master, PATH, &headers, &body).await;
        assert_eq!(answer.status, 400, "{form:?} {}", said(&answer));
    }
    assert_eq!(state(&master).await, before);
    master.shutdown().await;
}

#[tokio::test]
async fn a_disconnected_framework_is_not_subscribed_whatever_else_is_wrong() {
    for form in FORMS {
        let master = master().await;
        let talk = Talk::open(&master, form, json!({ "failover_timeout": 1000 })).await;
        let id = json!({ "value": talk.id });
        let with_stream = talk.headers();
        drop(talk);
        let disconnected = async {
            while state(&master).await["frameworks"][0]["connected"] != false {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::support::PATIENCE, disconnected)
            .await
            .expect("soon");
        let before = state(&master).await;
        let without = format!("\r\ncontent-type: {}", form.media_type());
        for headers in [&with_stream, &without] {
            for call in [
                json!({ "type": "REVIVE" }),
                json!({ "type": "TEARDOWN" }),
                json!({ "type": "RECONCILE", "reconcile": {} }),
            ] {
                let mut call = call;
                call["framework_id"] = id.clone();
                let answer = post(&master, PATH, headers, &form.encode(&call)).await;
                assert_eq!(
                    said(&answer),
                    "403 Framework is not subscribed",
                    "{form:?} {call}"
                );
            }
        }
        assert_eq!(state(&master).await, before);
        master.shutdown().await;
    }
}

/// What the stream's body is in; JSON wins wherever both will do, and streams are never packed.
#[tokio::test]
async fn the_streams_form_is_negotiated() {
    let master = master().await;
    let (json, protobuf) = ("application/json", "application/x-protobuf");
    for (accept, expected) in [
        ("", json),
        ("*/*", json),
        ("application/*", json),
        (json, json),
        (protobuf, protobuf),
        ("application/x-protobuf;q=1, application/json;q=0.1", json),
        ("application/json;q=0, */*", protobuf),
        ("text/html, */*", json),
    ] {
        for form in FORMS {
            let body = form.encode(&json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": { "user": "u", "name": "n" } } }));
            let accept_line = if accept.is_empty() {
                String::new()
            } else {
                format!("\r\naccept: {accept}")
            };
            let head = format!(
                "POST {PATH} HTTP/1.1\r\ncontent-type: {}\r\naccept-encoding: gzip{accept_line}\r\ncontent-length: {}",
                form.media_type(),
                body.len()
            );
            let mut stream = Exchange::start(&master, &head, &body).await;
            assert_eq!(
                (
                    stream.status,
                    stream.header("content-type"),
                    stream.header("content-encoding"),
                    stream.header("content-length")
                ),
                (200, Some(expected), None, None),
                "{accept}"
            );
            assert_eq!(stream.header("transfer-encoding"), Some("chunked"));
            let piece = stream.piece().await.expect("SUBSCRIBED");
            let (length, record) = piece.split_at(
                piece
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .expect("RecordIO"),
            );
            assert!(length.iter().all(u8::is_ascii_digit), "{length:?}");
            assert_eq!(record[1] == b'{', expected == json, "{accept}");
        }
    }
    master.shutdown().await;
}

/// 36 characters, new for each subscription, the old one dead at once.
#[tokio::test]
async fn a_stream_id_lives_as_long_as_its_subscription() {
    for form in FORMS {
        let master = master().await;
        let first = Talk::open(&master, form, json!({})).await;
        assert_eq!(first.stream_id.len(), 36);
        assert!(uuid::Uuid::parse_str(&first.stream_id).is_ok_and(|id| id.get_version_num() == 4));
        let second = Talk::open(&master, form, json!({ "id": { "value": first.id } })).await;
        assert_ne!(first.stream_id, second.stream_id);
        assert_eq!(
            first
                .call(&master, json!({ "type": "REVIVE" }))
                .await
                .status,
            400
        );
        assert_eq!(
            second
                .call(&master, json!({ "type": "REVIVE" }))
                .await
                .status,
            202
        );
        // Several calls at once, each on a connection of its own.
        let calls = (0..20).map(|_| second.call(&master, json!({ "type": "REVIVE" })));
        for answer in futures::future::join_all(calls).await {
            assert_eq!(answer.status, 202);
        }
        assert_eq!(
            get(&master, "/frameworks").await.json()["frameworks"]
                .as_array()
                .map(Vec::len),
            Some(1)
        );
        master.shutdown().await;
    }
}

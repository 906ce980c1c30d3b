//! The mapping, rule by rule.

use super::{Error, Json, from_slice, to_vec};
use crate::mesos::{self, agent, executor, master, scheduler};

fn text(message: &impl Json) -> String {
    String::from_utf8(to_vec(message)).expect("JSON is UTF-8")
}

/// Reads `input` and writes it again.
#[track_caller]
fn becomes<M: Json + Default>(input: &str, output: &str) {
    let message: M =
        from_slice(input.as_bytes()).unwrap_or_else(|error| panic!("{input}: {error}"));
    assert_eq!(text(&message), output, "{input}");
}

/// What Tepui writes, it reads, and writes again.
#[track_caller]
fn golden<M: Json + Default + PartialEq + std::fmt::Debug>(message: &M, output: &str) {
    assert_eq!(text(message), output);
    assert_eq!(
        &from_slice::<M>(output.as_bytes()).unwrap_or_else(|error| panic!("{output}: {error}")),
        message
    );
}

#[track_caller]
fn refuses<M: Json + Default + std::fmt::Debug>(input: &str, message: &str) {
    match from_slice::<M>(input.as_bytes()) {
        Ok(value) => panic!("{input} was taken: {value:?}"),
        Err(error) => assert_eq!(error.to_string(), message, "{input}"),
    }
}

#[test]
fn heartbeat_is_the_type_alone() {
    let heartbeat = scheduler::Event {
        r#type: Some(scheduler::event::Type::Heartbeat.into()),
        ..Default::default()
    };
    golden(&heartbeat, r#"{"type":"HEARTBEAT"}"#);
}

#[test]
fn explicit_defaults_are_shown_unless_deprecated() {
    let info = mesos::FrameworkInfo {
        user: "root".to_owned(),
        name: "hello".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        text(&info),
        r#"{"user":"root","name":"hello","failover_timeout":0.0,"checkpoint":false}"#
    );
    assert_eq!(text(&mesos::CommandInfo::default()), r#"{"shell":true}"#);
    assert_eq!(
        text(&mesos::Filters::default()),
        r#"{"refuse_seconds":5.0}"#
    );
    assert_eq!(
        text(&mesos::command_info::Uri::default()),
        r#"{"value":"","extract":true}"#
    );
    assert_eq!(
        text(&mesos::AgentInfo::default()),
        r#"{"hostname":"","port":5051}"#
    );
    assert_eq!(
        text(&mesos::health_check::HttpCheckInfo {
            port: 80,
            ..Default::default()
        }),
        r#"{"protocol":"IPv4","port":80}"#
    );
    assert_eq!(
        text(&mesos::environment::Variable::default()),
        r#"{"name":"","type":"VALUE"}"#
    );
    let scalar = mesos::value::Scalar { value: 4.0 };
    let resource = mesos::Resource {
        name: "cpus".to_owned(),
        scalar: Some(scalar),
        ..Default::default()
    };
    assert_eq!(
        text(&resource),
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0}}"#
    );
    let resource = mesos::Resource {
        role: Some("*".to_owned()),
        ..resource
    };
    golden(
        &resource,
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"role":"*"}"#,
    );
}

#[test]
fn numbers() {
    for (value, shown) in [
        (0.0, "0.0"),
        (15.0, "15.0"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1e21, "1e21"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ] {
        golden(
            &mesos::value::Scalar { value },
            &format!(r#"{{"value":{shown}}}"#),
        );
    }
    for (given, value) in [
        ("\"Infinity\"", "Infinity"),
        ("\"1.5\"", "1.5"),
        ("1E2", "100.0"),
        ("7", "7.0"),
        ("\"-3\"", "-3.0"),
    ] {
        becomes::<mesos::value::Scalar>(
            &format!(r#"{{"value":{given}}}"#),
            &format!(r#"{{"value":{value}}}"#),
        );
    }
    golden(
        &mesos::value::Range {
            begin: 0,
            end: u64::MAX,
        },
        r#"{"begin":0,"end":18446744073709551615}"#,
    );
    golden(
        &mesos::TimeInfo {
            nanoseconds: i64::MIN,
        },
        r#"{"nanoseconds":-9223372036854775808}"#,
    );
    becomes::<mesos::value::Range>(r#"{"begin":"1","end":2.9}"#, r#"{"begin":1,"end":2}"#);
    for bad in ["-1", "18446744073709551616", "1e20", "\"-1\"", "Infinity"] {
        refuses::<mesos::value::Range>(
            &format!(r#"{{"begin":{bad},"end":2}}"#),
            "The number is out of range for field 'begin'",
        );
    }
    for bad in [
        "1.", ".5", "01", "1e", "-", "+1", "0x10", "Inf", "NaN", "1e999",
    ] {
        let error = from_slice::<mesos::value::Scalar>(format!(r#"{{"value":{bad}}}"#).as_bytes());
        assert!(
            matches!(error, Err(Error::Syntax { .. })),
            "{bad}: {error:?}"
        );
        let error =
            from_slice::<mesos::value::Scalar>(format!(r#"{{"value":"{bad}"}}"#).as_bytes());
        assert!(
            matches!(error, Err(Error::Field { .. })),
            "{bad}: {error:?}"
        );
    }
}

#[test]
fn strings() {
    let label = |value: &str| mesos::Label {
        key: "k".to_owned(),
        value: Some(value.to_owned()),
    };
    golden(
        &label("a/b é \u{1F600}"),
        "{\"key\":\"k\",\"value\":\"a/b é \u{1F600}\"}",
    );
    golden(
        &label("\"\\\n\r\t\u{8}\u{c}\u{1}\u{1f}"),
        r#"{"key":"k","value":"\"\\\n\r\t\b\f\u0001\u001F"}"#,
    );
    becomes::<mesos::Label>(
        r#"{"\u006bey":"k","value":"\u00e9\ud83d\ude00\/"}"#,
        "{\"key\":\"k\",\"value\":\"é\u{1F600}/\"}",
    );
    for length in 0..40 {
        for special in ["\"", "\\", "\n", "é"] {
            let value = "x".repeat(length) + special + &"y".repeat(length);
            assert_eq!(
                from_slice::<mesos::Label>(&to_vec(&label(&value))),
                Ok(label(&value))
            );
        }
    }
    for bad in [
        r#""\x""#,
        r#""\u12""#,
        r#""\ud800""#,
        r#""\ud800\u0041""#,
        "\"\n\"",
        "\"",
        r#""\"#,
    ] {
        let error = from_slice::<mesos::Label>(format!(r#"{{"key":{bad}}}"#).as_bytes());
        assert!(
            matches!(error, Err(Error::Syntax { .. })),
            "{bad}: {error:?}"
        );
    }
    assert!(matches!(
        from_slice::<mesos::Label>(b"{\"key\":\"\xff\"}"),
        Err(Error::Syntax { at_byte: 8, .. })
    ));
}

#[test]
fn bytes_are_base64() {
    let message = |data: &'static [u8]| executor::call::Message { data: data.into() };
    golden(&message(b""), r#"{"data":""}"#);
    golden(&message(b"f"), r#"{"data":"Zg=="}"#);
    golden(&message(b"hello\xff"), r#"{"data":"aGVsbG//"}"#);
    becomes::<executor::call::Message>(r#"{"data":"Zg"}"#, r#"{"data":"Zg=="}"#);
    let error = from_slice::<executor::call::Message>(br#"{"data":"%%"}"#)
        .expect_err("no base64")
        .to_string();
    assert!(
        error.starts_with("Failed to base64 decode bytes (") && error.ends_with("for field 'data'"),
        "{error}"
    );
}

#[test]
fn lists_and_maps() {
    becomes::<scheduler::call::Revive>(r#"{"roles":["a",null,"b"]}"#, r#"{"roles":["a","b"]}"#);
    becomes::<scheduler::call::Revive>(r#"{"roles":"a"}"#, r#"{"roles":["a"]}"#);
    becomes::<scheduler::call::Revive>(r#"{"roles":[]}"#, "{}");
    becomes::<mesos::Labels>(r#"{"labels":{"key":"a"}}"#, r#"{"labels":[{"key":"a"}]}"#);
    becomes::<mesos::TaskGroupInfo>(r#"{"tasks":null}"#, "{}");
    refuses::<scheduler::call::Revive>(
        r#"{"roles":["a",["b"]]}"#,
        "Not expecting a JSON array for field 'roles[1]'",
    );
    refuses::<mesos::TaskId>(
        r#"{"value":["a"]}"#,
        "Not expecting a JSON array for field 'value'",
    );
    let config = r#"{"role":"r","limits":{"cpus":{"value":Infinity},"mem":{"value":32.0}}}"#;
    becomes::<mesos::quota::QuotaConfig>(config, config);
    refuses::<mesos::quota::QuotaConfig>(
        r#"{"role":"r","limits":{"cpus":"Infinity"}}"#,
        "Not expecting a JSON string for field 'limits[0]'",
    );
    let map = r#"{"volume_id":"v","volume_capability":{"block":{},"access_mode":{"mode":"SINGLE_NODE_WRITER"}},"volume_context":{"a\"b":"c"}}"#;
    becomes::<mesos::volume::source::csi_volume::StaticProvisioning>(map, map);
}

#[test]
fn enums_are_names() {
    becomes::<scheduler::Call>(r#"{"type":"NO_SUCH_CALL"}"#, "{}");
    becomes::<mesos::CsiPluginContainerInfo>(
        r#"{"services":["NODE_SERVICE","OTHER","CONTROLLER_SERVICE"]}"#,
        r#"{"services":["NODE_SERVICE","CONTROLLER_SERVICE"]}"#,
    );
    refuses::<scheduler::Call>(
        r#"{"type":3}"#,
        "Not expecting a JSON number for field 'type'",
    );
    refuses::<mesos::Value>(
        r#"{"type":"LIST"}"#,
        "Failed to find enum value 'LIST' for field 'type'",
    );
    let unknown = mesos::TaskStatus {
        reason: Some(9999),
        ..Default::default()
    };
    assert_eq!(
        text(&unknown),
        r#"{"task_id":{"value":""},"state":"TASK_STAGING"}"#
    );
}

#[test]
fn oneofs_are_plain_fields() {
    let text = r#"{"selector":{"pseudoattribute_type":"HOSTNAME"},"predicate":{"text_equals":{"value":"h"}}}"#;
    becomes::<scheduler::AttributeConstraint>(text, text);
    let text = r#"{"selector":{"attribute_name":"rack"},"predicate":{"exists":{}}}"#;
    becomes::<scheduler::AttributeConstraint>(text, text);
}

#[test]
fn null_and_unknown_keys_are_ignored() {
    becomes::<mesos::ExecutorInfo>(
        r#" { "executor_id" : { "value" : "e" , "x" : [ 1 , { "y" : null } , true , "z" , -1e3 , [ ] , { } ] } , "name" : null , "taskId" : 5 } "#,
        r#"{"executor_id":{"value":"e"}}"#,
    );
    becomes::<mesos::CommandInfo>(r#"{"shell":"false"}"#, r#"{"shell":false}"#);
    refuses::<mesos::CommandInfo>(
        r#"{"shell":"yes"}"#,
        "Failed to parse 'yes' as a JSON boolean for field 'shell'",
    );
}

#[test]
fn duration_is_a_plain_message() {
    let text = r#"{"agent_id":{"value":"a"},"max_grace_period":{"seconds":600,"nanos":0},"mark_gone":false}"#;
    becomes::<master::call::DrainAgent>(text, text);
}

#[test]
fn all_missing_fields_are_named() {
    refuses::<scheduler::Call>(
        r#"{"type":"ACCEPT","accept":{"operations":[{"launch":{"task_infos":[
            {"name":"a","task_id":{"value":"a"},"agent_id":{"value":"s"}},
            {"name":"b","task_id":{},"agent_id":null}]}}]}}"#,
        "Missing required fields: accept.operations[0].launch.task_infos[1].task_id.value, \
         accept.operations[0].launch.task_infos[1].agent_id",
    );
    let many = format!("{{\"labels\":[{}]}}", vec!["{}"; 100].join(","));
    let Err(Error::Missing { paths }) = from_slice::<mesos::Labels>(many.as_bytes()) else {
        panic!("keys are missing");
    };
    assert_eq!(paths.len(), 16, "the list is bounded");
    assert_eq!(paths[15], "labels[15].key");
}

#[test]
fn what_is_no_json() {
    for bad in [
        "",
        "  ",
        "{",
        "}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[1,]}",
        "{} x",
        "{\"a\":nul}",
        "{a:1}",
        "{\"a\":'b'}",
    ] {
        let error = from_slice::<agent::Call>(bad.as_bytes()).expect_err(bad);
        assert!(error.is_syntax(), "{bad}: {error}");
    }
    for other in ["[]", "\"x\"", "1", "true", "null"] {
        assert_eq!(
            from_slice::<agent::Call>(other.as_bytes()),
            Err(Error::NotAnObject),
            "{other}"
        );
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        format!(
            "{}{}",
            "{\"value\":\"c\",\"parent\":".repeat(depth),
            "{\"value\":\"c\"}"
        ) + &"}".repeat(depth)
    };
    assert!(from_slice::<mesos::ContainerId>(nested(super::DEPTH_LIMIT - 1).as_bytes()).is_ok());
    assert!(
        from_slice::<mesos::ContainerId>(nested(super::DEPTH_LIMIT).as_bytes())
            .is_err_and(|error| error.is_syntax())
    );
    let junk = format!("{{\"x\":{}", "[".repeat(1_000_000));
    assert!(
        from_slice::<mesos::ContainerId>(junk.as_bytes()).is_err_and(|error| error.is_syntax())
    );
}

/// Each line of `golden.txt` is a message's name and its JSON text; written after reading it is the same, byte by byte, also by
/// the way of protobuf.
#[test]
fn golden_texts() {
    fn check<M: Json + crate::wire::Checked>(line: &str) {
        let message: M =
            from_slice(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(text(&message), line);
        let message = crate::wire::decode::<M>(&message.encode_to_vec());
        assert_eq!(message.map(|message| text(&message)).as_deref(), Ok(line));
    }
    for line in include_str!("golden.txt").lines() {
        let (name, line) = line.split_once(' ').expect("a name and a text");
        match name {
            "scheduler.Call" => check::<scheduler::Call>(line),
            "scheduler.Event" => check::<scheduler::Event>(line),
            "executor.Call" => check::<executor::Call>(line),
            "executor.Event" => check::<executor::Event>(line),
            "master.Call" => check::<master::Call>(line),
            "master.Response" => check::<master::Response>(line),
            "master.Event" => check::<master::Event>(line),
            "agent.Call" => check::<agent::Call>(line),
            "agent.Response" => check::<agent::Response>(line),
            "agent.ProcessIO" => check::<agent::ProcessIo>(line),
            other => panic!("no message is called {other}"),
        }
    }
}

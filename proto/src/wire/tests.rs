//! What is refused, and how it is said.

use prost::Message;

use super::*;
use crate::mesos::{self, scheduler};
use crate::tepui;

/// A field with a length: a message, a string, bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).expect("small")];
    out.extend_from_slice(content);
    out
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

#[test]
fn missing_fields_are_named() {
    let task = |id: &[u8]| {
        [
            field(1, b"name"),
            id.to_vec(),
            field(3, &field(1, b"agent")),
        ]
        .concat()
    };
    let good = task(&field(2, &field(1, b"id")));
    for (bad, missing) in [
        (task(&[]), "task_id"),
        (task(&field(2, &[])), "task_id.value"),
    ] {
        let launch = [field(1, &good), field(1, &bad)].concat();
        let operation = [number(1, 1), field(2, &launch)].concat();
        let call = [number(2, 3), field(4, &field(2, &operation))].concat();
        let error = decode::<scheduler::Call>(&call).expect_err("a field is missing");
        assert_eq!(
            error.to_string(),
            format!("Missing required fields: accept.operations[0].launch.task_infos[1].{missing}")
        );
    }
    assert_eq!(
        decode::<mesos::TaskStatus>(&[]).map_err(|error| error.to_string()),
        Err("Missing required fields: task_id, state".to_owned())
    );
    // Maps are walked too.
    let limits = field(15, &[field(1, b"cpus"), field(2, &[])].concat());
    let error =
        decode::<mesos::TaskInfo>(&[good, limits].concat()).expect_err("a limit has no value");
    assert_eq!(
        error.to_string(),
        "Missing required fields: limits[0].value.value"
    );
}

#[test]
fn unknown_enum_numbers() {
    let status = |rest: &[u8]| [field(1, &field(1, b"t")), rest.to_vec()].concat();
    assert_eq!(
        decode::<mesos::TaskStatus>(&status(&number(2, 99))),
        Err(Error::UnknownEnum {
            path: "state".to_owned(),
            number: 99
        })
    );
    // Optional ones read as unset, at any depth.
    let update = tepui::TaskUpdate {
        framework_id: mesos::FrameworkId {
            value: "f".to_owned(),
        },
        status: mesos::TaskStatus {
            reason: Some(99),
            source: Some(1),
            ..Default::default()
        },
        ..Default::default()
    };
    let frame = tepui::AgentFrame {
        messages: vec![tepui::AgentMessage {
            message: Some(tepui::agent_message::Message::TaskUpdate(update.clone())),
        }],
    };
    let read = decode::<tepui::AgentFrame>(&frame.encode_to_vec()).expect("it is well formed");
    let Some(tepui::agent_message::Message::TaskUpdate(read)) = &read.messages[0].message else {
        panic!("it is an update");
    };
    assert_eq!(
        read.status,
        mesos::TaskStatus {
            reason: None,
            ..update.status
        }
    );
    // In lists they are taken out, packed or not.
    let packed = field(1, &[1, 77, 2]);
    let read = decode::<mesos::CsiPluginContainerInfo>(&[packed, number(1, 78)].concat());
    assert_eq!(read.map(|info| info.services), Ok(vec![1, 2]));
    // In a oneof the whole oneof is unset.
    let selector = decode::<scheduler::attribute_constraint::Selector>(&number(1, 9));
    assert_eq!(selector.map(|selector| selector.selector), Ok(None));
}

#[test]
fn unknown_fields_are_skipped() {
    let id = field(1, b"x");
    for unknown in [
        number(9, 5),
        field(9, b"abc"),
        vec![9 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![9 << 3 | 5, 1, 2, 3, 4],
        // A group with a number in it.
        vec![9 << 3 | 3, 1 << 3, 7, 9 << 3 | 4],
        // A number beyond the tables.
        vec![0x80 | 7 << 3 & 0x7f, 0x40, 1],
    ] {
        for bytes in [
            [id.clone(), unknown.clone()].concat(),
            [unknown.clone(), id.clone()].concat(),
        ] {
            let read = decode::<mesos::TaskId>(&bytes);
            assert_eq!(read.map(|id| id.value), Ok("x".to_owned()), "{bytes:?}");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        (0..depth).fold(
            mesos::ContainerId {
                value: "c".to_owned(),
                parent: None,
            },
            |inner, _| mesos::ContainerId {
                value: "c".to_owned(),
                parent: Some(Box::new(inner)),
            },
        )
    };
    assert!(decode::<mesos::ContainerId>(&nested(DEPTH_LIMIT - 1).encode_to_vec()).is_ok());
    let error = decode::<mesos::ContainerId>(&nested(DEPTH_LIMIT).encode_to_vec());
    assert!(matches!(error, Err(Error::TooDeep { .. })), "{error:?}");
    let error = decode::<mesos::ContainerId>(&nested(5000).encode_to_vec());
    assert!(error.is_err());
}

#[test]
fn broken_bytes_are_malformed() {
    for bytes in [
        &[0x0a][..],
        &[0x0a, 5, 1],
        &[0x0a, 1, 0xff],
        &[0xff; 11],
        &[0x0c],
        &[0x0b],
    ] {
        let error = decode::<mesos::TaskId>(bytes);
        assert!(
            matches!(error, Err(Error::Malformed(_))),
            "{bytes:?}: {error:?}"
        );
    }
    assert!(matches!(malformed(), Error::Malformed(_)));
}

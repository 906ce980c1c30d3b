//! Fuzz targets: one plain function for each decoder, to be driven by cargo-fuzz or by anything else that makes bytes. None of them
//! panics unless a law is broken; what the laws are stands at each.

use crate::convert::{self, attributes, duration, resources};
use crate::json::{self, Json};
use crate::mesos::{self, agent, executor, master, scheduler};
use crate::wire::{self, Checked};
use crate::{recordio, tepui};

/// A fuzz target with its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 15] = [
    ("json_scheduler", json_scheduler),
    ("json_executor", json_executor),
    ("json_master", json_master),
    ("json_agent", json_agent),
    ("wire_scheduler", wire_scheduler),
    ("wire_executor", wire_executor),
    ("wire_master", wire_master),
    ("wire_agent", wire_agent),
    ("wire_link", wire_link),
    ("record_stream", record_stream),
    ("resource_list", resource_list),
    ("resource_flag", resource_flag),
    ("attribute_flag", attribute_flag),
    ("duration_flag", duration_flag),
    ("container_id", container_id),
];

/// Scheduler calls and events in JSON.
pub fn json_scheduler(data: &[u8]) {
    read_json::<scheduler::Call>(data);
    read_json::<scheduler::Event>(data);
}

/// Executor calls and events in JSON.
pub fn json_executor(data: &[u8]) {
    read_json::<executor::Call>(data);
    read_json::<executor::Event>(data);
}

/// The master's operator API in JSON.
pub fn json_master(data: &[u8]) {
    read_json::<master::Call>(data);
    read_json::<master::Response>(data);
    read_json::<master::Event>(data);
}

/// The agent's operator API in JSON.
pub fn json_agent(data: &[u8]) {
    read_json::<agent::Call>(data);
    read_json::<agent::Response>(data);
    read_json::<agent::ProcessIo>(data);
}

/// Scheduler calls and events in protobuf.
pub fn wire_scheduler(data: &[u8]) {
    read_wire::<scheduler::Call>(data);
    read_wire::<scheduler::Event>(data);
}

/// Executor calls and events in protobuf.
pub fn wire_executor(data: &[u8]) {
    read_wire::<executor::Call>(data);
    read_wire::<executor::Event>(data);
}

/// The master's operator API in protobuf.
pub fn wire_master(data: &[u8]) {
    read_wire::<master::Call>(data);
    read_wire::<master::Response>(data);
}

/// The agent's operator API in protobuf.
pub fn wire_agent(data: &[u8]) {
    read_wire::<agent::Call>(data);
    read_wire::<agent::Response>(data);
}

/// Frames between master and agent.
pub fn wire_link(data: &[u8]) {
    check_wire::<tepui::AgentFrame>(data);
    check_wire::<tepui::MasterFrame>(data);
}

/// A RecordIO stream. The first byte says how it is cut; whatever it says, the records and the error are the same.
pub fn record_stream(data: &[u8]) {
    const LIMIT_BYTES: usize = 1 << 16;
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let read = |piece_bytes: usize| {
        let mut decoder = recordio::Decoder::new(LIMIT_BYTES);
        let mut records = Vec::new();
        for piece in stream.chunks(piece_bytes) {
            decoder.push(piece);
            loop {
                match decoder.next_record() {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => break,
                    Err(error) => return (records, Some(error)),
                }
            }
        }
        (records, None)
    };
    assert_eq!(
        read(usize::from(*cut).max(1)),
        read(stream.len().max(1)),
        "the cut matters"
    );
}

/// Resources in protobuf. What is taken is written and read again as the same.
pub fn resource_list(data: &[u8]) {
    let Ok(offer) = wire::decode::<mesos::TaskGroupInfo>(data) else {
        return;
    };
    for task in &offer.tasks {
        let Ok(read) = resources::from_wire(&task.resources) else {
            continue;
        };
        for encoding in [resources::Encoding::Stack, resources::Encoding::Role] {
            let again = resources::from_wire(&resources::to_wire(&read, encoding));
            assert_eq!(again.as_ref(), Ok(&read), "{encoding:?}");
        }
    }
}

/// Resources as text or JSON.
pub fn resource_flag(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = resources::from_flag(text) {
        let list = resources::to_wire(&read, resources::Encoding::Stack);
        assert_eq!(resources::from_wire(&list).as_ref(), Ok(&read));
    }
}

/// Attributes as text. What is taken is printed and read again as the same.
pub fn attribute_flag(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = attributes::parse(text) {
        assert_eq!(
            attributes::parse(&attributes::format(&read)).as_ref(),
            Ok(&read)
        );
    }
}

/// Durations as text. What is taken is printed and read again as nearly the same: printing keeps 15 digits.
pub fn duration_flag(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(read) = duration::parse(text) {
        let again = duration::parse(&duration::format(read)).unwrap_or_default();
        assert!(
            again.abs_diff(read).as_secs_f64() <= read.as_secs_f64() * 1e-14,
            "{read:?} became {again:?}"
        );
    }
}

/// What is taken is written, and read again as what is written in the same way.
fn read_json<M: Json + Default>(data: &[u8]) {
    if let Ok(message) = json::from_slice::<M>(data) {
        let text = json::to_vec(&message);
        let again = json::from_slice::<M>(&text).map(|message| json::to_vec(&message));
        assert_eq!(
            again.as_deref(),
            Ok(text.as_slice()),
            "a written message is not read"
        );
    }
}

/// As [`check_wire`], and what is taken can be written as JSON and, unless it has a NaN, read again.
fn read_wire<M: Checked + Json>(data: &[u8]) {
    let Some(message) = check_wire::<M>(data) else {
        return;
    };
    let text = json::to_vec(&message);
    let again = json::from_slice::<M>(&text).map(|message| json::to_vec(&message));
    let has_nan = text
        .windows(4)
        .any(|window| window == b":NaN" || window == b"[NaN");
    assert!(
        has_nan || again.as_deref() == Ok(text.as_slice()),
        "a written message is not read: {again:?}"
    );
}

/// What is taken is written and taken again.
fn check_wire<M: Checked>(data: &[u8]) -> Option<M> {
    let message = wire::decode::<M>(data).ok()?;
    let encoded = message.encode_to_vec();
    let again = wire::decode::<M>(&encoded).map(|message| message.encode_to_vec());
    assert_eq!(
        again.as_deref(),
        Ok(encoded.as_slice()),
        "a written message is not taken"
    );
    Some(message)
}

/// Container ids of any depth.
pub fn container_id(data: &[u8]) {
    if let Ok(id) = wire::decode::<mesos::ContainerId>(data)
        && let Ok(read) = tepui_model::ContainerId::try_from(&id)
    {
        assert_eq!(mesos::ContainerId::from(&read), id);
        assert!(read.to_string().split('.').count() <= convert::CONTAINER_DEPTH_LIMIT);
    }
}

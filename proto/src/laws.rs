//! Laws of the codecs, tried on random messages of all APIs, and a short stable run of the fuzz targets.

use proptest::prelude::*;
use prost::Message;
use std::fmt::Debug;

use crate::json::{self, Json};
use crate::mesos::{agent, executor, master, scheduler};
use crate::random::{Random, Source, message};
use crate::wire::{self, Checked};
use crate::{fuzz, mesos, recordio, tepui};

/// What is written as JSON is JSON (but for infinities) and is read as the same message, in any layout; the same goes for protobuf.
fn round_trips<M: Random + Json + Checked + PartialEq + Debug>(seed: u64) {
    let original: M = message(seed);
    let text = json::to_vec(&original);
    let shown = || String::from_utf8_lossy(&text);
    assert!(
        json::from_slice::<M>(&text).as_ref() == Ok(&original),
        "{}",
        shown()
    );
    assert!(
        json::from_slice::<M>(&spaced(&text)).as_ref() == Ok(&original),
        "{}",
        shown()
    );
    let others_read_it = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
    assert!(
        others_read_it || shown().contains("Infinity"),
        "{}",
        shown()
    );
    encodes(&original);
}

/// The same with white space around everything.
fn spaced(text: &[u8]) -> Vec<u8> {
    let (mut out, mut quoted, mut escaped) = (Vec::new(), false, false);
    for byte in text {
        let structural = !quoted && b"{}[],:".contains(byte);
        if structural {
            out.extend_from_slice(b" \r\n\t");
        }
        out.push(*byte);
        if structural {
            out.push(b' ');
        }
        quoted ^= *byte == b'"' && !escaped;
        escaped = quoted && *byte == b'\\' && !escaped;
    }
    out
}

fn encodes<M: Checked + PartialEq + Debug>(original: &M) {
    let read = wire::decode::<M>(&original.encode_to_vec());
    assert!(
        read.as_ref() == Ok(original),
        "{original:?} became {read:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_round_trip(seed: u64) {
        round_trips::<scheduler::Call>(seed);
        round_trips::<scheduler::Event>(seed);
        round_trips::<executor::Call>(seed);
        round_trips::<executor::Event>(seed);
        round_trips::<master::Call>(seed);
        round_trips::<master::Response>(seed);
        round_trips::<master::Event>(seed);
        round_trips::<agent::Call>(seed);
        round_trips::<agent::Response>(seed);
        round_trips::<agent::ProcessIo>(seed);
        round_trips::<mesos::ResourceUsage>(seed);
        round_trips::<mesos::RateLimits>(seed);
        encodes(&message::<tepui::AgentFrame>(seed));
        encodes(&message::<tepui::MasterFrame>(seed));
        encodes(&message::<tepui::SchedulerCalls>(seed));
        encodes(&message::<tepui::ExecutorEvents>(seed));
    }

    /// However a stream is cut, the same records come out.
    #[test]
    fn records_survive_any_cut(
        records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        cuts in proptest::collection::vec(1usize..50, 1..50),
    ) {
        let mut stream = Vec::new();
        for record in &records {
            let before = stream.len();
            recordio::encode(record, &mut stream);
            let mut other = stream[..before].to_vec();
            recordio::encode_with(&mut other, |out| out.extend_from_slice(record));
            prop_assert_eq!(&other, &stream);
        }
        let mut decoder = recordio::Decoder::new(300);
        let (mut rest, mut read) = (stream.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            decoder.push(piece);
            while let Some(record) = decoder.next_record().expect("the stream is well formed") {
                read.push(record.to_vec());
            }
            rest = after;
        }
        prop_assert_eq!(read, records);
        prop_assert!(decoder.is_at_boundary());
    }

    /// No prefix of a JSON text is a message.
    #[test]
    fn a_cut_text_is_refused(seed: u64) {
        let text = json::to_vec(&message::<scheduler::Call>(seed));
        for end in 0..text.len().min(400) {
            prop_assert!(json::from_slice::<scheduler::Call>(&text[..end]).is_err());
        }
    }
}

/// Rounds a target gets; about a second in all.
const ROUNDS: u64 = 500;

/// Each target gets well-formed input of several kinds, and the same with some bytes changed, inserted and taken out.
#[test]
fn targets_hold_on_damaged_input() {
    for (name, target) in fuzz::TARGETS {
        for round in 0..ROUNDS {
            let mut source = Source::new(round);
            let mut data = sample(name, &mut source, round);
            for _ in 0..source.below(4) {
                damage(&mut data, &mut source);
            }
            let caught = std::panic::catch_unwind(|| target(&data));
            assert!(caught.is_ok(), "{name}, round {round}: {data:?}");
        }
    }
}

/// Well-formed input for a target.
fn sample(target: &str, source: &mut Source, seed: u64) -> Vec<u8> {
    fn json<M: Random + Json>(seed: u64) -> Vec<u8> {
        json::to_vec(&message::<M>(seed))
    }
    fn wire<M: Random + Message>(seed: u64) -> Vec<u8> {
        message::<M>(seed).encode_to_vec()
    }
    let first = source.chance();
    match (target, first) {
        ("json_scheduler", true) => json::<scheduler::Call>(seed),
        ("json_scheduler", false) => json::<scheduler::Event>(seed),
        ("json_executor", true) => json::<executor::Call>(seed),
        ("json_executor", false) => json::<executor::Event>(seed),
        ("json_master", true) => json::<master::Call>(seed),
        ("json_master", false) => json::<master::Response>(seed),
        ("json_agent", true) => json::<agent::Call>(seed),
        ("json_agent", false) => json::<agent::Response>(seed),
        ("wire_scheduler", true) => wire::<scheduler::Call>(seed),
        ("wire_scheduler", false) => wire::<scheduler::Event>(seed),
        ("wire_executor", true) => wire::<executor::Call>(seed),
        ("wire_executor", false) => wire::<executor::Event>(seed),
        ("wire_master", true) => wire::<master::Call>(seed),
        ("wire_master", false) => wire::<master::Response>(seed),
        ("wire_agent", true) => wire::<agent::Call>(seed),
        ("wire_agent", false) => wire::<agent::Response>(seed),
        ("wire_link", true) => wire::<tepui::AgentFrame>(seed),
        ("wire_link", false) => wire::<tepui::MasterFrame>(seed),
        ("record_stream", _) => b"\x033\nabc0\n12\n012345678901".to_vec(),
        ("resource_list", true) => wire::<mesos::TaskGroupInfo>(seed),
        ("resource_list", false) => {
            crate::convert::resources::from_flag("cpus:1;ports(a/b):[1-3,5-5];s:{x,y}")
                .map(|held| {
                    crate::convert::resources::to_wire(
                        &held,
                        crate::convert::resources::Encoding::Stack,
                    )
                })
                .map(|resources| mesos::TaskInfo {
                    resources,
                    ..Default::default()
                })
                .map(|task| mesos::TaskGroupInfo { tasks: vec![task] }.encode_to_vec())
                .expect("the text is well formed")
        }
        ("resource_flag", true) => {
            b"cpus:4.5;mem:1024; ports(role):[31000-32000, 5-9];names:{a, b}".to_vec()
        }
        ("resource_flag", false) => {
            br#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]"#.to_vec()
        }
        ("attribute_flag", _) => b"rack:a;n:3.25;r:[1-5,7-9]".to_vec(),
        ("duration_flag", true) => b"90secs".to_vec(),
        ("duration_flag", false) => b"1.2345678912345weeks".to_vec(),
        ("container_id", _) => wire::<mesos::ContainerId>(seed),
        other => panic!("no sample for {other:?}"),
    }
}

fn damage(data: &mut Vec<u8>, source: &mut Source) {
    const TELLING: &[u8] = b"{}[]\",:\\0-9e.In \n\x00\x08\x12\x7f\x80\xff";
    let at = source.below(data.len() + 1);
    let byte = if source.chance() {
        TELLING[source.below(TELLING.len())]
    } else {
        source.next() as u8
    };
    match source.below(4) {
        0 => data.insert(at, byte),
        1 if at < data.len() => drop(data.remove(at)),
        2 => data.truncate(at),
        _ if at < data.len() => data[at] = byte,
        _ => {}
    }
}

/// A list of resources is the same in both encodings, random or not well formed: never a panic.
#[test]
fn random_resources_are_read_or_refused() {
    let mut read = 0;
    for seed in 0..2000 {
        let task: mesos::TaskInfo = message(seed);
        if crate::convert::resources::from_wire(&task.resources).is_ok()
            && !task.resources.is_empty()
        {
            read += 1;
        }
        fuzz::resource_list(&mesos::TaskGroupInfo { tasks: vec![task] }.encode_to_vec());
    }
    assert!(read > 0, "not one was well formed");
}

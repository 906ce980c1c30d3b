//! How fast the codecs are on the two messages that a busy master sees most: ACCEPT with tasks in, OFFERS out.
//!
//! `cargo bench -p tepui-proto`
#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use std::hint::black_box;
use tepui_proto::mesos::scheduler::{Call, Event, call, event};
use tepui_proto::mesos::{self, offer};
use tepui_proto::{convert, json, wire};

/// Tasks in the ACCEPT, offers in the event.
const COUNT: usize = 100;

fn id(kind: &str, number: usize) -> String {
    format!("5c9e0c41-7d9a-4b8e-9a3b-1d1f4a2e6b70-{kind}{number}")
}

fn resources(text: &str) -> Vec<mesos::Resource> {
    let resources = convert::resources::from_flag(text).expect("the text is well formed");
    let role = "marathon".parse().expect("it is a role");
    convert::resources::to_wire(
        &resources.allocated_to(&role),
        convert::resources::Encoding::Role,
    )
}

fn accept() -> Call {
    let task = |number| mesos::TaskInfo {
        name: "web".to_owned(),
        task_id: mesos::TaskId {
            value: id("T", number),
        },
        agent_id: mesos::AgentId { value: id("S", 1) },
        resources: resources("cpus:0.1;mem:32;ports:[31000-31001]"),
        command: Some(mesos::CommandInfo {
            value: Some("exec ./serve --port \"$PORT0\"".to_owned()),
            environment: Some(mesos::Environment {
                variables: (0..8)
                    .map(|number| mesos::environment::Variable {
                        name: format!("VARIABLE_{number}"),
                        value: Some("a value of ordinary length".to_owned()),
                        ..Default::default()
                    })
                    .collect(),
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    Call {
        framework_id: Some(mesos::FrameworkId { value: id("", 1) }),
        r#type: Some(call::Type::Accept.into()),
        accept: Some(call::Accept {
            offer_ids: vec![mesos::OfferId { value: id("O", 1) }],
            operations: vec![offer::Operation {
                r#type: Some(offer::operation::Type::Launch.into()),
                launch: Some(offer::operation::Launch {
                    task_infos: (0..COUNT).map(task).collect(),
                }),
                ..Default::default()
            }],
            filters: Some(mesos::Filters {
                refuse_seconds: Some(1.0),
            }),
        }),
        ..Default::default()
    }
}

fn offers() -> Event {
    let offer = |number| mesos::Offer {
        id: mesos::OfferId {
            value: id("O", number),
        },
        framework_id: mesos::FrameworkId { value: id("", 1) },
        agent_id: mesos::AgentId {
            value: id("S", number),
        },
        hostname: format!("node-{number}.example"),
        resources: resources("cpus:8;mem:30000;disk:200000;ports:[31000-32000]"),
        attributes: convert::attributes::parse("rack:a;zone:eu-1")
            .expect("the text is well formed"),
        ..Default::default()
    };
    Event {
        r#type: Some(event::Type::Offers.into()),
        offers: Some(event::Offers {
            offers: (0..COUNT).map(offer).collect(),
        }),
        ..Default::default()
    }
}

fn bench(criterion: &mut Criterion) {
    let (accept, offers) = (accept(), offers());
    let (accept_json, accept_wire) = (json::to_vec(&accept), accept.encode_to_vec());
    let mut out = Vec::new();

    let mut group = criterion.benchmark_group("accept of 100 tasks");
    group.throughput(Throughput::Bytes(accept_json.len() as u64));
    group.bench_function("json decode", |bencher| {
        bencher.iter(|| json::from_slice::<Call>(black_box(&accept_json)));
    });
    group.throughput(Throughput::Bytes(accept_wire.len() as u64));
    group.bench_function("protobuf decode, unchecked", |bencher| {
        bencher.iter(|| Call::decode(black_box(accept_wire.as_slice())));
    });
    group.bench_function("protobuf decode, checked", |bencher| {
        bencher.iter(|| wire::decode::<Call>(black_box(&accept_wire)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("event of 100 offers");
    group.throughput(Throughput::Bytes(json::to_vec(&offers).len() as u64));
    group.bench_function("json encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::write(black_box(&offers), &mut out);
        });
    });
    group.throughput(Throughput::Bytes(offers.encoded_len() as u64));
    group.bench_function("protobuf encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(&offers).encode(&mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

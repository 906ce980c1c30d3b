//! Resource arithmetic, which every offer, launch and update goes through. `cargo bench -p tepui-model`.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tepui_model::{Resources, Role};

/// Plain, as most agents and tasks are; and mixed, with reservations and holes in the ports.
const CASES: [(&str, &str, &str); 2] = [
    (
        "plain",
        "cpus:24;mem:4096;disk:4096;ports:[31000-32000]",
        "cpus:1;mem:128;ports:[31500-31500]",
    ),
    (
        "mixed",
        "cpus:24;mem:4096;cpus(eng):4;mem(eng):512;disk(eng/web):100;ports:[31000-31200, 31300-31400, 31500-32000]",
        "cpus:1;mem:128;cpus(eng):1;ports:[31350-31350]",
    ),
];

fn arithmetic(c: &mut Criterion) {
    for (name, total, part) in CASES {
        let mut group = c.benchmark_group(format!("resources/{name}"));
        let all: Resources = total.parse().expect("valid");
        let some: Resources = part.parse().expect("valid");
        let role = Role::new("eng/web").expect("valid");
        group.bench_function("parse", |b| {
            b.iter(|| black_box(total).parse::<Resources>());
        });
        group.bench_function("contains", |b| {
            b.iter(|| black_box(&all).contains(black_box(&some)));
        });
        group.bench_function("subtract and add", |b| {
            let mut free = all.clone();
            b.iter(|| {
                free.try_subtract(black_box(&some)).expect("a part");
                free += black_box(&some);
            });
            assert_eq!(free, all);
        });
        group.bench_function("available to a role", |b| {
            b.iter(|| black_box(&all).available_to(black_box(&role)));
        });
        group.bench_function("dominant share", |b| {
            let (held, total) = (some.quantities(), all.quantities());
            b.iter(|| black_box(&held).dominant_share(black_box(&total), |_| true));
        });
        group.finish();
    }
}

criterion_group!(benches, arithmetic);
criterion_main!(benches);

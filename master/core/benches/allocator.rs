//! How long the allocator takes: from an event on one agent to the decision, and to hand out a whole free cluster.
//!
//! `cargo bench -p tepui-master-core --bench allocator` measures; a filter (`-- event_to_offer`) chooses.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use tepui_master_core::allocator::{
    AgentHandle, AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkOptions,
    HierarchicalDrf, Recovery,
};
use tepui_model::{FrameworkId, Resources, Role, Time};

/// A cluster as Mesos' own benchmarks have it: every agent with cpus, mem, disk and ports, unreserved.
fn agents(allocator: &mut HierarchicalDrf, number: usize) -> Vec<AgentHandle> {
    let total: Resources = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]"
        .parse()
        .expect("valid");
    let options = AgentOptions::from(total);
    (0..number)
        .map(|_| allocator.add_agent(&options, &[]))
        .collect()
}

/// Frameworks spread over so many roles.
fn frameworks(allocator: &mut HierarchicalDrf, number: usize, roles: usize) {
    for index in 0..number {
        let role = Role::new(format!("role{}", index % roles)).expect("valid");
        let options = FrameworkOptions {
            roles: vec![role.into()],
            ..FrameworkOptions::default()
        };
        allocator.add_framework(
            &FrameworkId::new(format!("framework-{index:05}")).expect("valid"),
            &options,
        );
    }
}

fn config() -> AllocatorConfig {
    AllocatorConfig {
        agents_per_run: usize::MAX,
        coalesce: Duration::ZERO,
        ..AllocatorConfig::default()
    }
}

fn run(allocator: &mut HierarchicalDrf, now: Time) -> Vec<Allocation> {
    let mut out = Vec::new();
    allocator.allocate(now, &mut out);
    out
}

fn give_back(allocator: &mut HierarchicalDrf, now: Time, allocation: &Allocation, why: Recovery) {
    let Allocation {
        framework,
        role,
        agent,
        resources,
    } = allocation;
    allocator.recover(now, *agent, *framework, role, resources, why);
}

/// A task ends on a cluster in full use: until somebody is chosen for what it had.
fn freed(c: &mut Criterion) {
    let mut group = c.benchmark_group("event_to_offer/freed");
    for (agent_count, framework_count, roles) in [
        (1_000, 1_000, 1),
        (10_000, 1_000, 1),
        (10_000, 1_000, 100),
        (50_000, 6_000, 1),
    ] {
        let mut allocator = HierarchicalDrf::new(config());
        agents(&mut allocator, agent_count);
        frameworks(&mut allocator, framework_count, roles);
        let mut held = run(&mut allocator, Time::EPOCH);
        assert_eq!(held.len(), agent_count);
        let mut next = 0;
        let name = format!("{agent_count} agents x {framework_count} frameworks in {roles} roles");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                next = (next + 7919) % held.len();
                let back = held[next].clone();
                give_back(&mut allocator, Time::EPOCH, &back, Recovery::Freed);
                let mut offers = run(&mut allocator, Time::EPOCH);
                held[next] = offers.pop().expect("offered again at once");
            });
        });
    }
    group.finish();
}

/// The hard case: on the agent everybody but one has refused, so that all have to be asked.
fn freed_where_all_refuse(c: &mut Criterion) {
    let mut group = c.benchmark_group("event_to_offer/all_refuse");
    for (agent_count, framework_count) in [(1_000, 1_000), (10_000, 1_000)] {
        let mut allocator = HierarchicalDrf::new(config());
        let handles = agents(&mut allocator, 1);
        frameworks(&mut allocator, framework_count, 1);
        let refuse = Duration::from_secs(3600);
        loop {
            let offers = run(&mut allocator, Time::EPOCH);
            let Some(offer) = offers.first() else { break };
            give_back(
                &mut allocator,
                Time::EPOCH,
                offer,
                Recovery::Declined { refuse },
            );
        }
        assert_eq!(allocator.refusals(), framework_count);
        agents(&mut allocator, agent_count - 1);
        run(&mut allocator, Time::EPOCH);
        let name = format!("{agent_count} agents x {framework_count} frameworks");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                allocator.deactivate_agent(handles[0]);
                allocator.activate_agent(handles[0]);
                assert!(black_box(run(&mut allocator, Time::EPOCH)).is_empty());
            });
        });
    }
    group.finish();
}

/// Offers go round: each event, one framework declines what it has, and somebody else is asked.
fn declined(c: &mut Criterion) {
    let mut group = c.benchmark_group("event_to_offer/declined");
    for (agent_count, framework_count) in [(1_000, 1_000), (10_000, 1_000)] {
        let mut allocator = HierarchicalDrf::new(config());
        agents(&mut allocator, agent_count);
        frameworks(&mut allocator, framework_count, 1);
        let mut offers = run(&mut allocator, Time::EPOCH);
        let mut now = Time::EPOCH;
        let mut next = 0;
        let name = format!("{agent_count} agents x {framework_count} frameworks");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                now += Duration::from_micros(20);
                next = (next + 1) % offers.len();
                let back = offers.swap_remove(next);
                give_back(
                    &mut allocator,
                    now,
                    &back,
                    Recovery::Declined {
                        refuse: Duration::from_secs(5),
                    },
                );
                offers.append(&mut run(&mut allocator, now));
            });
        });
    }
    group.finish();
}

/// One framework revives in a cluster that is free because nobody wants it.
fn revived(c: &mut Criterion) {
    let mut group = c.benchmark_group("revive");
    group.sample_size(20);
    for (agent_count, framework_count) in [(1_000, 1_000), (10_000, 1_000)] {
        let mut allocator = HierarchicalDrf::new(config());
        agents(&mut allocator, agent_count);
        let role = Role::new("role").expect("valid");
        let options = FrameworkOptions {
            roles: vec![role.into()],
            ..FrameworkOptions::default()
        };
        let mut handles = Vec::new();
        for index in 0..framework_count {
            let id = FrameworkId::new(format!("framework-{index}")).expect("valid");
            let framework = allocator.add_framework(&id, &options);
            allocator.suppress(framework, &[]);
            handles.push(framework);
        }
        assert!(run(&mut allocator, Time::EPOCH).is_empty());
        let mut next = 0;
        let name = format!("{agent_count} free agents, {framework_count} suppressed frameworks");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                next = (next + 1) % handles.len();
                allocator.revive(handles[next], &[]);
                let offers = run(&mut allocator, Time::EPOCH);
                assert_eq!(offers.len(), agent_count);
                allocator.suppress(handles[next], &[]);
                for offer in &offers {
                    give_back(&mut allocator, Time::EPOCH, offer, Recovery::Freed);
                }
            });
        });
    }
    group.finish();
}

/// A new leader's cluster: everything is free, and handed out.
fn everything_free(c: &mut Criterion) {
    let mut group = c.benchmark_group("everything_free");
    group.sample_size(10);
    for (agent_count, framework_count, roles) in
        [(1_000, 1_000, 1), (20_000, 2_000, 1), (20_000, 2_000, 200)]
    {
        let name = format!("{agent_count} agents x {framework_count} frameworks in {roles} roles");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_batched(
                || {
                    let mut allocator = HierarchicalDrf::new(config());
                    frameworks(&mut allocator, framework_count, roles);
                    agents(&mut allocator, agent_count);
                    allocator
                },
                |mut allocator| {
                    let offers = run(&mut allocator, Time::EPOCH);
                    assert_eq!(offers.len(), agent_count);
                    (allocator, offers)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    freed,
    freed_where_all_refuse,
    declined,
    revived,
    everything_free
);
criterion_main!(benches);

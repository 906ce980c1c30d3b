//! The hot path for an instruction counter: the same work each time, so that counts of two days can be compared. Times are for the other
//! benches.
//!
//! ```sh
//! cargo bench -p tepui-master-core --bench hot_path --no-run     # prints the executable's path
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='hot_path::freed*' PATH
//! ```
//!
//! "Collected" divided by the number of events that the program prints is what one event costs. `hot_path::declined*` counts the other
//! half. Without a counter it only checks that each event leads to an offer.

use std::hint::black_box;
use std::time::Duration;
use tepui_master_core::allocator::{
    AgentOptions, Allocation, Allocator, AllocatorConfig, FrameworkOptions, HierarchicalDrf,
    Recovery,
};
use tepui_model::{FrameworkId, Resources, Role, Time};

const AGENTS: usize = 1_000;
const FRAMEWORKS: usize = 1_000;
const ROLES: usize = 10;
const EVENTS: usize = 10_000;

fn full_cluster() -> (HierarchicalDrf, Vec<Allocation>) {
    let mut allocator = HierarchicalDrf::new(AllocatorConfig {
        agents_per_run: usize::MAX,
        ..AllocatorConfig::default()
    });
    for index in 0..FRAMEWORKS {
        let role = Role::new(format!("role{}", index % ROLES)).expect("valid");
        let options = FrameworkOptions {
            roles: vec![role.into()],
            ..FrameworkOptions::default()
        };
        let id = FrameworkId::new(format!("framework-{index:05}")).expect("valid");
        allocator.add_framework(&id, &options);
    }
    let total: Resources = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]"
        .parse()
        .expect("valid");
    for _ in 0..AGENTS {
        allocator.add_agent(&AgentOptions::from(total.clone()), &[]);
    }
    let mut held = Vec::new();
    allocator.allocate(Time::EPOCH, &mut held);
    assert_eq!(held.len(), AGENTS);
    (allocator, held)
}

/// One thing comes back, and goes to somebody.
fn event(
    allocator: &mut HierarchicalDrf,
    held: &mut [Allocation],
    index: usize,
    now: Time,
    why: Recovery,
) {
    let at = index * 7919 % held.len();
    let back = &held[at];
    allocator.recover(
        now,
        back.agent,
        back.framework,
        &back.role,
        &back.resources,
        why,
    );
    let mut offers = Vec::new();
    allocator.allocate(now, &mut offers);
    held[at] = offers.pop().expect("offered again at once");
}

#[inline(never)]
fn freed(allocator: &mut HierarchicalDrf, held: &mut [Allocation]) {
    for index in 0..EVENTS {
        event(allocator, held, index, Time::EPOCH, Recovery::Freed);
    }
}

#[inline(never)]
fn declined(allocator: &mut HierarchicalDrf, held: &mut [Allocation]) {
    let refuse = Duration::from_secs(5);
    for index in 0..EVENTS {
        let now = Time::EPOCH + Duration::from_millis(index as u64);
        event(allocator, held, index, now, Recovery::Declined { refuse });
    }
}

fn main() {
    let (mut allocator, mut held) = full_cluster();
    freed(black_box(&mut allocator), black_box(&mut held));
    declined(black_box(&mut allocator), black_box(&mut held));
    println!("{EVENTS} events each of freed and declined");
}

//! Hundreds of frameworks that subscribe and never read: the master's memory is bounded, nobody else is disturbed, and those that do
//! not read are disconnected, with a reason in the log and a metric.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::get_json,
    clock::Clock,
    cluster::{Cluster, active_agents},
    scheduler::{Scheduler, resources},
    until,
};

const SLOW: usize = 500;
/// What all outboxes may hold together (`Limits::outboxes_bytes` in `master/src/config.rs`).
const OUTBOXES_BYTES: u64 = 768 << 20;
/// Answers that one call of a slow framework makes.
const ANSWERS: usize = 2_000;
/// How long a single read or a single task of somebody else may take meanwhile, on a machine busy with this test.
const UNDISTURBED: Duration = Duration::from_secs(5);

/// A number of the process's memory in bytes, from `/proc/PID/status`.
fn memory_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

fn metric(master: &str, name: &str) -> f64 {
    get_json(&format!("{master}/metrics/snapshot"))
        .and_then(|metrics| metrics[name].as_f64())
        .unwrap()
}

/// RECONCILE of many tasks that nobody knows: a small call with large answers.
fn many_questions(framework: &str) -> Vec<u8> {
    let tasks: Vec<Value> = (0..ANSWERS)
        .map(|n| json!({ "task_id": { "value": format!("t{n}") } }))
        .collect();
    json!({ "type": "RECONCILE", "framework_id": { "value": framework }, "reconcile": { "tasks": tasks } })
        .to_string()
        .into_bytes()
}

/// What somebody else saw: how often, and how long at most.
#[derive(Debug, Default)]
struct Seen {
    count: usize,
    longest: Duration,
}

impl Seen {
    fn took(&mut self, time: Duration) {
        self.count += 1;
        self.longest = self.longest.max(time);
    }
}

#[test]
fn five_hundred_frameworks_that_never_read() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    let _agent = cluster.agent(&["--resources=cpus(good):4;mem(good):1024;cpus:4;mem:1024"]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let pid = master.process().pid();
    let address = cluster.location().to_owned();
    let before = memory_bytes(pid, "VmRSS");

    let (over, clock) = (AtomicBool::new(false), Clock::start());
    let (tasks, reads, cut_off) = std::thread::scope(|scope| {
        // A framework that goes on with its work.
        let tasks = scope.spawn(|| {
            let info = json!({ "user": "root", "name": "good", "roles": ["good"], "capabilities": [{ "type": "MULTI_ROLE" }] });
            let mut good = Scheduler::subscribe(&address, &info);
            let mut seen = Seen::default();
            while !over.load(Ordering::Relaxed) {
                let started = clock.now();
                let offer = good.offer_of(0.1, 32.0);
                let ended = good.run(
                    &offer,
                    &format!("good-{}", seen.count),
                    "true",
                    &resources("good", 0.1, 32.0),
                );
                assert_eq!(ended["state"], "TASK_FINISHED", "{ended}");
                seen.took(clock.now() - started);
            }
            seen
        });
        // An operator who looks again and again.
        let reads = scope.spawn(|| {
            let mut seen = Seen::default();
            while !over.load(Ordering::Relaxed) {
                let started = clock.now();
                let state = get_json(&format!("{}/state", master.url)).unwrap();
                assert_eq!(state["activated_slaves"], 1.0);
                seen.took(clock.now() - started);
            }
            seen
        });

        let mut slow: Vec<Scheduler> = (0..SLOW)
            .map(|n| {
                let id = format!("slow-{n}");
                let info = json!({ "user": "root", "name": id, "id": { "value": id } });
                let scheduler = Scheduler::subscribe(&address, &info);
                setsockopt(scheduler.socket(), sockopt::RcvBuf, &4096).unwrap();
                scheduler
            })
            .collect();
        // More answers than all outboxes may hold, several times over. Those that were cut off are told so.
        let calls: Vec<Vec<u8>> = slow.iter().map(|one| many_questions(&one.id)).collect();
        let mut cut_off = 0;
        while cut_off < SLOW / 2 {
            cut_off = 0;
            for (scheduler, call) in slow.iter_mut().zip(&calls) {
                match scheduler.send(call) {
                    Some(202) => {}
                    Some(400 | 403) => cut_off += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        slow.iter_mut().for_each(Scheduler::hang_up_calls);
        // The others stay below the bounds, and are cut off because they take nothing.
        until("all slow streams to end", Duration::from_secs(120), || {
            (metric(&master.url, "tepui/framework_streams") <= 1.0
                && metric(&master.url, "tepui/connections") < 20.0)
                .then_some(())
        });
        over.store(true, Ordering::Relaxed);
        (tasks.join().unwrap(), reads.join().unwrap(), cut_off)
    });

    let peak = memory_bytes(pid, "VmHWM");
    println!(
        "{cut_off} cut off by the bound; before {} MiB, peak {} MiB; tasks {tasks:?}; reads {reads:?}",
        before >> 20,
        peak >> 20
    );
    assert!(peak < before + OUTBOXES_BYTES * 3 / 2, "{} MiB", peak >> 20);
    assert!(
        tasks.count >= 20 && tasks.longest < UNDISTURBED,
        "{tasks:?}"
    );
    assert!(
        reads.count >= 20 && reads.longest < UNDISTURBED,
        "{reads:?}"
    );
    assert!(metric(&master.url, "tepui/outbox_evictions") > 0.0);
    assert!(metric(&master.url, "tepui/connections_stalled") > 0.0);
    // The good one hung up as the last; that the master sees, and another thread of it writes the log.
    until("all of them to be gone", PATIENCE, || {
        let frameworks = get_json(&format!("{}/frameworks", master.url))?;
        (frameworks["frameworks"] == json!([])).then_some(())
    });
    for reason in ["it did not read", "took none of the bytes"] {
        until(&format!("the log to say why: {reason}"), PATIENCE, || {
            master.process().log().contains(reason).then_some(())
        });
    }
}

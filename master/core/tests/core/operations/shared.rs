//! Shared volumes: used by many, counted once, destroyed when nobody uses them.

use tepui_model::TaskState;

use super::{
    AGENT, accept, agent, create, destroy, framework, launch, reserve, reserved, scalar,
    shared_volume, task, total, with_id,
};
use crate::cluster::{Cluster, Scheduler, Slave};

/// An agent with a shared volume of role `r`, and its framework.
fn with_volume(cluster: &mut Cluster) -> (Slave, Scheduler) {
    let slave = agent(cluster, AGENT);
    let scheduler = framework(cluster, "a");
    let offer = cluster.offer(&scheduler);
    let operations = [
        reserve(&[reserved("disk", "10", &["r"])]),
        create(&[shared_volume("v", "10")]),
    ];
    accept(cluster, &scheduler, &[&offer], &operations);
    cluster.told(slave.link);
    (slave, scheduler)
}

const VOLUME: &str = "disk(reservations: [(DYNAMIC,r,p)])[v:data:rw]<SHARED>:10";

#[test]
fn several_tasks_use_one_volume() {
    let mut cluster = Cluster::new();
    let (slave, scheduler) = with_volume(&mut cluster);
    let offer = cluster.offer(&scheduler);
    let uses = |id: &str| {
        task(
            id,
            &slave.id,
            &[scalar("cpus", "1", ""), shared_volume("v", "10")],
        )
    };
    let tasks = [uses("t"), uses("u")];
    accept(&mut cluster, &scheduler, &[&offer], &[launch(&tasks)]);
    assert_eq!(cluster.told(slave.link), ["RunTask t", "RunTask u"]);
    // The volume is there for more.
    let offer = cluster.offer(&scheduler);
    assert_eq!(
        crate::cluster::offered(&offer),
        format!("cpus:2;mem:1000;disk:90;{VOLUME}")
    );
    // It cannot go while it is used, by whomever.
    let gone = [with_id("d", &destroy(&[shared_volume("v", "10")]))];
    accept(&mut cluster, &scheduler, &[&offer], &gone);
    let told = &cluster.lines(&scheduler)[0];
    assert!(
        told.contains("is in use by a task or an executor"),
        "{told}"
    );
    for id in ["t", "u"] {
        cluster.update(&slave, &scheduler, id, TaskState::Finished, 1);
    }
    cluster.pass(std::time::Duration::from_secs(6));
    let offers = cluster.offers(&scheduler);
    let all: Vec<_> = offers.iter().collect();
    accept(&mut cluster, &scheduler, &all, &gone);
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10"
    );
}

#[test]
fn a_volume_that_is_destroyed_is_taken_out_of_all_offers() {
    let mut cluster = Cluster::new();
    let (slave, first) = with_volume(&mut cluster);
    let mine = cluster.offer(&first);
    // The other framework of the role is offered the volume too, once there is something else free.
    let second = framework(&mut cluster, "b");
    let tasks = [task("t", &slave.id, &[scalar("cpus", "1", "")])];
    accept(&mut cluster, &first, &[&mine], &[launch(&tasks)]);
    let theirs: Vec<_> = cluster.offers(&second);
    let again: Vec<_> = cluster.offers(&first);
    cluster.update(&slave, &first, "t", TaskState::Finished, 1);
    let freed = [cluster.offers(&first), cluster.offers(&second)].concat();
    let all: Vec<_> = theirs.iter().chain(&again).chain(&freed).collect();
    let holding: Vec<_> = all
        .iter()
        .filter(|offer| crate::cluster::offered(offer).contains("SHARED"))
        .collect();
    assert_eq!(holding.len(), 2, "{all:?}");
    let (destroyer, offer) = if holding[0].framework_id.value == first.id {
        (&first, holding[0])
    } else {
        (&second, holding[0])
    };
    let operations = [destroy(&[shared_volume("v", "10")])];
    accept(&mut cluster, destroyer, &[offer], &operations);
    let rescinded: Vec<String> = [cluster.lines(&first), cluster.lines(&second)]
        .concat()
        .into_iter()
        .filter(|line| line.starts_with("RESCIND"))
        .collect();
    assert_eq!(rescinded, [format!("RESCIND {}", holding[1].id.value)]);
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10"
    );
}

#[test]
fn two_copies_in_one_pool_are_one_volume() {
    let mut cluster = Cluster::new();
    let (slave, scheduler) = with_volume(&mut cluster);
    let mine = cluster.offer(&scheduler);
    let tasks = [task("t", &slave.id, &[scalar("cpus", "1", "")])];
    accept(&mut cluster, &scheduler, &[&mine], &[launch(&tasks)]);
    let mut offers = cluster.offers(&scheduler);
    cluster.update(&slave, &scheduler, "t", TaskState::Finished, 1);
    offers.extend(cluster.offers(&scheduler));
    let copies = offers
        .iter()
        .filter(|offer| crate::cluster::offered(offer).contains("SHARED"))
        .count();
    assert_eq!((offers.len(), copies), (2, 2), "{offers:?}");
    let both: Vec<_> = offers.iter().collect();
    let operations = [destroy(&[shared_volume("v", "10")])];
    accept(&mut cluster, &scheduler, &both, &operations);
    assert_eq!(
        total(&cluster, &slave.id),
        "cpus:4;mem:1000;disk:90;disk(reservations: [(DYNAMIC,r,p)]):10"
    );
}

#[test]
fn a_volume_that_its_agent_has_lost_is_not_free_when_its_last_task_ends() {
    let mut cluster = Cluster::new();
    let (slave, scheduler) = with_volume(&mut cluster);
    let offer = cluster.offer(&scheduler);
    let uses = |id: &str| {
        let resources = [scalar("cpus", "1", ""), shared_volume("v", "10")];
        task(id, &slave.id, &resources)
    };
    let tasks = [uses("t"), uses("u")];
    accept(&mut cluster, &scheduler, &[&offer], &[launch(&tasks)]);
    let tasks = cluster.tasks.values().map(|task| task.to_task()).collect();
    cluster.break_link(&slave);
    let slave = cluster.return_agent(&slave, "cpus:4;mem:1000", tasks);
    cluster.lines(&scheduler);
    for id in ["t", "u"] {
        cluster.update(&slave, &scheduler, id, TaskState::Finished, 1);
    }
    cluster.pass(std::time::Duration::from_secs(6));
    let offers = cluster.offers(&scheduler);
    assert!(!offers.is_empty());
    for offer in offers {
        let held = crate::cluster::offered(&offer);
        assert!(!held.contains("SHARED"), "{held}");
    }
}

//! Frameworks against a small master that speaks gRPC, HTTP with protobuf and HTTP with JSON: what the client does for its author.

// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{Face, FakeMaster, acknowledged, offer, update};
use tepui_coordination::{Detector, HostPort, Leader};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::call::Type;
use tepui_sdk::{
    Encoding, Error, Event, Framework, FrameworkId, Resources, Task, TaskId, TaskState, Transport,
};
use tokio::sync::watch;

/// No wait here is meant to take this long.
const PATIENCE: Duration = Duration::from_secs(60);

const FACES: [(Face, Transport); 4] = [
    (Face::Grpc, Transport::Grpc),
    (Face::Http, Transport::Http(Encoding::Protobuf)),
    (Face::Http, Transport::Http(Encoding::Json)),
    (Face::Http, Transport::Auto),
];

async fn framework(master: &FakeMaster, transport: Transport) -> Framework {
    Framework::builder("test")
        .role("web")
        .transport(transport)
        .connect(&master.address())
        .await
        .unwrap()
}

async fn next(framework: &mut Framework) -> Event {
    tokio::time::timeout(PATIENCE, framework.next())
        .await
        .expect("an event")
        .unwrap()
        .expect("not ended")
}

async fn subscribed(framework: &mut Framework) -> FrameworkId {
    match next(framework).await {
        Event::Subscribed(subscribed) => subscribed.framework_id,
        other => panic!("{other:?}"),
    }
}

async fn offers(framework: &mut Framework) -> Vec<tepui_sdk::Offer> {
    match next(framework).await {
        Event::Offers(offers) => offers,
        other => panic!("{other:?}"),
    }
}

async fn updated(framework: &mut Framework) -> tepui_sdk::Update {
    match next(framework).await {
        Event::Update(update) => update,
        other => panic!("{other:?}"),
    }
}

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_task_is_launched_told_and_acknowledged_over_every_face() {
    for (face, transport) in FACES {
        let mut master = FakeMaster::start(face).await;
        let mut framework = framework(&master, transport).await;
        let id = subscribed(&mut framework).await;
        assert_eq!(framework.id(), Some(id.clone()));
        let subscribe = master.call(Type::Subscribe).await.subscribe.unwrap();
        assert_eq!(
            (
                subscribe.framework_info.name.as_str(),
                &subscribe.framework_info.roles[..]
            ),
            ("test", &["web".to_owned()][..])
        );

        master.send(offer("O1", "cpus:4;mem:512;ports:[31000-31005]"));
        for mut offer in offers(&mut framework).await {
            for task in ["a", "b"] {
                let mut taken = offer.take(&resources("cpus:1;mem:100")).unwrap();
                taken += &offer.take_ports(2).unwrap();
                offer.launch(Task::command(task, "true").unwrap().resources(taken));
            }
            assert!(offer.take(&resources("cpus:3")).is_none());
            assert!(offer.take_ports(3).is_none());
        }
        let accept = master.call(Type::Accept).await;
        assert_eq!(accept.framework_id.unwrap().value, id.as_str());
        let accept = accept.accept.unwrap();
        assert_eq!(
            accept.operations.len(),
            1,
            "the launches of an offer go together"
        );
        let tasks = accept.operations[0].launch.clone().unwrap().task_infos;
        let ports: Vec<_> = tasks
            .iter()
            .map(|task| {
                task.resources
                    .iter()
                    .find_map(|r| r.ranges.clone())
                    .unwrap()
                    .range
            })
            .collect();
        assert_eq!(
            ports
                .iter()
                .map(|range| (range[0].begin, range[0].end))
                .collect::<Vec<_>>(),
            [(31000, 31001), (31002, 31003)]
        );
        assert!(tasks.iter().all(|task| task.agent_id.value == "S1"));

        master.send(update("a", TaskState::Running, Some(b"0123456789abcdef")));
        let running = updated(&mut framework).await;
        assert_eq!(
            (
                running.task_id().as_str(),
                running.state(),
                running.message()
            ),
            ("a", TaskState::Running, "as told")
        );
        master.send(update("a", TaskState::Running, Some(b"0123456789abcdef")));
        assert!(
            master.nothing(&framework.driver(), Type::Acknowledge).await,
            "not before it is dropped"
        );
        drop(running);
        assert_eq!(
            acknowledged(&master.call(Type::Acknowledge).await),
            ("a".to_owned(), b"0123456789abcdef".to_vec())
        );
        // The acknowledgement got lost: it is repeated, and the author not told again.
        master.send(update("a", TaskState::Running, Some(b"0123456789abcdef")));
        assert_eq!(acknowledged(&master.call(Type::Acknowledge).await).0, "a");
        // Made by the master: nothing to acknowledge.
        master.send(update("b", TaskState::Lost, None));
        assert_eq!(
            updated(&mut framework).await.acknowledge().task_id.value,
            "b"
        );
        assert!(master.nothing(&framework.driver(), Type::Acknowledge).await);
    }
}

#[tokio::test]
async fn what_is_not_used_of_an_offer_is_declined_or_held() {
    let mut master = FakeMaster::start(Face::Grpc).await;
    let mut framework = framework(&master, Transport::Auto).await;
    subscribed(&mut framework).await;
    let declined = |call: mesos::scheduler::Call| {
        let decline = call.decline.unwrap();
        (
            decline.offer_ids[0].value.clone(),
            decline.filters.unwrap().refuse_seconds.unwrap(),
        )
    };
    master.send(offer("O1", "cpus:1"));
    drop(offers(&mut framework).await);
    assert_eq!(
        declined(master.call(Type::Decline).await),
        ("O1".to_owned(), 5.0)
    );
    master.send(offer("O2", "cpus:1"));
    offers(&mut framework)
        .await
        .remove(0)
        .decline(Duration::from_secs(60));
    assert_eq!(
        declined(master.call(Type::Decline).await),
        ("O2".to_owned(), 60.0)
    );
    for id in ["O3", "O4"] {
        master.send(offer(id, "cpus:1"));
        offers(&mut framework).await.remove(0).hold();
    }
    master.rescind("O3");
    assert!(matches!(next(&mut framework).await, Event::Rescinded(id) if id.as_str() == "O3"));
    let mut held = framework.take_held();
    assert_eq!(
        held.iter()
            .map(|offer| offer.id().as_str())
            .collect::<Vec<_>>(),
        ["O4"]
    );
    assert!(
        master.nothing(&framework.driver(), Type::Decline).await,
        "a held offer is not declined, nor a rescinded one"
    );
    held.remove(0)
        .try_launch(
            Task::command("t", "true")
                .unwrap()
                .needs("cpus:0.5")
                .unwrap(),
        )
        .unwrap();
    assert_eq!(
        master.call(Type::Accept).await.accept.unwrap().offer_ids[0].value,
        "O4"
    );
}

#[tokio::test]
async fn after_a_lost_stream_it_comes_back_with_the_same_id_and_asks_for_its_tasks() {
    for (face, transport) in [FACES[0], FACES[1]] {
        let mut master = FakeMaster::start(face).await;
        let mut framework = framework(&master, transport).await;
        let id = subscribed(&mut framework).await;
        master.call(Type::Subscribe).await;
        master.send(offer("O1", "cpus:1"));
        offers(&mut framework).await[0].launch(Task::command("a", "true").unwrap());
        master.call(Type::Accept).await;
        framework.driver().kill(&TaskId::new("a").unwrap()).unwrap();
        master.call(Type::Kill).await;
        master.send(offer("O2", "cpus:1"));
        let mut void = offers(&mut framework).await;

        master.hang_up();
        assert!(matches!(
            next(&mut framework).await,
            Event::Disconnected { .. }
        ));
        assert!(
            matches!(next(&mut framework).await, Event::Subscribed(subscribed) if subscribed.again && subscribed.framework_id == id)
        );
        let again = master.call(Type::Subscribe).await;
        assert_eq!(again.framework_id.unwrap().value, id.as_str());
        assert_eq!(
            again.subscribe.unwrap().framework_info.id.unwrap().value,
            id.as_str()
        );
        let explicit = master.call(Type::Reconcile).await.reconcile.unwrap();
        assert_eq!(
            explicit
                .tasks
                .iter()
                .map(|task| task.task_id.value.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
        assert!(
            master
                .call(Type::Reconcile)
                .await
                .reconcile
                .unwrap()
                .tasks
                .is_empty(),
            "and implicitly"
        );
        assert_eq!(
            master.call(Type::Kill).await.kill.unwrap().task_id.value,
            "a",
            "a kill is not forgotten"
        );

        // Of before: no master has heard of this task, and the author learns so.
        void[0].launch(Task::command("late", "true").unwrap());
        drop(void);
        let dropped = updated(&mut framework).await;
        assert_eq!(
            (dropped.task_id().as_str(), dropped.state()),
            ("late", TaskState::Dropped)
        );
        assert!(master.nothing(&framework.driver(), Type::Accept).await);
    }
}

/// Mesos takes the description of a framework that subscribes again for an update: what is not said again is gone.
#[tokio::test]
async fn after_a_lost_stream_it_says_of_itself_what_it_said_last() {
    for (face, transport) in [FACES[0], FACES[1]] {
        let mut master = FakeMaster::start(face).await;
        let mut framework = framework(&master, transport).await;
        let id = subscribed(&mut framework).await;
        let mut info = master
            .call(Type::Subscribe)
            .await
            .subscribe
            .unwrap()
            .framework_info;
        assert_eq!(info.roles, ["web"]);
        let update = |info: &mesos::FrameworkInfo, suppressed: &[&str]| mesos::scheduler::Call {
            r#type: Some(Type::UpdateFramework.into()),
            update_framework: Some(Box::new(mesos::scheduler::call::UpdateFramework {
                framework_info: info.clone(),
                suppressed_roles: suppressed.iter().map(|&role| role.to_owned()).collect(),
                ..Default::default()
            })),
            ..Default::default()
        };
        info.roles.push("db".to_owned());
        framework.driver().call(update(&info, &["db"])).unwrap();
        master.call(Type::UpdateFramework).await;

        master.refuse_calls(400, "no such role");
        info.roles.push("refused".to_owned());
        framework.driver().call(update(&info, &[])).unwrap();
        master.call(Type::UpdateFramework).await;
        assert!(matches!(next(&mut framework).await, Event::Refused(_)));

        master.hang_up();
        assert!(matches!(
            next(&mut framework).await,
            Event::Disconnected { .. }
        ));
        let again = master.call(Type::Subscribe).await.subscribe.unwrap();
        assert_eq!(again.framework_info.roles, ["web", "db"]);
        assert_eq!(again.framework_info.id.unwrap().value, id.as_str());
        assert_eq!(again.suppressed_roles, ["db"]);
    }
}

#[tokio::test]
async fn it_follows_the_leader() {
    for (face, transport) in [FACES[0], FACES[1]] {
        let mut leader = FakeMaster::start(face).await;
        let mut follower = FakeMaster::start(face).await;
        follower.follow(&leader);
        // Sent on by one that does not lead.
        let mut framework = framework(&follower, transport).await;
        subscribed(&mut framework).await;
        leader.call(Type::Subscribe).await;
        // Until nobody leads: it waits for the next.
        leader.refuse(503, "Master has not finished recovery");
        leader.hang_up();
        assert!(matches!(
            next(&mut framework).await,
            Event::Disconnected { .. }
        ));
        follower.lead();
        subscribed(&mut framework).await;
        follower.call(Type::Subscribe).await;
    }
}

#[tokio::test]
async fn a_detected_leader_is_followed_while_the_old_one_still_talks() {
    let leader = |master: &FakeMaster, epoch| {
        let detector = Detector::fixed(&master.address().parse::<HostPort>().unwrap());
        Some(Leader {
            epoch,
            ..detector.leader().unwrap()
        })
    };
    let mut old = FakeMaster::start(Face::Grpc).await;
    let mut new = FakeMaster::start(Face::Grpc).await;
    let (detected, watched) = watch::channel(leader(&old, 1));
    let mut framework = Framework::builder("test")
        .connect_to(Detector::watching(watched))
        .unwrap();
    let id = subscribed(&mut framework).await;
    old.call(Type::Subscribe).await;
    // Nobody is known to lead: no reason to leave one that talks.
    detected.send(None).unwrap();
    old.send(update("a", TaskState::Running, None));
    updated(&mut framework).await;
    detected.send(leader(&new, 2)).unwrap();
    assert!(matches!(
        next(&mut framework).await,
        Event::Disconnected { .. }
    ));
    assert_eq!(subscribed(&mut framework).await, id);
    assert_eq!(
        new.call(Type::Subscribe).await.framework_id.unwrap().value,
        id.as_str()
    );
}

#[tokio::test]
async fn refusals_are_told() {
    for (face, transport) in [FACES[0], FACES[1], FACES[2]] {
        let mut master = FakeMaster::start(face).await;
        let mut framework = framework(&master, transport).await;
        subscribed(&mut framework).await;
        master.refuse_calls(400, "unknown role");
        framework.driver().revive_roles(&["nobody"]).unwrap();
        master.call(Type::Revive).await;
        match next(&mut framework).await {
            Event::Refused(refused) => assert_eq!(
                (refused.call, refused.status, refused.message.as_str()),
                ("REVIVE", 400, "unknown role")
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_for_good_ends_the_framework() {
    for (face, transport) in [FACES[0], FACES[1]] {
        let master = FakeMaster::start(face).await;
        let mut ended = framework(&master, transport).await;
        subscribed(&mut ended).await;
        master.error("Framework has been removed");
        match tokio::time::timeout(PATIENCE, ended.next()).await.unwrap() {
            Err(Error::Ended { message, .. }) => assert_eq!(message, "Framework has been removed"),
            other => panic!("{other:?}"),
        }
        assert!(ended.next().await.unwrap().is_none());
        assert!(matches!(ended.driver().revive(), Err(Error::Stopped)));

        let refusing = FakeMaster::start(face).await;
        refusing.refuse(403, "not yours");
        let mut refused = framework(&refusing, transport).await;
        match tokio::time::timeout(PATIENCE, refused.next())
            .await
            .unwrap()
        {
            Err(Error::Refused {
                status, message, ..
            }) => assert_eq!((status, message.as_str()), (403, "not yours")),
            other => panic!("{other:?}"),
        }

        let mut master = FakeMaster::start(face).await;
        let mut torn = framework(&master, transport).await;
        subscribed(&mut torn).await;
        torn.driver().teardown().unwrap();
        master.call(Type::Teardown).await;
        master.hang_up();
        assert!(
            tokio::time::timeout(PATIENCE, torn.next())
                .await
                .unwrap()
                .unwrap()
                .is_none()
        );
    }
}

/// A master of Mesos listens before it has its routes, and answers 404 meanwhile.
#[tokio::test]
async fn a_master_that_only_starts_is_asked_again() {
    let master = FakeMaster::start(Face::Http).await;
    master.refuse(404, "404 Not Found.");
    let transport = Transport::Http(Encoding::Protobuf);
    let mut framework = framework(&master, transport).await;
    master.refused().await;
    master.lead();
    subscribed(&mut framework).await;
}

#[tokio::test]
async fn a_silent_master_is_left() {
    let mut master = FakeMaster::start(Face::Grpc).await;
    master.heartbeat_seconds(0.05);
    let mut framework = framework(&master, Transport::Grpc).await;
    subscribed(&mut framework).await;
    master.call(Type::Subscribe).await;
    match next(&mut framework).await {
        Event::Disconnected { reason } => assert!(reason.contains("no heartbeat"), "{reason}"),
        other => panic!("{other:?}"),
    }
    subscribed(&mut framework).await;
    master.call(Type::Subscribe).await;
}

#[tokio::test]
async fn what_is_no_framework_is_refused_at_once() {
    let cases = [
        Framework::builder("").connect("127.0.0.1:1").await.err(),
        Framework::builder("x")
            .role("a b")
            .connect("127.0.0.1:1")
            .await
            .err(),
        Framework::builder("x").connect("ftp://x").await.err(),
        Framework::builder("x")
            .connect("file:///nonexistent/master")
            .await
            .err(),
    ];
    for (error, part) in cases
        .into_iter()
        .zip(["name", "role", "not known", "cannot read"])
    {
        let error = error.expect("an error").to_string();
        assert!(error.contains(part), "{error}");
    }
}

//! Reservations, volumes, groups and what is told of them, with a real master.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use tepui_sdk::mesos::OperationState;
use tepui_sdk::{
    Capability, Encoding, Event, Framework, GroupExecutor, Offer, Resources, Task, TaskState,
    Transport, Volume,
};
use tepui_sdk_testing::{Behaviour, Cluster};

const TRANSPORTS: [Transport; 3] = [
    Transport::Grpc,
    Transport::Http(Encoding::Protobuf),
    Transport::Http(Encoding::Json),
];

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

async fn framework(cluster: &Cluster, transport: Transport) -> Framework {
    Framework::builder("operations")
        .role("web")
        .principal("ops")
        .capability(Capability::SharedResources)
        .transport(transport)
        .connect(&cluster.address())
        .await
        .unwrap()
}

/// What a test waits for.
#[derive(Default)]
struct Seen {
    states: BTreeMap<String, TaskState>,
    operations: BTreeMap<String, (OperationState, String)>,
}

impl Seen {
    /// Take what comes, until an offer that is `enough` has come.
    async fn until(
        &mut self,
        framework: &mut Framework,
        enough: impl Fn(&Self, &Offer) -> bool,
    ) -> Offer {
        let all = async {
            loop {
                match framework.next().await.unwrap().unwrap() {
                    Event::Offers(offers) => {
                        for offer in offers {
                            if enough(self, &offer) {
                                return offer;
                            }
                            // For no time at all, so that it comes again.
                            offer.decline(Duration::ZERO);
                        }
                    }
                    Event::Update(update) => {
                        self.states
                            .insert(update.task_id().to_string(), update.state());
                    }
                    Event::Operation(operation) => {
                        self.operations.insert(
                            operation.id().to_owned(),
                            (operation.state(), operation.message().to_owned()),
                        );
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), all)
            .await
            .expect("it happens soon")
    }
}

#[tokio::test]
async fn a_volume_is_made_used_and_destroyed() {
    for transport in TRANSPORTS {
        let cluster = Cluster::start().await.unwrap();
        let _agent = cluster
            .agent("cpus:2;mem:256;disk:100", Behaviour::Finish)
            .await
            .unwrap();
        let mut framework = framework(&cluster, transport).await;
        let mut seen = Seen::default();
        let mut offer = seen.until(&mut framework, |_, _| true).await;

        // What is not there cannot be had, and does nothing.
        assert!(offer.reserve(&resources("disk:101")).is_none());
        let volume = Volume::new("data", 40.0, "data").unwrap();
        assert!(
            offer.create_volume(&volume).is_none(),
            "nothing is reserved"
        );
        assert!(!offer.is_used());

        let reserved = offer
            .track("reserve")
            .reserve(&resources("cpus:1;disk:50"))
            .unwrap();
        assert_eq!(
            reserved.to_string(),
            "cpus(allocated: web)(reservations: [(DYNAMIC,web,ops)]):1; disk(allocated: web)(reservations: [(DYNAMIC,web,ops)]):50"
        );
        offer.track("create").create_volume(&volume).unwrap();
        let mut taken = offer.take(&resources("cpus:1;mem:32")).unwrap();
        taken += &offer.take_volume("data").unwrap();
        assert!(offer.take_volume("data").is_none(), "it is taken");
        offer.launch(Task::command("t", "true").unwrap().resources(taken));
        offer.decline(Duration::ZERO);

        // What comes back at different times comes in offers of its own until those are declined.
        let whole = |offer: &Offer| {
            let all = resources("cpus:2;mem:256;disk:100").quantities();
            offer.resources().quantities().contains(&all)
        };
        let finished = |seen: &Seen, offer: &Offer| {
            seen.states.get("t") == Some(&TaskState::Finished)
                && seen.operations.len() == 2
                && whole(offer)
        };
        let mut offer = seen.until(&mut framework, finished).await;
        for id in ["reserve", "create"] {
            let (state, message) = &seen.operations[id];
            assert_eq!(*state, OperationState::OperationFinished, "{id}: {message}");
        }
        // The volume has outlived its task.
        let volumes = offer.volumes();
        assert_eq!(
            volumes.to_string(),
            "disk(allocated: web)(reservations: [(DYNAMIC,web,ops)])[data:data:rw]:40"
        );
        assert!(!offer.unreserve(&volumes), "it has to be destroyed first");
        assert!(offer.track("destroy").destroy_volume(&volumes));
        assert!(!offer.destroy_volume(&volumes), "it is gone");
        let reserved = offer.resources().reserved();
        assert!(offer.track("unreserve").unreserve(&reserved));
        offer.decline(Duration::ZERO);

        let offer = seen
            .until(&mut framework, |seen, offer| {
                seen.operations.len() == 4 && whole(offer)
            })
            .await;
        assert!(
            seen.operations
                .values()
                .all(|(state, _)| *state == OperationState::OperationFinished)
        );
        assert_eq!(
            offer.resources().unallocated().to_string(),
            "cpus:2; mem:256; disk:100"
        );
    }
}

#[tokio::test]
async fn an_operation_that_is_refused_says_why() {
    let cluster = Cluster::start().await.unwrap();
    let _agent = cluster
        .agent("cpus:2;mem:256", Behaviour::Run)
        .await
        .unwrap();
    let mut framework = framework(&cluster, Transport::Grpc).await;
    let mut seen = Seen::default();
    let mut offer = seen.until(&mut framework, |_, _| true).await;
    // By hand, since the offer would not do it.
    offer
        .track("wrong")
        .operation(tepui_sdk::mesos::offer::Operation {
            r#type: Some(tepui_sdk::mesos::offer::operation::Type::Unreserve.into()),
            unreserve: Some(Default::default()),
            ..Default::default()
        });
    drop(offer);
    framework
        .driver()
        .reconcile_operations([("never", None)])
        .unwrap();
    framework.driver().revive().unwrap();
    seen.until(&mut framework, |seen, _| seen.operations.len() == 2)
        .await
        .decline(Duration::ZERO);
    assert_eq!(
        seen.operations["wrong"],
        (
            OperationState::OperationError,
            "Invalid UNRESERVE operation: No resources are named".to_owned()
        )
    );
    assert_eq!(seen.operations["never"].0, OperationState::OperationUnknown);
}

#[tokio::test]
async fn a_group_runs_under_one_executor() {
    for transport in TRANSPORTS {
        let cluster = Cluster::start().await.unwrap();
        let mut agent = cluster
            .agent("cpus:2;mem:256;disk:100", Behaviour::Finish)
            .await
            .unwrap();
        let mut framework = framework(&cluster, transport).await;
        let mut seen = Seen::default();
        let mut offer = seen.until(&mut framework, |_, _| true).await;
        let task = |id: &str, needs: &str| Task::command(id, "true").unwrap().needs(needs).unwrap();
        let executor = GroupExecutor::new("pod").unwrap();
        let tasks = vec![task("a", "cpus:1;mem:32"), task("b", "cpus:2;mem:32")];
        let before = offer.resources().clone();
        let tasks = offer
            .try_launch_group(executor.clone(), tasks)
            .expect_err("there are not so many cpus");
        assert_eq!((tasks.len(), offer.resources()), (2, &before));
        let tasks = vec![task("a", "cpus:1;mem:32"), task("b", "cpus:0.5;mem:32")];
        offer.try_launch_group(executor, tasks).unwrap();
        drop(offer);
        for id in ["a", "b"] {
            let launched = agent.launched().await.unwrap();
            assert_eq!(launched.task_id.value, id);
            assert_eq!(launched.executor.unwrap().executor_id.value, "pod");
        }
        let both = |seen: &Seen, _: &Offer| {
            seen.states.len() == 2
                && seen
                    .states
                    .values()
                    .all(|state| *state == TaskState::Finished)
        };
        framework.driver().revive().unwrap();
        seen.until(&mut framework, both)
            .await
            .decline(Duration::ZERO);
    }
}

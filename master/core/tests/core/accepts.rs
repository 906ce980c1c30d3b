//! ACCEPT: what becomes of good tasks, of bad ones, and of offers that may not be used.

use tepui_master_core::{Input, TaskList};
use tepui_model::TaskState;

use crate::cluster::{Cluster, Scheduler, accept_json, offered, task_json, task_json_with, uuid};

const AGENT: &str = "cpus:4;mem:1000;disk:100;ports:[31000-31009]";

#[test]
fn a_task_runs_from_offer_to_history() {
    let mut cluster = Cluster::new();
    let slave = cluster.agent(AGENT);
    let scheduler = cluster.scheduler("a");
    let offer = cluster.offer(&scheduler);
    assert_eq!(
        (offer.id.value.as_str(), offered(&offer)),
        ("m-O0", AGENT.to_owned())
    );
    assert!(
        offer.allocation_info.is_none()
            && offer
                .resources
                .iter()
                .all(|resource| resource.allocation_info.is_none())
    );
    assert_eq!(
        offer.url.as_ref().unwrap().address.hostname.as_deref(),
        Some("host")
    );
    cluster.told(slave.link);
    cluster.launch(&scheduler, &offer, &["t"]);
    assert_eq!(cluster.told(slave.link), ["Framework a", "RunTask t"]);
    // What a productive ACCEPT leaves over is offered again.
    assert_eq!(
        cluster.lines(&scheduler),
        ["OFFERS m-S0 cpus:3;mem:900;disk:100;ports:[31000-31009]"]
    );
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_STAGING"]);

    cluster.update(&slave, &scheduler, "t", TaskState::Running, 1);
    assert_eq!(cluster.lines(&scheduler), ["UPDATE t TASK_RUNNING"]);
    cluster.acknowledge(&scheduler, &slave.id, "t", &uuid(1));
    assert_eq!(cluster.told(slave.link), ["AcknowledgeTask t"]);

    cluster.update(&slave, &scheduler, "t", TaskState::Finished, 2);
    // Freed by the latest state, in the same instant, not by the acknowledgement.
    assert_eq!(
        cluster.lines(&scheduler),
        ["UPDATE t TASK_FINISHED", "OFFERS m-S0 cpus:1;mem:100"]
    );
    assert_eq!(cluster.listed(TaskList::Active), ["t TASK_FINISHED"]);
    cluster.acknowledge(&scheduler, &slave.id, "t", &uuid(1));
    assert_eq!(
        cluster.listed(TaskList::Active),
        ["t TASK_FINISHED"],
        "an older uuid does not end it"
    );
    cluster.acknowledge(&scheduler, &slave.id, "t", &uuid(2));
    assert_eq!(cluster.listed(TaskList::Completed), ["t TASK_FINISHED"]);
    let counters = cluster.master.counters();
    assert_eq!(
        (
            counters.tasks_launched,
            counters.tasks_ended_in(TaskState::Finished)
        ),
        (1, 1)
    );
    assert_eq!(counters.tasks_in(TaskState::Finished), 0);
}

/// Offers of two agents to one framework, and one to another.
fn three_offers() -> (Cluster, Scheduler, Vec<String>) {
    let mut cluster = Cluster::new();
    let mine = cluster.scheduler("a");
    cluster.agent(AGENT);
    cluster.agent(AGENT);
    let mut ids: Vec<String> = cluster
        .offers(&mine)
        .into_iter()
        .map(|offer| offer.id.value)
        .collect();
    cluster.call(&mine, r#"{"type":"SUPPRESS"}"#);
    let other = cluster.scheduler("b");
    cluster.agent(AGENT);
    ids.push(cluster.offer(&other).id.value);
    (cluster, mine, ids)
}

#[test]
fn invalid_offers_fail_the_whole_call() {
    let (_, _, ids) = three_offers();
    assert_eq!(ids, ["m-O0", "m-O1", "m-O2"]);
    let cases: [(&[&str], &str, usize); 9] = [
        (&[], "No offers specified", 3),
        (&["m-O0", "m-O0"], "Duplicate offer m-O0 in offer list", 2),
        (&["m-O7"], "Offer m-O7 is no longer valid", 3),
        (&["m-O00"], "Offer m-O00 is no longer valid", 3),
        (&["rubbish"], "Offer rubbish is no longer valid", 3),
        (&["m-O0", "m-O7"], "Offer m-O7 is no longer valid", 2),
        (
            &["m-O2"],
            "Offer m-O2 has invalid framework m-0001 while framework m-0000 is expected",
            3,
        ),
        // The other framework keeps what it was offered.
        (
            &["m-O0", "m-O2"],
            "Offer m-O2 has invalid framework m-0001 while framework m-0000 is expected",
            2,
        ),
        (
            &["m-O0", "m-O1"],
            "Aggregated offers must belong to one single agent. Offer m-O1 uses agent m-S1 and agent m-S0",
            1,
        ),
    ];
    for (offers, expected, left) in cases {
        let (mut cluster, mine, _) = three_offers();
        cluster.call(
            &mine,
            &accept_json(offers, &[task_json("t", "m-S0", "cpus:1")]),
        );
        let update = format!(
            "UPDATE t TASK_DROPPED REASON_INVALID_OFFERS: Task launched with invalid offers: {expected}"
        );
        assert_eq!(cluster.lines(&mine), [update], "{offers:?}");
        // The other framework is free to take what came back, so what is outstanding is looked up by id.
        let mine_and_others = ids
            .iter()
            .filter(|id| !offers.contains(&id.as_str()) || *id == "m-O2")
            .count();
        assert_eq!(mine_and_others, left, "{offers:?}");
        assert_eq!(cluster.listed(TaskList::Active), [""; 0]);
    }
}

#[test]
fn a_suspended_master_starts_nothing_and_says_so() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.subscribe(r#"{"user":"u","name":"n"}"#);
    cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.lines(&scheduler);
    cluster.send(Input::Suspended(true));
    cluster.launch(&scheduler, &offer, &["t"]);
    let expected = "UPDATE t TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: this master is cut off from the others and starts \
                    nothing new";
    assert_eq!(cluster.lines(&scheduler), [expected]);
    // Afterwards what was free is offered again.
    cluster.send(Input::Suspended(false));
    let again = cluster.offer(&scheduler);
    assert_ne!(again.id, offer.id);
    assert_eq!(again.resources, offer.resources);
}

#[test]
fn an_offer_is_used_once() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.subscribe(r#"{"user":"u","name":"n"}"#);
    cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    cluster.launch(&scheduler, &offer, &["t"]);
    cluster.lines(&scheduler);
    cluster.launch(&scheduler, &offer, &["u"]);
    // Without PARTITION_AWARE it is LOST.
    let expected = "UPDATE u TASK_LOST REASON_INVALID_OFFERS: Task launched with invalid offers: Offer m-O0 is no longer valid";
    assert_eq!(cluster.lines(&scheduler), [expected]);
}

#[test]
fn invalid_tasks_are_told_why_and_stand_alone() {
    let command = r#""command":{"value":"true"}"#;
    let long = "x".repeat(256);
    let custom = r#""executor":{"executor_id":{"value":"e"},"command":{"value":"x"}}"#;
    let task = |id: &str, resources: &str, rest: &str| task_json_with(id, "m-S0", resources, rest);
    let raw = |resources: &str| {
        format!(
            r#"{{"name":"n","task_id":{{"value":"t"}},"agent_id":{{"value":"m-S0"}},"resources":[{resources}],{command}}}"#
        )
    };
    let cases = [
        (
            task_json("", "m-S0", "cpus:1"),
            "Task ID is invalid: ID must not be empty",
        ),
        (
            task_json(&long, "m-S0", "cpus:1"),
            "Task ID is invalid: ID must not be greater than 255 characters",
        ),
        (
            task_json("a/b", "m-S0", "cpus:1"),
            "Task ID is invalid: 'a/b' contains invalid characters",
        ),
        (
            task_json("..", "m-S0", "cpus:1"),
            "Task ID is invalid: '..' is disallowed",
        ),
        (
            task_json("good", "m-S0", "cpus:1"),
            "Task has duplicate ID: good",
        ),
        (
            task_json("t", "m-S9", "cpus:1"),
            "Task uses invalid agent m-S9 while agent m-S0 is expected",
        ),
        (raw(""), "Task uses no resources"),
        (
            raw(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0}}"#),
            "Task uses no resources",
        ),
        (
            raw(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}"#),
            "Task uses invalid resources",
        ),
        (
            raw(r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.0001}}"#),
            "Task uses invalid resources",
        ),
        (
            raw(r#"{"name":"cpus","type":"SCALAR"}"#),
            "Task uses invalid resources",
        ),
        (
            raw(r#"{"name":"x","type":"TEXT","text":{"value":"x"}}"#),
            "Task uses invalid resources",
        ),
        (
            raw(r#"{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":9,"end":1}]}}"#),
            "Task uses invalid resources",
        ),
        (
            raw(r#"{"name":"gpus","type":"SCALAR","scalar":{"value":0.5}}"#),
            "The 'gpus' resource must be an unsigned integer",
        ),
        (
            raw(
                r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"other"}}"#,
            ),
            "The resources are allocated to other, but the offers to role '*'",
        ),
        (
            raw(
                r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}"#,
            ),
            "Cannot use both revocable and non-revocable 'cpus' at the same time",
        ),
        (task("t", "cpus:100", command), "Task uses more resources"),
        (
            task("t", "ports:[1-2]", command),
            "Task uses more resources",
        ),
        (
            task(
                "t",
                "cpus:1;ports:[31000-31000]",
                &format!(
                    r#""executor":{{"executor_id":{{"value":"e"}},"command":{{"value":"x"}},"resources":{}}}"#,
                    crate::cluster::resources_json("cpus:1;ports:[31000-31001]")
                ),
            ),
            "Task uses more resources",
        ),
        (
            task("t", "cpus:1", r#""data":"AA==""#),
            "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present",
        ),
        (
            task("t", "cpus:1", &format!("{command},{custom}")),
            "Task should have at least one (but not both)",
        ),
        (
            task("t", "cpus:1", r#""executor":{"executor_id":{"value":"e"}}"#),
            "'ExecutorInfo.command' must be set for 'CUSTOM' executor",
        ),
        (
            task(
                "t",
                "cpus:1",
                r#""executor":{"executor_id":{"value":"a/"},"command":{"value":"x"}}"#,
            ),
            "Executor ID is invalid: 'a/' contains invalid characters",
        ),
        (
            task(
                "t",
                "cpus:1",
                r#""executor":{"type":"DEFAULT","executor_id":{"value":"e"},"command":{"value":"x"}}"#,
            ),
            "'ExecutorInfo.type' must be unset or CUSTOM for LAUNCH",
        ),
        (
            task(
                "t",
                "cpus:1",
                r#""executor":{"framework_id":{"value":"other"},"executor_id":{"value":"e"},"command":{"value":"x"}}"#,
            ),
            "ExecutorInfo has an invalid FrameworkID (Actual: other vs Expected: m-0000)",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(r#"{command},"kill_policy":{{"grace_period":{{"nanoseconds":-1}}}}"#),
            ),
            "Task's 'kill_policy.grace_period' must be non-negative",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(r#"{command},"max_completion_time":{{"nanoseconds":-1}}"#),
            ),
            "Task's 'max_completion_time' must be non-negative",
        ),
        (
            task("t", "cpus:1", &format!(r#"{command},"health_check":{{}}"#)),
            "HealthCheck must specify 'type'",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(r#"{command},"health_check":{{"http":{{"port":1,"path":"x"}}}}"#),
            ),
            "The path 'x' of the HTTP health check must start with '/'",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(
                    r#"{command},"check":{{"type":"TCP","tcp":{{"port":1}},"delay_seconds":-1}}"#
                ),
            ),
            "Expecting 'delay_seconds' of the check to be non-negative",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(r#"{command},"container":{{"type":"DOCKER"}}"#),
            ),
            "DockerInfo is not set in ContainerInfo of type DOCKER",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(
                    r#"{command},"container":{{"type":"MESOS","volumes":[{{"mode":"RW","container_path":"p"}}]}}"#
                ),
            ),
            "Exactly one of 'host_path', 'image' or 'source' must be set in a volume",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(
                    r#"{command},"container":{{"type":"MESOS","rlimit_info":{{"rlimits":[{{"type":"RLMT_AS","soft":1}}]}}}}"#
                ),
            ),
            "An rlimit must have both of 'hard' and 'soft' set, or neither",
        ),
        (
            task(
                "t",
                "cpus:1",
                r#""command":{"value":"x","environment":{"variables":[{"name":"A"}]}}"#,
            ),
            "Environment variable 'A' of type 'VALUE' must have a value set",
        ),
        (
            task(
                "t",
                "cpus:1",
                r#""command":{"value":"x","uris":[{"value":"http://x/y","output_file":"../y"}]}"#,
            ),
            "The output file of URI 'http://x/y' lies outside of the sandbox",
        ),
        (
            task(
                "t",
                "cpus:1",
                &format!(r#"{command},"limits":{{"cpus":{{"value":2}}}}"#),
            ),
            "The agent cannot enforce resource limits",
        ),
    ];
    for (bad, expected) in cases {
        let mut cluster = Cluster::new();
        let scheduler = cluster.scheduler("a");
        cluster.agent(AGENT);
        let offer = cluster.offer(&scheduler);
        let tasks = [
            task_json("good", "m-S0", "cpus:1"),
            bad.clone(),
            task_json("after", "m-S0", "cpus:1"),
        ];
        cluster.call(&scheduler, &accept_json(&[&offer.id.value], &tasks));
        let lines = cluster.lines(&scheduler);
        let told = lines[0]
            .split_once("TASK_ERROR REASON_TASK_INVALID: ")
            .unwrap_or_else(|| panic!("{lines:?} for {bad}"))
            .1;
        assert!(told.starts_with(expected), "{told:?} for {bad}");
        assert_eq!(
            cluster.listed(TaskList::Active),
            ["good TASK_STAGING", "after TASK_STAGING"]
        );
        assert!(
            lines[1].starts_with("OFFERS m-S0 cpus:2;mem:1000"),
            "{lines:?}"
        );
    }
}

#[test]
fn executors_are_counted_once_and_must_not_change() {
    let mut cluster = Cluster::new();
    let scheduler = cluster.scheduler("a");
    let slave = cluster.agent(AGENT);
    let offer = cluster.offer(&scheduler);
    let with = |id: &str, command: &str| {
        let resources = crate::cluster::resources_json("cpus:1;mem:32");
        let executor = format!(
            r#""executor":{{"executor_id":{{"value":"e"}},"command":{{"value":"{command}"}},"resources":{resources}}}"#
        );
        task_json_with(id, "m-S0", "cpus:1", &executor)
    };
    let tasks = [with("t", "x"), with("u", "x"), with("v", "changed")];
    cluster.call(&scheduler, &accept_json(&[&offer.id.value], &tasks));
    let lines = cluster.lines(&scheduler);
    let expected = "UPDATE v TASK_ERROR REASON_TASK_INVALID: ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID 'e'";
    assert_eq!(lines[0], expected);
    assert_eq!(
        lines[1],
        "OFFERS m-S0 cpus:1;mem:968;disk:100;ports:[31000-31009]"
    );
    // Its end frees what it used, and is told.
    let terminated = tepui_proto::tepui::v1::ExecutorTerminated {
        framework_id: tepui_proto::mesos::FrameworkId {
            value: scheduler.id.clone(),
        },
        executor_id: tepui_proto::mesos::ExecutorId {
            value: "e".to_owned(),
        },
        status: 0,
    };
    cluster.tell(
        slave.link,
        tepui_proto::tepui::v1::agent_message::Message::ExecutorTerminated(terminated),
    );
    assert_eq!(
        cluster.lines(&scheduler),
        ["FAILURE m-S0 e", "OFFERS m-S0 cpus:1;mem:32"]
    );
}

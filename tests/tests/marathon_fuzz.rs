//! schemathesis, driven by the API's own OpenAPI document, against a real Marathon with a master and an agent: no answer is a 5xx, and every answer
//! has a status, a media type, headers and a body that the document knows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, process::Command, time::Duration};

use serde_json::Value;
use tepui_tests::{
    PATIENCE,
    client::get_json,
    cluster::{Cluster, active_agents},
    process::{Process, python},
    until,
};

const HOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/marathon_fuzz.py");
/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";
/// Operations that are not asked for in a way that they can grant: for a stream that never ends, while nothing is tried, and where nothing was
/// restored.
const NEVER_GRANTED: [&str; 3] = [
    "GET /v2/events",
    "POST /v3/deployments/{deploymentId}/promote",
    "POST /v3/store/free",
];

fn set(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_that_the_document_does_not_know() {
    let mut cluster = Cluster::standalone();
    let master = cluster.master(&[]);
    // Large enough for what is made up.
    let _agent =
        cluster.agent(&["--resources=cpus:10000;mem:10000000;disk:10000000;ports:[20000-29999]"]);
    // Commands that are made up run as nobody, and there are never many of them.
    let marathon = cluster.marathon(&["--mesos_user=nobody", "--max_instances=100"]);
    until("the agent", PATIENCE, || {
        (active_agents(&master.url) == 1).then_some(())
    });
    let document = format!("{}/v3/openapi.json", marathon.url);
    let paths = until("the document", PATIENCE, || {
        get_json(&document)?["paths"].as_object().cloned()
    });
    let operations: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        // It has been asked for already.
        .filter(|operation| operation != "GET /v3/openapi.json")
        .collect();
    let statuses = cluster.folder().join("statuses.json");
    let mut command = Command::new(python());
    command
        .args([
            "-m",
            "schemathesis.cli",
            "run",
            &document,
            "--checks",
            CHECKS,
        ])
        .arg(format!("--phases={}", set("TEPUI_FUZZ_PHASES", "fuzzing")))
        .arg(format!("--seed={}", set("TEPUI_FUZZ_SEED", "1")))
        .arg(format!(
            "--max-examples={}",
            set("TEPUI_FUZZ_EXAMPLES", "20")
        ))
        .args([
            "--request-timeout=20",
            "--continue-on-failure",
            "--no-color",
        ])
        .args(["--suppress-health-check=all", "--warnings=off"])
        .env("SCHEMATHESIS_HOOKS", HOOKS)
        .env("FUZZ_STATUSES", &statuses)
        .current_dir(cluster.folder());
    let mut schemathesis = Process::start("schemathesis", command);
    let patience = Duration::from_secs(set("TEPUI_FUZZ_SECONDS", "900").parse().unwrap());
    let status = schemathesis.ended(patience);
    assert!(status.success(), "{}", schemathesis.log());

    let told = std::fs::read(&statuses).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    let told = told.as_object().unwrap();
    let asked: BTreeSet<String> = told.keys().cloned().collect();
    assert_eq!(asked, operations);
    for (operation, answers) in told {
        let good = answers
            .as_object()
            .unwrap()
            .keys()
            .any(|status| status.starts_with(['2', '3']));
        assert!(
            good || NEVER_GRANTED.contains(&operation.as_str()),
            "{operation} was only ever refused, so its answers were not looked at: {answers}"
        );
    }
    // It is as alive as before.
    assert!(marathon.get("/v2/info")["elected"] == true);
}

//! Apps on executors of their users: Marathon describes a program to Mesos, and the program runs the app.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tepui_tests::{
    PATIENCE,
    client::{delete, get, get_json, put},
    cluster::{deploy, no_deployments, running, whole},
    process::python,
    until,
};

const EXECUTOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/pymesos_service.py");

#[test]
fn an_app_runs_on_an_executor_of_its_own() {
    let (_cluster, master, _agent, marathon) = whole(&[]);
    let bin = python().parent().unwrap().display().to_string();
    let app = json!({ "id": "/own", "cpus": 0.1, "mem": 32, "instances": 2,
        "cmd": "hello 'two words'", "executor": "./pymesos_service.py",
        "executorResources": { "cpus": 0.2, "mem": 48, "disk": 11 },
        // Not executable: the executor's command line sees to that.
        "fetch": [{ "uri": EXECUTOR, "executable": false, "extract": false }],
        "env": { "PATH": format!("{bin}:/usr/bin:/bin"), "COLOUR": "blue" },
        "portDefinitions": [{ "port": 0, "name": "http" }],
        "healthChecks": [{ "protocol": "HTTP", "path": "/", "intervalSeconds": 1, "gracePeriodSeconds": 60 }] });
    let ids = deploy(&marathon.url, &app, 2);
    let url = format!("{}/v2/apps/own", marathon.url);
    until("both are healthy", PATIENCE, || {
        (get_json(&url)?["app"]["tasksHealthy"] == 2).then_some(())
    });
    no_deployments(&marathon);
    let shown = get_json(&url).unwrap()["app"].clone();
    assert_eq!(shown["executor"], "./pymesos_service.py");
    for task in shown["tasks"].as_array().unwrap() {
        let facts = get(&format!("http://127.0.0.1:{}/", task["ports"][0])).unwrap();
        let id = task["id"].as_str().unwrap();
        assert_eq!(
            facts.json(),
            json!({ "words": ["hello", "two words"], "task": id, "executor": format!("marathon-{id}"), "colour": "blue",
                "app": "/own", "fields": [] })
        );
    }
    // What the master says the executors have.
    let state = get_json(&format!("{}/state", master.url)).unwrap();
    let frameworks = state["frameworks"].as_array().unwrap();
    let own = frameworks.iter().find(|one| one["name"] == "marathon");
    let executors = own.unwrap()["executors"].as_array().unwrap().clone();
    let amounts = |one: &Value| ["cpus", "mem", "disk"].map(|name| one["resources"][name].clone());
    let all: Vec<_> = executors.iter().map(amounts).collect();
    let each = [json!(0.2), json!(48.0), json!(11.0)];
    assert_eq!(all, [each.clone(), each]);

    assert_eq!(put(&url, &json!({ "instances": 3 })).unwrap().status, 200);
    let three = running(&marathon.url, "/own", 3);
    assert!(ids.iter().all(|id| three.contains(id)));
    no_deployments(&marathon);
    assert_eq!(put(&url, &json!({ "instances": 1 })).unwrap().status, 200);
    let one = running(&marathon.url, "/own", 1);
    no_deployments(&marathon);
    // Another command is another version of the app: its instance is replaced.
    assert_eq!(put(&url, &json!({ "cmd": "again" })).unwrap().status, 200);
    no_deployments(&marathon);
    let task = get_json(&url).unwrap()["app"]["tasks"][0].clone();
    assert_ne!(task["id"], one[0].as_str());
    let facts = get(&format!("http://127.0.0.1:{}/", task["ports"][0])).unwrap();
    assert_eq!(facts.json()["words"], json!(["again"]));

    assert_eq!(delete(&url).unwrap().status, 200);
    until("no executor is left", PATIENCE, || {
        let state = get_json(&format!("{}/state", master.url))?;
        let all = state["frameworks"].as_array()?;
        let framework = all.iter().find(|one| one["name"] == "marathon")?;
        (framework["executors"] == json!([]) && framework["tasks"] == json!([])).then_some(())
    });
}

#[test]
fn the_example_of_an_executor_runs_its_command_until_it_is_told_to_end() {
    let (cluster, _master, _agent, marathon) = whole(&[]);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples");
    let text = std::fs::read_to_string(format!("{examples}/executor.json")).unwrap();
    let mut app: Value = serde_json::from_str(&text).unwrap();
    app["fetch"][0]["uri"] = json!(format!("{examples}/executor.py"));
    app["cmd"] = json!("echo once more");
    let ids = deploy(&marathon.url, &app, 2);
    no_deployments(&marathon);
    let runs = cluster.folder().join("agent-2/slaves");
    let outputs = |id: &str| -> usize {
        let find = std::process::Command::new("find")
            .arg(&runs)
            .args(["-path", &format!("*/executors/marathon-{id}/runs/*/stdout")])
            .output()
            .unwrap();
        let found = String::from_utf8(find.stdout).unwrap();
        let texts = found.lines().filter(|path| !path.contains("latest"));
        texts
            .map(|path| std::fs::read_to_string(path).unwrap())
            .map(|text| text.matches("once more").count())
            .sum()
    };
    for id in &ids {
        until("it ran twice", PATIENCE, || {
            (outputs(id) >= 2).then_some(())
        });
    }
    let url = format!("{}/v2/apps/examples/executor", marathon.url);
    assert_eq!(delete(&url).unwrap().status, 200);
    no_deployments(&marathon);
    // The history of ended tasks knows where its output is.
    let ended = get_json(&format!(
        "{}/v3/apps/examples/executor/history",
        marathon.url
    ))
    .unwrap();
    assert!(
        ended
            .to_string()
            .contains(&format!("/executors/marathon-{}/", ids[0])),
        "{ended}"
    );
}

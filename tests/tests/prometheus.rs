//! Prometheus, as Debian ships it, finds what runs on Marathon by itself and reads its metrics.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{process::Command, time::Duration};

use serde_json::{Value, json};
use tepui_tests::{
    client::get_json,
    cluster::{deploy, whole},
    process::{Process, free_port},
    until,
};

/// What each instance serves at `/metrics`.
const METRIC: &str = "tepui_test_instance 7";

/// An app that serves a metric on its port.
fn exporter(id: &str, instances: u32) -> Value {
    json!({
        "id": id,
        "cmd": format!("mkdir -p www && echo '{METRIC}' > www/metrics && exec python3 -m http.server --bind 127.0.0.1 --directory www $PORT0"),
        "cpus": 0.1,
        "mem": 64,
        "instances": instances,
        "portDefinitions": [{ "port": 0, "name": "metrics", "labels": { "metrics": "yes" } }],
        "labels": { "team": "a" },
    })
}

#[test]
fn prometheus_discovers_apps_by_marathon_and_scrapes_them() {
    let (cluster, _master, _agent, marathon) = whole(&["--hostname=127.0.0.1"]);
    let tasks = deploy(&marathon.url, &exporter("/shop/web", 2), 2);

    let port = free_port();
    let folder = cluster.folder().join("prometheus");
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("prometheus.yml");
    let scrape = json!({ "scrape_configs": [{
        "job_name": "marathon",
        "scrape_interval": "1s",
        "marathon_sd_configs": [{ "servers": [marathon.url], "refresh_interval": "1s" }],
        "relabel_configs": [
            { "source_labels": ["__meta_marathon_port_definition_label_metrics"], "regex": "yes", "action": "keep" },
            { "source_labels": ["__meta_marathon_app"], "target_label": "app" },
            { "source_labels": ["__meta_marathon_task"], "target_label": "task" },
            { "source_labels": ["__meta_marathon_app_label_team"], "target_label": "team" },
        ],
    }] });
    // JSON is YAML.
    std::fs::write(&config, scrape.to_string()).unwrap();
    let mut command = Command::new("prometheus");
    command.args([
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ]);
    let prometheus = Process::start("prometheus", command);

    let api = format!("http://127.0.0.1:{port}/api/v1");
    let values = |wanted: &dyn Fn(&[Value]) -> bool| {
        until(
            "the metric of every instance",
            Duration::from_secs(60),
            || {
                let answer = get_json(&format!("{api}/query?query=tepui_test_instance"))?;
                let values = answer["data"]["result"].as_array()?.clone();
                wanted(&values).then_some(values)
            },
        )
    };
    let found = values(&|values| values.len() == 2);
    let mut seen: Vec<&str> = Vec::new();
    for value in &found {
        assert_eq!(value["metric"]["app"], "/shop/web");
        assert_eq!(value["metric"]["team"], "a");
        assert_eq!(value["value"][1], "7");
        seen.extend(value["metric"]["task"].as_str());
    }
    seen.sort_unstable();
    assert_eq!(seen, tasks, "{}", prometheus.log());

    // What comes later is found too.
    let _more = deploy(&marathon.url, &exporter("/shop/db", 1), 1);
    values(&|values| {
        values.len() == 3 && values.iter().any(|one| one["metric"]["app"] == "/shop/db")
    });
}

//! The files of docs/examples: each can be deployed, and a page of docs/src says what for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::{fs, path::Path};

use cluster::{Cluster, body};
use serde_json::Value;
use tepui_marathon_core::{ApiCall, Config};

#[test]
fn every_example_can_be_deployed_and_is_told_of() {
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs"));
    let pages: String = fs::read_dir(docs.join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|one| one == "md"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let config = Config {
        external_volumes: true,
        ..Config::default()
    };
    let mut cluster = Cluster::with(3, config);
    let mut seen = 0;
    for entry in fs::read_dir(docs.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(pages.contains(&name), "no page tells of {name}");
        if path.extension().is_none_or(|one| one != "json") {
            continue; // a program that an example needs
        }
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        if value.get("id").is_none() {
            continue; // a policy, which stands beside an app
        }
        let planned = cluster.call(ApiCall::Plan {
            body: text.into(),
            partial: true,
            trial: None,
        });
        assert_eq!(planned.status, 200, "{name}: {}", body(&planned));
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

//! Daemon apps: the label `TEPUI_DAEMON: "true"` asks for one instance on every agent that the constraints admit.
//!
//! It is a label because clients of `/v2` are strict about keys, and part of the definition because it decides what the instances are: a
//! version has it or not, and a roll back brings it back. `instances` then only says whether there are any: 0 for none.

use super::{App, Faults, Operator};

/// See the module.
const LABEL: &str = "TEPUI_DAEMON";

impl App {
    /// One instance on every matching agent.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.labels.get(LABEL).is_some_and(|value| value == "true")
    }
}

/// How many there are is for the agents to say.
pub(in crate::definition) fn normalise(app: &mut App) {
    if app.is_daemon() {
        app.instances = app.instances.min(1);
    }
}

pub(in crate::definition) fn validate(app: &App, faults: &mut Faults) {
    let path = format!("/labels({LABEL})");
    if let Some(value) = app.labels.get(LABEL)
        && value != "true"
        && value != "false"
    {
        faults.add(path, format!("got {value}, expected true or false"));
        return;
    }
    if !app.is_daemon() {
        return;
    }
    for (at, constraint) in app.constraints.iter().enumerate() {
        let chooses = match constraint.operator {
            Operator::Like | Operator::Unlike | Operator::Is => true,
            Operator::Cluster => constraint.value.as_ref().is_some_and(|one| !one.is_empty()),
            Operator::Unique | Operator::GroupBy | Operator::MaxPer => false,
        };
        if !chooses {
            let message = "a daemon app has one instance on every matching agent: its constraints choose agents by LIKE, UNLIKE, IS, or \
                           CLUSTER with a value";
            faults.add(format!("/constraints({at})"), message);
        }
    }
    if app.is_resident() {
        faults.add(path.clone(), "a daemon app cannot have persistent volumes");
    }
    if app.has_unshared_volumes() {
        let message = "a daemon app cannot have external volumes that are not shared";
        faults.add(path, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        config::Config,
        definition::{AppUpdate, Setting, build},
        path::PathId,
    };

    #[test]
    fn what_a_daemon_app_may_be() {
        for (more, want) in [
            (json!({ "instances": 7 }), Ok(1)),
            (json!({ "instances": 0 }), Ok(0)),
            (
                json!({ "constraints": [["rack", "LIKE", "a.*"], ["os", "CLUSTER", "linux"]] }),
                Ok(1),
            ),
            (
                json!({ "labels": { "TEPUI_DAEMON": "false" }, "instances": 7 }),
                Ok(7),
            ),
            (
                json!({ "labels": { "TEPUI_DAEMON": "yes" } }),
                Err("/labels(TEPUI_DAEMON) got yes, expected true or false"),
            ),
            (
                json!({ "constraints": [["hostname", "UNIQUE"]] }),
                Err("/constraints(0) a daemon app has one instance on every matching agent"),
            ),
            (
                json!({ "constraints": [["rack", "CLUSTER"]] }),
                Err("/constraints(0) a daemon app has one instance on every matching agent"),
            ),
            (
                json!({ "role": "r", "container": { "type": "MESOS", "volumes": [{ "containerPath": "d", "persistent": { "size": 1 } }] } }),
                Err("/labels(TEPUI_DAEMON) a daemon app cannot have persistent volumes"),
            ),
        ] {
            let mut document =
                json!({ "id": "/d", "cmd": "run", "labels": { "TEPUI_DAEMON": "true" } });
            for (key, value) in more.as_object().expect("an object") {
                document[key] = value.clone();
            }
            let config = Config::default();
            let update = AppUpdate::read(&document, true).expect("a definition");
            let built = build(update, PathId::resolve("/d"), None, Setting::new(&config));
            let got = built.map(|app| app.instances).map_err(|refusal| {
                let body: serde_json::Value = serde_json::from_slice(&refusal.body).expect("JSON");
                let detail = &body["details"][0];
                format!(
                    "{} {}",
                    detail["path"].as_str().expect("a path"),
                    detail["errors"][0].as_str().expect("an error")
                )
            });
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{document}"),
                (Err(got), Err(want)) => assert!(got.starts_with(want), "{got}, not {want}"),
                (got, want) => panic!("{document}: {got:?}, not {want:?}"),
            }
        }
    }
}

//! The apps that users have: each of a kind that it keeps, in versions that differ in all that may.

use serde_json::{Value, json};

use super::Nature;
use crate::random::Random;

/// What an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Health comes in task statuses.
    Probed,
    /// With readiness checks.
    Readied,
    Resident,
    /// One on each host.
    Unique,
    /// Two on each rack at most.
    MaxPer,
    GroupBy,
    Daemon,
    Numbered,
    Pod,
}

/// All of them. Some need others of their group.
pub(super) const APPS: [(&str, Kind); 11] = [
    ("/shop/web", Kind::Plain),
    ("/shop/api", Kind::Probed),
    ("/shop/cache", Kind::Readied),
    ("/shop/pod", Kind::Pod),
    ("/data/base", Kind::Resident),
    ("/data/log", Kind::Resident),
    ("/apart/one", Kind::Unique),
    ("/apart/two", Kind::MaxPer),
    ("/apart/even", Kind::GroupBy),
    ("/daemon", Kind::Daemon),
    ("/numbered", Kind::Numbered),
];

pub(super) fn kind(id: &str) -> Kind {
    let known = APPS.iter().find(|(known, _)| *known == id);
    known.map_or(Kind::Plain, |(_, kind)| *kind)
}

pub(super) fn command(revision: u64, nature: Nature) -> String {
    format!("serve {revision} {}", nature.name())
}

fn strategy(kind: Kind, random: &mut Random) -> Value {
    let (minimum, over) = match kind {
        // They keep their place, so nothing may run beside them.
        Kind::Resident => [(0.5, 0.0), (1.0, 0.0), (0.0, 0.0)][random.below(3)],
        _ => {
            let all = [(1.0, 1.0), (1.0, 0.0), (0.5, 0.2), (0.0, 0.0), (0.7, 0.5)];
            all[random.below(all.len())]
        }
    };
    json!({ "minimumHealthCapacity": minimum, "maximumOverCapacity": over })
}

fn checks(kind: Kind, random: &mut Random) -> Value {
    let failures = [0, 3][random.below(2)];
    match kind {
        Kind::Probed => {
            json!([{ "protocol": "COMMAND", "command": { "value": "probe" }, "intervalSeconds": 2,
            "gracePeriodSeconds": 20, "timeoutSeconds": 2, "maxConsecutiveFailures": failures }])
        }
        Kind::Daemon | Kind::MaxPer => json!([]),
        _ if random.percent(40) => json!([]),
        _ => {
            json!([{ "protocol": "HTTP", "path": "/", "intervalSeconds": 2, "gracePeriodSeconds": 20,
            "timeoutSeconds": 1, "maxConsecutiveFailures": failures }])
        }
    }
}

/// A definition that may or may not work, small or too large.
pub(super) fn definition(id: &str, revision: u64, random: &mut Random) -> Value {
    let natures = [
        Nature::Well,
        Nature::Well,
        Nature::Well,
        Nature::Slow,
        Nature::Slow,
        Nature::Sick,
        Nature::Crashes,
    ];
    let nature = natures[random.below(natures.len())];
    let cpus = [0.02, 0.05, 0.1, 0.5][random.below(4)];
    let instances = random.below(7);
    made(id, revision, nature, cpus, instances, random)
}

/// One that works, and for which there is room.
pub(super) fn sound(id: &str, revision: u64, machines: usize, random: &mut Random) -> Value {
    let most = match kind(id) {
        Kind::Unique => machines,
        _ => 3,
    };
    let instances = 1 + random.below(most.min(3));
    made(id, revision, Nature::Well, 0.02, instances, random)
}

fn made(
    id: &str,
    revision: u64,
    nature: Nature,
    cpus: f64,
    instances: usize,
    random: &mut Random,
) -> Value {
    let kind = kind(id);
    let command = command(revision, nature);
    if kind == Kind::Pod {
        let container = |name: &str, command: &str| {
            json!({ "name": name, "resources": { "cpus": cpus, "mem": 4 },
            "exec": { "command": { "shell": command } } })
        };
        return json!({ "id": id, "scaling": { "kind": "fixed", "instances": instances },
            "scheduling": { "backoff": { "backoff": 1, "maxLaunchDelay": 8 }, "upgrade": strategy(kind, random) },
            "containers": [container("a", &command), container("b", &format!("{} {revision} well", "aside"))] });
    }
    let selection = ["YOUNGEST_FIRST", "OLDEST_FIRST"][random.below(2)];
    let mut app = json!({
        "id": id,
        "cmd": command,
        "cpus": if kind == Kind::Daemon { 0.01 } else { cpus },
        "mem": 4,
        "instances": instances,
        "backoffSeconds": 1,
        "maxLaunchDelaySeconds": 8,
        "portDefinitions": [{ "port": 0, "name": "main" }],
        "upgradeStrategy": strategy(kind, random),
        "healthChecks": checks(kind, random),
        "killSelection": selection,
    });
    let unreachable = [
        json!({ "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 }),
        json!({ "inactiveAfterSeconds": 5, "expungeAfterSeconds": 30 }),
        json!({ "inactiveAfterSeconds": 10, "expungeAfterSeconds": 600 }),
        json!("disabled"),
    ];
    if kind != Kind::Resident {
        app["unreachableStrategy"] = unreachable[random.below(4)].clone();
    }
    match kind {
        Kind::Resident => {
            // What is reserved does not change.
            app["cpus"] = json!(0.05);
            app["role"] = json!("data");
            app["container"] = json!({ "type": "MESOS",
                "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } }] });
        }
        Kind::Readied => {
            app["readinessChecks"] =
                json!([{ "portName": "main", "intervalSeconds": 2, "timeoutSeconds": 1 }]);
        }
        Kind::Unique => app["constraints"] = json!([["hostname", "UNIQUE"]]),
        Kind::MaxPer => app["constraints"] = json!([["rack", "MAX_PER", "2"]]),
        Kind::GroupBy => app["constraints"] = json!([["hostname", "GROUP_BY"]]),
        Kind::Daemon => {
            app["labels"] = json!({ "TEPUI_DAEMON": "true" });
            app["instances"] = json!(instances.min(1));
        }
        Kind::Numbered => app["labels"] = json!({ "TEPUI_ORDINALS": "true" }),
        Kind::Plain | Kind::Probed | Kind::Pod => {}
    }
    app
}

/// The group `/shop` as a whole: what is in it needs what stands before it.
pub(super) fn group(revision: u64, random: &mut Random) -> Value {
    let ids = ["/shop/web", "/shop/api", "/shop/cache"];
    let mut apps: Vec<Value> = Vec::new();
    for (at, id) in ids.into_iter().enumerate() {
        if random.percent(80) {
            let mut app = definition(id, revision, random);
            let before: Vec<Value> = apps.iter().map(|app| app["id"].clone()).collect();
            if at > 0 && random.percent(60) {
                app["dependencies"] = json!(before);
            }
            apps.push(app);
        }
    }
    json!({ "id": "/shop", "apps": apps })
}

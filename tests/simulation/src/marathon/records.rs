//! What a core has written, read anew by somebody else: instances, definitions, deployments, as far as the invariants are about them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tepui_marathon_core::Mutation;

/// An instance.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) app: String,
    /// The configuration that it has.
    pub(super) config: String,
    pub(super) goal: String,
    pub(super) condition: String,
    #[serde(default)]
    pub(super) cause: Option<String>,
    pub(super) incarnation: u64,
    #[serde(default)]
    pub(super) agent: Option<Place>,
    #[serde(default)]
    pub(super) task: Option<Task>,
    #[serde(default)]
    pub(super) reservation: Option<Value>,
}

/// Where it is.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
}

/// Its task; of a pod its tasks.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Task {
    id: String,
    #[serde(default)]
    ready: Option<bool>,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
struct Container {
    id: String,
    condition: String,
}

/// Whether there is no task.
pub(super) fn is_over(condition: &str) -> bool {
    let over = [
        "Scheduled",
        "Finished",
        "Killed",
        "Error",
        "Failed",
        "Gone",
        "Dropped",
        "Unknown",
    ];
    over.contains(&condition)
}

impl Instance {
    pub(super) fn wanted(&self) -> bool {
        self.goal == "Running"
    }

    /// Nothing was launched, or what was launched is over.
    pub(super) fn over(&self) -> bool {
        is_over(&self.condition)
    }

    /// Its task is there, or may be.
    pub(super) fn active(&self) -> bool {
        let active = [
            "Provisioned",
            "Staging",
            "Starting",
            "Running",
            "Killing",
            "Unreachable",
        ];
        active.contains(&self.condition.as_str())
    }

    /// It counts where instances are to be apart.
    pub(super) fn is_placed(&self) -> bool {
        let lost = self.over() || self.condition == "Unreachable";
        self.agent.is_some() && (!lost || self.reservation.is_some())
    }

    /// It runs, and is not known to lack anything.
    pub(super) fn is_ready(&self, checked: bool, health: &BTreeMap<String, bool>) -> bool {
        let Some(task) = &self.task else { return false };
        self.condition == "Running"
            && task.ready != Some(false)
            && (!checked || health.get(&task.id) == Some(&true))
    }

    /// Its tasks, with what each does.
    pub(super) fn tasks(&self) -> Vec<(&str, &str)> {
        let Some(task) = &self.task else {
            return Vec::new();
        };
        if task.containers.is_empty() {
            return vec![(task.id.as_str(), self.condition.as_str())];
        }
        let containers = task.containers.iter();
        containers
            .map(|one| (one.id.as_str(), one.condition.as_str()))
            .collect()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) apps: BTreeMap<String, Value>,
    pub(super) deployments: BTreeMap<String, Value>,
    policies: BTreeMap<String, Value>,
    /// Configurations with health checks, by app.
    checked: BTreeSet<(String, String)>,
    /// What is to be freed, by key, with the agent that has it.
    pub(super) remains: BTreeMap<String, String>,
}

pub(super) fn data(value: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(value).unwrap_or_default();
    value["data"].take()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// When the configuration changed last.
pub(super) fn config(app: &Value) -> String {
    text(&app["versionInfo"]["lastConfigChangeAt"])
}

impl Records {
    pub(super) fn put(&mut self, key: &str, value: &Bytes) {
        match key.split_once('/') {
            Some(("instance", id)) => {
                if let Ok(instance) = serde_json::from_value(data(value)) {
                    self.instances.insert(id.to_owned(), instance);
                }
            }
            Some(("app", _)) => {
                let app = data(value);
                self.note(&app);
                self.apps.insert(text(&app["id"]), app);
            }
            Some(("version" | "past", _)) => self.note(&data(value)),
            Some(("deployment", id)) => {
                self.deployments.insert(id.to_owned(), data(value));
            }
            Some(("policy", _)) => {
                let policy = data(value);
                self.policies.insert(text(&policy["app"]), policy);
            }
            Some(("remains", _)) => {
                let agent = text(&data(value)["agent"]);
                self.remains.insert(key.to_owned(), agent);
            }
            _ => {}
        }
    }

    fn note(&mut self, app: &Value) {
        let checks = app["healthChecks"].as_array();
        if checks.is_some_and(|checks| !checks.is_empty()) {
            self.checked.insert((text(&app["id"]), config(app)));
        }
    }

    fn delete(&mut self, key: &str) {
        match key.split_once('/') {
            Some(("instance", id)) => {
                self.instances.remove(id);
            }
            Some(("app", id)) => {
                self.apps.remove(&id.replace("%2F", "/"));
            }
            Some(("deployment", id)) => {
                self.deployments.remove(id);
            }
            Some(("policy", id)) => {
                self.policies.remove(&id.replace("%2F", "/"));
            }
            _ => {
                self.remains.remove(key);
            }
        }
    }

    /// Takes a write in; returns the instances that it touched, as they were before.
    pub(super) fn take(&mut self, mutations: &[Mutation]) -> BTreeMap<String, Option<Instance>> {
        let mut touched = BTreeMap::new();
        for mutation in mutations {
            let (Mutation::Put { key, .. } | Mutation::Delete { key }) = mutation;
            if let Some(id) = key.strip_prefix("instance/") {
                let before = self.instances.get(id).cloned();
                touched.entry(id.to_owned()).or_insert(before);
            }
            match mutation {
                Mutation::Put { key, value } => self.put(key, value),
                Mutation::Delete { key } => self.delete(key),
            }
        }
        touched
    }

    pub(super) fn is_checked(&self, instance: &Instance) -> bool {
        let key = (instance.app.clone(), instance.config.clone());
        self.checked.contains(&key)
    }

    pub(super) fn of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.instances.values().filter(move |one| one.app == app)
    }

    /// What deployments under way say that an app was before.
    pub(super) fn originals<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a Value> {
        let all = self.deployments.values();
        all.map(move |one| &one["original"][app])
            .filter(|one| !one.is_null())
    }

    /// What the current step of a deployment does to an app.
    fn action(&self, app: &str) -> Option<String> {
        let mut steps = self.deployments.values().filter_map(|one| {
            let current = usize::try_from(one["current"].as_u64()?).ok()?;
            one["steps"][current.checked_sub(1)?]["actions"].as_array()
        });
        let own = |action: &&Value| action["app"] == app || action["pod"] == app;
        steps.find_map(|actions| Some(text(&actions.iter().find(own)?["action"])))
    }

    /// Its instances are replaced in the current step of a deployment.
    pub(super) fn is_replaced(&self, app: &str) -> bool {
        let action = self.action(app);
        action.is_some_and(|action| action.starts_with("Restart"))
    }

    /// A deployment that changes it is busy with others, and leaves it as it is.
    pub(super) fn is_left_alone(&self, app: &str) -> bool {
        self.is_deployed(app) && self.action(app).is_none()
    }

    /// What goes on with an app over time.
    pub(super) fn policy(&self, app: &str) -> &Value {
        self.policies
            .get(app)
            .map_or(&Value::Null, |one| &one["policy"])
    }

    /// A deployment changes it.
    pub(super) fn is_deployed(&self, app: &str) -> bool {
        let mut all = self.deployments.values();
        all.any(|one| one["target"].get(app).is_some())
    }

    /// A new version of the app is tried beside the old one.
    pub(super) fn is_tried(&self, app: &str) -> bool {
        let mut all = self.deployments.values();
        all.any(|one| !one["trial"].is_null() && !one["target"][app].is_null())
    }
}

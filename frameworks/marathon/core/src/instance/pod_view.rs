//! Instances of pods as `/v2/pods/{id}::status` prints them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Agent, Condition, ContainerTask, Goal, Instance, LocalVolume, NetworkStatus, Task};
use crate::{
    definition::{App, Pod, PodContainer},
    path::PathId,
    timestamp::Timestamp,
};

/// An instance of a pod that was launched at least once.
#[derive(Clone, Debug)]
pub struct PodInstanceView {
    /// Orders instances by their creation.
    pub key: u64,
    /// The pod.
    pub pod_id: PathId,
    spec: Arc<App>,
    id: Arc<str>,
    condition: Condition,
    since: Timestamp,
    agent: Arc<Agent>,
    task: Task,
    volumes: Vec<LocalVolume>,
}

/// A container of it.
#[derive(Clone, Copy, Debug)]
pub struct PodContainerView<'a> {
    definition: &'a PodContainer,
    task: &'a ContainerTask,
}

impl Instance {
    /// The instance as reads of pods see it; none if it is of no pod, or was never matched to an offer.
    pub(crate) fn pod_view(&self) -> Option<PodInstanceView> {
        self.spec.pod.as_ref()?;
        Some(PodInstanceView {
            key: self.key,
            pod_id: self.spec.id.clone(),
            spec: self.spec.clone(),
            id: self.id.clone(),
            condition: self.condition,
            since: self.since,
            agent: self.agent.clone()?,
            task: self.task.clone()?,
            volumes: self
                .reservation
                .as_ref()
                .map_or_else(Vec::new, |kept| kept.volumes.clone()),
        })
    }

    /// The instance as answers to kills print it.
    pub(crate) fn killed_view(&self) -> Value {
        let mut state = Map::new();
        state.insert("condition".to_owned(), json!(self.condition.name()));
        state.insert("since".to_owned(), json!(self.since));
        if let Some(at) = self.active_since {
            state.insert("activeSince".to_owned(), json!(at));
        }
        if let Some(healthy) = self.healthy {
            state.insert("healthy".to_owned(), json!(healthy));
        }
        let goal = match self.goal {
            Goal::Running => "Running",
            Goal::Stopped => "Stopped",
            Goal::Decommissioned => "Decommissioned",
        };
        state.insert("goal".to_owned(), json!(goal));
        let mut view = json!({
            "instanceId": self.id,
            "state": state,
            "runSpecVersion": self.spec.version,
            "unreachableStrategy": self.spec.unreachable_strategy,
        });
        if let Some(agent) = &self.agent {
            let mut info = json!({ "host": agent.host, "agentId": agent.id, "attributes": [] });
            for (key, value) in [("region", &agent.region), ("zone", &agent.zone)] {
                if let Some(value) = value {
                    info[key] = json!(value);
                }
            }
            view["agentInfo"] = info;
        }
        view
    }
}

impl PodContainerView<'_> {
    fn is_sick(&self) -> bool {
        self.definition.health_check.is_some() && self.task.healthy == Some(false)
    }

    fn json(&self, host_ports: &[(String, Option<u16>)]) -> Value {
        let Self { definition, task } = self;
        let runs = task.condition == Condition::Running;
        let checked = runs && definition.health_check.is_some();
        let condition = |healthy: Option<bool>| {
            let reason = if healthy.is_some() {
                "health-reported-by-mesos"
            } else {
                "health-unreported-by-mesos"
            };
            json!({ "name": "healthy", "value": healthy.unwrap_or(false).to_string(), "reason": reason,
                "lastChanged": task.since, "lastUpdated": task.since })
        };
        let endpoint = |one: &crate::definition::Endpoint| {
            let mut endpoint = json!({ "name": one.name });
            let found = host_ports.iter().find(|(name, _)| *name == one.name);
            if let Some((_, Some(port))) = found {
                endpoint["allocatedHostPort"] = json!(port);
            }
            if let Some(healthy) = task.healthy.filter(|_| checked) {
                endpoint["healthy"] = json!(healthy);
            }
            endpoint
        };
        let mut view = json!({
            "name": definition.name,
            "status": task.condition.mesos_state(),
            "statusSince": task.since,
            "conditions": checked.then(|| condition(task.healthy)).into_iter().collect::<Vec<_>>(),
            "containerId": task.id,
            "endpoints": definition.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
            "resources": definition.resources,
            "lastUpdated": task.since,
            "lastChanged": task.since,
        });
        if !task.message.is_empty() {
            view["message"] = json!(task.message);
        }
        if task.condition.is_terminal() {
            view["termination"] = json!({ "message": task.message });
        }
        view
    }
}

impl PodInstanceView {
    fn containers<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = PodContainerView<'a>> {
        let both = pod.containers.iter().zip(&self.task.containers);
        both.map(|(definition, task)| PodContainerView { definition, task })
    }

    /// Its status, and what there is to say about it.
    fn status(&self) -> (&'static str, Option<&'static str>) {
        match self.condition {
            Condition::Scheduled | Condition::Provisioned => ("PENDING", None),
            Condition::Staging | Condition::Starting => ("STAGING", None),
            Condition::Running => {
                let pod = self.spec.pod.iter();
                let mut containers = pod.flat_map(|pod| self.containers(pod));
                if containers.any(|one| one.is_sick()) {
                    ("DEGRADED", Some("at least one container is not healthy"))
                } else {
                    ("STABLE", None)
                }
            }
            Condition::Unreachable | Condition::UnreachableInactive => {
                ("DEGRADED", Some("pod instance has become unreachable"))
            }
            _ => ("TERMINAL", None),
        }
    }

    /// Its networks as its containers' statuses have told them; before they have, as it wants them.
    fn networks(&self) -> Vec<NetworkStatus> {
        if !self.task.networks.is_empty() {
            return self.task.networks.clone();
        }
        let told = self.task.addresses.iter();
        let addresses: Vec<String> = told.map(|one| one.ip_address.clone()).collect();
        let wanted = self.spec.networks.iter();
        let wanted = wanted.map(|network| NetworkStatus {
            name: network.name.clone(),
            addresses: addresses.clone(),
        });
        wanted.collect()
    }

    /// Whether it is as it should be.
    pub(crate) fn is_stable(&self) -> bool {
        self.status().0 == "STABLE"
    }

    /// Since when it is what it is.
    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }

    pub(crate) fn json(&self) -> Value {
        let app = &self.spec;
        let Some(pod) = &app.pod else {
            return Value::Null;
        };
        let outside = app.host_ports(&self.task.ports);
        let names = pod.endpoints().map(|(_, endpoint)| endpoint.name.clone());
        let host_ports: Vec<(String, Option<u16>)> = names.zip(outside).collect();
        let (status, message) = self.status();
        let mut view = json!({
            "id": self.id,
            "status": status,
            "statusSince": self.since,
            "conditions": [],
            "agentHostname": self.agent.host,
            "agentId": self.agent.id,
            "resources": { "cpus": app.cpus, "mem": app.mem, "disk": app.disk, "gpus": app.gpus },
            "networks": self.networks(),
            "containers": self.containers(pod).map(|one| one.json(&host_ports)).collect::<Vec<_>>(),
            "specReference": format!("/v2/pods{}::versions/{}", app.id, app.version),
            "localVolumes": self.volumes,
            "lastUpdated": self.since,
            "lastChanged": self.since,
            "role": app.role,
        });
        for (key, value) in [
            ("agentRegion", &self.agent.region),
            ("agentZone", &self.agent.zone),
        ] {
            if let Some(value) = value {
                view[key] = json!(value);
            }
        }
        if let Some(message) = message {
            view["message"] = json!(message);
        }
        view
    }
}

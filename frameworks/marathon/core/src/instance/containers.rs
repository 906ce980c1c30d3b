//! The containers of a pod's instance: each has a task of its own, and together they make the instance's condition.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Condition, Instance, Task};
use crate::{definition::App, timestamp::Timestamp};

/// The task of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerTask {
    pub(crate) name: String,
    pub(crate) id: Arc<str>,
    pub(crate) condition: Condition,
    pub(crate) since: Timestamp,
    /// What its health check found last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) healthy: Option<bool>,
    /// What its last status said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
}

/// Tasks for the containers of a pod, not yet heard of; none for an app.
pub(crate) fn containers(
    app: &App,
    instance_id: &str,
    incarnation: u64,
    now: Timestamp,
) -> Vec<ContainerTask> {
    let containers = app.pod.iter().flat_map(|pod| &pod.containers);
    let task = |name: &String| ContainerTask {
        name: name.clone(),
        id: format!("{instance_id}.{name}.{incarnation}").into(),
        condition: Condition::Provisioned,
        since: now,
        healthy: None,
        message: String::new(),
    };
    containers.map(|one| task(&one.name)).collect()
}

/// What an instance does whose containers do this: the first of an order that puts what is wrong before what is right. While one that failed
/// waits for the others to end, the instance ends.
fn aggregate(containers: &[ContainerTask]) -> Option<Condition> {
    const ORDER: [Condition; 13] = [
        Condition::Error,
        Condition::Failed,
        Condition::Gone,
        Condition::Dropped,
        Condition::Unreachable,
        Condition::Killing,
        Condition::Starting,
        Condition::Staging,
        Condition::Unknown,
        Condition::Provisioned,
        Condition::Running,
        Condition::Finished,
        Condition::Killed,
    ];
    let has = |wanted: &Condition| containers.iter().any(|one| one.condition == *wanted);
    let first = ORDER.into_iter().find(has)?;
    let ended = containers.iter().all(|one| one.condition.is_terminal());
    if first.is_terminal() && !ended {
        return Some(if has(&Condition::Unreachable) {
            Condition::Unreachable
        } else {
            Condition::Killing
        });
    }
    Some(first)
}

impl Task {
    /// What its containers make of it; none for an app's.
    pub(crate) fn aggregate(&self) -> Option<Condition> {
        aggregate(&self.containers)
    }

    /// Ids of its tasks of Mesos that have not ended: one, or one for each container.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Arc<str>> {
        let containers = self.containers.iter();
        let live = containers.filter(|one| !one.condition.is_terminal());
        let own = self.containers.is_empty().then_some(&self.id);
        own.into_iter().chain(live.map(|one| &one.id))
    }
}

impl Instance {
    /// Whether a task of Mesos is its current one, or one of them.
    pub(crate) fn has_task(&self, id: &str) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| *task.id == *id || task.containers.iter().any(|one| *one.id == *id))
    }

    /// Over the containers of a pod that have a check: true if all pass, none if nothing is known of some.
    pub(crate) fn health_of_containers(&self) -> Option<bool> {
        let (pod, task) = (self.spec.pod.as_ref()?, self.task.as_ref()?);
        let checked = pod.containers.iter().zip(&task.containers);
        let results: Vec<Option<bool>> = checked
            .filter(|(container, _)| container.health_check.is_some())
            .map(|(_, task)| task.healthy)
            .collect();
        if results.contains(&Some(false)) {
            return Some(false);
        }
        (!results.is_empty() && results.iter().all(Option::is_some)).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_one_is_wrong_with_all_once_they_have_ended() {
        use Condition::{
            Failed, Finished, Killed, Killing, Provisioned, Running, Staging, Starting, Unreachable,
        };
        for (conditions, want) in [
            (vec![Provisioned, Provisioned], Some(Provisioned)),
            (vec![Running, Starting], Some(Starting)),
            (vec![Staging, Starting], Some(Starting)),
            (vec![Running, Running], Some(Running)),
            (vec![Running, Finished], Some(Running)),
            (vec![Running, Failed], Some(Killing)),
            (vec![Killed, Failed], Some(Failed)),
            (vec![Killed, Finished], Some(Finished)),
            (vec![Unreachable, Failed], Some(Unreachable)),
            (vec![], None),
        ] {
            let container = |condition| ContainerTask {
                name: "c".to_owned(),
                id: "t".into(),
                condition,
                since: Timestamp::default(),
                healthy: None,
                message: String::new(),
            };
            let containers: Vec<ContainerTask> =
                conditions.iter().copied().map(container).collect();
            assert_eq!(aggregate(&containers), want, "{conditions:?}");
        }
    }
}

//! `/state-summary`: agents and frameworks with how many tasks they have in which state, without the tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::Face;
use super::super::asked::{Asked, Response};
use super::super::pieces::{self, Tag};
use super::{agent_with, json, leading, shapes};

/// The states counted, in Mesos' order.
const COUNTED: [&str; 10] = [
    "TASK_STAGING",
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_KILLING",
    "TASK_FINISHED",
    "TASK_KILLED",
    "TASK_FAILED",
    "TASK_LOST",
    "TASK_ERROR",
    "TASK_UNREACHABLE",
];

#[derive(Default)]
struct Counts<'a> {
    by_state: [i64; COUNTED.len()],
    others: BTreeSet<&'a str>,
}

impl<'a> Counts<'a> {
    fn count(&mut self, state: &str, other: &'a str) {
        if let Some(at) = COUNTED.iter().position(|name| *name == state)
            && let Some(count) = self.by_state.get_mut(at)
        {
            *count += 1;
        }
        self.others.insert(other);
    }

    fn fill(&self, others: &str, object: &mut json::Object<'_>) {
        for (name, count) in COUNTED.iter().zip(self.by_state) {
            object.integer(name, count);
        }
        object.strings(others, &self.others);
    }
}

/// `/state-summary`
pub(in super::super) async fn state_summary(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match leading(&face, &asked) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    pieces::tagged(&asked, Tag::of(&reign), |pieces| {
        reign.view.read(|state| {
            let mut of_agents = BTreeMap::<&str, Counts<'_>>::new();
            let mut of_frameworks = BTreeMap::<&str, Counts<'_>>::new();
            for (id, framework) in &state.frameworks {
                for task in framework.all_tasks() {
                    let (agent, name) =
                        (task.object.facts.agent.as_str(), task.object.state.name());
                    of_agents.entry(agent).or_default().count(name, id.as_str());
                    of_frameworks
                        .entry(id.as_str())
                        .or_default()
                        .count(name, agent);
                }
            }
            let none = Counts::default();
            json::object(pieces.text(), |object| {
                object.string("hostname", &face.identity.hostname);
                if let Some(cluster) = &face.config.cluster {
                    object.string("cluster", cluster);
                }
                object.list("slaves", state.agents.values(), |agent, out| {
                    agent_with(agent, out, |out| {
                        let counts = of_agents.get(agent.object.id.as_str()).unwrap_or(&none);
                        json::members(out, |object| counts.fill("framework_ids", object));
                    });
                });
                object.list("frameworks", state.frameworks.values(), |framework, out| {
                    json::object(out, |object| {
                        shapes::framework_summary(
                            &framework.shown.object,
                            framework.amounts(),
                            object,
                        );
                        of_frameworks
                            .get(framework.shown.object.id.as_str())
                            .unwrap_or(&none)
                            .fill("slave_ids", object);
                    });
                });
            });
        });
    })
}

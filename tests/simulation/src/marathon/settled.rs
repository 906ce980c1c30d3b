//! Marathon once its faults have ended: I18, no deployment waits for ever without a reason; I17, every app becomes what it is defined to
//! be; and at the very end nothing of it is left.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tepui_marathon_core::ApiCall;
use tepui_model::TaskState;
use tepui_proto::convert::resources::{Encoding, to_wire};

use super::Happening as Event;
use super::apps::{Kind, kind, sound};
use super::users::{Waits, put};
use crate::containers::Container;
use crate::invariants::Invariant;
use crate::scenario::Sabotage;
use crate::world::{Happening, Phase, Simulation};

/// So often in a row a deployment may be found without a reason: what it does may be just what happens now.
const SILENCES: u32 = 6;

type Tasks = BTreeMap<(String, String), TaskState>;

/// The app or pod of a task: `/shop/web` of `shop_web.instance-…`.
fn app_of(task: &str) -> String {
    let safe = task.split(".instance-").next().unwrap_or_default();
    format!("/{}", safe.replace('_', "/"))
}

impl Simulation {
    /// Users look at why deployments wait; told now and then once all is at peace.
    pub(crate) fn look_at_deployments(&mut self) {
        if self.scenario.marathon {
            self.ask_marathon(ApiCall::Deployments, Waits::Reasons);
        }
    }

    pub(super) fn hear_reasons(&mut self, body: &Value) {
        let hides = self.scenario.sabotage == Some(Sabotage::HidesReasons);
        let mut silent = BTreeMap::new();
        for deployment in body["deployments"].as_array().into_iter().flatten() {
            let waits = deployment["waitsFor"].as_array();
            let waits = waits.map(Vec::as_slice).unwrap_or_default();
            let told = |one: &Value| one["reasons"].as_array().is_some_and(|all| !all.is_empty());
            let tells = !waits.is_empty() && waits.iter().all(told);
            if !tells || hides {
                let id = deployment["id"].as_str().unwrap_or_default().to_owned();
                let before = self
                    .marathons
                    .silences
                    .get(&id)
                    .copied()
                    .unwrap_or_default();
                if before + 1 >= SILENCES {
                    let what = format!("deployment {id} waits, and nobody says why: {deployment}");
                    self.breach(Invariant::Explained, what);
                }
                silent.insert(id, before + 1);
            }
        }
        self.marathons.silences = silent;
    }

    pub(super) fn refused(&mut self, status: u16, body: &Value) {
        let what = format!("a definition that works is refused with {status}: {body}");
        self.breach(Invariant::Defined, what);
    }

    /// Users give every app a version that works and has room, and end what goes on over time; at the end they delete all.
    pub(super) fn users_mend(&mut self) {
        let apps = self.shown_apps();
        let pods = self.shown_pods();
        let ids = apps
            .iter()
            .chain(&pods)
            .filter_map(|app| app["id"].as_str());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        if self.phase == Phase::End {
            self.after(10_000, 30_000, Happening::Marathon(Event::Mend));
            if !ids.is_empty() {
                self.marathons.kept.doubt_all(u64::MAX);
                let (id, force) = ("/".to_owned(), true);
                self.ask_marathon(ApiCall::DeleteGroup { id, force }, Waits::Anything);
            }
            return;
        }
        self.after(60_000, 90_000, Happening::Marathon(Event::Mend));
        if self.marathons.mended {
            return self.wipe_lost();
        }
        self.marathons.mended = true;
        for id in ids {
            if kind(&id) != Kind::Pod {
                self.put_policy(&id, "{}");
            }
            let revision = self.marathons.users.revision();
            let machines = self.machines.len();
            let body = sound(&id, revision, machines, &mut self.random);
            self.marathons.kept.doubt_all(u64::MAX);
            self.ask_marathon(put(&id, &body, true), Waits::Sound);
        }
    }

    /// Users want more or fewer instances of what runs.
    pub(crate) fn users_scale(&mut self) {
        for app in self.shown_apps() {
            let id = app["id"].as_str().unwrap_or_default().to_owned();
            if kind(&id) != Kind::Daemon {
                let most = match kind(&id) {
                    Kind::Unique => self.machines.len().min(3),
                    _ => 3,
                };
                let instances = self.random.below(most + 1);
                let body = serde_json::json!({ "instances": instances });
                self.ask_marathon(put(&id, &body, false), Waits::Sound);
            }
        }
    }

    /// What Marathon believes of tasks that are not over.
    pub(crate) fn at_marathon(&self) -> Tasks {
        let mut all = Tasks::new();
        let Some(leader) = self.marathons.leader() else {
            return all;
        };
        let process = &self.marathons.processes[leader];
        let Some(framework) = &process.id else {
            return all;
        };
        for instance in process.records.instances.values() {
            for (task, condition) in instance.tasks() {
                let state = match condition {
                    "Provisioned" | "Staging" => TaskState::Staging,
                    "Starting" => TaskState::Starting,
                    "Running" => TaskState::Running,
                    "Killing" => TaskState::Killing,
                    _ => continue,
                };
                all.insert((framework.clone(), task.to_owned()), state);
            }
        }
        all
    }

    /// Containers that run, by app, with their commands; of a pod those of its first container.
    fn live(&self) -> BTreeMap<String, Vec<&Container>> {
        let mut live: BTreeMap<String, Vec<&Container>> = BTreeMap::new();
        let machines = self.machines.iter();
        for container in machines.flat_map(|machine| machine.containers.values()) {
            let own = self.marathons.is(&container.framework) && container.lives();
            if let Some(task) = container.task.as_ref().filter(|_| own)
                && !container.command.starts_with("aside")
            {
                live.entry(app_of(task)).or_default().push(container);
            }
        }
        live
    }

    /// I17: what is not (yet) as it is defined.
    pub(crate) fn undefined(&self) -> Option<String> {
        if !self.scenario.marathon {
            return None;
        }
        let i17 = Invariant::Defined;
        let Some(leader) = self.marathons.leader() else {
            return Some(format!("{i17}: no Marathon leads"));
        };
        let process = &self.marathons.processes[leader];
        if !process.subscribed {
            return Some(format!("{i17}: Marathon is not subscribed"));
        }
        if let Some((id, deployment)) = process.records.deployments.first_key_value() {
            let steps = &deployment["steps"];
            return Some(format!("{i17}: deployment {id} is not done: {steps}"));
        }
        let live = self.live();
        let known: BTreeSet<&String> = process.records.apps.keys().collect();
        if let Some(app) = live.keys().find(|app| !known.contains(app)) {
            return Some(format!("{i17}: {app} runs, which is not defined"));
        }
        for (id, app) in &process.records.apps {
            if let Some(what) = self.deviates(id, app, live.get(id).map_or(&[], Vec::as_slice)) {
                return Some(format!("{i17}: {id} {what}"));
            }
        }
        self.views_otherwise()
            .or_else(|| self.keeps_otherwise())
            .map(|what| format!("{i17}: {what}"))
    }

    fn deviates(&self, id: &str, app: &Value, live: &[&Container]) -> Option<String> {
        let wanted = match kind(id) {
            Kind::Daemon if app["instances"] != 0 => self.machines.len(),
            _ => usize::try_from(app["instances"].as_u64().unwrap_or_default()).unwrap_or(0),
        };
        if live.len() != wanted {
            return Some(format!("has {} of {wanted} instances", live.len()));
        }
        let command = match kind(id) {
            Kind::Pod => app["pod"]["containers"][0]["exec"]["command"]["shell"].as_str(),
            _ => app["cmd"].as_str(),
        };
        let other = live
            .iter()
            .find(|one| Some(one.command.as_str()) != command);
        other.map(|one| format!("is {command:?}, and {:?} runs", one.command))
    }

    /// What the leader shows, and it is not so.
    fn views_otherwise(&self) -> Option<String> {
        for app in self.shown_apps() {
            let (id, wanted) = (&app["id"], &app["instances"]);
            let daemon = app["labels"]["TEPUI_DAEMON"] == "true" && *wanted != 0;
            let checked = app["healthChecks"]
                .as_array()
                .is_some_and(|all| !all.is_empty());
            for (name, checked) in [("tasksRunning", true), ("tasksHealthy", checked)] {
                if checked && app[name] != *wanted && !daemon {
                    return Some(format!("{id} shows {name} {}, and {wanted} are", app[name]));
                }
            }
        }
        let pods = self.shown_pods();
        let pod = pods.iter().find(|pod| pod["status"] != "STABLE")?;
        Some(format!("pod {} is {}", pod["id"], pod["status"]))
    }

    /// What is reserved on agents and belongs to no instance; or what instances keep and is not reserved.
    fn keeps_otherwise(&self) -> Option<String> {
        let process = &self.marathons.processes[self.marathons.leader()?];
        let mut reserved = BTreeSet::new();
        for machine in &self.machines {
            for resource in to_wire(&machine.total, Encoding::Stack) {
                let labels = resource
                    .reservations
                    .iter()
                    .filter_map(|one| one.labels.as_ref());
                for label in labels.flat_map(|labels| &labels.labels) {
                    if label.key == "marathon_task_id" {
                        reserved.insert(label.value.clone().unwrap_or_default());
                    }
                }
            }
        }
        let instances = process.records.instances.values();
        let kept = instances.filter(|one| one.reservation.is_some());
        let kept: BTreeSet<String> = kept.map(|one| one.id.clone()).collect();
        if let Some(id) = reserved.difference(&kept).next() {
            return Some(format!(
                "something is reserved for {id}, which keeps nothing"
            ));
        }
        let wanted = |id: &&String| process.records.instances[*id].wanted();
        if let Some(id) = kept.difference(&reserved).find(wanted) {
            return Some(format!("{id} keeps what is not reserved"));
        }
        let mut left = process.records.remains.iter();
        let (left, agent) = left.find(|(_, agent)| self.is_there(agent))?;
        Some(format!("{left} is left on {agent}"))
    }

    /// Whether an agent has this id, not only had it.
    fn is_there(&self, agent: &str) -> bool {
        let mut present = self
            .machines
            .iter()
            .filter_map(|machine| machine.ids.last());
        present.any(|id| id.as_str() == agent)
    }

    /// Users give up what is kept on agents that will not return.
    fn wipe_lost(&mut self) {
        let Some(leader) = self.marathons.leader() else {
            return;
        };
        let instances = self.marathons.processes[leader].records.instances.values();
        let lost = instances.filter(|one| {
            let agent = one.agent.as_ref().filter(|_| one.reservation.is_some());
            let waits = !one.active() || one.condition == "Unreachable";
            agent.is_some_and(|agent| waits && !self.is_there(&agent.id))
        });
        let tasks: Vec<String> = lost
            .flat_map(|one| one.tasks())
            .map(|(task, _)| task.to_owned())
            .collect();
        if !tasks.is_empty() {
            let call = ApiCall::KillTasks {
                body: serde_json::json!({ "ids": tasks }).to_string().into(),
                scale: false,
                wipe: true,
                force: true,
            };
            self.ask_marathon(call, Waits::Anything);
        }
    }

    /// What is left of Marathon after its users have deleted all.
    pub(crate) fn marathon_leftover(&self) -> Option<String> {
        let process = &self.marathons.processes[self.marathons.leader()?];
        let i17 = Invariant::Defined;
        let apps = process.records.apps.keys();
        let instances = process.records.instances.keys();
        let left = apps.chain(instances).next();
        left.map(|what| format!("{i17}: {what} is left, and all was deleted"))
    }
}

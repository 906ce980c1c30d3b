//! Users: what they ask of the leader at random times, and what they are told.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tepui_marathon_core::view::{Embed, Query};
use tepui_marathon_core::{
    ApiCall, Input, Origin, PolicyAction, PolicyPart, RebalanceAction, ReplyToken, Response,
    Timestamp, Trial,
};

use super::apps::{APPS, Kind, command, definition, group, kind};
use super::kept::INSTANCES;
use super::{Happening as Event, Nature};
use crate::world::{Happening, Simulation, trace};

/// What a user waits to hear.
#[derive(Debug, Clone)]
pub(super) enum Waits {
    /// The app is as it is to be at this place of its definition; `whole`: no other deployment of it is left then.
    Put {
        app: String,
        place: &'static str,
        value: Value,
        whole: bool,
    },
    Delete {
        app: String,
    },
    /// Why deployments do not go on.
    Reasons,
    /// That what works is taken.
    Sound,
    /// Whatever it is.
    Anything,
}

/// Requests.
#[derive(Debug, Default)]
pub(super) struct Users {
    last: u64,
    revision: u64,
    waiting: BTreeMap<u64, (usize, Waits)>,
}

impl Users {
    pub(super) fn revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }
}

/// Where the command of an app, or of a pod, stands in what is stored.
const COMMAND: &str = "/cmd";
const COMMAND_OF_POD: &str = "/pod/containers/0/exec/command/shell";

fn update(id: &str, body: &Value, force: bool, create: bool) -> ApiCall {
    ApiCall::UpdateApp {
        id: id.to_owned(),
        body: body.to_string().into(),
        force,
        partial: true,
        create,
        origin: Origin::default(),
    }
}

/// PUT of an app or a pod.
pub(super) fn put(id: &str, body: &Value, force: bool) -> ApiCall {
    if kind(id) != Kind::Pod {
        return update(id, body, force, true);
    }
    ApiCall::UpdatePod {
        id: id.to_owned(),
        body: body.to_string().into(),
        force,
        origin: Origin::default(),
    }
}

impl Simulation {
    /// Asks the leader, if there is one.
    pub(super) fn ask_marathon(&mut self, call: ApiCall, waits: Waits) -> u64 {
        let users = &mut self.marathons.users;
        users.last += 1;
        let request = users.last;
        let Some(leader) = self.marathons.leader() else {
            return request;
        };
        self.marathons
            .users
            .waiting
            .insert(request, (leader, waits));
        trace!(self, "user -> marathon {leader}, {request}: {call:?}");
        self.marathon_step(leader, Input::Request(ReplyToken(request), call));
        request
    }

    /// What a process owed an answer for may have been done or not.
    pub(super) fn never_answered_by(&mut self, process: usize) {
        let waiting = &mut self.marathons.users.waiting;
        waiting.retain(|_, (asked, _)| *asked != process);
    }

    pub(super) fn user_hears(&mut self, process: usize, token: ReplyToken, answer: &Response) {
        let ReplyToken(request) = token;
        let (status, body) = (answer.status, &answer.body);
        trace!(
            self,
            "marathon {process} -> user, {request}: {status} {body:?}"
        );
        let Some((_, waits)) = self.marathons.users.waiting.remove(&request) else {
            return;
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let done = (200..300).contains(&status);
        match waits {
            Waits::Put {
                app,
                place,
                value,
                whole,
            } if done => {
                let has = Some((place, value));
                self.marathons.kept.told(&app, request, has, whole);
                self.check_kept();
            }
            Waits::Delete { app } if done => {
                self.marathons.kept.told(&app, request, None, true);
                self.check_kept();
            }
            Waits::Reasons => self.hear_reasons(&body),
            Waits::Sound if !done && status != 503 => self.refused(status, &body),
            Waits::Sound | Waits::Put { .. } | Waits::Delete { .. } | Waits::Anything => {}
        }
    }

    /// One request, and the next one after a while.
    pub(super) fn user_asks(&mut self) {
        if !self.trouble() {
            return;
        }
        let every = u64::try_from(self.scenario.ask_every.as_millis()).unwrap_or(1);
        self.after(1, every * 3, Happening::Marathon(Event::Ask));
        if self.marathons.leader().is_none() {
            return;
        }
        let (id, kind) = self.scenario.marathon_apps(&mut self.random);
        let revision = self.marathons.users.revision();
        let force = self.random.percent(50);
        match self.random.below(32) {
            0..=9 => {
                let body = definition(id, revision, &mut self.random);
                let (place, command) = match kind {
                    Kind::Pod => (
                        COMMAND_OF_POD,
                        &body["containers"][0]["exec"]["command"]["shell"],
                    ),
                    _ => (COMMAND, &body["cmd"]),
                };
                let has = (place, command.clone());
                self.ask_to_put(id, put(id, &body, force), has, true);
            }
            10..=12 if kind != Kind::Pod && kind != Kind::Daemon => {
                let body = json!({ "instances": self.random.below(9) });
                let has = (INSTANCES, body["instances"].clone());
                self.ask_to_put(id, update(id, &body, force, false), has, false);
            }
            13..=16 if kind != Kind::Pod => {
                let nature = Nature::ALL[self.random.below(4)];
                let body = json!({ "cmd": command(revision, nature) });
                let has = (COMMAND, body["cmd"].clone());
                self.ask_to_put(id, update(id, &body, force, false), has, true);
            }
            17 => {
                let id = id.to_owned();
                self.marathons
                    .kept
                    .doubt(&id, self.marathons.users.last + 1);
                let call = ApiCall::RestartApp { id, force };
                self.ask_marathon(call, Waits::Anything);
            }
            18 | 19 => self.ask_to_delete(id, kind, force),
            20 | 21 => self.ask_to_kill(force),
            22 | 23 => self.ask_to_cancel(force),
            24 => {
                self.marathons.kept.doubt_all(self.marathons.users.last + 1);
                let body = group(revision, &mut self.random).to_string().into();
                let call = ApiCall::UpdateGroup {
                    id: "/shop".to_owned(),
                    body,
                    force,
                    dry_run: false,
                };
                self.ask_marathon(call, Waits::Anything);
            }
            25 => self.ask_of_group(force),
            26 | 27 if kind != Kind::Pod => self.ask_to_try(id, revision, force),
            28 => self.ask_to_promote(force),
            29 if kind != Kind::Pod => self.ask_for_policy(id),
            30 => self.ask_to_roll_back(id),
            _ => {
                let id = id.to_owned();
                self.ask_marathon(ApiCall::ResetDelay { id }, Waits::Anything);
            }
        }
    }

    fn ask_to_put(
        &mut self,
        id: &str,
        call: ApiCall,
        (place, value): (&'static str, Value),
        whole: bool,
    ) {
        self.marathons.kept.doubt(id, self.marathons.users.last + 1);
        let waits = Waits::Put {
            app: id.to_owned(),
            place,
            value,
            whole,
        };
        self.ask_marathon(call, waits);
    }

    fn ask_to_delete(&mut self, id: &str, kind: Kind, force: bool) {
        let (app, id) = (id.to_owned(), id.to_owned());
        self.marathons
            .kept
            .doubt(&app, self.marathons.users.last + 1);
        let call = if kind == Kind::Pod {
            let origin = Origin::default();
            ApiCall::DeletePod { id, force, origin }
        } else {
            ApiCall::DeleteApp { id, force }
        };
        self.ask_marathon(call, Waits::Delete { app });
    }

    fn ask_to_kill(&mut self, force: bool) {
        let Some(leader) = self.marathons.leader() else {
            return;
        };
        let instances = &self.marathons.processes[leader].records.instances;
        let tasks: Vec<String> = instances
            .values()
            .flat_map(|one| one.tasks())
            .map(|(task, _)| task.to_owned())
            .collect();
        let Some(task) = tasks.get(self.random.below(tasks.len())) else {
            return;
        };
        let body = json!({ "ids": [task] }).to_string().into();
        let scale = self.random.percent(30);
        let wipe = self.random.percent(30);
        // With `scale` any app's definition may be another.
        self.marathons.kept.doubt_all(self.marathons.users.last + 1);
        let call = ApiCall::KillTasks {
            body,
            scale,
            wipe,
            force,
        };
        self.ask_marathon(call, Waits::Anything);
    }

    fn some_deployment(&mut self) -> Option<String> {
        let leader = self.marathons.leader()?;
        let all = &self.marathons.processes[leader].records.deployments;
        all.keys().nth(self.random.below(all.len())).cloned()
    }

    fn ask_to_cancel(&mut self, force: bool) {
        if let Some(id) = self.some_deployment() {
            self.marathons.kept.doubt_all(self.marathons.users.last + 1);
            let call = ApiCall::CancelDeployment { id, force };
            self.ask_marathon(call, Waits::Anything);
        }
    }

    fn ask_of_group(&mut self, force: bool) {
        self.marathons.kept.doubt_all(self.marathons.users.last + 1);
        let id = ["/shop", "/apart", "/data"][self.random.below(3)].to_owned();
        let call = if self.random.percent(40) {
            ApiCall::DeleteGroup { id, force }
        } else {
            let factor = [0.5, 2.0][self.random.below(2)];
            ApiCall::UpdateGroup {
                id,
                body: json!({ "scaleBy": factor }).to_string().into(),
                force,
                dry_run: false,
            }
        };
        self.ask_marathon(call, Waits::Anything);
    }

    /// A change with a deadline, or that is tried beside what is there.
    fn ask_to_try(&mut self, id: &str, revision: u64, force: bool) {
        let leader = self
            .marathons
            .leader()
            .map(|leader| &self.marathons.processes[leader]);
        if leader.is_none_or(|leader| !leader.records.apps.contains_key(id)) {
            return;
        }
        let nature = Nature::ALL[self.random.below(4)];
        let body = json!({ "id": id, "cmd": command(revision, nature) });
        let (canary, blue_green) = [
            (Some("1"), false),
            (Some("40%"), false),
            (None, true),
            (None, false),
        ][self.random.below(4)];
        let tries = canary.is_some() || blue_green;
        let after = (tries && self.random.percent(50)).then_some(5);
        let Ok(trial) = Trial::parse(canary, blue_green, after) else {
            return;
        };
        let deadline_seconds =
            (!tries || self.random.percent(40)).then(|| 1 + self.random.below(60) as u64);
        self.marathons
            .kept
            .doubt_always(id, self.marathons.users.last + 1);
        let call = ApiCall::Apply {
            body: body.to_string().into(),
            partial: true,
            force,
            deadline_seconds,
            trial,
        };
        self.ask_marathon(call, Waits::Anything);
    }

    fn ask_to_promote(&mut self, force: bool) {
        if let Some(id) = self.some_deployment() {
            self.ask_marathon(ApiCall::Promote { id, force }, Waits::Anything);
        }
    }

    fn ask_for_policy(&mut self, id: &str) {
        let id = id.to_owned();
        if self.random.percent(20) {
            let action = RebalanceAction::Ask { dry_run: false };
            self.ask_marathon(ApiCall::Rebalance { id, action }, Waits::Anything);
            return;
        }
        let policies = [
            json!({ "rebalance": { "intervalSeconds": 5 } }),
            json!({ "restarts": { "maxAgeSeconds": 60 } }),
            json!({ "restarts": { "schedule": "* * * * *" }, "disruptionBudget": { "maxUnavailable": 1 } }),
            json!({ "rebalance": { "intervalSeconds": 3 }, "restarts": { "maxAgeSeconds": 60 },
                "disruptionBudget": { "minAvailable": "50%", "minIntervalSeconds": 1 } }),
            json!({ "autoscaling": { "minInstances": 1, "maxInstances": 4, "metric": { "type": "cpu" }, "target": 50,
                "intervalSeconds": 3, "scaleUpCooldownSeconds": 5, "scaleDownCooldownSeconds": 10 } }),
            json!({ "autoscaling": { "minInstances": 2, "maxInstances": 6, "metric": { "type": "prometheus", "url": "http://m/" }, "target": 10,
                "intervalSeconds": 5, "scaleUpCooldownSeconds": 1, "scaleDownCooldownSeconds": 1 },
                "restarts": { "maxAgeSeconds": 60 }, "disruptionBudget": { "maxUnavailable": "30%" } }),
            json!({}),
        ];
        let policy = &policies[self.random.below(policies.len())];
        if !policy["autoscaling"].is_null() {
            let asked = self.marathons.users.last + 1;
            self.marathons.kept.autoscales(&id, asked);
        }
        self.put_policy(&id, &policy.to_string());
    }

    pub(super) fn put_policy(&mut self, id: &str, policy: &str) {
        let call = ApiCall::Policy {
            id: id.to_owned(),
            part: PolicyPart::All,
            action: PolicyAction::Put(policy.to_owned().into()),
        };
        self.ask_marathon(call, Waits::Anything);
    }

    fn ask_to_roll_back(&mut self, id: &str) {
        let query = Query::Versions { id: id.to_owned() };
        let versions = self.marathon_shows(&query)["versions"].clone();
        let Some(versions) = versions.as_array() else {
            return;
        };
        if let Some(version) = versions.get(self.random.below(versions.len())) {
            let call = update(id, &json!({ "version": version }), true, false);
            self.marathons.kept.doubt(id, self.marathons.users.last + 1);
            self.ask_marathon(call, Waits::Anything);
        }
    }

    /// What can be read of the leader.
    pub(super) fn marathon_shows(&self, query: &Query) -> Value {
        let Some(leader) = self.marathons.leader() else {
            return Value::Null;
        };
        let view = &self.marathons.processes[leader].view;
        let answer = view.select(query).render(Timestamp::from_time(self.now));
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    pub(super) fn shown_apps(&self) -> Vec<Value> {
        let query = Query::Apps {
            cmd: None,
            id: None,
            label: None,
            embed: Embed::default(),
        };
        let shown = self.marathon_shows(&query)["apps"].take();
        shown.as_array().cloned().unwrap_or_default()
    }

    pub(super) fn shown_pods(&self) -> Vec<Value> {
        let shown = self.marathon_shows(&Query::PodStatuses);
        shown.as_array().cloned().unwrap_or_default()
    }
}

impl crate::Scenario {
    /// One of the apps of this world.
    fn marathon_apps(&self, random: &mut crate::random::Random) -> (&'static str, Kind) {
        let few = self.apps.clamp(1, APPS.len());
        APPS[(self.first_app + random.below(few)) % APPS.len()]
    }
}

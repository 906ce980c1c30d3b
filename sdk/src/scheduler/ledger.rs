//! What the client knows of the framework's tasks. Pure: time comes in as the duration since some start.
//!
//! Properties:
//! - an update is delivered once, however often the agent sends it; one whose acknowledgement was lost is acknowledged again;
//! - after each subscription every live task is asked for until the master has answered, in pauses that double up to a minute; so is every task
//!   that the author asks for: a new leader says nothing of tasks whose agents have not come back to it yet;
//! - a quarter of an hour after all have answered, or after the round began if some have not, the next round begins;
//! - a task that the master does not know (TASK_UNKNOWN) is asked for no more, unless the author asks again;
//! - a kill is asked for again with each subscription until the task has ended;
//! - what is remembered is bounded: [`TASK_LIMIT`] tasks, the last [`FINISHED_LIMIT`] of those that ended.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tepui_model::{TaskId, TaskState};
use tepui_proto::mesos;
use tepui_proto::mesos::scheduler::{Call, call};
use tepui_proto::mesos::task_status::Reason;

use super::driver::reconcile_call;

/// Tasks beyond this are neither reconciled nor are their updates told apart.
const TASK_LIMIT: usize = 1_000_000;
/// Ended tasks whose last update is remembered, in case its acknowledgement gets lost.
const FINISHED_LIMIT: usize = 16_384;
/// Tasks in one RECONCILE.
const RECONCILE_BATCH: usize = 1000;
/// Pauses while answers are missing: the first, and the longest.
const RECONCILE_PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Everything is asked for again after this.
const RECONCILE_PERIOD: Duration = Duration::from_secs(15 * 60);

/// What to do with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is news.
    Deliver,
    /// It is known, and the acknowledgement is still to come.
    Ignore,
    /// It is known and was acknowledged: the acknowledgement was lost.
    Acknowledge,
}

#[derive(Debug, Default)]
struct Known {
    agent: Option<mesos::AgentId>,
    /// What was told last; `None` before the first update.
    state: Option<i32>,
    healthy: Option<bool>,
    /// The last update's, if it had one.
    uuid: Option<Bytes>,
    acknowledged: bool,
    kill: Option<call::Kill>,
    /// The master has not answered the reconciliation yet.
    asked: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    tasks: HashMap<TaskId, Known>,
    finished: HashMap<TaskId, Bytes>,
    finished_order: VecDeque<TaskId>,
    /// While answers are missing: when to ask for those next, and the pause after that.
    reconcile_at: Option<(Duration, Duration)>,
    /// When everything is asked for again, whatever the author asks for meanwhile.
    everything_at: Option<Duration>,
    /// Everything was asked for, and not all has been answered yet.
    in_round: bool,
}

impl Ledger {
    pub(super) fn new(known: impl IntoIterator<Item = (TaskId, Option<mesos::AgentId>)>) -> Self {
        let tasks = known
            .into_iter()
            .map(|(task, agent)| {
                (
                    task,
                    Known {
                        agent,
                        ..Known::default()
                    },
                )
            })
            .collect();
        Self {
            tasks,
            ..Self::default()
        }
    }

    /// An update came.
    pub(super) fn update(
        &mut self,
        task: &TaskId,
        state: TaskState,
        status: &mesos::TaskStatus,
    ) -> Verdict {
        let uuid = status.uuid.as_ref().filter(|uuid| !uuid.is_empty());
        if let (Some(uuid), Some(last)) = (uuid, self.finished.get(task))
            && uuid == last
        {
            return Verdict::Acknowledge;
        }
        let reconciled = uuid.is_none() && status.reason == Some(Reason::Reconciliation.into());
        let over = state.is_terminal() || (state == TaskState::Unknown && uuid.is_none());
        if reconciled && over && self.finished.contains_key(task) && !self.tasks.contains_key(task)
        {
            return Verdict::Ignore;
        }
        if self.tasks.len() >= TASK_LIMIT && !self.tasks.contains_key(task) {
            return Verdict::Deliver;
        }
        let known = self.tasks.entry(task.clone()).or_default();
        known.asked = false;
        if let Some(uuid) = uuid
            && known.uuid.as_ref() == Some(uuid)
        {
            return if known.acknowledged {
                Verdict::Acknowledge
            } else {
                Verdict::Ignore
            };
        }
        if reconciled && known.state == Some(status.state) && known.healthy == status.healthy {
            return Verdict::Ignore;
        }
        known.state = Some(status.state);
        known.healthy = status.healthy;
        known.uuid = uuid.cloned();
        known.acknowledged = false;
        if let Some(agent) = &status.agent_id {
            known.agent = Some(agent.clone());
        }
        if over && uuid.is_none() {
            self.tasks.remove(task);
        }
        Verdict::Deliver
    }

    /// A call goes out.
    pub(super) fn sent(&mut self, call: &Call) {
        if let Some(accept) = &call.accept {
            for operation in &accept.operations {
                let tasks = operation
                    .launch
                    .iter()
                    .flat_map(|launch| &launch.task_infos);
                let group = operation
                    .launch_group
                    .iter()
                    .flat_map(|group| &group.task_group.tasks);
                for task in tasks.chain(group) {
                    self.launched(task);
                }
            }
        }
        if let Some(acknowledge) = &call.acknowledge {
            self.acknowledged(acknowledge);
        }
        if let Some(kill) = &call.kill
            && let Some(known) = self.tasks.get_mut(kill.task_id.value.as_str())
        {
            known.kill = Some(kill.clone());
        }
    }

    /// The author asks for tasks, also such as this object has never seen.
    pub(super) fn wanted(&mut self, now: Duration, reconcile: &call::Reconcile) {
        let mut open = false;
        for task in &reconcile.tasks {
            let Ok(id) = TaskId::new(&task.task_id.value) else {
                continue;
            };
            let full = self.tasks.len() >= TASK_LIMIT && !self.tasks.contains_key(&id);
            // How an ended one ended was told.
            if full || self.finished.contains_key(&id) {
                continue;
            }
            let known = self.tasks.entry(id).or_default();
            if known.agent.is_none() {
                known.agent.clone_from(&task.agent_id);
            }
            known.asked = true;
            open = true;
        }
        if open && self.reconcile_at.is_none() {
            self.reconcile_at = Some((now + RECONCILE_PAUSE.0, RECONCILE_PAUSE.0 * 2));
        }
    }

    fn launched(&mut self, task: &mesos::TaskInfo) {
        let Ok(id) = TaskId::new(&task.task_id.value) else {
            return;
        };
        if self.tasks.len() < TASK_LIMIT {
            self.finished.remove(&id);
            self.tasks.insert(
                id,
                Known {
                    agent: Some(task.agent_id.clone()),
                    ..Known::default()
                },
            );
        }
    }

    fn acknowledged(&mut self, acknowledge: &call::Acknowledge) {
        let Some((task, known)) = self.tasks.get_key_value(acknowledge.task_id.value.as_str())
        else {
            return;
        };
        if known.uuid.as_ref() != Some(&acknowledge.uuid) {
            return;
        }
        let task = task.clone();
        if known
            .state
            .and_then(TaskState::from_number)
            .is_some_and(TaskState::is_terminal)
        {
            self.tasks.remove(&task);
            if self
                .finished
                .insert(task.clone(), acknowledge.uuid.clone())
                .is_none()
            {
                self.finished_order.push_back(task);
            }
            while self.finished_order.len() > FINISHED_LIMIT {
                if let Some(oldest) = self.finished_order.pop_front() {
                    self.finished.remove(&oldest);
                }
            }
        } else if let Some(known) = self.tasks.get_mut(&task) {
            known.acknowledged = true;
        }
    }

    /// A subscription begins; `fresh` is the very first one of a framework that had no id, of which the master can know nothing. Returns what
    /// to ask for at once.
    pub(super) fn subscribed(&mut self, now: Duration, fresh: bool) -> Vec<Call> {
        if fresh && self.tasks.is_empty() {
            self.everything_at = Some(now + RECONCILE_PERIOD);
            return Vec::new();
        }
        let kills: Vec<Call> = self
            .tasks
            .values()
            .filter_map(|known| known.kill.clone())
            .map(kill_call)
            .collect();
        let mut calls = self.ask_for_all(now);
        calls.extend(kills);
        calls
    }

    fn ask_for_all(&mut self, now: Duration) -> Vec<Call> {
        for known in self.tasks.values_mut() {
            known.asked = true;
        }
        self.reconcile_at = Some((now + RECONCILE_PAUSE.0, RECONCILE_PAUSE.0 * 2));
        self.everything_at = Some(now + RECONCILE_PERIOD);
        self.in_round = true;
        let mut calls = self.ask();
        calls.push(reconcile_call(Vec::new()));
        calls
    }

    /// RECONCILE for every task without an answer.
    fn ask(&self) -> Vec<Call> {
        let open: Vec<call::reconcile::Task> = self
            .tasks
            .iter()
            .filter(|(_, known)| known.asked)
            .map(|(task, known)| call::reconcile::Task {
                task_id: mesos::TaskId {
                    value: task.to_string(),
                },
                agent_id: known.agent.clone(),
            })
            .collect();
        open.chunks(RECONCILE_BATCH)
            .map(|tasks| reconcile_call(tasks.to_vec()))
            .collect()
    }

    /// The subscription is lost.
    pub(super) fn disconnected(&mut self) {
        self.reconcile_at = None;
        self.everything_at = None;
    }

    /// When [`Ledger::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let open = self.reconcile_at.map(|(at, _)| at);
        open.into_iter().chain(self.everything_at).min()
    }

    /// What to ask for now.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Call> {
        if self.everything_at.is_some_and(|at| at <= now) {
            return self.ask_for_all(now);
        }
        let Some((_, pause)) = self.reconcile_at.filter(|(at, _)| *at <= now) else {
            return Vec::new();
        };
        if self.tasks.values().any(|known| known.asked) {
            self.reconcile_at = Some((now + pause, (pause * 2).min(RECONCILE_PAUSE.1)));
            return self.ask();
        }
        self.reconcile_at = None;
        if std::mem::take(&mut self.in_round) {
            self.everything_at = Some(now + RECONCILE_PERIOD);
        }
        Vec::new()
    }

    /// How many tasks live, as far as is known.
    pub(super) fn live(&self) -> usize {
        self.tasks.len()
    }
}

fn kill_call(kill: call::Kill) -> Call {
    Call {
        r#type: Some(call::Type::Kill.into()),
        kill: Some(kill),
        ..Call::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn id(text: &str) -> TaskId {
        TaskId::new(text).unwrap()
    }

    fn status(task: &str, state: TaskState, uuid: Option<&'static str>) -> mesos::TaskStatus {
        mesos::TaskStatus {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            state: state.number(),
            agent_id: Some(mesos::AgentId {
                value: "S0".to_owned(),
            }),
            uuid: uuid.map(|uuid| Bytes::from_static(uuid.as_bytes())),
            reason: uuid.is_none().then(|| Reason::Reconciliation.into()),
            ..Default::default()
        }
    }

    fn launch(task: &str) -> Call {
        let info = mesos::TaskInfo {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            ..Default::default()
        };
        let launch = mesos::offer::operation::Launch {
            task_infos: vec![info],
        };
        let operation = mesos::offer::Operation {
            launch: Some(launch),
            ..Default::default()
        };
        Call {
            accept: Some(call::Accept {
                operations: vec![operation],
                ..Default::default()
            }),
            ..Call::default()
        }
    }

    fn acknowledge(task: &str, uuid: &'static str) -> Call {
        let acknowledge = call::Acknowledge {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            uuid: Bytes::from_static(uuid.as_bytes()),
            ..Default::default()
        };
        Call {
            acknowledge: Some(acknowledge),
            ..Call::default()
        }
    }

    fn kill(task: &str) -> Call {
        kill_call(call::Kill {
            task_id: mesos::TaskId {
                value: task.to_owned(),
            },
            ..Default::default()
        })
    }

    fn asked(calls: &[Call]) -> Vec<String> {
        let tasks = calls
            .iter()
            .filter_map(|call| call.reconcile.as_ref())
            .flat_map(|reconcile| &reconcile.tasks);
        let mut names: Vec<String> = tasks.map(|task| task.task_id.value.clone()).collect();
        names.sort();
        names
    }

    fn told(
        ledger: &mut Ledger,
        task: &str,
        state: TaskState,
        uuid: Option<&'static str>,
    ) -> Verdict {
        ledger.update(&id(task), state, &status(task, state, uuid))
    }

    #[test]
    fn an_update_is_delivered_once() {
        use TaskState::{Finished, Running};
        let mut ledger = Ledger::default();
        ledger.sent(&launch("a"));
        assert_eq!(
            told(&mut ledger, "a", Running, Some("u1")),
            Verdict::Deliver
        );
        assert_eq!(
            told(&mut ledger, "a", Running, Some("u1")),
            Verdict::Ignore,
            "the author still has it"
        );
        ledger.sent(&acknowledge("a", "u1"));
        assert_eq!(
            told(&mut ledger, "a", Running, Some("u1")),
            Verdict::Acknowledge,
            "the acknowledgement was lost"
        );
        assert_eq!(
            told(&mut ledger, "a", Running, None),
            Verdict::Ignore,
            "reconciliation tells nothing new"
        );
        assert_eq!(
            told(&mut ledger, "a", Finished, Some("u2")),
            Verdict::Deliver
        );
        ledger.sent(&acknowledge("a", "u2"));
        assert_eq!(
            told(&mut ledger, "a", Finished, Some("u2")),
            Verdict::Acknowledge,
            "also after it has ended"
        );
        assert_eq!(
            told(&mut ledger, "a", TaskState::Lost, None),
            Verdict::Ignore,
            "an answer that comes too late"
        );
        assert_eq!(ledger.live(), 0);
    }

    #[test]
    fn an_id_may_be_used_again() {
        let mut ledger = Ledger::default();
        ledger.sent(&launch("a"));
        told(&mut ledger, "a", TaskState::Finished, Some("u1"));
        ledger.sent(&acknowledge("a", "u1"));
        ledger.sent(&launch("a"));
        assert_eq!(
            told(&mut ledger, "a", TaskState::Running, Some("u2")),
            Verdict::Deliver
        );
        assert_eq!(ledger.live(), 1);
    }

    #[test]
    fn tasks_without_an_answer_are_asked_for_with_growing_pauses() {
        let mut ledger = Ledger::default();
        ledger.sent(&launch("a"));
        ledger.sent(&launch("b"));
        let first = ledger.subscribed(START, false);
        assert_eq!(asked(&first), ["a", "b"]);
        assert!(
            first
                .iter()
                .any(|call| call.reconcile.as_ref().is_some_and(|r| r.tasks.is_empty())),
            "and once for all"
        );
        told(&mut ledger, "a", TaskState::Running, None);
        let mut pauses = Vec::new();
        let mut now = START;
        for _ in 0..8 {
            let at = ledger.deadline().unwrap();
            pauses.push((at - now).as_secs());
            now = at;
            assert_eq!(asked(&ledger.tick(now)), ["b"]);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        told(&mut ledger, "b", TaskState::Running, None);
        now = ledger.deadline().unwrap();
        assert_eq!(ledger.tick(now), Vec::<Call>::new(), "all have answered");
        assert_eq!(ledger.deadline().unwrap() - now, RECONCILE_PERIOD);
        now = ledger.deadline().unwrap();
        assert_eq!(asked(&ledger.tick(now)), ["a", "b"], "and round again");
    }

    #[test]
    fn everything_is_asked_for_in_time_whatever_the_author_asks_for() {
        let mut ledger = Ledger::default();
        ledger.sent(&launch("a"));
        ledger.subscribed(START, false);
        told(&mut ledger, "a", TaskState::Running, None);
        let mut now = ledger.deadline().unwrap();
        ledger.tick(now);
        let next = now + RECONCILE_PERIOD;
        while now < next {
            let task = call::reconcile::Task {
                task_id: mesos::TaskId { value: "b".into() },
                agent_id: None,
            };
            ledger.wanted(now, &call::Reconcile { tasks: vec![task] });
            now = ledger.deadline().unwrap();
            let everything = ledger.tick(now);
            told(&mut ledger, "b", TaskState::Running, None);
            assert_eq!(asked(&everything).contains(&"a".to_owned()), now == next);
        }
        assert_eq!(now, next);
    }

    #[test]
    fn a_task_that_the_master_does_not_know_is_asked_for_no_more() {
        let mut ledger = Ledger::new([(id("old"), None)]);
        assert_eq!(asked(&ledger.subscribed(START, false)), ["old"]);
        let verdict = told(&mut ledger, "old", TaskState::Unknown, None);
        assert_eq!((verdict, ledger.live()), (Verdict::Deliver, 0));
        let calls = ledger.tick(START + RECONCILE_PERIOD);
        assert_eq!(asked(&calls), Vec::<String>::new());
        ledger.sent(&launch("ended"));
        told(&mut ledger, "ended", TaskState::Finished, Some("u"));
        ledger.sent(&acknowledge("ended", "u"));
        let verdict = told(&mut ledger, "ended", TaskState::Unknown, None);
        assert_eq!((verdict, ledger.live()), (Verdict::Ignore, 0));
    }

    #[test]
    fn what_the_author_asks_for_is_asked_for_until_it_is_answered() {
        let of = |tasks: &[&str]| {
            let tasks = tasks.iter().map(|task| call::reconcile::Task {
                task_id: mesos::TaskId {
                    value: (*task).to_owned(),
                },
                agent_id: None,
            });
            call::Reconcile {
                tasks: tasks.collect(),
            }
        };
        let mut ledger = Ledger::default();
        ledger.sent(&launch("ended"));
        told(&mut ledger, "ended", TaskState::Finished, Some("u"));
        ledger.sent(&acknowledge("ended", "u"));
        ledger.subscribed(START, false);
        let mut now = ledger.deadline().unwrap();
        assert_eq!(ledger.tick(now), Vec::<Call>::new(), "nothing is open");

        ledger.wanted(now, &of(&["old", "older", "ended"]));
        for pause in [2, 4] {
            let at = ledger.deadline().unwrap();
            assert_eq!((at - now).as_secs(), pause);
            now = at;
            assert_eq!(asked(&ledger.tick(now)), ["old", "older"]);
        }
        let before = ledger.deadline();
        ledger.wanted(now, &of(&["older"]));
        assert_eq!(
            ledger.deadline(),
            before,
            "what is asked for again waits on"
        );
        assert_eq!(
            told(&mut ledger, "old", TaskState::Running, None),
            Verdict::Deliver
        );
        assert_eq!(
            told(&mut ledger, "older", TaskState::Gone, None),
            Verdict::Deliver
        );
        now = ledger.deadline().unwrap();
        assert_eq!(ledger.tick(now), Vec::<Call>::new(), "all have answered");
        assert_eq!(ledger.live(), 1);
    }

    #[test]
    fn a_new_framework_asks_for_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.subscribed(START, true), Vec::<Call>::new());
        assert_eq!(ledger.deadline(), Some(RECONCILE_PERIOD));
        let mut known = Ledger::new([(id("old"), None)]);
        assert_eq!(asked(&known.subscribed(START, true)), ["old"]);
    }

    #[test]
    fn kills_are_repeated_until_the_task_has_ended() {
        let mut ledger = Ledger::default();
        let kills = |calls: &[Call]| calls.iter().filter(|call| call.kill.is_some()).count();
        ledger.sent(&launch("a"));
        ledger.sent(&kill("a"));
        assert_eq!(kills(&ledger.subscribed(START, false)), 1);
        assert_eq!(kills(&ledger.subscribed(START, false)), 1);
        told(&mut ledger, "a", TaskState::Killed, Some("u"));
        ledger.sent(&acknowledge("a", "u"));
        assert_eq!(kills(&ledger.subscribed(START, false)), 0);
    }

    #[test]
    fn ended_tasks_are_forgotten_in_the_end() {
        let mut ledger = Ledger::default();
        for n in 0..FINISHED_LIMIT + 10 {
            let task = format!("t{n}");
            ledger.sent(&launch(&task));
            told(&mut ledger, &task, TaskState::Finished, Some("u"));
            ledger.sent(&acknowledge(&task, "u"));
        }
        assert_eq!(
            (
                ledger.finished.len(),
                ledger.finished_order.len(),
                ledger.live()
            ),
            (FINISHED_LIMIT, FINISHED_LIMIT, 0)
        );
    }
}

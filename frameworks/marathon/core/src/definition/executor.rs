//! Executors of users: an app may name a program that runs its tasks instead of the command executor.

use super::{App, Object, reader::Faults};

/// The command executor by its name.
const COMMAND: &str = "//cmd";

impl App {
    /// The program of its own executor, or else of the one that `--executor` names; none: the command executor.
    #[must_use]
    pub fn own_executor<'a>(&'a self, default: &'a str) -> Option<&'a str> {
        let named = if self.executor.is_empty() && self.pod.is_none() {
            default
        } else {
            self.executor.as_str()
        };
        Some(named).filter(|path| !path.is_empty() && *path != COMMAND)
    }

    /// What an executor of its own gets.
    pub(crate) fn executor_part(&self, default: &str) -> [(&'static str, f64); 3] {
        let own = self
            .executor_resources
            .filter(|_| self.own_executor(default).is_some());
        let part = own.map_or([0.0; 3], |own| [own.cpus, own.mem, own.disk]);
        [("cpus", part[0]), ("mem", part[1]), ("disk", part[2])]
    }

    /// What its task gets.
    pub(crate) fn task_part(&self) -> [(&'static str, f64); 4] {
        [
            ("cpus", self.cpus),
            ("mem", self.mem),
            ("disk", self.disk),
            ("gpus", f64::from(self.gpus)),
        ]
    }

    /// What an instance takes of an offer: its task, and an executor of its own.
    pub(crate) fn demand(&self, default: &str) -> [(&'static str, f64); 4] {
        let mut all = self.task_part();
        for ((_, amount), (_, more)) in all.iter_mut().zip(self.executor_part(default)) {
            *amount += more;
        }
        all
    }

    /// Whether instances of both definitions take as much, whatever `--executor` is.
    pub(super) fn demands_alike(&self, other: &Self) -> bool {
        let alike = |default| self.demand(default) == other.demand(default);
        alike(COMMAND) && alike("executor")
    }
}

/// Whether an app's `executor`, or `--executor`, may be this: a path, or one of the names of the command executor.
#[must_use]
pub fn is_executor(text: &str) -> bool {
    let path = text.strip_prefix('/').unwrap_or(text);
    text.is_empty() || text == COMMAND || !path.split('/').any(str::is_empty)
}

/// `executor`.
pub(super) fn read(object: &Object<'_>, faults: &mut Faults) -> Option<String> {
    let executor = object.text("executor", faults)?;
    if !is_executor(&executor) {
        faults.add(object.path("executor"), "error.pattern");
    }
    Some(executor)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::COMMAND;
    use crate::definition::tests::parse;

    #[test]
    fn executors_are_kept_as_they_are_given() {
        for executor in ["", "//cmd", "./executor", "/opt/executor", "a b/c'd"] {
            let document = json!({ "id": "/e", "cmd": "run", "executor": executor });
            let app = parse(&document.to_string(), None).expect(executor);
            assert_eq!(json!(app)["executor"], executor);
            let own = (!matches!(executor, "" | "//cmd")).then_some(executor);
            assert_eq!(app.own_executor(COMMAND), own);
            let default = if executor.is_empty() {
                Some("/opt/default")
            } else {
                own
            };
            assert_eq!(app.own_executor("/opt/default"), default);
        }
        for executor in ["//", "/", "a//b", "a/", "//other"] {
            let document = json!({ "id": "/e", "cmd": "run", "executor": executor });
            let refusal = parse(&document.to_string(), None).expect_err(executor);
            let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
            assert_eq!(
                body,
                json!({ "message": "Invalid JSON", "details": [{ "path": "/executor", "errors": ["error.pattern"] }] }),
                "{executor}"
            );
        }
    }

    #[test]
    fn only_an_executor_of_its_own_takes_more() {
        let with = |executor: &str| {
            let document = json!({ "id": "/e", "cmd": "run", "cpus": 1, "mem": 64, "executor": executor,
                "executorResources": { "cpus": 0.5, "mem": 32 } });
            parse(&document.to_string(), None).expect("valid")
        };
        let with = |executor: &str, default: &str| with(executor).demand(default);
        let amounts = |all: [(&str, f64); 4]| all.map(|(_, amount)| amount);
        assert_eq!(amounts(with("", COMMAND)), [1.0, 64.0, 0.0, 0.0]);
        let own = amounts(with("./run", COMMAND));
        assert_eq!(own[..2], [1.5, 96.0]);
        assert_eq!(amounts(with("", "/opt/default"))[..2], [1.5, 96.0]);
        assert_eq!(amounts(with("//cmd", "/opt/default"))[..2], [1.0, 64.0]);
    }
}

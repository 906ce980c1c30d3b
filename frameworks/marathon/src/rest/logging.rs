//! `/logging`: which loggers log how much, and how that is changed while the process runs.
//!
//! A logger is a part of the program as `tracing` names it: `tepui_marathon`, `tepui_marathon::reign`, or `ROOT` for all. Marathon's own are
//! Java packages: `mesosphere.marathon` and all below it stand for `tepui_marathon`, and dots are as good as `::`. A level that was set for a
//! while gives way to the one that was set for good, or was there from the start; who sets another one meanwhile ends the while.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tepui_marathon_core::{Detail, Response};
use tokio::task::AbortHandle;

use crate::log_dial::LogDial;

/// Loggers that may be set at one time.
const MAX_SET: usize = 100;
/// Bytes of a logger's name.
const MAX_NAME: usize = 200;
const ROOT: &str = "ROOT";
const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
/// Marathon's packages, and the crate that does their work here.
const PACKAGES: &str = "mesosphere.marathon";
const CRATE: &str = "tepui_marathon";
/// Those that are shown though nobody has set them.
const SHOWN: [&str; 4] = [CRATE, "tepui_sdk", "tepui_coordination", "tepui_http"];

/// What was set while the process runs.
#[derive(Debug)]
pub(super) struct Logging {
    dial: Option<LogDial>,
    set: Mutex<BTreeMap<String, Setting>>,
    /// Whiles that were begun, to number the next.
    whiles: AtomicU64,
}

/// Of one logger.
#[derive(Clone, Debug, Default)]
struct Setting {
    for_good: Option<&'static str>,
    for_a_while: Option<While>,
}

/// A level that holds until a task wakes up.
#[derive(Clone, Debug)]
struct While {
    level: &'static str,
    /// A task that has just woken up, when another while has begun, ends nothing.
    number: u64,
    waits: AbortHandle,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    level: &'static str,
    /// As it was sent.
    logger: String,
    lasting: Option<u32>,
}

impl Setting {
    fn level(&self) -> Option<&'static str> {
        let for_a_while = self.for_a_while.as_ref().map(|one| one.level);
        for_a_while.or(self.for_good)
    }

    fn wait_no_more(&self) {
        if let Some(one) = &self.for_a_while {
            one.waits.abort();
        }
    }
}

impl Logging {
    pub(super) fn new(dial: Option<LogDial>) -> Self {
        Self {
            dial,
            set: Mutex::default(),
            whiles: AtomicU64::new(0),
        }
    }

    /// `GET /logging`
    pub(super) fn shown(&self) -> Value {
        let at_start = self.dial.as_ref().map_or("", LogDial::at_start);
        let mut levels = directives(at_start);
        for (target, setting) in &*self.set.lock() {
            if let Some(level) = setting.level() {
                levels.insert(target.clone(), level.to_uppercase());
            }
        }
        let mut names: BTreeSet<&str> = levels.keys().map(String::as_str).collect();
        names.extend(SHOWN);
        names.insert(ROOT);
        let mut shown: Map<String, Value> = names
            .into_iter()
            .map(|name| (name.to_owned(), told(&levels, name).into()))
            .collect();
        shown.insert(PACKAGES.to_owned(), told(&levels, CRATE).into());
        shown.into()
    }

    /// `POST /logging`
    pub(super) fn change(self: &Arc<Self>, body: &Bytes) -> Response {
        let change = match read(body) {
            Ok(change) => change,
            Err(refusal) => return refusal,
        };
        let Some(dial) = &self.dial else {
            let message = "The log of this process cannot be changed while it runs.";
            return Response::message(501, message);
        };
        let target = target(&change.logger);
        let mut set = self.set.lock();
        if set.len() >= MAX_SET && !set.contains_key(&target) {
            let message = format!(
                "{MAX_SET} loggers are set already, and no more can be; those that were set for a while are free after it."
            );
            return Response::message(422, message);
        }
        let before = set.get(&target).cloned();
        let setting = set.entry(target.clone()).or_default();
        setting.for_a_while = None;
        match change.lasting {
            None => setting.for_good = Some(change.level),
            Some(seconds) => {
                let (logging, target) = (Arc::clone(self), target.clone());
                let number = self.whiles.fetch_add(1, Ordering::Relaxed);
                let waits = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
                    logging.end(&target, number);
                });
                setting.for_a_while = Some(While {
                    level: change.level,
                    number,
                    waits: waits.abort_handle(),
                });
            }
        }
        if let Err(why) = dial.turn(&told_to(&set)) {
            let failed = match before {
                Some(before) => set.insert(target, before),
                None => set.remove(&target),
            };
            failed.iter().for_each(Setting::wait_no_more);
            return Response::message(500, format!("The log could not be changed: {why}"));
        }
        before.iter().for_each(Setting::wait_no_more);
        drop(set);
        let lasting = change.lasting;
        tracing::info!(logger = %target, level = change.level, ?lasting, "what is logged was changed");
        let mut answer = json!({ "level": change.level, "logger": change.logger });
        if let Some(seconds) = lasting {
            answer["durationSeconds"] = seconds.into();
        }
        Response::json(200, &answer)
    }

    /// The while of a logger with this number is over.
    fn end(&self, target: &str, number: u64) {
        let mut set = self.set.lock();
        let Some(setting) = set.get_mut(target) else {
            return;
        };
        if setting.for_a_while.as_ref().map(|one| one.number) != Some(number) {
            return;
        }
        setting.for_a_while = None;
        if setting.for_good.is_none() {
            set.remove(target);
        }
        let turned = self.dial.as_ref().map(|dial| dial.turn(&told_to(&set)));
        drop(set);
        match turned {
            Some(Err(why)) => {
                tracing::warn!(logger = %target, %why, "its level stays as it was set")
            }
            _ => tracing::info!(logger = %target, "its level is as before again"),
        }
    }
}

/// All that is set, as the dial takes it.
fn told_to(set: &BTreeMap<String, Setting>) -> String {
    let directives = set.iter().filter_map(|(target, setting)| {
        let level = setting.level()?;
        Some(if target == ROOT {
            level.to_owned()
        } else {
            format!("{target}={level}")
        })
    });
    directives.collect::<Vec<_>>().join(",")
}

/// The part of the program that a name means.
fn target(logger: &str) -> String {
    let below = logger.strip_prefix(PACKAGES);
    if logger.eq_ignore_ascii_case(ROOT) {
        ROOT.to_owned()
    } else if logger == "mesosphere"
        || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    {
        CRATE.to_owned()
    } else {
        logger.replace('.', "::")
    }
}

/// Levels by logger, of a filter's text; what it says of spans and fields is left out.
fn directives(text: &str) -> BTreeMap<String, String> {
    let one = |directive: &str| {
        let directive = directive.trim();
        let is_level = |text: &str| {
            LEVELS
                .iter()
                .chain(&["off"])
                .any(|one| text.eq_ignore_ascii_case(one))
        };
        match directive.split_once('=') {
            _ if directive.is_empty() || directive.contains(['[', '{']) => None,
            Some((target, level)) if is_level(level) => {
                Some((target.to_owned(), level.to_uppercase()))
            }
            None if is_level(directive) => Some((ROOT.to_owned(), directive.to_uppercase())),
            None => Some((directive.to_owned(), "TRACE".to_owned())),
            Some(_) => None,
        }
    };
    text.split(',').filter_map(one).collect()
}

/// The level of a logger: its own, or that of the longest name that it begins with.
fn told(levels: &BTreeMap<String, String>, name: &str) -> String {
    if let Some(level) = levels.get(name) {
        return level.clone();
    }
    let above = levels
        .iter()
        .filter(|(above, _)| name.starts_with(above.as_str()));
    let nearest = above.max_by_key(|(above, _)| above.len());
    let level = nearest.map(|(_, level)| level).or_else(|| levels.get(ROOT));
    format!("{} (inherited)", level.map_or("OFF", String::as_str))
}

fn read(body: &Bytes) -> Result<Change, Response> {
    let document: Value =
        serde_json::from_slice(body).map_err(|error| Response::invalid_json(&error.to_string()))?;
    let mut faults = Vec::new();
    let mut fault = |path: &str, error: &str| {
        faults.push(Detail {
            path: path.to_owned(),
            errors: vec![error.to_owned()],
        });
    };
    let Some(members) = document.as_object() else {
        fault("/", "error.expected.jsobject");
        return Err(Response::details(422, "Invalid JSON", &faults));
    };
    let present = |name: &str| members.get(name).filter(|value| !value.is_null());
    let level = match present("level").map(|value| value.as_str()) {
        None => Err("error.path.missing"),
        Some(None) => Err("error.expected.jsstring"),
        Some(Some(text)) => LEVELS
            .into_iter()
            .find(|level| level.eq_ignore_ascii_case(text))
            .ok_or("error.unknown.enum.literal"),
    };
    let logger = match present("logger").map(|value| value.as_str()) {
        None => Err("error.path.missing"),
        Some(None) => Err("error.expected.jsstring"),
        Some(Some(text)) if text.len() > MAX_NAME => Err("error.maxLength"),
        Some(Some(text)) if !text.is_empty() && !is_name(text) => Err("error.pattern"),
        Some(Some(text)) => Ok(text.to_owned()),
    };
    let lasting = match present("durationSeconds") {
        None => Ok(None),
        Some(value) => match value
            .as_number()
            .map(|number| (number.as_i64(), number.as_u64()))
        {
            None => Err("error.expected.jsnumber"),
            Some((Some(i64::MIN..=0), _)) => Err("error.min"),
            Some((_, Some(seconds))) => i32::try_from(seconds)
                .map(|seconds| Some(seconds.unsigned_abs()))
                .map_err(|_| "error.max"),
            Some(_) => Err("error.expected.jsnumber"),
        },
    };
    for (path, error) in [
        ("/level", level.as_ref().err()),
        ("/logger", logger.as_ref().err()),
        ("/durationSeconds", lasting.as_ref().err()),
    ] {
        if let Some(error) = error {
            fault(path, error);
        }
    }
    let (Ok(level), Ok(logger), Ok(lasting)) = (level, logger, lasting) else {
        return Err(Response::details(422, "Invalid JSON", &faults));
    };
    if logger.is_empty() {
        fault("/logger", "must not be empty");
        return Err(Response::details(422, "Object is not valid", &faults));
    }
    Ok(Change {
        level,
        logger,
        lasting,
    })
}

/// Words joined with `.` or `::`.
fn is_name(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    text.replace("::", ".").split('.').all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(logging: &Arc<Logging>, document: &Value) -> (u16, Value) {
        let answer = logging.change(&document.to_string().into());
        (
            answer.status,
            serde_json::from_slice(&answer.body).expect("JSON"),
        )
    }

    /// One that keeps what it was told.
    fn dial(at_start: &str) -> (Arc<Logging>, Arc<Mutex<Vec<String>>>) {
        let turns: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&turns);
        let dial = LogDial::new(at_start, move |directives| {
            kept.lock().push(directives.to_owned());
            Ok(())
        });
        (Arc::new(Logging::new(Some(dial))), turns)
    }

    #[tokio::test]
    async fn a_level_is_set_for_good_or_for_a_while() {
        let (logging, turns) = dial("tepui_marathon::reign=warn,info");
        assert_eq!(
            logging.shown(),
            json!({
                "ROOT": "INFO", "tepui_marathon::reign": "WARN", "mesosphere.marathon": "INFO (inherited)",
                "tepui_marathon": "INFO (inherited)", "tepui_sdk": "INFO (inherited)", "tepui_coordination": "INFO (inherited)",
                "tepui_http": "INFO (inherited)",
            })
        );
        let document = json!({ "level": "debug", "logger": "mesosphere.marathon.core", "durationSeconds": 600 });
        assert_eq!(changed(&logging, &document), (200, document));
        assert_eq!(logging.shown()["tepui_marathon"], "DEBUG");
        assert_eq!(logging.shown()["mesosphere.marathon"], "DEBUG");
        assert_eq!(logging.shown()["tepui_marathon::reign"], "WARN");
        let document = json!({ "level": "ERROR", "logger": "root" });
        let echo = json!({ "level": "error", "logger": "root" });
        assert_eq!(changed(&logging, &document), (200, echo));
        // A second while takes the place of the first, and is over by itself.
        let document =
            json!({ "level": "trace", "logger": "tepui_marathon", "durationSeconds": 1 });
        assert_eq!(changed(&logging, &document).0, 200);
        assert_eq!(logging.shown()["tepui_marathon"], "TRACE");
        let over = async {
            while logging.shown()["tepui_marathon"] != "ERROR (inherited)" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, over).await.expect("over");
        assert_eq!(
            *turns.lock(),
            [
                "tepui_marathon=debug",
                "error,tepui_marathon=debug",
                "error,tepui_marathon=trace",
                "error"
            ]
        );
        // After a while, what was set for good before it; setting it for good ends the while.
        for (level, lasting, now, after) in [
            ("warn", None, "WARN", "WARN"),
            ("trace", Some(600), "TRACE", "WARN"),
            ("trace", Some(600), "TRACE", "WARN"),
            ("info", None, "INFO", "INFO"),
        ] {
            let mut document = json!({ "level": level, "logger": "a.b" });
            document["durationSeconds"] = json!(lasting);
            assert_eq!(changed(&logging, &document).0, 200);
            assert_eq!(logging.shown()["a::b"], now);
            let waits = logging.set.lock()["a::b"].for_a_while.clone();
            assert_eq!(waits.is_some(), lasting.is_some());
            if let Some(one) = waits {
                logging.end("a::b", one.number.wrapping_sub(1));
                assert_eq!(logging.shown()["a::b"], now, "another while is over");
                logging.end("a::b", one.number);
            }
            assert_eq!(logging.shown()["a::b"], after);
        }
    }

    #[tokio::test]
    async fn what_could_not_be_changed_is_as_it_was() {
        let fails = Arc::new(Mutex::new(false));
        let told = Arc::clone(&fails);
        let dial = LogDial::new("info", move |_| {
            (!*told.lock()).then_some(()).ok_or_else(|| "no".to_owned())
        });
        let logging = Arc::new(Logging::new(Some(dial)));
        let document = json!({ "level": "debug", "logger": "a", "durationSeconds": 600 });
        assert_eq!(changed(&logging, &document).0, 200);
        *fails.lock() = true;
        for logger in ["a", "b"] {
            for lasting in [json!(null), json!(600)] {
                let document =
                    json!({ "level": "trace", "logger": logger, "durationSeconds": lasting });
                assert_eq!(changed(&logging, &document).0, 500);
            }
        }
        let set = logging.set.lock().clone();
        assert_eq!(set.keys().collect::<Vec<_>>(), ["a"]);
        let waits = set["a"].for_a_while.as_ref().expect("the first while");
        assert_eq!((waits.level, waits.waits.is_finished()), ("debug", false));
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_and_changes_nothing() {
        let (logging, turns) = dial("info");
        let detail = |path: &str, error: &str| json!([{ "path": path, "errors": [error] }]);
        for (document, want) in [
            (json!([]), detail("/", "error.expected.jsobject")),
            (
                json!({ "level": "debug" }),
                detail("/logger", "error.path.missing"),
            ),
            (
                json!({ "logger": "a" }),
                detail("/level", "error.path.missing"),
            ),
            (
                json!({ "logger": "a", "level": "loud" }),
                detail("/level", "error.unknown.enum.literal"),
            ),
            (
                json!({ "logger": "a", "level": 1 }),
                detail("/level", "error.expected.jsstring"),
            ),
            (
                json!({ "logger": "", "level": "debug" }),
                detail("/logger", "must not be empty"),
            ),
            (
                json!({ "logger": "a=b", "level": "debug" }),
                detail("/logger", "error.pattern"),
            ),
            (
                json!({ "logger": "a,b", "level": "debug" }),
                detail("/logger", "error.pattern"),
            ),
            (
                json!({ "logger": "a[b]", "level": "debug" }),
                detail("/logger", "error.pattern"),
            ),
            (
                json!({ "logger": "a".repeat(201), "level": "debug" }),
                detail("/logger", "error.maxLength"),
            ),
            (
                json!({ "logger": "a", "level": "debug", "durationSeconds": 0 }),
                detail("/durationSeconds", "error.min"),
            ),
            (
                json!({ "logger": "a", "level": "debug", "durationSeconds": 1.5 }),
                detail("/durationSeconds", "error.expected.jsnumber"),
            ),
            (
                json!({ "logger": "a", "level": "debug", "durationSeconds": u64::MAX }),
                detail("/durationSeconds", "error.max"),
            ),
        ] {
            let (status, answer) = changed(&logging, &document);
            assert_eq!((status, &answer["details"]), (422, &want), "{document}");
        }
        assert_eq!(logging.change(&Bytes::from_static(b"{")).status, 400);
        assert_eq!(*turns.lock(), Vec::<String>::new());
        for at in 0..MAX_SET {
            let document = json!({ "level": "warn", "logger": format!("a{at}") });
            assert_eq!(changed(&logging, &document).0, 200);
        }
        let document = json!({ "level": "warn", "logger": "one_more" });
        assert_eq!(changed(&logging, &document).0, 422);
        let fixed = Arc::new(Logging::new(None));
        assert_eq!(changed(&fixed, &document).0, 501);
    }
}

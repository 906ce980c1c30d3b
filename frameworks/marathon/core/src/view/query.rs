//! What can be read.

use super::GroupEmbed;
use crate::response::Response;

/// A read of the REST API. Ids are as in [`ApiCall`](crate::ApiCall); a leading double slash and missing slashes are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// `GET /v2/apps`.
    Apps {
        /// `cmd`: substring, any letter case.
        cmd: Option<String>,
        /// `id`: substring, any letter case.
        id: Option<String>,
        /// `label`.
        label: Option<LabelSelector>,
        /// `embed`.
        embed: Embed,
    },
    /// `GET /v2/apps/{group}/*` and `GET /v2/apps/*`.
    AppsBelow {
        /// The group; empty or `/` for the root.
        group: String,
        /// `embed`.
        embed: Embed,
    },
    /// `GET /v2/apps/{id}`.
    App {
        /// The app.
        id: String,
        /// `embed`.
        embed: Embed,
    },
    /// `GET /v2/apps/{id}/tasks`.
    AppTasks {
        /// The app.
        id: String,
    },
    /// `GET /v2/apps/{group}/*/tasks`.
    TasksBelow {
        /// The group.
        group: String,
    },
    /// `GET /v2/apps/{id}/versions`.
    Versions {
        /// The app.
        id: String,
    },
    /// `GET /v2/apps/{id}/versions/{version}`.
    Version {
        /// The app.
        id: String,
        /// A timestamp.
        version: String,
    },
    /// `GET /v2/tasks`.
    Tasks {
        /// Values of `status` and `status[]`: `running` and `staging` count, any letter case; others are ignored.
        status: Vec<String>,
    },
    /// `GET /v2/groups` and `GET /v2/groups/{id}`.
    Group {
        /// The group; `/` for the root.
        id: String,
        /// `embed`.
        embed: GroupEmbed,
    },
    /// `GET /v2/groups/apps` and `GET /v2/groups/{id}/apps`.
    GroupApps {
        /// The group; `/` for the root.
        id: String,
        /// `embed`.
        embed: Embed,
    },
    /// `GET /v2/deployments`.
    Deployments,
    /// `GET /v2/pods`.
    Pods,
    /// `GET /v2/pods/{id}`.
    Pod {
        /// The pod.
        id: String,
    },
    /// `GET /v2/pods/::status`.
    PodStatuses,
    /// `GET /v2/pods/{id}::status`.
    PodStatus {
        /// The pod.
        id: String,
    },
    /// `GET /v2/pods/{id}::versions`.
    PodVersions {
        /// The pod.
        id: String,
    },
    /// `GET /v2/pods/{id}::versions/{version}`.
    PodVersion {
        /// The pod.
        id: String,
        /// A timestamp.
        version: String,
    },
}

/// What `embed` asked for beyond what an answer always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embed {
    /// `tasks`, `failures`.
    pub tasks: bool,
    /// `counts`; apps by themselves always have them.
    pub counts: bool,
    /// `deployments`, and what implies it; apps by themselves always have them.
    pub deployments: bool,
    /// `lastTaskFailure`, `failures`.
    pub last_task_failure: bool,
    /// `readiness`.
    pub readiness: bool,
    /// `taskStats`.
    pub task_stats: bool,
}

impl Embed {
    /// With what apps by themselves always have.
    pub(super) const fn of_apps(self) -> Self {
        Self {
            counts: true,
            deployments: true,
            ..self
        }
    }

    /// Reads the values of the query parameter, with or without their prefixes. Unknown ones are ignored.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut embed = Self::default();
        for value in values {
            let name = ["group.apps.", "apps.", "app."]
                .iter()
                .find_map(|prefix| value.strip_prefix(prefix))
                .unwrap_or(value);
            match name {
                "tasks" => {
                    embed.tasks = true;
                    embed.deployments = true;
                }
                "counts" => embed.counts = true,
                "deployments" => embed.deployments = true,
                "lastTaskFailure" => embed.last_task_failure = true,
                "readiness" => embed.readiness = true,
                "taskStats" => embed.task_stats = true,
                "failures" => {
                    embed.tasks = true;
                    embed.deployments = true;
                    embed.last_task_failure = true;
                }
                _ => {}
            }
        }
        embed
    }
}

/// A parsed `label` parameter: all parts must hold, and all want the key to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Reads `key`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, joined with commas.
    ///
    /// # Errors
    /// The 422 answer if the text is none of that.
    pub fn parse(text: &str) -> Result<Self, Response> {
        let mut reader = Reader { rest: text };
        reader.selector().map_err(|reason| {
            Response::message(
                422,
                format!("Can not parse label selector {text}. Reason: {reason}"),
            )
        })
    }

    /// True if an app with these labels is selected.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.parts
            .iter()
            .all(|part| match (label(&part.key), &part.test) {
                (None, _) => false,
                (Some(_), Test::Exists) => true,
                (Some(value), Test::In(values)) => values.iter().any(|one| one == value),
                (Some(value), Test::NotIn(values)) => values.iter().all(|one| one != value),
            })
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn selector(&mut self) -> Result<LabelSelector, String> {
        let mut parts = vec![self.part()?];
        while self.token(",") {
            parts.push(self.part()?);
        }
        self.space();
        if self.rest.is_empty() {
            Ok(LabelSelector { parts })
        } else {
            Err(format!("end of input expected at '{}'", self.rest))
        }
    }

    fn part(&mut self) -> Result<Part, String> {
        let key = self.term()?;
        let test = if self.token("==") {
            Test::In(vec![self.term()?])
        } else if self.token("!=") {
            Test::NotIn(vec![self.term()?])
        } else if self.token("notin") {
            Test::NotIn(self.set()?)
        } else if self.token("in") {
            Test::In(self.set()?)
        } else {
            Test::Exists
        };
        Ok(Part { key, test })
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.token("(") {
            return Err(format!("'(' expected at '{}'", self.rest));
        }
        let mut values = vec![self.term()?];
        while self.token(",") {
            values.push(self.term()?);
        }
        if self.token(")") {
            Ok(values)
        } else {
            Err(format!("')' expected at '{}'", self.rest))
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn token(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn term(&mut self) -> Result<String, String> {
        self.space();
        let mut term = String::new();
        let mut letters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some((_, escaped)) => term.push(escaped),
                    None => return Err("a letter is expected after the backslash".to_owned()),
                },
                '-' | '_' | '.' | 'a'..='z' | 'A'..='Z' | '0'..='9' => term.push(letter),
                _ => {
                    end = at;
                    break;
                }
            }
        }
        if term.is_empty() {
            return Err(format!("a term is expected at '{}'", self.rest));
        }
        self.rest = &self.rest[end..];
        Ok(term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_want_the_key_and_compare_the_value() {
        let labels = |key: &str| match key {
            "env" => Some("prod"),
            "a b" => Some(""),
            _ => None,
        };
        for (text, want) in [
            ("env", true),
            ("env==prod", true),
            ("env == test", false),
            ("env!=test", true),
            ("env in (test, prod)", true),
            ("env notin (test,prod)", false),
            ("env, a\\ b", true),
            ("other!=x", false),
            ("other notin (x)", false),
        ] {
            assert_eq!(
                LabelSelector::parse(text).expect(text).matches(labels),
                want,
                "{text}"
            );
        }
        for text in [
            "",
            "env=prod",
            "env in prod",
            "env in (",
            "a,,b",
            "env==",
            "\\",
        ] {
            assert_eq!(LabelSelector::parse(text).expect_err(text).status, 422);
        }
    }

    #[test]
    fn embeds_are_read_with_every_prefix() {
        let embed = Embed::parse([
            "apps.tasks",
            "app.lastTaskFailure",
            "group.apps.readiness",
            "nonsense",
        ]);
        assert_eq!(
            embed,
            Embed {
                tasks: true,
                deployments: true,
                last_task_failure: true,
                readiness: true,
                ..Embed::default()
            }
        );
        assert_eq!(
            Embed::parse(["failures"]),
            Embed {
                tasks: true,
                deployments: true,
                last_task_failure: true,
                ..Embed::default()
            }
        );
    }
}

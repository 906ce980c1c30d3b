//! Constraints: does a value of a field suit the instances that are placed already?

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex::Regex;

use super::shares::Shares;
use crate::{
    definition::{App, Constraint, Operator},
    instance::Agent,
};

/// For each constraint of an app, how many placed instances have which value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placed {
    counts: Vec<Counts>,
}

/// For one constraint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    by_value: BTreeMap<Arc<str>, u32>,
    /// How many values have a certain count: its first key is the smallest.
    by_count: BTreeMap<u32, u32>,
    /// Compiled once, for LIKE and UNLIKE.
    regex: Option<Regex>,
    /// Somebody else sees to it that the shares of a GROUP_BY with a number are kept.
    unjudged: bool,
}

/// Which of an app's constraints an instance counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    ForAll,
    /// One that was given up, and may come back: another takes its share.
    NotForShares,
    /// One that another is about to take the place of: it keeps all but its share.
    OnlyForShares,
}

impl Placed {
    /// Nothing placed yet.
    pub(crate) fn new(app: &App) -> Self {
        let mut compiled: HashMap<&str, Option<Regex>> = HashMap::new();
        let counts = app.constraints.iter().map(|constraint| {
            let pattern = constraint
                .value
                .as_deref()
                .filter(|_| matches!(constraint.operator, Operator::Like | Operator::Unlike));
            let regex = pattern.and_then(|pattern| {
                compiled
                    .entry(pattern)
                    .or_insert_with(|| Regex::new(&format!("^(?:{pattern})$")).ok())
                    .clone()
            });
            Counts {
                regex,
                ..Counts::default()
            }
        });
        Self {
            counts: counts.collect(),
        }
    }

    /// Notes that an instance is on `agent`, or no longer.
    pub(crate) fn change(&mut self, app: &App, agent: &Agent, added: bool, counted: Counted) {
        for (constraint, counts) in app.constraints.iter().zip(&mut self.counts) {
            let counts_here = match counted {
                Counted::ForAll => true,
                Counted::NotForShares => constraint.groups().is_none(),
                Counted::OnlyForShares => constraint.groups().is_some(),
            };
            if let Some(value) = field_value(&constraint.field, agent).filter(|_| counts_here) {
                counts.change(value, added);
            }
        }
    }

    /// The same, as somebody sees it who keeps the shares of a GROUP_BY with a number himself.
    pub(crate) fn heedless_of_shares(&self, app: &App) -> Cow<'_, Self> {
        let shares = |constraint: &Constraint| constraint.groups().is_some();
        if !app.constraints.iter().any(shares) {
            return Cow::Borrowed(self);
        }
        let mut placed = self.clone();
        for (constraint, counts) in app.constraints.iter().zip(&mut placed.counts) {
            counts.unjudged = shares(constraint);
        }
        Cow::Owned(placed)
    }

    /// Whether the constraints of an app let one more instance go to an agent.
    pub(crate) fn admit(&self, app: &App, agent: &Agent) -> bool {
        (0..app.constraints.len()).all(|at| self.admits(app, at, agent))
    }

    /// Whether the constraint at this index does.
    pub(crate) fn admits(&self, app: &App, at: usize, agent: &Agent) -> bool {
        let (Some(constraint), Some(counts)) = (app.constraints.get(at), self.counts.get(at))
        else {
            return false;
        };
        let value = field_value(&constraint.field, agent);
        counts.accept(constraint, app.instances, value.as_deref())
    }

    /// How a GROUP_BY with a number shares out an app's instances.
    pub(crate) fn shares(&self, app: &App, at: usize) -> Option<Shares<'_>> {
        let groups = app.constraints.get(at)?.groups()?;
        Some(self.counts.get(at)?.shares(app.instances, groups))
    }
}

impl Counts {
    fn change(&mut self, value: Arc<str>, added: bool) {
        let before = self.of(&value);
        let after = if added {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        if before > 0
            && let Some(values) = self.by_count.get_mut(&before)
        {
            *values -= 1;
            if *values == 0 {
                self.by_count.remove(&before);
            }
        }
        if after > 0 {
            *self.by_count.entry(after).or_default() += 1;
            self.by_value.insert(value, after);
        } else {
            self.by_value.remove(&value);
        }
    }

    fn of(&self, value: &str) -> u32 {
        self.by_value.get(value).copied().unwrap_or(0)
    }

    fn smallest(&self) -> u32 {
        self.by_count.keys().next().copied().unwrap_or(0)
    }

    fn shares(&self, instances: u32, groups: u32) -> Shares<'_> {
        Shares::new(instances, groups, &self.by_value, &self.by_count)
    }

    /// Whether one more of so many instances may have `value`.
    fn accept(&self, constraint: &Constraint, instances: u32, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return constraint.operator == Operator::Unlike;
        };
        let parameter = constraint.parameter();
        let here = self.of(value);
        match constraint.operator {
            Operator::Unique => here == 0,
            Operator::Cluster => match parameter {
                Some(parameter) => value == parameter,
                None => self.by_value.is_empty() || here > 0,
            },
            Operator::GroupBy if self.unjudged => true,
            Operator::GroupBy => match constraint.groups() {
                Some(groups) => self.shares(instances, groups).admits(here).is_none(),
                None => here == 0 || here == self.smallest(),
            },
            Operator::MaxPer => here < constraint.number(),
            Operator::Like => (self.regex.as_ref()).is_some_and(|regex| regex.is_match(value)),
            Operator::Unlike => (self.regex.as_ref()).is_some_and(|regex| !regex.is_match(value)),
            Operator::Is => parameter.is_some_and(|parameter| match parameter.parse::<f64>() {
                Ok(parameter) => value == number(parameter),
                Err(_) => value == parameter,
            }),
        }
    }
}

impl Constraint {
    /// Its value, if it has one.
    fn parameter(&self) -> Option<&str> {
        (self.value.as_deref()).filter(|parameter| !parameter.is_empty())
    }

    /// The number that its value is.
    fn number(&self) -> u32 {
        let number = self.parameter().and_then(|text| text.parse().ok());
        number.unwrap_or(0)
    }

    /// Of a GROUP_BY with a number: over so many values the instances are shared out.
    pub(crate) fn groups(&self) -> Option<u32> {
        let number = Some(self.number()).filter(|number| *number > 0);
        number.filter(|_| self.operator == Operator::GroupBy)
    }
}

/// The value of a field of an agent.
pub(crate) fn field_value(field: &str, agent: &Agent) -> Option<Arc<str>> {
    match field {
        "hostname" | "@hostname" => Some(agent.host.clone()),
        "@region" => agent.region.clone(),
        "@zone" => agent.zone.clone(),
        name => agent.attributes.get(name).cloned(),
    }
}

/// A number with at most three decimals, halves to the even neighbour, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round_ties_even() / 1000.0;
    // `Display` writes the shortest form that reads back: `1`, `0.125`.
    format!("{rounded}")
}

//! Constraints: does a value of a field suit the instances that are placed already?

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use regex::Regex;

use crate::{
    definition::{App, Constraint, Operator},
    instance::Agent,
};

/// For each constraint of an app, how many placed instances have which value.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    counts: Vec<Counts>,
}

/// For one constraint.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_value: BTreeMap<Arc<str>, u32>,
    /// How many values have a certain count: its first key is the smallest.
    by_count: BTreeMap<u32, u32>,
    /// Compiled once, for LIKE and UNLIKE.
    regex: Option<Regex>,
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
    pub(crate) fn change(&mut self, app: &App, agent: &Agent, added: bool) {
        for (constraint, counts) in app.constraints.iter().zip(&mut self.counts) {
            if let Some(value) = field_value(&constraint.field, agent) {
                counts.change(value, added);
            }
        }
    }

    /// Of the constraint at this index.
    pub(crate) fn counts(&self, at: usize) -> Option<&Counts> {
        self.counts.get(at)
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

/// Whether one more instance may have `value`.
pub(crate) fn accepts(
    constraint: &Constraint,
    value: Option<&str>,
    counts: Option<&Counts>,
) -> bool {
    let Some(counts) = counts else { return false };
    let Some(value) = value else {
        return constraint.operator == Operator::Unlike;
    };
    let parameter = constraint
        .value
        .as_deref()
        .filter(|parameter| !parameter.is_empty());
    let number = || {
        parameter
            .and_then(|parameter| parameter.parse::<u32>().ok())
            .unwrap_or(0)
    };
    match constraint.operator {
        Operator::Unique => counts.of(value) == 0,
        Operator::Cluster => match parameter {
            Some(parameter) => value == parameter,
            None => counts.by_value.is_empty() || counts.of(value) > 0,
        },
        Operator::GroupBy => {
            let here = counts.of(value);
            here == 0 || (counts.by_value.len() >= number() as usize && here == counts.smallest())
        }
        Operator::MaxPer => counts.of(value) < number(),
        Operator::Like => counts
            .regex
            .as_ref()
            .is_some_and(|regex| regex.is_match(value)),
        Operator::Unlike => counts
            .regex
            .as_ref()
            .is_some_and(|regex| !regex.is_match(value)),
        Operator::Is => parameter.is_some_and(|parameter| match parameter.parse::<f64>() {
            Ok(parameter) => value == self::number(parameter),
            Err(_) => value == parameter,
        }),
    }
}

/// A number with at most three decimals, halves to the even neighbour, without trailing zeros.
pub(crate) fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round_ties_even() / 1000.0;
    // `Display` writes the shortest form that reads back: `1`, `0.125`.
    format!("{rounded}")
}

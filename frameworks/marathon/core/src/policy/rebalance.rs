//! Rebalancing: whether moving one instance makes an app spread more evenly.
//!
//! Wanted: it ends. Every move makes a *potential* smaller, a tuple of natural numbers that is compared from its first on: for each UNIQUE and MAX_PER
//! constraint how many instances are too many somewhere, for each GROUP_BY constraint with a number how many are not on the fullest so many
//! values, then for each GROUP_BY constraint and each field to spread over the sum of the
//! squares of how many instances have which value. What shares instances out has no move to where one more than its share would be. Moving one from a value with `a` instances to one with `b` changes that sum by
//! `-2 (a - b - 1)`, so it falls where `a - b` is above 1. A move is made for the first number that falls by enough: where `a - b`
//! is above `maxSkew`, which is at least 1. All before it stay as they are or fall; so no two moves undo each other, and there is no endless row
//! of them without somebody else changing something.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    definition::{App, Faults, Operator},
    instance::Agent,
    matching::field_value,
};

/// More fields are refused.
const MAX_FIELDS: usize = 10;

/// How instances are moved by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rebalance {
    /// Fields of agents as in constraints, the most important first; after those of GROUP_BY constraints.
    #[serde(default = "hostname")]
    pub over: Vec<String>,
    /// A value may have so many instances more than another.
    #[serde(default = "one")]
    pub max_skew: u32,
    /// So often it is looked for a better place.
    #[serde(default = "sixty")]
    pub interval_seconds: u32,
}

fn hostname() -> Vec<String> {
    vec!["hostname".to_owned()]
}

const fn one() -> u32 {
    1
}

const fn sixty() -> u32 {
    60
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            over: hostname(),
            max_skew: one(),
            interval_seconds: sixty(),
        }
    }
}

impl Rebalance {
    pub(super) fn validate(&self, app: &App, faults: &mut Faults) {
        let path = |field: &str| format!("/rebalance/{field}");
        if let Some(why) = stays_put(app) {
            faults.add("/rebalance", why);
        }
        if self.over.is_empty() || self.over.len() > MAX_FIELDS {
            let message = format!("must have from 1 to {MAX_FIELDS} fields");
            faults.add(path("over"), message);
        }
        for (at, field) in self.over.iter().enumerate() {
            if field.is_empty() {
                faults.add(path(&format!("over({at})")), "must not be empty");
            }
        }
        if self.max_skew == 0 {
            faults.add(path("maxSkew"), "must be greater than 0");
        }
        if !(1..=super::MAX_SECONDS).contains(&self.interval_seconds) {
            let message = format!("must be from 1 to {}", super::MAX_SECONDS);
            faults.add(path("intervalSeconds"), message);
        }
    }
}

/// Why instances of an app cannot be moved; none: they can.
pub(crate) fn stays_put(app: &App) -> Option<&'static str> {
    if app.is_daemon() {
        Some("a daemon app has one instance on each agent that matches")
    } else if app.is_resident() {
        Some("instances with persistent volumes cannot be moved")
    } else if app.has_unshared_volumes() {
        Some("instances with external volumes that are not shared cannot be moved")
    } else {
        None
    }
}

/// How the instances of an app are spread.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    levels: Vec<Level>,
}

/// One number of the potential.
#[derive(Clone, Debug)]
struct Level {
    field: String,
    kind: Kind,
    /// Values by number, so that agents are compared without their texts. The first is none.
    values: BTreeMap<Arc<str>, usize>,
    /// By number of the value.
    counts: Vec<u32>,
    /// How many values, the first apart, have so many instances, for each number that occurs but 0.
    alike: BTreeMap<u32, usize>,
    /// How many values, the first apart, have an instance, and how many instances are beyond the share of their value.
    used: usize,
    beyond: u64,
}

/// An agent as it is compared: at each level the number of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot(Vec<usize>);

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// So many may be anywhere.
    Bound(u32),
    /// So many are shared out over so many values.
    Shares { instances: u32, groups: u32 },
    /// As many everywhere; so many more are borne.
    Even(u32),
}

/// What a move gains: at which level, the less the more important, and how much there. The greater is the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gain {
    level: std::cmp::Reverse<usize>,
    amount: u32,
}

impl Spread {
    /// Of an app with nothing placed.
    pub(crate) fn new(app: &App, settings: &Rebalance) -> Self {
        let mut levels: Vec<Level> = Vec::new();
        let level = |field: &str, kind: Kind| Level {
            field: field.to_owned(),
            kind,
            values: BTreeMap::from([("".into(), 0)]),
            counts: vec![0],
            alike: BTreeMap::new(),
            used: 0,
            beyond: 0,
        };
        for constraint in &app.constraints {
            let kind = match constraint.operator {
                Operator::Unique => Some(Kind::Bound(1)),
                Operator::MaxPer => constraint
                    .value
                    .as_deref()
                    .and_then(|text| text.parse().ok())
                    .map(Kind::Bound),
                Operator::GroupBy => constraint.groups().map(|groups| Kind::Shares {
                    instances: app.instances,
                    groups,
                }),
                _ => None,
            };
            levels.extend(kind.map(|kind| level(&constraint.field, kind)));
        }
        let grouped = app
            .constraints
            .iter()
            .filter(|one| one.operator == Operator::GroupBy);
        let fields = grouped.map(|one| &one.field).chain(&settings.over);
        for field in fields {
            let name = |field: &str| field.trim_start_matches('@').to_owned();
            let same = |one: &Level| {
                let host = name(&one.field) == "hostname" && name(field) == "hostname";
                matches!(one.kind, Kind::Even(_)) && (one.field == *field || host)
            };
            if !levels.iter().any(same) {
                levels.push(level(field, Kind::Even(settings.max_skew.max(1))));
            }
        }
        Self { levels }
    }

    /// What an agent is to `change`, `gain` and `load` of this spread.
    pub(crate) fn spot(&mut self, agent: &Agent) -> Spot {
        let values = self.levels.iter_mut().map(|level| {
            let value = field_value(&level.field, agent).unwrap_or_default();
            let next = level.counts.len();
            let at = *level.values.entry(value).or_insert(next);
            if at == next {
                level.counts.push(0);
            }
            at
        });
        Spot(values.collect())
    }

    /// One instance more, or less, on an agent.
    pub(crate) fn change(&mut self, spot: &Spot, added: bool) {
        for (level, value) in self.levels.iter_mut().zip(&spot.0) {
            level.change(*value, added);
        }
    }

    /// What is gained by moving one instance; none: it is not worth it, or one cannot know.
    pub(crate) fn gain(&self, from: &Spot, to: &Spot) -> Option<Gain> {
        for (at, level) in self.levels.iter().enumerate() {
            let (from, to) = (*from.0.get(at)?, *to.0.get(at)?);
            if to == 0 {
                return None;
            }
            let (here, there) = (level.of(from), level.of(to));
            if let Kind::Shares { instances, groups } = level.kind
                && !level.takes(instances, groups, from, to)
            {
                return None;
            }
            if from == to {
                continue;
            }
            let gain = |amount: u32| {
                Some(Gain {
                    level: std::cmp::Reverse(at),
                    amount,
                })
            };
            match level.kind {
                Kind::Bound(most) if there >= most => return None,
                Kind::Bound(most) if here > most => return gain(here - most),
                Kind::Bound(_) => {}
                Kind::Shares { groups, .. } => {
                    let before = level.strayed(groups, None);
                    match level.strayed(groups, Some((from, to))) {
                        after if after > before => return None,
                        // The emptiest value is left first.
                        after if after < before => return gain(u32::MAX - here),
                        _ => {}
                    }
                }
                Kind::Even(_) if here <= there => return None,
                Kind::Even(skew) if here - there > skew => return gain(here - there),
                Kind::Even(_) => {}
            }
        }
        None
    }

    /// The counts on an agent's values, to put the fullest first.
    pub(crate) fn load(&self, spot: &Spot) -> Vec<u32> {
        let levels = self.levels.iter().zip(&spot.0);
        levels.map(|(level, value)| level.of(*value)).collect()
    }

    /// `hostname: from 1 to 4`, for each field to spread over.
    pub(crate) fn told(&self) -> String {
        let even = self
            .levels
            .iter()
            .filter(|level| matches!(level.kind, Kind::Even(_)));
        let parts = even.filter_map(|level| {
            // What has no value there is not told of.
            let counts = level.counts.iter().skip(1).filter(|count| **count > 0);
            let (least, most) = (counts.clone().min()?, counts.max()?);
            Some(format!("{} has {least} to {most}", level.field))
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The potential itself.
    #[cfg(test)]
    fn potential(&self) -> Vec<u64> {
        let number = |level: &Level| {
            let counts = level.counts.iter().copied();
            match level.kind {
                Kind::Bound(most) => counts
                    .map(|count| u64::from(count.saturating_sub(most)))
                    .sum(),
                Kind::Shares { groups, .. } => level.strayed(groups, None),
                Kind::Even(_) => counts.map(|count| u64::from(count).pow(2)).sum(),
            }
        };
        self.levels.iter().map(number).collect()
    }
}

impl Level {
    fn of(&self, value: usize) -> u32 {
        self.counts.get(value).copied().unwrap_or(0)
    }

    fn change(&mut self, value: usize, added: bool) {
        let Some(count) = self.counts.get_mut(value) else {
            return;
        };
        let before = *count;
        *count = if added {
            before + 1
        } else {
            before.saturating_sub(1)
        };
        let after = *count;
        if value > 0 {
            self.used = self.used + usize::from(after > 0) - usize::from(before > 0);
            shift(&mut self.alike, before, after);
        }
        if let (Kind::Shares { instances, groups }, 1..) = (self.kind, value) {
            let beyond = |count: u32| u64::from(count.saturating_sub(instances / groups));
            self.beyond = self.beyond + beyond(after) - beyond(before);
        }
    }

    /// Whether a value takes an instance that leaves another, or the same: as the matcher will judge it.
    fn takes(&self, instances: u32, groups: u32, from: usize, to: usize) -> bool {
        let per = instances / groups;
        let (left, known) = (self.of(from), from > 0);
        let used = self.used - usize::from(known && left == 1);
        let beyond = self.beyond - u64::from(known && left > per);
        let there = self.of(to) - u32::from(from == to);
        if there == 0 {
            used < groups as usize
        } else {
            there < per || there == per && beyond < u64::from(instances % groups)
        }
    }

    /// How many instances are not on the fullest so many values, after one has moved.
    fn strayed(&self, groups: u32, moved: Option<(usize, usize)>) -> u64 {
        if self.used <= groups as usize {
            return 0;
        }
        // There are few different counts, however many values: n need n² / 2 instances.
        let mut alike = self.alike.clone();
        if let Some((from, to)) = moved.filter(|(from, to)| from != to) {
            // What has no value there is not counted.
            if from > 0 {
                shift(&mut alike, self.of(from), self.of(from).saturating_sub(1));
            }
            if to > 0 {
                shift(&mut alike, self.of(to), self.of(to) + 1);
            }
        }
        let mut fullest = groups as usize;
        let strayed = alike.iter().rev().map(|(count, values)| {
            let kept = fullest.min(*values);
            fullest -= kept;
            u64::from(*count) * (*values - kept) as u64
        });
        strayed.sum()
    }
}

/// A value has another count.
fn shift(alike: &mut BTreeMap<u32, usize>, before: u32, after: u32) {
    if let Some(values) = alike.get_mut(&before) {
        *values -= 1;
        if *values == 0 {
            alike.remove(&before);
        }
    }
    if after > 0 {
        *alike.entry(after).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::definition::tests::app;

    fn agent(host: usize, zone: Option<usize>, rack: usize) -> Agent {
        Agent {
            host: format!("h{host}").into(),
            id: format!("a{host}").into(),
            region: None,
            zone: zone.map(|zone| format!("z{zone}").into()),
            attributes: [("rack".to_owned(), format!("r{rack}").into())].into(),
        }
    }

    const TWO_HOSTS: &str = r#"[["hostname","GROUP_BY","2"]]"#;
    const TWO_RACKS: &str = r#"[["rack","GROUP_BY","2"]]"#;

    fn spread(
        constraints: &str,
        over: &[&str],
        skew: u32,
        agents: &[Agent],
        counts: &[u32],
    ) -> Spread {
        let instances: u32 = counts.iter().sum();
        let app = app(&format!(
            r#"{{"id":"/a","cmd":"run","instances":{instances},"constraints":{constraints}}}"#
        ));
        let settings = Rebalance {
            over: over.iter().map(|&field| field.to_owned()).collect(),
            max_skew: skew,
            interval_seconds: 60,
        };
        let mut spread = Spread::new(&app, &settings);
        for (agent, count) in agents.iter().zip(counts) {
            let spot = spread.spot(agent);
            for _ in 0..*count {
                spread.change(&spot, true);
            }
        }
        spread
    }

    #[test]
    fn a_move_is_worth_it_for_the_first_field_that_gains() {
        // Three agents: two in zone 0, one in zone 1; racks cross.
        let agents = [
            agent(0, Some(0), 0),
            agent(1, Some(0), 1),
            agent(2, Some(1), 0),
        ];
        let gain = |level, amount| {
            Some(Gain {
                level: std::cmp::Reverse(level),
                amount,
            })
        };
        for (constraints, over, skew, counts, from, to, want) in [
            ("[]", &["hostname"][..], 1, [2, 0, 0], 0, 1, gain(0, 2)),
            ("[]", &["hostname"], 1, [1, 0, 0], 0, 1, None),
            ("[]", &["hostname"], 2, [2, 0, 0], 0, 1, None),
            ("[]", &["hostname"], 2, [3, 0, 0], 0, 1, gain(0, 3)),
            ("[]", &["hostname"], 1, [1, 1, 0], 0, 1, None),
            // Zones first: a host is emptied for the other zone, and not the other way.
            ("[]", &["@zone", "hostname"], 1, [1, 1, 0], 0, 2, gain(0, 2)),
            ("[]", &["@zone", "hostname"], 1, [2, 0, 1], 0, 1, gain(1, 2)),
            ("[]", &["@zone", "hostname"], 1, [0, 0, 2], 2, 0, gain(0, 2)),
            ("[]", &["@zone", "hostname"], 1, [1, 0, 1], 2, 1, None),
            // Zones stay as they are while hosts gain.
            ("[]", &["@zone", "hostname"], 1, [2, 1, 2], 0, 2, None),
            ("[]", &["@zone", "hostname"], 1, [3, 0, 1], 0, 1, gain(1, 3)),
            // Constraints come before what is to be spread over.
            (
                r#"[["rack","GROUP_BY"]]"#,
                &["hostname"],
                1,
                [2, 0, 0],
                0,
                2,
                gain(1, 2),
            ),
            (
                r#"[["rack","GROUP_BY"]]"#,
                &["hostname"],
                1,
                [2, 1, 0],
                1,
                2,
                None,
            ),
            (
                r#"[["rack","UNIQUE"]]"#,
                &["hostname"],
                1,
                [1, 0, 1],
                2,
                1,
                gain(0, 1),
            ),
            (
                r#"[["rack","MAX_PER","2"]]"#,
                &["hostname"],
                1,
                [2, 2, 0],
                0,
                1,
                None,
            ),
            (
                r#"[["hostname","GROUP_BY"]]"#,
                &["@hostname"],
                1,
                [3, 0, 0],
                0,
                1,
                gain(0, 3),
            ),
            // Shares of two on each of two hosts: no third one; where the shares are not kept they are mended.
            (TWO_HOSTS, &["rack"], 1, [2, 2, 0], 0, 2, None),
            (TWO_HOSTS, &["rack"], 1, [2, 0, 2], 0, 1, None),
            (TWO_HOSTS, &["rack"], 1, [3, 1, 0], 0, 1, gain(1, 2)),
            (
                TWO_HOSTS,
                &["rack"],
                1,
                [2, 1, 1],
                1,
                2,
                gain(0, u32::MAX - 1),
            ),
            (TWO_HOSTS, &["rack"], 1, [2, 1, 1], 0, 2, None),
            (TWO_HOSTS, &["rack"], 1, [4, 0, 0], 0, 2, gain(1, 4)),
            // Shares of a rack, hosts within it.
            (TWO_RACKS, &["hostname"], 1, [2, 2, 0], 0, 2, gain(2, 2)),
            (TWO_RACKS, &["hostname"], 1, [2, 2, 0], 1, 2, None),
            (TWO_RACKS, &["hostname"], 1, [4, 0, 0], 0, 2, None),
        ] {
            let mut spread = spread(constraints, over, skew, &agents, &counts);
            let (here, there) = (spread.spot(&agents[from]), spread.spot(&agents[to]));
            assert_eq!(
                spread.gain(&here, &there),
                want,
                "{constraints} {over:?} {counts:?} {from} {to}"
            );
        }
        let mut spread = spread("[]", &["@zone"], 1, &agents, &[4, 0, 0]);
        let (here, there) = (spread.spot(&agents[0]), spread.spot(&agent(9, None, 0)));
        assert_eq!(spread.gain(&here, &there), None, "its zone is not known");
        assert_eq!(spread.told(), "@zone has 4 to 4");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whatever moves are chosen, each makes the potential smaller, and in the end none is left.
        #[test]
        fn every_move_lowers_the_potential_and_they_end(
            counts in prop::collection::vec(0..6u32, 2..7),
            zones in prop::collection::vec(prop::option::of(0..3usize), 7),
            choices in prop::collection::vec(any::<usize>(), 300),
            form in 0..7usize,
            skew in 1..3u32,
        ) {
            let agents: Vec<Agent> = (0..counts.len()).map(|at| agent(at, zones[at], at % 2)).collect();
            let (constraints, over) = [
                ("[]", &["hostname"][..]),
                ("[]", &["@zone", "rack", "hostname"]),
                (r#"[["rack","GROUP_BY"]]"#, &["@zone", "hostname"]),
                (r#"[["hostname","MAX_PER","2"]]"#, &["rack"]),
                (r#"[["@zone","UNIQUE"],["rack","GROUP_BY"]]"#, &["hostname"]),
                (r#"[["hostname","GROUP_BY","3"]]"#, &["@zone"]),
                (r#"[["hostname","MAX_PER","2"],["rack","GROUP_BY","1"]]"#, &["@zone", "hostname"]),
            ][form];
            let mut here = counts.clone();
            let mut spread = spread(constraints, over, skew, &agents, &counts);
            let spots: Vec<Spot> = agents.iter().map(|agent| spread.spot(agent)).collect();
            let mut moves = 0;
            for choice in choices {
                let mut possible = Vec::new();
                for from in 0..agents.len() {
                    for to in 0..agents.len() {
                        if here[from] > 0 && spread.gain(&spots[from], &spots[to]).is_some() {
                            possible.push((from, to));
                        }
                    }
                }
                if possible.is_empty() {
                    return Ok(());
                }
                let (from, to) = possible[choice % possible.len()];
                let before = spread.potential();
                spread.change(&spots[from], false);
                spread.change(&spots[to], true);
                here[from] -= 1;
                here[to] += 1;
                prop_assert!(spread.potential() < before, "{from} to {to}: {:?} after {before:?}", spread.potential());
                moves += 1;
            }
            prop_assert!(false, "{moves} moves, and no end");
        }
    }
}

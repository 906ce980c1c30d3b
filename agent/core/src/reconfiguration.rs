//! Whether an agent may go on under its id with another configuration than before (`--reconfiguration_policy`).
//!
//! Frameworks, and the master's registry, know the agent as it was: one that comes back smaller would break what was promised of it.

use tepui_proto::convert::resources::{Encoding, to_wire};
use tepui_proto::mesos::v1::{AgentInfo, Attribute, Resource, value};

use crate::agent::Agent;
use crate::operations::configured;
use crate::record::{Entry, Record};

/// Which changes an agent may come back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReconfigurationPolicy {
    /// None.
    Equal,
    /// It may have more: more of a resource, other resources and attributes besides, a domain where it had none. Attributes that it
    /// had keep their values; ranges may grow.
    Additive,
    /// All; for a cluster whose frameworks end with it.
    Any,
}

impl Agent {
    /// What a configuration is remembered as: not the id, which has a record of its own, and not the port, which may be a free one.
    #[must_use]
    pub fn configuration(info: &AgentInfo) -> Entry {
        Entry {
            record: Some(Record::Configured(Box::new(AgentInfo {
                id: None,
                port: None,
                ..info.clone()
            }))),
        }
    }

    /// How the agent was configured last, going by the records; `None` if they do not say.
    #[must_use]
    pub fn configuration_of(records: &[Entry]) -> Option<&Entry> {
        let configured = |entry: &&Entry| matches!(entry.record, Some(Record::Configured(_)));
        records.iter().rev().find(configured)
    }

    /// What keeps an agent with these records from starting as `info` says; nothing if it may. One that has no id yet, or has lost it,
    /// is known to nobody and may.
    #[must_use]
    pub fn reconfigured(
        policy: ReconfigurationPolicy,
        records: &[Entry],
        info: &AgentInfo,
    ) -> Vec<String> {
        let id = records.iter().rev().find_map(|entry| match &entry.record {
            Some(Record::Identity(id)) => Some(id.as_str()),
            _ => None,
        });
        match Self::configuration_of(records).map(|entry| &entry.record) {
            Some(Some(Record::Configured(before))) if !id.unwrap_or_default().is_empty() => {
                changes(policy, before, info)
            }
            _ => Vec::new(),
        }
    }
}

/// The changes that a policy does not allow, one phrase each.
fn changes(policy: ReconfigurationPolicy, before: &AgentInfo, now: &AgentInfo) -> Vec<String> {
    let equal = match policy {
        ReconfigurationPolicy::Any => return Vec::new(),
        ReconfigurationPolicy::Equal => true,
        ReconfigurationPolicy::Additive => false,
    };
    let mut changes = Vec::new();
    if before.hostname != now.hostname {
        changes.push(format!(
            "the hostname was {} and is {}",
            before.hostname, now.hostname
        ));
    }
    if before.domain != now.domain && (equal || before.domain.is_some()) {
        let name = |info: &AgentInfo| {
            let fault = info
                .domain
                .as_ref()
                .and_then(|one| one.fault_domain.clone());
            fault.map_or("none".to_owned(), |fault| {
                format!("{}/{}", fault.region.name, fault.zone.name)
            })
        };
        changes.push(format!(
            "the domain was {} and is {}",
            name(before),
            name(now)
        ));
    }
    resources(equal, &before.resources, &now.resources, &mut changes);
    attributes(equal, &before.attributes, &now.attributes, &mut changes);
    changes
}

fn resources(equal: bool, before: &[Resource], now: &[Resource], changes: &mut Vec<String>) {
    let parts = |resources: &[Resource]| to_wire(&configured(resources), Encoding::Stack);
    // What a resource is, without how much.
    let kind = |resource: &Resource| Resource {
        scalar: None,
        ranges: None,
        set: None,
        ..resource.clone()
    };
    let shown = |resource: &Resource| configured(std::slice::from_ref(resource)).to_string();
    let (before, now) = (parts(before), parts(now));
    for old in &before {
        let Some(new) = now.iter().find(|new| kind(new) == kind(old)) else {
            changes.push(format!("the resource {} is missing", shown(old)));
            continue;
        };
        let kept = if equal {
            old == new
        } else {
            scalar(&old.scalar) <= scalar(&new.scalar)
                && holds_ranges(&new.ranges, &old.ranges)
                && holds_set(&new.set, &old.set)
        };
        if !kept {
            changes.push(format!("the resource {} is now {}", shown(old), shown(new)));
        }
    }
    let is_new = |new: &&Resource| equal && !before.iter().any(|old| kind(old) == kind(new));
    for new in now.iter().filter(is_new) {
        changes.push(format!("the resource {} is new", shown(new)));
    }
}

fn attributes(equal: bool, before: &[Attribute], now: &[Attribute], changes: &mut Vec<String>) {
    if equal {
        if before != now {
            let list = |attributes: &[Attribute]| {
                let all: Vec<_> = attributes.iter().map(attribute).collect();
                format!("[{}]", all.join("; "))
            };
            changes.push(format!(
                "the attributes were {} and are {}",
                list(before),
                list(now)
            ));
        }
        return;
    }
    for old in before {
        // Several may share a name: it is enough that one of them is what the old one was.
        let kept = now.iter().any(|new| {
            new.name == old.name
                && new.r#type == old.r#type
                && new.text == old.text
                && new.scalar == old.scalar
                && new.set == old.set
                && holds_ranges(&new.ranges, &old.ranges)
        });
        if kept {
            continue;
        }
        let new: Vec<_> = now
            .iter()
            .filter(|new| new.name == old.name)
            .map(attribute)
            .collect();
        changes.push(match new.as_slice() {
            [] => format!("the attribute {} is missing", attribute(old)),
            new => format!("the attribute {} is now {}", attribute(old), new.join("; ")),
        });
    }
}

fn attribute(attribute: &Attribute) -> String {
    let value = if let Some(text) = &attribute.text {
        text.value.clone()
    } else if let Some(scalar) = &attribute.scalar {
        scalar.value.to_string()
    } else {
        let ranges = spans(&attribute.ranges)
            .map(|(begin, end)| format!("{begin}-{end}"))
            .collect::<Vec<_>>();
        format!("[{}]", ranges.join(","))
    };
    format!("{}:{value}", attribute.name)
}

/// In thousandths, the precision of resources.
fn scalar(scalar: &Option<value::Scalar>) -> i64 {
    // Saturates beyond 64 bits.
    scalar.map_or(0, |scalar| (scalar.value * 1000.0).round() as i64)
}

fn spans(ranges: &Option<value::Ranges>) -> impl Iterator<Item = (u64, u64)> + '_ {
    let ranges = ranges.iter().flat_map(|ranges| &ranges.range);
    ranges.map(|range| (range.begin, range.end))
}

/// Whether every number of `part` is in `whole`. Ranges may lie in any order and touch.
fn holds_ranges(whole: &Option<value::Ranges>, part: &Option<value::Ranges>) -> bool {
    let mut whole: Vec<_> = spans(whole).collect();
    whole.sort_unstable();
    spans(part).all(|(begin, end)| {
        // The first number that is not found yet; `None`: beyond the largest.
        let mut next = Some(begin);
        for (first, last) in &whole {
            match next {
                Some(number) if *first <= number && number <= *last => next = last.checked_add(1),
                _ => {}
            }
        }
        begin > end || next.is_none_or(|next| next > end)
    })
}

fn holds_set(whole: &Option<value::Set>, part: &Option<value::Set>) -> bool {
    let items = |set: &Option<value::Set>| set.clone().map(|set| set.item).unwrap_or_default();
    let whole = items(whole);
    items(part).iter().all(|item| whole.contains(item))
}

#[cfg(test)]
#[path = "tests/reconfiguration.rs"]
mod tests;

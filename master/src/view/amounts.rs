//! Sums of resources, as operators are shown them.

use std::collections::BTreeMap;

use tepui_proto::mesos::Resource;

/// Amounts added up by name. Scalars are in thousandths, as everywhere in Mesos.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Amounts {
    pub(crate) scalars: BTreeMap<String, i64>,
    pub(crate) ranges: BTreeMap<String, Vec<(u64, u64)>>,
    pub(crate) sets: BTreeMap<String, Vec<String>>,
}

impl Amounts {
    /// The sum of these.
    pub(crate) fn of<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Self {
        let mut sum = Self::default();
        for resource in resources {
            sum.add(resource);
        }
        sum
    }

    pub(crate) fn add(&mut self, resource: &Resource) {
        let name = match &resource.revocable {
            Some(_) => format!("{}_revocable", resource.name),
            None => resource.name.clone(),
        };
        if let Some(scalar) = &resource.scalar {
            // Beyond what a double holds exactly the sum saturates: it is only shown.
            let thousandths = (scalar.value * 1000.0).round() as i64;
            let sum = self.scalars.entry(name).or_default();
            *sum = sum.saturating_add(thousandths);
        } else if let Some(ranges) = &resource.ranges {
            self.ranges
                .entry(name)
                .or_default()
                .extend(ranges.range.iter().map(|range| (range.begin, range.end)));
        } else if let Some(set) = &resource.set {
            self.sets
                .entry(name)
                .or_default()
                .extend(set.item.iter().cloned());
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        for (name, amount) in &other.scalars {
            let sum = self.scalars.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        for (name, ranges) in &other.ranges {
            self.ranges.entry(name.clone()).or_default().extend(ranges);
        }
        for (name, items) in &other.sets {
            self.sets
                .entry(name.clone())
                .or_default()
                .extend(items.iter().cloned());
        }
    }

    /// A scalar's amount.
    pub(crate) fn scalar(&self, name: &str) -> f64 {
        self.scalars.get(name).copied().unwrap_or_default() as f64 / 1000.0
    }

    /// Scalars, and ranges as how many numbers they hold; nothing that is zero.
    pub(crate) fn quantities(&self) -> impl Iterator<Item = (&str, f64)> {
        let scalars = self
            .scalars
            .iter()
            .map(|(name, amount)| (name.as_str(), *amount as f64 / 1000.0));
        let counts = self.ranges.iter().map(|(name, ranges)| {
            let numbers: u64 = merged(ranges)
                .iter()
                .map(|(begin, end)| end - begin + 1)
                .sum();
            (name.as_str(), numbers as f64)
        });
        scalars.chain(counts).filter(|(_, amount)| *amount != 0.0)
    }
}

/// The same ranges, in order and joined.
pub(crate) fn merged(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted: Vec<_> = ranges
        .iter()
        .copied()
        .filter(|(begin, end)| begin <= end)
        .collect();
    sorted.sort_unstable();
    let mut whole: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (begin, end) in sorted {
        match whole.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => whole.push((begin, end)),
        }
    }
    whole
}

//! What is left of an offer while tasks are cut out of it.
//!
//! Works on the resources as they were offered: what a task gets carries the reservations and the allocation of the lot that it was cut
//! from. Volumes, shared and revocable resources and reservations with labels are left alone; disks beside the agent's own are for
//! persistent volumes alone (`disks`).

use tepui_model::resources::{Ranges, Scalar};
use tepui_proto::mesos::{Resource, value};

use super::disks::Disk;
use crate::definition::PortDemand;

/// One offered resource and how much of it is left.
#[derive(Debug)]
struct Lot {
    /// Without amount.
    form: Resource,
    role: String,
    left: Amount,
}

#[derive(Debug)]
enum Amount {
    Scalar(Scalar),
    Ranges(Ranges),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Reserved before unreserved: what is reserved is of use to fewer.
    lots: Vec<Lot>,
    pub(super) disks: Vec<Disk>,
}

impl Pool {
    pub(crate) fn new(resources: &[Resource]) -> Self {
        let free = resources
            .iter()
            .filter(|one| one.disk.is_none() && !is_labelled(one));
        let mut lots: Vec<Lot> = free.filter_map(Lot::new).collect();
        lots.sort_by_key(|lot| lot.role == "*");
        Self {
            lots,
            disks: resources.iter().filter_map(Disk::new).collect(),
        }
    }

    /// Of what is reserved for one instance, without its volumes.
    pub(crate) fn reserved(resources: &[Resource]) -> Self {
        let plain = resources.iter().filter(|one| one.disk.is_none());
        Self {
            lots: plain.filter_map(Lot::new).collect(),
            disks: Vec::new(),
        }
    }

    /// Cuts all of this out; none if something is not there.
    pub(crate) fn cut(&mut self, scalars: &[(&str, f64)], ports: &[u16]) -> Option<Vec<Resource>> {
        let (mut taken, all) = (Vec::new(), |_: &str| true);
        for (name, amount) in scalars {
            let amount = Scalar::from_f64(*amount)?;
            if !self.has_scalar(name, amount, all) {
                return None;
            }
            self.take_scalar(name, amount, all, &mut taken);
        }
        if !self.has_ports(ports, all) {
            return None;
        }
        self.take_ports(ports, all, &mut taken);
        Some(taken)
    }

    /// Whether there is so much of a scalar in one piece.
    pub(crate) fn has_whole(
        &self,
        name: &str,
        wanted: Scalar,
        accepted: impl Fn(&str) -> bool,
    ) -> bool {
        let mut lots = self
            .lots
            .iter()
            .filter(|lot| lot.form.name == name && accepted(&lot.role));
        lots.any(|lot| matches!(lot.left, Amount::Scalar(left) if left >= wanted))
    }

    /// Cuts so much of a scalar out of one piece.
    pub(crate) fn take_whole(
        &mut self,
        name: &str,
        wanted: Scalar,
        accepted: impl Fn(&str) -> bool,
    ) -> Option<Resource> {
        let mut lots = self.scalars(name);
        let (form, _, left) = lots.find(|(_, role, left)| accepted(role) && **left >= wanted)?;
        *left -= wanted;
        Some(Resource {
            scalar: Some(value::Scalar {
                value: wanted.as_f64(),
            }),
            ..form.clone()
        })
    }

    fn scalars<'a>(
        &'a mut self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a Resource, &'a str, &'a mut Scalar)> {
        self.lots
            .iter_mut()
            .filter_map(move |lot| match &mut lot.left {
                Amount::Scalar(left) if lot.form.name == name => {
                    Some((&lot.form, lot.role.as_str(), left))
                }
                _ => None,
            })
    }

    fn ranges(&self, accepted: impl Fn(&str) -> bool) -> impl Iterator<Item = &Ranges> {
        self.lots.iter().filter_map(move |lot| match &lot.left {
            Amount::Ranges(left) if accepted(&lot.role) => Some(left),
            _ => None,
        })
    }

    /// How much of a scalar is left under accepted roles.
    pub(crate) fn amount(&self, name: &str, accepted: impl Fn(&str) -> bool) -> Scalar {
        let lots = self
            .lots
            .iter()
            .filter(|lot| lot.form.name == name && accepted(&lot.role));
        lots.fold(Scalar::ZERO, |sum, lot| match lot.left {
            Amount::Scalar(left) => sum + left,
            Amount::Ranges(_) => sum,
        })
    }

    /// Whether there is so much of a scalar under accepted roles. Nothing is always there.
    pub(crate) fn has_scalar(
        &self,
        name: &str,
        wanted: Scalar,
        accepted: impl Fn(&str) -> bool,
    ) -> bool {
        self.amount(name, accepted) >= wanted
    }

    /// Cuts so much of a scalar out; it must be there.
    pub(crate) fn take_scalar(
        &mut self,
        name: &str,
        wanted: Scalar,
        accepted: impl Fn(&str) -> bool,
        taken: &mut Vec<Resource>,
    ) {
        let mut missing = wanted;
        for (form, role, left) in self.scalars(name) {
            let cut = missing.min(*left);
            if accepted(role) && cut > Scalar::ZERO {
                *left -= cut;
                missing -= cut;
                taken.push(Resource {
                    scalar: Some(value::Scalar {
                        value: cut.as_f64(),
                    }),
                    ..form.clone()
                });
            }
        }
    }

    /// Whether these very ports are there.
    pub(crate) fn has_ports(&self, ports: &[u16], accepted: impl Fn(&str) -> bool + Copy) -> bool {
        ports
            .iter()
            .all(|port| self.ranges(accepted).any(|left| left.has(u64::from(*port))))
    }

    /// A host port for each demand that wants one, in their order. None if some is not there.
    pub(crate) fn find_ports(
        &self,
        demands: &[PortDemand],
        random: u64,
        accepted: impl Fn(&str) -> bool + Copy,
    ) -> Option<Vec<u16>> {
        let fixed = |demand: &PortDemand| match demand {
            PortDemand::Fixed(port) => Some(*port),
            PortDemand::Any | PortDemand::None => None,
        };
        let named: Vec<u16> = demands.iter().filter_map(fixed).collect();
        if !self.has_ports(&named, accepted) {
            return None;
        }
        let any = |demand: &&PortDemand| **demand == PortDemand::Any;
        let count = demands.iter().filter(any).count();
        let mut free = self
            .free_ports(count, &named, random, accepted)?
            .into_iter();
        let wanted = demands.iter().filter(|demand| **demand != PortDemand::None);
        wanted
            .map(|demand| fixed(demand).or_else(|| free.next()))
            .collect()
    }

    /// Any ports but `taken`: from a random one on in ascending order, round the end. None if there are too few.
    pub(crate) fn free_ports(
        &self,
        count: usize,
        taken: &[u16],
        random: u64,
        accepted: impl Fn(&str) -> bool + Copy,
    ) -> Option<Vec<u16>> {
        if count == 0 {
            return Some(Vec::new());
        }
        let total: u64 = self.ranges(accepted).map(Ranges::count).sum();
        if total < count as u64 {
            return None;
        }
        let ranges: Vec<_> = self.ranges(accepted).flat_map(Ranges::iter).collect();
        let at = |mut index: u64| {
            for range in &ranges {
                let length = range.end - range.begin + 1;
                if index < length {
                    return u16::try_from(range.begin + index).ok();
                }
                index -= length;
            }
            None
        };
        let start = random % total;
        let found: Vec<u16> = (0..total)
            .map_while(|step| at((start + step) % total))
            .filter(|port| !taken.contains(port))
            .take(count)
            .collect();
        (found.len() == count).then_some(found)
    }

    /// Cuts these ports out; they must be there.
    pub(crate) fn take_ports(
        &mut self,
        ports: &[u16],
        accepted: impl Fn(&str) -> bool,
        taken: &mut Vec<Resource>,
    ) {
        let mut missing: Vec<u64> = ports.iter().map(|port| u64::from(*port)).collect();
        for lot in &mut self.lots {
            let Amount::Ranges(left) = &mut lot.left else {
                continue;
            };
            if !accepted(&lot.role) {
                continue;
            }
            let here = missing
                .extract_if(.., |port| left.has(*port))
                .map(|port| (port, port));
            let Ok(cut) = Ranges::from_pairs(here) else {
                continue;
            };
            if !cut.is_empty() {
                left.subtract(&cut);
                let range = cut
                    .iter()
                    .map(|range| value::Range {
                        begin: range.begin,
                        end: range.end,
                    })
                    .collect();
                taken.push(Resource {
                    ranges: Some(value::Ranges { range }),
                    ..lot.form.clone()
                });
            }
        }
    }
}

/// Whether it is reserved for somebody in particular.
pub(super) fn is_labelled(resource: &Resource) -> bool {
    let last = resource
        .reservations
        .last()
        .or(resource.reservation.as_deref());
    let labels = last.and_then(|reservation| reservation.labels.as_ref());
    labels.is_some_and(|labels| !labels.labels.is_empty())
}

/// For which role it is reserved; `*` for none.
pub(super) fn role(resource: &Resource) -> String {
    let last = resource.reservations.last();
    let role = last.and_then(|reservation| reservation.role.clone());
    role.unwrap_or_else(|| resource.role().to_owned())
}

impl Lot {
    fn new(resource: &Resource) -> Option<Self> {
        if resource.shared.is_some() || resource.revocable.is_some() {
            return None;
        }
        let role = role(resource);
        let left = match (&resource.scalar, &resource.ranges, resource.name.as_str()) {
            (Some(scalar), ..) => Amount::Scalar(Scalar::from_f64(scalar.value)?),
            (_, Some(ranges), "ports") => {
                let pairs = ranges
                    .range
                    .iter()
                    .map(|range| (range.begin, range.end.min(65_535)));
                Amount::Ranges(Ranges::from_pairs(pairs.filter(|(begin, end)| begin <= end)).ok()?)
            }
            _ => return None,
        };
        let form = Resource {
            scalar: None,
            ranges: None,
            ..resource.clone()
        };
        Some(Self { form, role, left })
    }
}

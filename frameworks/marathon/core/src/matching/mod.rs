//! The offer matcher: does an instance of an app fit into an offer, and if not, why?
//!
//! Wanted: every reason is found, so that people can be told; a refusal costs no allocation; what is taken is exactly what was offered,
//! with reservations and allocation as they came.
//!
//! Leaves out: fault domains, which are not built yet.

mod constraint;
mod disks;
mod lacks;
mod pool;
mod reasons;
mod shares;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(crate) use constraint::{Counted, Placed, field_value};
pub(crate) use lacks::Lack;
pub(crate) use pool::Pool;
pub(crate) use reasons::{Reason, Reasons, Summary};
use tepui_model::{Time, resources::Scalar};
use tepui_proto::mesos::{Attribute, Offer, Resource, Unavailability};

use crate::{
    config::{AcceptedRoles, Config},
    definition::{App, PortDemand},
    instance::{Agent, Reservation, owner},
};

/// An offer while it is being used.
#[derive(Debug)]
pub(crate) struct OfferState {
    pub(crate) offer: Arc<Offer>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) pool: Pool,
    /// The role that it was made to.
    role: Option<String>,
    in_maintenance: bool,
    has_gpus: bool,
    /// Its agent is in another region than the master.
    remote: bool,
}

/// What one instance gets.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) resources: Vec<Resource>,
    pub(crate) ports: Vec<u16>,
    /// For its persistent volumes, in their order: disks that are to be reserved, or the volumes if they were there.
    pub(crate) disks: Vec<Resource>,
}

impl OfferState {
    /// `home` is the master's region, if it has one.
    pub(crate) fn new(offer: Offer, config: &Config, home: Option<&str>, now: Time) -> Self {
        let domain = offer
            .domain
            .as_ref()
            .and_then(|domain| domain.fault_domain.as_ref());
        let agent = Agent {
            host: offer.hostname.as_str().into(),
            id: offer.agent_id.value.as_str().into(),
            region: domain.map(|domain| domain.region.name.as_str().into()),
            zone: domain.map(|domain| domain.zone.name.as_str().into()),
            attributes: offer
                .attributes
                .iter()
                .map(|attribute| (attribute.name.clone(), text(attribute).into()))
                .collect(),
        };
        let has_gpus = offer.resources.iter().any(|one| {
            one.name == "gpus" && one.scalar.as_ref().is_some_and(|scalar| scalar.value > 0.0)
        });
        let region = agent.region.as_deref();
        Self {
            remote: home.is_some() && region.is_some() && home != region,
            agent: Arc::new(agent),
            pool: Pool::new(&offer.resources),
            role: offer
                .allocation_info
                .as_ref()
                .and_then(|info| info.role.clone()),
            in_maintenance: config.maintenance_mode
                && in_maintenance(&offer, config, Duration::ZERO, now),
            has_gpus,
            offer: Arc::new(offer),
        }
    }

    /// GPUs are scarce: agents that have some are kept for apps that want some, unless the app's label says otherwise, or else `--gpu_scheduling_behavior`.
    fn keeps_gpus_from(&self, app: &App, config: &Config) -> bool {
        let label = app.labels.get("GPU_SCHEDULING_BEHAVIOR");
        let restricted = match label.map(String::as_str) {
            Some("unrestricted") => false,
            Some("restricted") => true,
            _ => config.gpus_restricted,
        };
        self.has_gpus && app.gpus == 0 && restricted
    }

    /// Other regions are far: only apps that say something of regions or zones are launched there.
    fn is_too_far_for(&self, app: &App) -> bool {
        let speaks = |field: &str| matches!(field, "@region" | "@zone");
        self.remote && !app.constraints.iter().any(|one| speaks(&one.field))
    }

    /// Whether an app may be launched on its agent, whatever there is of resources.
    pub(crate) fn is_admitted(&self, app: &App, placed: &Placed) -> bool {
        placed.admit(app, &self.agent) && !self.is_too_far_for(app)
    }

    /// For an app that leaves agents so long before their maintenance; nothing: that has nothing to leave.
    pub(crate) fn heed(&mut self, lead: Option<Duration>, config: &Config, now: Time) {
        let lead = lead.unwrap_or_default();
        self.in_maintenance =
            config.maintenance_mode && in_maintenance(&self.offer, config, lead, now);
    }

    /// Takes what one instance of `app` needs, or tells why it cannot. `random` chooses ports.
    pub(crate) fn take(
        &mut self,
        app: &App,
        placed: &Placed,
        config: &Config,
        random: u64,
    ) -> Result<Taken, Reasons> {
        let mut reasons = Reasons::default();
        if self.role.as_ref().is_some_and(|role| *role != app.role) {
            reasons.add(Reason::UnfulfilledRole);
        }
        if !self.is_admitted(app, placed) {
            reasons.add(Reason::UnfulfilledConstraint);
        }
        if self.in_maintenance {
            reasons.add(Reason::AgentMaintenance);
        }
        if self.keeps_gpus_from(app, config) {
            reasons.add(Reason::DeclinedScarceResources);
        }
        let accepted = |role: &str| app.accepts_role(role, config);
        let on_root = disks::on_root(app);
        let lacking = [
            Reason::InsufficientCpus,
            Reason::InsufficientMemory,
            Reason::InsufficientDisk,
            Reason::InsufficientGpus,
        ];
        let mut wanted = [("", Scalar::default()); 4];
        for (at, ((name, amount), reason)) in app
            .demand(&config.executor)
            .into_iter()
            .zip(lacking)
            .enumerate()
        {
            let amount = Scalar::from_f64(amount).unwrap_or(Scalar::from_thousandths(i64::MAX));
            wanted[at] = (name, amount);
            if !self.pool.has_scalar(name, amount, accepted) {
                reasons.add(if self.pool.has_scalar(name, amount, |_| true) {
                    Reason::UnfulfilledRole
                } else {
                    reason
                });
            }
        }
        let needed = on_root + wanted[2].1;
        if on_root > Scalar::ZERO && !self.pool.has_whole("disk", needed, accepted) {
            reasons.add(Reason::InsufficientDisk);
        }
        let disks = self.pool.find_disks(app);
        if disks.is_none() {
            reasons.add(Reason::InsufficientDisk);
        }
        let slots = app.ports();
        let demands: Vec<PortDemand> = slots.iter().map(|slot| slot.demand).collect();
        let ports = self.pool.find_ports(&demands, random, accepted);
        if ports.is_none() {
            reasons.add(Reason::InsufficientPorts);
        }
        let (Some(ports), Some(found)) = (ports, disks) else {
            return Err(reasons);
        };
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let disks = self.pool.take_disks(app, &found, accepted);
        let mut resources = Vec::with_capacity(4);
        for (name, amount) in wanted {
            self.pool
                .take_scalar(name, amount, accepted, &mut resources);
        }
        self.pool.take_ports(&ports, accepted, &mut resources);
        Ok(Taken {
            resources,
            ports,
            disks,
        })
    }

    /// The part of the offer that is reserved for instances of this framework, by instance. `own`: which framework ids are, or were, its own.
    pub(crate) fn reserved(&self, own: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<Resource>> {
        let mut reserved: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
        for resource in &self.offer.resources {
            if let Some(instance) = owner(resource, &own) {
                let list = reserved.entry(instance.to_owned()).or_default();
                list.push(resource.clone());
            }
        }
        reserved
    }

    /// The role that it was made to.
    pub(crate) fn role(&self) -> &str {
        self.role.as_deref().unwrap_or("*")
    }

    /// Whether it was made to this role.
    pub(crate) fn is_for(&self, role: &str) -> bool {
        self.role.as_deref().is_none_or(|own| own == role)
    }

    /// Whether a launch on what is reserved there may be thought of now: constraints were heeded when it was reserved.
    pub(crate) const fn serves_reserved(&self) -> bool {
        !self.in_maintenance
    }
}

/// What an instance needs of what is reserved for it; none if it is not all there. It keeps the ports that its last task had.
pub(crate) fn take_reserved(
    app: &App,
    reservation: &Reservation,
    reserved: &[Resource],
    last_ports: &[u16],
    config: &Config,
) -> Option<Taken> {
    let volumes = reservation.volumes_in(reserved)?;
    let mut pool = Pool::reserved(reserved);
    let all = |_: &str| true;
    let slots = app.ports();
    let demands: Vec<PortDemand> = slots.iter().map(|slot| slot.demand).collect();
    let found = pool.find_ports(&demands, 0, all)?;
    let same = found.len() == last_ports.len() && pool.has_ports(last_ports, all);
    let ports = if same { last_ports.to_vec() } else { found };
    let mut resources = Vec::with_capacity(4);
    for (name, amount) in app.demand(&config.executor) {
        let amount = Scalar::from_f64(amount)?;
        if !pool.has_scalar(name, amount, all) {
            return None;
        }
        pool.take_scalar(name, amount, all, &mut resources);
    }
    pool.take_ports(&ports, all, &mut resources);
    Some(Taken {
        resources,
        ports,
        disks: volumes.into_iter().cloned().collect(),
    })
}

impl App {
    /// Whether it takes resources of this role.
    fn accepts_role(&self, role: &str, config: &Config) -> bool {
        // What instances keep is reserved anew, for them alone.
        if self.is_resident() {
            return role == "*";
        }
        match &self.accepted_resource_roles {
            Some(roles) => roles.contains(role),
            None => match config.accepted_resource_roles_default {
                AcceptedRoles::Any => role == "*" || role == self.role,
                AcceptedRoles::Unreserved => role == "*",
                AcceptedRoles::Reserved => role == self.role,
            },
        }
    }
}

/// From `draining` before its window, or `lead` if that is longer, until the window's end.
fn in_maintenance(offer: &Offer, config: &Config, lead: Duration, now: Time) -> bool {
    let Some(unavailability) = &offer.unavailability else {
        return false;
    };
    let before = Duration::from_millis(config.draining_ms).max(lead);
    let before = i64::try_from(before.as_nanos()).unwrap_or(i64::MAX);
    let (begins, ends) = window(unavailability);
    let begins = begins.as_nanos().saturating_sub(before);
    begins <= now.as_nanos() && now < ends
}

/// When a machine goes down, and when it is there again.
pub(crate) fn window(unavailability: &Unavailability) -> (Time, Time) {
    let begins = unavailability.start.nanoseconds;
    let ends = (unavailability.duration.as_ref()).map_or(i64::MAX, |duration| {
        begins.saturating_add(duration.nanoseconds)
    });
    (Time::from_nanos(begins), Time::from_nanos(ends))
}

/// An attribute as constraints see it.
fn text(attribute: &Attribute) -> String {
    if let Some(text) = &attribute.text {
        return text.value.clone();
    }
    if let Some(scalar) = &attribute.scalar {
        return constraint::number(scalar.value);
    }
    if let Some(ranges) = &attribute.ranges {
        let mut ranges: Vec<_> = ranges
            .range
            .iter()
            .map(|range| (range.begin, range.end))
            .collect();
        ranges.sort_unstable();
        let ranges: Vec<String> = ranges
            .iter()
            .map(|(begin, end)| format!("{begin}-{end}"))
            .collect();
        return format!("[{}]", ranges.join(","));
    }
    let mut items: Vec<&str> = attribute
        .set
        .iter()
        .flat_map(|set| &set.item)
        .map(String::as_str)
        .collect();
    items.sort_unstable();
    format!("{{{}}}", items.join(","))
}

//! What a core decides, seen from outside: it is read off what it writes, before any of it is done, and compared with what the process
//! was told. I14 capacity, I16 spread, I20 one-task, I21 budget; and I15 volume where tasks are launched.

use serde_json::Value;
use tepui_marathon_core::Mutation;
use tepui_proto::mesos::Resource;
use tepui_proto::mesos::offer::Operation;

use super::budget::{scales_too_far, takes_too_many};
use super::process::Process;
use super::records::{Instance, Place, Records};
use crate::containers::Container;
use crate::invariants::Invariant;
use crate::scenario::Sabotage;
use crate::world::Simulation;

/// A decision that must not be.
pub(super) type Fault = (Invariant, String);

/// How many there may be, and must be, while an app is replaced.
pub(super) struct Bounds {
    pub(super) least: usize,
    most: usize,
}

impl Bounds {
    /// By the reference's arithmetic, written anew. `tightened`: as if users had asked for more than they did.
    pub(super) fn of(app: &Value, instances: u64, serving: usize, tightened: bool) -> Self {
        let strategy = |name: &str| app["upgradeStrategy"][name].as_f64().unwrap_or(1.0);
        let (mut minimum, mut over) = (
            strategy("minimumHealthCapacity"),
            strategy("maximumOverCapacity"),
        );
        if tightened {
            (minimum, over) = (1.0, 0.0);
        }
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some ten instances"
        )]
        let (mut least, mut most) = (
            (instances as f64 * minimum).ceil() as usize,
            (instances as f64 * (1.0 + over)).floor() as usize,
        );
        if least == most && most <= serving && !tightened {
            if app["residency"].is_null() {
                most += 1;
            } else {
                least = least.saturating_sub(1);
            }
        }
        Self { least, most }
    }
}

impl Simulation {
    /// A write is under way: what it tells of the decisions that were made.
    pub(super) fn judge(&mut self, process: usize, mutations: &[Mutation]) {
        let (tightened, merged) = match self.scenario.sabotage {
            Some(Sabotage::TightensStrategies) => (true, false),
            Some(Sabotage::MergesHosts) => (false, true),
            _ => (false, false),
        };
        let known = &mut self.marathons.processes[process];
        let touched = known.records.take(mutations);
        let mut faults = Vec::new();
        let mut retired: Vec<&Instance> = Vec::new();
        for (id, before) in &touched {
            let after = known.records.instances.get(id);
            if let Some(after) = after {
                let launched = before.as_ref().map_or(0, |one| one.incarnation);
                if after.incarnation > launched && after.condition == "Provisioned" {
                    faults.extend(launches_once(known, before.as_ref(), after));
                    faults.extend(keeps_apart(&known.records, before.as_ref(), after, merged));
                    faults.extend(has_room(&known.records, after, tightened));
                }
            }
            let replaced = |one: &Instance| one.cause.as_deref() == Some("replaced");
            // Who was to be replaced before, and is kept after all, may end for another reason.
            let kept = |one: &&Instance| one.wanted() && !replaced(one);
            if let Some(before) = before.as_ref().filter(kept) {
                // One that has ceased to serve in this very step is no loss.
                let ends = after.is_some_and(|one| {
                    !one.wanted() && replaced(one) && one.condition == "Running"
                });
                let serves = before.is_ready(known.records.is_checked(before), &known.health);
                if ends && serves {
                    retired.push(before);
                }
            }
        }
        faults.extend(leaves_enough(known, &retired, tightened));
        let narrowed = self.scenario.sabotage == Some(Sabotage::NarrowsBounds);
        let thrifty = self.scenario.sabotage == Some(Sabotage::TightensBudgets);
        faults.extend(takes_too_many(known, &touched, thrifty));
        faults.extend(scales_too_far(&known.records, mutations, narrowed));
        if let Some((invariant, what)) = faults.into_iter().next() {
            self.breach(invariant, format!("marathon {process}: {what}"));
        }
    }

    /// I15: no volume is given to a task while another that has it lives, nor to two at once. Of a framework that was torn down it was told that
    /// nothing is left, while containers still end: for these it is the agent that starts nothing on a volume before.
    pub(super) fn check_volumes(&mut self, process: usize, operations: &[Operation]) {
        let launches = operations.iter().filter_map(|one| one.launch.as_ref());
        let own = self.marathons.processes[process].id.as_deref();
        let ends = |one: &Container| {
            own != Some(&one.framework) && self.torn_down.contains(&one.framework)
        };
        let mut given: Vec<String> = Vec::new();
        for task in launches.flat_map(|launch| &launch.task_infos) {
            for volume in task.resources.iter().filter_map(volume_id) {
                let confused = self.scenario.sabotage == Some(Sabotage::ConfusesVolumes);
                let part = volume.split('#').next().filter(|_| confused);
                let volume = part.unwrap_or(&volume).to_owned();
                let used = |one: &Container| {
                    one.lives()
                        && !ends(one)
                        && one.task.as_deref() != Some(&task.task_id.value)
                        && one.volumes().iter().any(|own| own.starts_with(&volume))
                };
                let machines = self.machines.iter();
                let rival = machines
                    .flat_map(|machine| machine.containers.values())
                    .find(|one| used(one))
                    .and_then(|one| one.task.clone());
                let twice = given.contains(&volume).then(|| "another".to_owned());
                given.push(volume.clone());
                if let Some(rival) = rival.or(twice) {
                    let id = &task.task_id.value;
                    let what =
                        format!("marathon {process} launches {id} on {volume}, which {rival} has");
                    return self.breach(Invariant::Volume, what);
                }
            }
        }
    }
}

fn volume_id(resource: &Resource) -> Option<String> {
    let disk = resource.disk.as_ref()?;
    Some(disk.persistence.as_ref()?.id.clone())
}

/// I20: an instance gets another task when the last one is known to be over.
fn launches_once(process: &Process, before: Option<&Instance>, after: &Instance) -> Option<Fault> {
    let before = before?;
    let id = &before.id;
    if !before.over() {
        let what = format!("{id} gets another task, and is {}", before.condition);
        return Some((Invariant::OneTask, what));
    }
    let open = before.tasks().into_iter();
    let open = open
        .into_iter()
        .find(|(task, _)| !process.ended.contains(*task));
    open.filter(|_| before.incarnation > 0).map(|(task, _)| {
        let number = after.incarnation;
        let what = format!("{id} gets task {number}, and nobody told that {task} is over");
        (Invariant::OneTask, what)
    })
}

fn value_of<'a>(place: &'a Place, field: &str, merged: bool) -> Option<&'a str> {
    match field {
        _ if merged => Some("everywhere"),
        "hostname" | "@hostname" => Some(&place.host),
        other => place.attributes.get(other).map(String::as_str),
    }
}

/// I16: UNIQUE and MAX_PER hold among instances of one configuration.
fn keeps_apart(
    records: &Records,
    before: Option<&Instance>,
    after: &Instance,
    merged: bool,
) -> Option<Fault> {
    let app = records.apps.get(&after.app)?;
    // What keeps its place goes back there; old instances follow the definition of old.
    let kept = before.is_some_and(|one| one.reservation.is_some());
    if kept || super::records::config(app) != after.config {
        return None;
    }
    let place = after.agent.as_ref()?;
    for constraint in app["constraints"].as_array().into_iter().flatten() {
        let field = constraint[0].as_str().unwrap_or_default();
        let limit = match constraint[1].as_str() {
            Some("UNIQUE") => 1,
            Some("MAX_PER") => constraint[2].as_str()?.parse().ok()?,
            _ => continue,
        };
        let value = value_of(place, field, merged);
        let alike = records.of(&after.app).filter(|one| {
            let there = one.agent.as_ref();
            one.config == after.config
                && one.is_placed()
                && there.is_some_and(|there| value_of(there, field, merged) == value)
        });
        let count = alike.count();
        if count > limit {
            let what = format!(
                "{} is launched where {field} is {value:?}, as number {count} of its configuration; {constraint} allows {limit}",
                after.id
            );
            return Some((Invariant::Spread, what));
        }
    }
    None
}

/// I14: nothing is launched beyond maximumOverCapacity.
fn has_room(records: &Records, after: &Instance, tightened: bool) -> Option<Fault> {
    let app = records.apps.get(&after.app)?;
    let daemon = app["labels"]["TEPUI_DAEMON"] == "true";
    if daemon || records.is_tried(&after.app) || records.is_left_alone(&after.app) {
        return None;
    }
    let current = super::records::config(app);
    let replaced = records.is_replaced(&after.app);
    let counts = |one: &&Instance| {
        // Those that make room for others count until they are over; scaling waits for nobody.
        let leaving = replaced && !one.wanted() && one.active() && one.config != current;
        one.wanted() && one.condition != "UnreachableInactive" || leaving
    };
    let count = records.of(&after.app).filter(counts).count();
    // Until its turn in a deployment comes an app has what it had.
    let wanted = |app: &Value| app["instances"].as_u64().unwrap_or_default();
    let before = records.originals(&after.app).map(wanted).max();
    let instances = wanted(app).max(before.unwrap_or_default());
    let bounds = Bounds::of(app, instances, usize::MAX, tightened);
    (count > bounds.most).then(|| {
        let what = format!(
            "{} is launched, and {} then has {count} instances: {instances} are wanted and at most {} may be",
            after.id, after.app, bounds.most
        );
        (Invariant::Capacity, what)
    })
}

/// I14: no replacement ends a serving instance that leaves fewer than minimumHealthCapacity.
fn leaves_enough(process: &Process, retired: &[&Instance], tightened: bool) -> Option<Fault> {
    let first = retired.first()?;
    let records = &process.records;
    for id in retired.iter().map(|one| one.app.as_str()) {
        let Some(app) = records.apps.get(id) else {
            continue;
        };
        let daemon = app["labels"]["TEPUI_DAEMON"] == "true";
        if daemon || records.is_tried(id) {
            continue;
        }
        let left = records
            .of(id)
            .filter(|one| one.wanted() && one.is_ready(records.is_checked(one), &process.health));
        let left = left.count();
        let before = left + retired.iter().filter(|one| one.app == id).count();
        let wanted = app["instances"].as_u64().unwrap_or_default();
        let bounds = Bounds::of(app, wanted, before, tightened);
        if left < bounds.least {
            let what = format!(
                "{} is replaced, and {id} is left with {left} that serve: of {wanted}, {} must",
                first.id, bounds.least
            );
            return Some((Invariant::Capacity, what));
        }
    }
    None
}

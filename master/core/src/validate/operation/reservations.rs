//! RESERVE and UNRESERVE: one more, or one less, level on the reservation stack.

use tepui_model::resources::{Reservation, ReservationKind};
use tepui_model::{Resource, Resources};
use tepui_proto::mesos::agent_info::capability::Type as CapabilityType;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::{Reserve, Unreserve};

use super::{Conversion, Scene, sum, to_wire};

pub(super) fn reserve(
    asked: &Reserve,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let wanted = scene.read(&asked.resources)?;
    for resource in &wanted {
        check_reserved(resource, scene)?;
    }
    let after = sum(&wanted)?;
    let mut source = Vec::new();
    let before = if asked.source.is_empty() {
        after.pop_reservation().map_err(|error| error.to_string())?
    } else if scene.framework.is_some() {
        return Err("'source' may be set by operators only".to_owned());
    } else {
        source = scene.read(&asked.source)?;
        check_source(&source, &wanted)?;
        sum(&source)?
    };
    info.reserve = Some(Reserve {
        source: to_wire(&source),
        resources: to_wire(&wanted),
    });
    Ok(Conversion {
        before,
        after,
        later: false,
    })
}

/// A resource as RESERVE would make it.
fn check_reserved(resource: &Resource, scene: &Scene<'_>) -> Result<(), String> {
    let reservation = dynamic(resource)?;
    let role = &reservation.role;
    if role.parent().is_some() && !scene.agent_can(CapabilityType::HierarchicalRole) {
        return Err(format!(
            "{resource} is reserved for a role below another, and the agent lacks the capability HIERARCHICAL_ROLE"
        ));
    }
    if resource.kind().is_refined() && !scene.agent_can(CapabilityType::ReservationRefinement) {
        return Err(format!(
            "{resource} refines a reservation, and the agent lacks the capability RESERVATION_REFINEMENT"
        ));
    }
    if let Some(asker) = scene.framework {
        let allocated = resource.kind().allocation_role();
        if allocated != Some(role) {
            return Err(format!(
                "{resource} is reserved for role '{role}', but allocated to '{}'",
                allocated.map_or("", |role| role.as_str())
            ));
        }
        if !asker.roles.contains(role) {
            return Err(format!(
                "{resource} is reserved for role '{role}', which is not a role of the framework"
            ));
        }
    }
    scene.check_principal(resource, reservation.principal.as_deref())?;
    if resource.kind().is_persistent_volume() {
        return Err(format!(
            "{resource} is a persistent volume, whose reservation cannot change"
        ));
    }
    check_lasting(resource)
}

/// The reservation in force, which must be a dynamic one.
fn dynamic(resource: &Resource) -> Result<&Reservation, String> {
    resource
        .kind()
        .reservation()
        .filter(|reservation| reservation.kind == ReservationKind::Dynamic)
        .ok_or_else(|| format!("{resource} is not dynamically reserved"))
}

fn check_lasting(resource: &Resource) -> Result<(), String> {
    if resource.kind().is_revocable() {
        return Err(format!("{resource} is revocable"));
    }
    Ok(())
}

/// Reserving anew: the same resources, under one stack before and one after, which differ in dynamic levels only.
fn check_source(source: &[Resource], wanted: &[Resource]) -> Result<(), String> {
    for resource in source {
        check_lasting(resource)?;
        if resource.kind().is_persistent_volume() {
            return Err(format!(
                "{resource} is a persistent volume, whose reservation cannot change"
            ));
        }
    }
    let stack = |list: &[Resource]| -> Result<Vec<Reservation>, String> {
        let first = list
            .first()
            .map_or(&[][..], |first| first.kind().reservations());
        match list
            .iter()
            .find(|resource| resource.kind().reservations() != first)
        {
            Some(other) => Err(format!(
                "All resources must have the same reservations, and {other} has others"
            )),
            None => Ok(first.to_vec()),
        }
    };
    let (from, to) = (stack(source)?, stack(wanted)?);
    let common = from
        .iter()
        .zip(&to)
        .take_while(|(from, to)| from == to)
        .count();
    if let Some(fixed) = from[common..]
        .iter()
        .chain(&to[common..])
        .find(|level| level.kind == ReservationKind::Static)
    {
        return Err(format!(
            "The static reservation for role '{}' can neither be taken away nor made",
            fixed.role
        ));
    }
    let bare = |list: &[Resource]| {
        let sum: Resources = list.iter().cloned().collect();
        sum.to_unreserved()
    };
    let (source, wanted) = (bare(source), bare(wanted));
    if source != wanted {
        return Err(format!(
            "'source' ({source}) and 'resources' ({wanted}) must be the same but for their reservations"
        ));
    }
    Ok(())
}

pub(super) fn unreserve(
    asked: &Unreserve,
    scene: &Scene<'_>,
    info: &mut Operation,
) -> Result<Conversion, String> {
    let wanted = scene.read(&asked.resources)?;
    for resource in &wanted {
        dynamic(resource)?;
        if resource.kind().is_persistent_volume() {
            return Err(format!(
                "{resource} is a persistent volume, which has to be destroyed first"
            ));
        }
        check_lasting(resource)?;
    }
    let before = sum(&wanted)?;
    let after = before
        .pop_reservation()
        .map_err(|error| error.to_string())?;
    info.unreserve = Some(Unreserve {
        resources: to_wire(&wanted),
    });
    Ok(Conversion {
        before,
        after,
        later: false,
    })
}

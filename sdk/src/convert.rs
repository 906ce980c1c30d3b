//! Between the messages of the API and the types of the model, as far as scheduling needs it.
//!
//! Resources of an offer that [`Resources::find`] would leave alone anyway (volumes, special disks, shared, revocable, of a provider) are
//! left out here; they are in the offer's message for whoever wants them.

use tepui_model::resources::{Name, Reservation, Value};
use tepui_model::{Label, Labels, Resource, Resources, Role};
use tepui_proto::mesos;
use tepui_proto::mesos::resource::{AllocationInfo, ReservationInfo, reservation_info};
use tepui_proto::mesos::value;

/// What can be taken from for tasks. What does not follow the rules is left out, with a line in the log.
pub(crate) fn usable(resources: &[mesos::Resource]) -> Resources {
    let mut all = Resources::new();
    for resource in resources.iter().filter(|r| {
        r.disk.is_none() && r.revocable.is_none() && r.shared.is_none() && r.provider_id.is_none()
    }) {
        match from_message(resource) {
            Ok(resource) => all.add_resource(resource),
            Err(error) => {
                tracing::warn!(%error, name = resource.name, "leaving a resource of an offer alone")
            }
        }
    }
    all
}

#[allow(deprecated)]
fn from_message(message: &mesos::Resource) -> Result<Resource, Box<dyn std::error::Error>> {
    let name = Name::from(message.name.as_str());
    let mut resource = match (&message.scalar, &message.ranges, &message.set) {
        (Some(scalar), _, _) => Resource::scalar(name, scalar.value)?,
        (_, Some(ranges), _) => Resource::ranges(
            name,
            ranges.range.iter().map(|range| (range.begin, range.end)),
        )?,
        (_, _, Some(set)) => Resource::set(name, &set.item)?,
        _ => return Err("it has no value".into()),
    };
    if message.reservations.is_empty() {
        // The form of frameworks without RESERVATION_REFINEMENT.
        if let Some(role) = message.role.as_deref().filter(|role| *role != "*") {
            let reservation = match &message.reservation {
                Some(dynamic) => reservation(dynamic, role, false)?,
                None => Reservation::fixed(Role::new(role)?),
            };
            resource = resource.reserved(reservation)?;
        }
    }
    for info in &message.reservations {
        let fixed = info.r#type() == reservation_info::Type::Static;
        resource = resource.reserved(reservation(
            info,
            info.role.as_deref().unwrap_or_default(),
            fixed,
        )?)?;
    }
    if let Some(role) = message
        .allocation_info
        .as_ref()
        .and_then(|info| info.role.as_deref())
    {
        resource = resource.allocated_to(Role::new(role)?);
    }
    Ok(resource)
}

fn reservation(
    info: &ReservationInfo,
    role: &str,
    fixed: bool,
) -> Result<Reservation, Box<dyn std::error::Error>> {
    let role = Role::new(role)?;
    let mut reservation = if fixed {
        Reservation::fixed(role)
    } else {
        Reservation::dynamic(role)
    };
    reservation.principal = info.principal.as_deref().map(Into::into);
    reservation.labels = info.labels.as_ref().map(|labels| {
        let label = |label: &mesos::Label| Label {
            key: label.key.as_str().into(),
            value: label.value.as_deref().map(Into::into),
        };
        labels.labels.iter().map(label).collect::<Labels>()
    });
    Ok(reservation)
}

/// For a task, in the form with `reservations`, which Mesos takes from every framework.
pub(crate) fn messages(resources: &Resources) -> Vec<mesos::Resource> {
    resources
        .iter()
        .map(|resource| message(&resource))
        .collect()
}

fn message(resource: &Resource) -> mesos::Resource {
    let mut message = mesos::Resource {
        name: resource.name().as_str().to_owned(),
        ..Default::default()
    };
    match resource.value() {
        Value::Scalar(scalar) => {
            message.r#type = value_type(value::Type::Scalar);
            message.scalar = Some(value::Scalar {
                value: scalar.as_f64(),
            });
        }
        Value::Ranges(ranges) => {
            message.r#type = value_type(value::Type::Ranges);
            let range = ranges
                .iter()
                .map(|range| value::Range {
                    begin: range.begin,
                    end: range.end,
                })
                .collect();
            message.ranges = Some(value::Ranges { range });
        }
        Value::Set(set) => {
            message.r#type = value_type(value::Type::Set);
            message.set = Some(value::Set {
                item: set.iter().map(str::to_owned).collect(),
            });
        }
    }
    let kind = resource.kind();
    message.allocation_info = kind.allocation_role().map(|role| AllocationInfo {
        role: Some(role.to_string()),
    });
    message.reservations = kind
        .reservations()
        .iter()
        .map(reservation_message)
        .collect();
    message
}

fn value_type(value: value::Type) -> i32 {
    value.into()
}

fn reservation_message(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        tepui_model::resources::ReservationKind::Static => reservation_info::Type::Static,
        tepui_model::resources::ReservationKind::Dynamic => reservation_info::Type::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.as_deref().map(str::to_owned),
        labels: reservation.labels.as_ref().map(|labels| mesos::Labels {
            labels: labels
                .iter()
                .map(|l| mesos::Label {
                    key: l.key.to_string(),
                    value: l.value.as_deref().map(str::to_owned),
                })
                .collect(),
        }),
    }
}

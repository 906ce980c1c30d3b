//! Lists of `Resource` and the model's [`Resources`].
//!
//! A reservation has two encodings: the old one (`role`, and `reservation` if it is dynamic) and, since reservations can be refined, a
//! stack (`reservations`). Both are read; [`Encoding`] says which one is written. An unset or `*` role is no reservation.

use tepui_model::resources::{Kind, Name, Reservation, ReservationKind, Value};
use tepui_model::{Resource, ResourceError, ResourceProviderId, Resources, Role};

use super::{InvalidResource, ResourceProblem, disk};
use crate::mesos;
use crate::mesos::resource::reservation_info::Type as ReservationType;
use crate::mesos::resource::{AllocationInfo, ReservationInfo, RevocableInfo, SharedInfo};
use crate::mesos::value;

/// How reservations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `reservations`, and no `role`: for frameworks with RESERVATION_REFINEMENT, between Tepui's own parts, and in the operator API.
    #[default]
    Stack,
    /// `role` (always there) and `reservation`: for all other frameworks. A refined reservation does not fit into it and is
    /// written as a stack; such resources are not offered to those frameworks.
    Role,
}

/// Reads a list.
///
/// # Errors
///
/// When one of the resources is not well formed.
pub fn from_wire(list: &[mesos::Resource]) -> Result<Resources, InvalidResource> {
    let mut roles = Roles::default();
    let mut resources = Resources::new();
    for resource in list {
        resources.add_resource(read_named(resource, &mut roles)?);
    }
    Ok(resources)
}

/// Reads one resource.
///
/// # Errors
///
/// When it is not well formed.
pub fn one_from_wire(resource: &mesos::Resource) -> Result<Resource, InvalidResource> {
    read_named(resource, &mut Roles::default())
}

/// Writes a list: as the model iterates, so equal resources held in equal order have equal lists.
pub fn to_wire(resources: &Resources, encoding: Encoding) -> Vec<mesos::Resource> {
    resources
        .iter()
        .map(|resource| one_to_wire(&resource, encoding))
        .collect()
}

/// Writes one resource.
pub fn one_to_wire(resource: &Resource, encoding: Encoding) -> mesos::Resource {
    let kind = resource.kind();
    let mut to = mesos::Resource {
        name: resource.name().to_string(),
        allocation_info: kind.allocation_role().map(|role| AllocationInfo {
            role: Some(role.to_string()),
        }),
        disk: kind.disk().map(|disk| Box::new(disk::to_wire(disk))),
        revocable: kind.is_revocable().then(RevocableInfo::default),
        shared: kind.is_shared().then(SharedInfo::default),
        provider_id: kind.provider().map(Into::into),
        ..Default::default()
    };
    match resource.value() {
        Value::Scalar(scalar) => {
            to.set_type(value::Type::Scalar);
            to.scalar = Some(value::Scalar {
                value: scalar.as_f64(),
            });
        }
        Value::Ranges(ranges) => {
            to.set_type(value::Type::Ranges);
            let range = ranges
                .iter()
                .map(|range| value::Range {
                    begin: range.begin,
                    end: range.end,
                })
                .collect();
            to.ranges = Some(value::Ranges { range });
        }
        Value::Set(set) => {
            to.set_type(value::Type::Set);
            to.set = Some(value::Set {
                item: set.iter().map(str::to_owned).collect(),
            });
        }
    }
    write_reservations(kind, encoding, &mut to);
    to
}

/// Reads the resources that a flag gives: the text form (`cpus:4;ports(role):[31000-32000]`) or a JSON list of `Resource`.
///
/// # Errors
///
/// When it is neither, with a sentence that says why.
pub fn from_flag(text: &str) -> Result<Resources, String> {
    let text = text.trim();
    if !text.starts_with('[') {
        return text
            .parse()
            .map_err(|error: ResourceError| error.to_string());
    }
    let list: Vec<mesos::Resource> = crate::json::list_from_slice(text.as_bytes(), "resources")
        .map_err(|error| error.to_string())?;
    from_wire(&list).map_err(|error| error.to_string())
}

/// Tasks name the same role on each of their resources: it is checked and allocated once.
#[derive(Default)]
struct Roles {
    last: Option<Role>,
}

impl Roles {
    fn get(&mut self, text: &str) -> Result<Role, ResourceProblem> {
        match &self.last {
            Some(role) if role.as_str() == text => Ok(role.clone()),
            _ => Ok(self.last.insert(Role::new(text)?).clone()),
        }
    }
}

fn read_named(resource: &mesos::Resource, roles: &mut Roles) -> Result<Resource, InvalidResource> {
    read(resource, roles).map_err(|problem| InvalidResource {
        name: resource.name.chars().take(64).collect(),
        problem,
    })
}

fn read(from: &mesos::Resource, roles: &mut Roles) -> Result<Resource, ResourceProblem> {
    let mut resource = read_value(from)?;
    for reservation in read_reservations(from, roles)? {
        resource = resource.reserved(reservation)?;
    }
    if let Some(from) = &from.disk {
        resource = resource.with_disk(disk::from_wire(from)?)?;
    }
    if from.revocable.is_some() {
        resource = resource.revocable();
    }
    if from.shared.is_some() {
        resource = resource.shared()?;
    }
    if let Some(provider) = &from.provider_id {
        resource = resource.provided_by(ResourceProviderId::new(&provider.value)?);
    }
    if let Some(role) = from
        .allocation_info
        .as_ref()
        .and_then(|info| info.role.as_deref())
    {
        resource = resource.allocated_to(roles.get(role)?);
    }
    Ok(resource)
}

fn read_value(from: &mesos::Resource) -> Result<Resource, ResourceProblem> {
    let name = Name::from(from.name.as_str());
    let resource = match value::Type::try_from(from.r#type) {
        Ok(value::Type::Scalar) => match (&from.scalar, &from.ranges, &from.set) {
            (Some(scalar), None, None) => Resource::scalar(name, scalar.value)?,
            _ => return Err(ResourceProblem::Value("scalar")),
        },
        Ok(value::Type::Ranges) => match (&from.scalar, &from.ranges, &from.set) {
            (None, Some(ranges), None) => Resource::ranges(
                name,
                ranges.range.iter().map(|range| (range.begin, range.end)),
            )?,
            _ => return Err(ResourceProblem::Value("ranges")),
        },
        Ok(value::Type::Set) => match (&from.scalar, &from.ranges, &from.set) {
            (None, None, Some(set)) => Resource::set(name, &set.item)?,
            _ => return Err(ResourceProblem::Value("set")),
        },
        Ok(value::Type::Text) | Err(_) => return Err(ResourceProblem::Type),
    };
    Ok(resource)
}

fn read_reservations(
    from: &mesos::Resource,
    roles: &mut Roles,
) -> Result<Vec<Reservation>, ResourceProblem> {
    let role = from.role.as_deref().filter(|role| *role != "*");
    if !from.reservations.is_empty() {
        if role.is_some() || from.reservation.is_some() {
            return Err(ResourceProblem::BothEncodings);
        }
        return from
            .reservations
            .iter()
            .map(|info| read_reservation(info, roles))
            .collect();
    }
    match (role, &from.reservation) {
        (None, None) => Ok(Vec::new()),
        (None, Some(_)) => Err(ResourceProblem::DynamicForStar),
        (Some(role), None) => Ok(vec![Reservation::fixed(roles.get(role)?)]),
        (Some(role), Some(info)) => {
            if info.role.is_some() || info.r#type.is_some() {
                return Err(ResourceProblem::OldEncodingWithRole);
            }
            Ok(vec![reservation(
                ReservationKind::Dynamic,
                roles.get(role)?,
                info,
            )])
        }
    }
}

fn read_reservation(
    info: &ReservationInfo,
    roles: &mut Roles,
) -> Result<Reservation, ResourceProblem> {
    let kind = match info.r#type() {
        ReservationType::Static => ReservationKind::Static,
        ReservationType::Dynamic => ReservationKind::Dynamic,
        ReservationType::Unknown => return Err(ResourceProblem::NoReservationType),
    };
    let role = info.role.as_deref().ok_or(ResourceProblem::NoRole)?;
    Ok(reservation(kind, roles.get(role)?, info))
}

fn reservation(kind: ReservationKind, role: Role, info: &ReservationInfo) -> Reservation {
    Reservation {
        kind,
        role,
        principal: info.principal.as_deref().map(Into::into),
        labels: info.labels.as_ref().map(Into::into),
    }
}

fn write_reservations(kind: &Kind, encoding: Encoding, to: &mut mesos::Resource) {
    match (encoding, kind.reservations()) {
        (Encoding::Role, []) => to.role = Some("*".to_owned()),
        (Encoding::Role, [only]) => {
            to.role = Some(only.role.to_string());
            if only.kind == ReservationKind::Dynamic {
                to.reservation = Some(Box::new(ReservationInfo {
                    principal: only.principal.as_deref().map(str::to_owned),
                    labels: only.labels.as_ref().map(Into::into),
                    ..Default::default()
                }));
            }
        }
        (_, stack) => to.reservations = stack.iter().map(write_reservation).collect(),
    }
}

fn write_reservation(reservation: &Reservation) -> ReservationInfo {
    let kind = match reservation.kind {
        ReservationKind::Static => ReservationType::Static,
        ReservationKind::Dynamic => ReservationType::Dynamic,
    };
    ReservationInfo {
        r#type: Some(kind.into()),
        role: Some(reservation.role.to_string()),
        principal: reservation.principal.as_deref().map(str::to_owned),
        labels: reservation.labels.as_ref().map(Into::into),
    }
}

#[cfg(test)]
mod tests;

//! What can be wrong with a resource on the wire.

use tepui_model::{IdError, ResourceError, RoleError};

/// A resource that is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Resource '{name}' is invalid: {problem}")]
pub struct InvalidResource {
    /// Its name, as sent.
    pub name: String,
    /// What is wrong.
    #[source]
    pub problem: ResourceProblem,
}

/// What is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceProblem {
    /// Its value or the way things are combined.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The role that it is reserved for or allocated to.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// The id of its provider or volume.
    #[error(transparent)]
    Id(#[from] IdError),
    /// TEXT, or a number that is no type.
    #[error("Unsupported resource type")]
    Type,
    /// The value field does not go with the type.
    #[error("Invalid {0} resource: exactly the value field of its type must be set")]
    Value(&'static str),
    /// Both encodings of reservations at once.
    #[error(
        "'Resource.role' and 'Resource.reservation' must not be set together with 'Resource.reservations'"
    )]
    BothEncodings,
    /// The old encoding says role and type elsewhere.
    #[error(
        "'Resource.reservation.role' and 'Resource.reservation.type' must not be set with 'Resource.role'"
    )]
    OldEncodingWithRole,
    /// A dynamic reservation for everybody.
    #[error("Invalid reservation: role \"*\" cannot be dynamically reserved")]
    DynamicForStar,
    /// An entry of `reservations` without role.
    #[error("Invalid reservation: 'role' must be set")]
    NoRole,
    /// An entry of `reservations` that is neither STATIC nor DYNAMIC.
    #[error("Invalid reservation: 'type' must be STATIC or DYNAMIC")]
    NoReservationType,
    /// A disk source of an unknown type.
    #[error("Unsupported 'DiskInfo.Source.Type'")]
    DiskSourceType,
    /// A persistent volume without its place in the container.
    #[error("Expecting 'volume' to be set for persistent volume")]
    NoVolume,
    /// A volume on a disk that is not persistent.
    #[error("Non-persistent volume not supported")]
    NotPersistent,
    /// A persistent volume has its own place on the host.
    #[error("Expecting 'host_path' to be unset for persistent volume")]
    HostPath,
}

//! Operations on an agent's resources: whether one may be done, and what it turns into what. Nothing here has an effect.
//!
//! The rules are those of the reference ("Operation validation"), one file for reservations, one for volumes, one for disks. Whether
//! what an operation needs is there (in the offers, or free on the agent) is for the caller to see.

mod disks;
mod reservations;
mod volumes;

use tepui_model::{Resource, Resources, Role};
use tepui_proto::convert::resources::{self, Encoding};
use tepui_proto::mesos;
use tepui_proto::mesos::agent_info::Capability;
use tepui_proto::mesos::agent_info::capability::Type as CapabilityType;
use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::offer::operation::Type;

/// The longest operation id, in bytes.
const MAX_ID_BYTES: usize = 255;

/// The most resources that one operation names.
const MAX_RESOURCES: usize = 1000;

/// The framework that asks.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The role that the offers are allocated to: resources that name none get it.
    pub(crate) role: &'a Role,
    /// All its roles.
    pub(crate) roles: &'a [Role],
    /// SHARED_RESOURCES.
    pub(crate) shared_resources: bool,
}

/// What the rules look at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// `None` if an operator asks.
    pub(crate) framework: Option<Asker<'a>>,
    /// Who asks; reservations and volumes have to carry it.
    pub(crate) principal: Option<&'a str>,
    /// What the agent can do.
    pub(crate) capabilities: &'a [Capability],
    /// All it has.
    pub(crate) total: &'a Resources,
    /// What tasks and executors use of it.
    pub(crate) used: &'a Resources,
}

/// What an operation does: `before` becomes `after`, in what its owner holds and in the agent's total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conversion {
    pub(crate) before: Resources,
    pub(crate) after: Resources,
    /// Whether the result comes in a later offer, instead of being there for the operations that follow.
    pub(crate) later: bool,
}

/// An operation that may be done.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) conversion: Conversion,
    /// As it goes to the agent and to the tables: complete, reservations as stacks.
    pub(crate) info: Operation,
}

/// Check an operation other than a launch.
pub(crate) fn check(asked: &Operation, scene: &Scene<'_>) -> Result<Checked, String> {
    let kind = asked.r#type();
    let name = kind.as_str_name();
    if let Some(id) = &asked.id {
        check_feedback(&id.value, scene)?;
    }
    let mut info = Operation {
        r#type: asked.r#type,
        id: asked.id.clone(),
        ..Operation::default()
    };
    let missing = |field: &str| format!("Expecting '{field}' to be present");
    let checked = match kind {
        Type::Reserve => match &asked.reserve {
            Some(asked) => reservations::reserve(asked, scene, &mut info),
            None => Err(missing("reserve")),
        },
        Type::Unreserve => match &asked.unreserve {
            Some(asked) => reservations::unreserve(asked, scene, &mut info),
            None => Err(missing("unreserve")),
        },
        Type::Create => match &asked.create {
            Some(asked) => volumes::create(asked, scene, &mut info),
            None => Err(missing("create")),
        },
        Type::Destroy => match &asked.destroy {
            Some(asked) => volumes::destroy(asked, scene, &mut info),
            None => Err(missing("destroy")),
        },
        Type::GrowVolume => match &asked.grow_volume {
            Some(asked) => volumes::grow(asked, scene, &mut info),
            None => Err(missing("grow_volume")),
        },
        Type::ShrinkVolume => match &asked.shrink_volume {
            Some(asked) => volumes::shrink(asked, scene, &mut info),
            None => Err(missing("shrink_volume")),
        },
        Type::CreateDisk => match &asked.create_disk {
            Some(asked) => disks::create(asked, scene),
            None => Err(missing("create_disk")),
        },
        Type::DestroyDisk => match &asked.destroy_disk {
            Some(asked) => disks::destroy(asked, scene),
            None => Err(missing("destroy_disk")),
        },
        Type::Unknown | Type::Launch | Type::LaunchGroup => {
            return Err("The operation's type is not known".to_owned());
        }
    };
    match checked {
        Ok(conversion) => Ok(Checked { conversion, info }),
        Err(error) => Err(format!("Invalid {name} operation: {error}")),
    }
}

/// Whether the agent can tell what became of an operation.
fn check_feedback(id: &str, scene: &Scene<'_>) -> Result<(), String> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(format!(
            "The operation's id must have between 1 and {MAX_ID_BYTES} bytes"
        ));
    }
    for (wanted, name) in [
        (CapabilityType::ResourceProvider, "RESOURCE_PROVIDER"),
        (
            CapabilityType::AgentOperationFeedback,
            "AGENT_OPERATION_FEEDBACK",
        ),
    ] {
        if !scene.agent_can(wanted) {
            return Err(format!(
                "The operation asked for feedback, but the agent lacks the capability {name}"
            ));
        }
    }
    Ok(())
}

impl Scene<'_> {
    fn agent_can(&self, wanted: CapabilityType) -> bool {
        self.capabilities
            .iter()
            .any(|capability| capability.r#type() == wanted)
    }

    /// One resource: well formed, and allocated to a role if a framework asks, to none if an operator does.
    fn read_one(&self, resource: &mesos::Resource) -> Result<Resource, String> {
        let read = resources::one_from_wire(resource)
            .map_err(|error| format!("Invalid resources: {error}"))?;
        match (self.framework, read.kind().allocation_role()) {
            (Some(asker), None) => Ok(read.allocated_to(asker.role.clone())),
            (None, Some(role)) => Err(format!(
                "{read} is allocated to role '{role}', but operators name resources that are not allocated"
            )),
            _ => Ok(read),
        }
    }

    /// Several, of one provider.
    fn read(&self, list: &[mesos::Resource]) -> Result<Vec<Resource>, String> {
        if list.is_empty() {
            return Err("No resources are named".to_owned());
        }
        if list.len() > MAX_RESOURCES {
            return Err(format!(
                "An operation may name at most {MAX_RESOURCES} resources"
            ));
        }
        let read: Vec<Resource> = list
            .iter()
            .map(|resource| self.read_one(resource))
            .collect::<Result<_, _>>()?;
        if read
            .windows(2)
            .any(|pair| pair[0].kind().provider() != pair[1].kind().provider())
        {
            return Err("All resources must be of the same resource provider".to_owned());
        }
        if let Some(foreign) = read
            .iter()
            .find(|resource| resource.kind().allocation_role() != read[0].kind().allocation_role())
        {
            return Err(format!(
                "All resources must be allocated to the same role, and {foreign} is not"
            ));
        }
        Ok(read)
    }

    /// The principal in a reservation or a volume must be the caller's, if the caller has one.
    fn check_principal(&self, what: &Resource, named: Option<&str>) -> Result<(), String> {
        match (self.principal, named) {
            (Some(own), Some(named)) if own == named => Ok(()),
            (Some(own), Some(named)) => Err(format!(
                "{what} names the principal '{named}', but '{own}' asks"
            )),
            (Some(own), None) => Err(format!("{what} names no principal, but '{own}' asks")),
            (None, _) => Ok(()),
        }
    }
}

/// Something, and each of it once.
fn sum(list: &[Resource]) -> Result<Resources, String> {
    let sum: Resources = list.iter().cloned().collect();
    if sum.is_empty() {
        return Err("No resources are named".to_owned());
    }
    Ok(sum)
}

fn to_wire(list: &[Resource]) -> Vec<mesos::Resource> {
    list.iter()
        .map(|resource| resources::one_to_wire(resource, Encoding::Stack))
        .collect()
}

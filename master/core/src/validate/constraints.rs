//! Offer constraints, from messages to what the allocator goes by.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_model::Role;
use tepui_proto::mesos::AgentInfo;
use tepui_proto::mesos::scheduler::{AttributeConstraint, OfferConstraints, attribute_constraint};
use tepui_proto::mesos::value;

use crate::allocator::{
    AgentAttributes, Constraint, Pattern, PatternLimits, Predicate, RoleConstraints, Selector,
};

/// More constraints in one role are refused: each is tried on each agent.
const CONSTRAINTS_PER_ROLE_MAX: usize = 10_000;

/// A framework's offer constraints, as it gave them and as they are applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraints {
    pub(crate) wire: Arc<OfferConstraints>,
    by_role: BTreeMap<Role, Arc<RoleConstraints>>,
}

impl Constraints {
    /// Reads and compiles constraints.
    ///
    /// # Errors
    /// They are for a role that is not in `roles`, have an empty or incomplete part, or a pattern that is wrong or too large.
    pub fn new(
        wire: OfferConstraints,
        roles: &[Role],
        limits: PatternLimits,
    ) -> Result<Constraints, String> {
        // The message's map has no order, but of several mistakes always the same one should be told.
        let mut named: Vec<_> = wire.role_constraints.iter().collect();
        named.sort_by_key(|(name, _)| *name);
        let unknown = |name: &str| !roles.iter().any(|role| role.as_str() == name);
        if let Some((name, _)) = named.iter().find(|(name, _)| unknown(name)) {
            return Err(format!(
                "Offer constraints specify `role_constraints` for a role '{name}', which is not contained in the set of roles"
            ));
        }
        let mut by_role = BTreeMap::new();
        for (name, of_role) in named {
            let role = Role::new(name).map_err(|error| error.to_string())?;
            by_role.insert(role, Arc::new(role_constraints(name, of_role, limits)?));
        }
        Ok(Constraints {
            wire: Arc::new(wire),
            by_role,
        })
    }

    /// What holds for one role; `None`: nothing.
    #[must_use]
    pub fn of(&self, role: &Role) -> Option<&Arc<RoleConstraints>> {
        self.by_role.get(role)
    }
}

fn role_constraints(
    role: &str,
    wire: &tepui_proto::mesos::scheduler::offer_constraints::RoleConstraints,
    limits: PatternLimits,
) -> Result<RoleConstraints, String> {
    if wire.groups.is_empty() {
        return Err(format!(
            "'OfferConstraints::role_constraints' has an empty 'RoleConstraints::groups' for role {role}"
        ));
    }
    let count: usize = wire
        .groups
        .iter()
        .map(|group| group.attribute_constraints.len())
        .sum();
    if count > CONSTRAINTS_PER_ROLE_MAX {
        return Err(format!(
            "A role may have at most {CONSTRAINTS_PER_ROLE_MAX} attribute constraints, {role} has {count}"
        ));
    }
    let mut groups = Vec::with_capacity(wire.groups.len());
    for group in &wire.groups {
        if group.attribute_constraints.is_empty() {
            return Err(format!(
                "'OfferConstraints::RoleConstraints::groups' for role {role} contains an empty RoleConstraints::Group"
            ));
        }
        let constraints = group
            .attribute_constraints
            .iter()
            .map(|one| constraint(one, limits))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|why| format!("A role {role} has an invalid 'AttributeConstraint': {why}"))?;
        groups.push(constraints);
    }
    Ok(RoleConstraints(groups))
}

fn constraint(wire: &AttributeConstraint, limits: PatternLimits) -> Result<Constraint, String> {
    use attribute_constraint::predicate::Predicate as Wire;
    use attribute_constraint::selector::{PseudoattributeType, Selector as WireSelector};

    let selector = match &wire.selector.selector {
        Some(WireSelector::PseudoattributeType(kind)) => {
            match PseudoattributeType::try_from(*kind).unwrap_or_default() {
                PseudoattributeType::Hostname => Selector::Hostname,
                PseudoattributeType::Region => Selector::Region,
                PseudoattributeType::Zone => Selector::Zone,
                PseudoattributeType::Unknown => {
                    return Err("Unknown pseudoattribute type".to_owned());
                }
            }
        }
        Some(WireSelector::AttributeName(name)) => Selector::Named(name.clone()),
        None => {
            return Err("Exactly one of 'AttributeConstraint::Selector::name' or 'AttributeConstraint::Selector::pseudoattribute_type' must be set".to_owned());
        }
    };
    let predicate = match &wire.predicate.predicate {
        Some(Wire::Exists(_)) => Predicate::Exists,
        Some(Wire::NotExists(_)) => Predicate::NotExists,
        Some(Wire::TextEquals(text)) => Predicate::TextEquals(text.value.clone()),
        Some(Wire::TextNotEquals(text)) => Predicate::TextNotEquals(text.value.clone()),
        Some(Wire::TextMatches(text)) => Predicate::TextMatches(Pattern::new(&text.regex, limits)?),
        Some(Wire::TextNotMatches(text)) => {
            Predicate::TextNotMatches(Pattern::new(&text.regex, limits)?)
        }
        None => return Err("Unknown predicate type".to_owned()),
    };
    Ok(Constraint {
        selector,
        predicate,
    })
}

/// What constraints and the whitelist see of an agent.
#[must_use]
pub fn agent_attributes(info: &AgentInfo) -> AgentAttributes {
    let domain = info
        .domain
        .as_ref()
        .and_then(|domain| domain.fault_domain.as_ref());
    let named = info.attributes.iter().map(|attribute| {
        let text = (attribute.r#type() == value::Type::Text)
            .then(|| attribute.text.as_ref().map(|text| text.value.clone()))
            .flatten();
        (attribute.name.clone(), text)
    });
    AgentAttributes {
        hostname: info.hostname.clone(),
        fault_domain: domain.map(|domain| (domain.region.name.clone(), domain.zone.name.clone())),
        named: named.collect(),
    }
}

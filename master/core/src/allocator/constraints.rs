//! Offer constraints: which agents a framework wants to see for a role, by the agents' attributes.
//!
//! A role's constraints are groups, of which one has to hold; a group holds if all its constraints do. An agent's answer depends on
//! nothing but its attributes and the constraints, so each pair is reckoned once and remembered: equal constraints of several
//! frameworks are one *class* with a small number, and each agent keeps two bits for each class that was ever asked.
//!
//! Left out: messages (they are read in `validate`), and who is told which agents are hidden (the shell reckons that from what
//! is published, with [`RoleConstraints::admit`]).

use super::pattern::Pattern;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What an agent says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentAttributes {
    /// The pseudo-attribute HOSTNAME, and what the whitelist goes by.
    pub hostname: String,
    /// Region and zone, the pseudo-attributes REGION and ZONE.
    pub fault_domain: Option<(String, String)>,
    /// Name and, if it is a text, value; of attributes with one name the first counts.
    pub named: Vec<(String, Option<String>)>,
}

/// What a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// The agent's host name.
    Hostname,
    /// The region of its fault domain.
    Region,
    /// The zone of its fault domain.
    Zone,
    /// Its first attribute of this name.
    Named(String),
}

/// What a constraint demands of it. An attribute that is there but is no text satisfies whatever is asked of its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is there, and this.
    TextEquals(String),
    /// It is not there, or not this.
    TextNotEquals(String),
    /// It is there, and as a whole like this.
    TextMatches(Pattern),
    /// It is not there, or as a whole not like this.
    TextNotMatches(Pattern),
}

/// What is found under a selector.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    Other,
}

/// One constraint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// What it looks at.
    pub selector: Selector,
    /// What it demands.
    pub predicate: Predicate,
}

impl Constraint {
    fn admits(&self, agent: &AgentAttributes) -> bool {
        let domain = agent.fault_domain.as_ref();
        let found = match &self.selector {
            Selector::Hostname => Found::Text(&agent.hostname),
            Selector::Region => domain.map_or(Found::Nothing, |(region, _)| Found::Text(region)),
            Selector::Zone => domain.map_or(Found::Nothing, |(_, zone)| Found::Text(zone)),
            Selector::Named(name) => match agent.named.iter().find(|(own, _)| own == name) {
                None => Found::Nothing,
                Some((_, None)) => Found::Other,
                Some((_, Some(text))) => Found::Text(text),
            },
        };
        match (&self.predicate, found) {
            (Predicate::Exists, found) => !matches!(found, Found::Nothing),
            (Predicate::NotExists, found) => matches!(found, Found::Nothing),
            (_, Found::Other) => true,
            (Predicate::TextEquals(_) | Predicate::TextMatches(_), Found::Nothing) => false,
            (Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_), Found::Nothing) => true,
            (Predicate::TextEquals(value), Found::Text(text)) => text == value,
            (Predicate::TextNotEquals(value), Found::Text(text)) => text != value,
            (Predicate::TextMatches(pattern), Found::Text(text)) => pattern.is_match(text),
            (Predicate::TextNotMatches(pattern), Found::Text(text)) => !pattern.is_match(text),
        }
    }
}

/// The constraints of one role of a framework: one of these groups has to hold as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleConstraints(pub Vec<Vec<Constraint>>);

impl RoleConstraints {
    /// Whether a framework with these constraints wants to see such an agent.
    #[must_use]
    pub fn admit(&self, agent: &AgentAttributes) -> bool {
        self.0
            .iter()
            .any(|group| group.iter().all(|constraint| constraint.admits(agent)))
    }
}

/// All constraints in use, each once.
#[derive(Debug, Default)]
pub(super) struct Classes {
    numbers: BTreeMap<Arc<RoleConstraints>, u32>,
    entries: Vec<Option<(Arc<RoleConstraints>, u32)>>,
    vacant: Vec<u32>,
}

impl Classes {
    /// The number of these constraints, with one user more.
    pub(super) fn enter(&mut self, constraints: &Arc<RoleConstraints>) -> u32 {
        if let Some(number) = self.numbers.get(constraints) {
            if let Some((_, users)) = &mut self.entries[*number as usize] {
                *users += 1;
            }
            return *number;
        }
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1)
                .expect("fewer than 2^32 constraints fit into memory")
        });
        self.entries[number as usize] = Some((Arc::clone(constraints), 1));
        self.numbers.insert(Arc::clone(constraints), number);
        number
    }

    /// One user less. Returns whether it was the last: then the number is about to be used for something else, and every agent
    /// has to forget what it remembers under it.
    pub(super) fn leave(&mut self, number: u32) -> bool {
        let Some(Some((constraints, users))) = self.entries.get_mut(number as usize) else {
            return false;
        };
        *users -= 1;
        if *users > 0 {
            return false;
        }
        self.numbers.remove(constraints);
        self.entries[number as usize] = None;
        self.vacant.push(number);
        true
    }

    /// The constraints of a number.
    pub(super) fn get(&self, number: u32) -> Option<&Arc<RoleConstraints>> {
        Some(&self.entries.get(number as usize)?.as_ref()?.0)
    }

    /// Whether an agent passes; remembered in its `verdicts`.
    pub(super) fn admit(&self, number: u32, agent: &AgentAttributes, verdicts: &Verdicts) -> bool {
        if let Some(known) = verdicts.get(number) {
            return known;
        }
        let admitted = self
            .get(number)
            .is_none_or(|constraints| constraints.admit(agent));
        verdicts.set(number, admitted);
        admitted
    }
}

/// What an agent remembers of constraints: two bits each, whether it was asked and whether it passed.
#[derive(Debug, Default)]
pub(super) struct Verdicts(RefCell<Vec<u64>>);

/// Classes in a word.
const PER_WORD: u32 = u64::BITS / 2;

impl Verdicts {
    fn get(&self, number: u32) -> Option<bool> {
        let word = *self.0.borrow().get((number / PER_WORD) as usize)?;
        let bits = word >> (2 * (number % PER_WORD));
        (bits & 1 == 1).then_some(bits & 2 == 2)
    }

    fn set(&self, number: u32, admitted: bool) {
        let mut words = self.0.borrow_mut();
        let at = (number / PER_WORD) as usize;
        if words.len() <= at {
            words.resize(at + 1, 0);
        }
        words[at] |= (1 | u64::from(admitted) << 1) << (2 * (number % PER_WORD));
    }

    /// A number is about to mean something else.
    pub(super) fn forget(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut().get_mut((number / PER_WORD) as usize) {
            *word &= !(3 << (2 * (number % PER_WORD)));
        }
    }

    /// The attributes have changed.
    pub(super) fn clear(&mut self) {
        self.0.get_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::PatternLimits;
    use super::*;

    fn agent() -> AgentAttributes {
        AgentAttributes {
            hostname: "db-1.example.org".to_owned(),
            fault_domain: None,
            named: vec![
                ("rack".to_owned(), Some("r1".to_owned())),
                ("rack".to_owned(), Some("r2".to_owned())),
                ("slots".to_owned(), None),
            ],
        }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text, PatternLimits::default()).expect("a right pattern")
    }

    /// Every predicate on what is there as a text, there as something else, and not there.
    #[test]
    fn the_truth_table() {
        let (equal, unequal) = ("r1".to_owned(), "r9".to_owned());
        for (predicate, text, other, nothing) in [
            (Predicate::Exists, true, true, false),
            (Predicate::NotExists, false, false, true),
            (Predicate::TextEquals(equal.clone()), true, true, false),
            (Predicate::TextEquals(unequal.clone()), false, true, false),
            (Predicate::TextNotEquals(equal), false, true, true),
            (Predicate::TextNotEquals(unequal), true, true, true),
            (Predicate::TextMatches(pattern("r[0-5]")), true, true, false),
            (Predicate::TextMatches(pattern("r")), false, true, false),
            (
                Predicate::TextNotMatches(pattern("r[0-5]")),
                false,
                true,
                true,
            ),
            (Predicate::TextNotMatches(pattern("r")), true, true, true),
        ] {
            for (name, expected) in [("rack", text), ("slots", other), ("gpu", nothing)] {
                let constraint = Constraint {
                    selector: Selector::Named(name.to_owned()),
                    predicate: predicate.clone(),
                };
                assert_eq!(constraint.admits(&agent()), expected, "{constraint:?}");
            }
        }
    }

    #[test]
    fn pseudo_attributes() {
        let far = AgentAttributes {
            fault_domain: Some(("eu".to_owned(), "eu-1".to_owned())),
            ..agent()
        };
        for (selector, value, without, with) in [
            (Selector::Hostname, "db-1.example.org", true, true),
            (Selector::Region, "eu", false, true),
            (Selector::Zone, "eu-1", false, true),
            (Selector::Zone, "eu", false, false),
        ] {
            let constraint = Constraint {
                selector,
                predicate: Predicate::TextEquals(value.to_owned()),
            };
            assert_eq!(constraint.admits(&agent()), without, "{constraint:?}");
            assert_eq!(constraint.admits(&far), with, "{constraint:?}");
        }
    }

    #[test]
    fn one_group_has_to_hold_as_a_whole() {
        let is = |name: &str, value: &str| Constraint {
            selector: Selector::Named(name.to_owned()),
            predicate: Predicate::TextEquals(value.to_owned()),
        };
        for (groups, expected) in [
            (vec![vec![is("rack", "r1"), is("slots", "any")]], true),
            (vec![vec![is("rack", "r1"), is("gpu", "any")]], false),
            (vec![vec![is("gpu", "any")], vec![is("rack", "r1")]], true),
            (vec![vec![is("gpu", "any")], vec![is("rack", "r2")]], false),
        ] {
            let constraints = RoleConstraints(groups);
            assert_eq!(constraints.admit(&agent()), expected, "{constraints:?}");
        }
    }

    #[test]
    fn equal_constraints_are_one_class_and_a_number_forgets_its_past() {
        let on = |name: &str| {
            let constraint = Constraint {
                selector: Selector::Named(name.to_owned()),
                predicate: Predicate::Exists,
            };
            Arc::new(RoleConstraints(vec![vec![constraint]]))
        };
        let (mut classes, mut verdicts, agent) = (Classes::default(), Verdicts::default(), agent());
        let rack = classes.enter(&on("rack"));
        assert_eq!(rack, classes.enter(&on("rack")));
        let gpu = classes.enter(&on("gpu"));
        for _ in 0..2 {
            assert!(classes.admit(rack, &agent, &verdicts));
            assert!(!classes.admit(gpu, &agent, &verdicts));
        }
        assert_eq!((verdicts.get(rack), verdicts.get(40)), (Some(true), None));
        assert!(!classes.leave(rack));
        assert!(classes.leave(rack));
        verdicts.forget(rack);
        assert_eq!(classes.enter(&on("none")), rack);
        assert!(!classes.admit(rack, &agent, &verdicts));
        assert_eq!(verdicts.get(gpu), Some(false));
    }
}

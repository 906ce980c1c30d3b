//! The text form: `cpus:4; mem:1024; ports(role):[31000-32000]`, as flags give it and as Mesos prints it.

use super::kind::Reservation;
use super::resource::{Name, Resource, ResourceError};
use super::{Quantities, Resources, Scalar};
use crate::Role;
use std::fmt;
use std::str::FromStr;

fn bad(text: &str, problem: impl Into<String>) -> ResourceError {
    ResourceError::Text {
        text: text.to_owned(),
        problem: problem.into(),
    }
}

/// The parts between semicolons that are not blank, each split at its colon.
fn parts(text: &str) -> impl Iterator<Item = Result<(&str, &str), ResourceError>> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part
                .split_once(':')
                .ok_or_else(|| bad(part, "expected name:value"))?;
            Ok((name.trim(), value.trim()))
        })
}

fn number(text: &str, value: &str) -> Result<f64, ResourceError> {
    value
        .parse()
        .map_err(|_| bad(text, "expected a number, [begin-end, ...] or {item, ...}"))
}

fn value(name: Name, value: &str) -> Result<Resource, ResourceError> {
    let between = |open, close| {
        value
            .strip_prefix(open)
            .and_then(|rest: &str| rest.strip_suffix(close))
    };
    let items = |list: &str| -> Vec<String> {
        list.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    };
    if let Some(list) = between('[', ']') {
        let pairs = items(list)
            .iter()
            .map(|item| {
                let (begin, end) = item.split_once('-').unwrap_or((item, item));
                let bound = |n: &str| {
                    n.trim()
                        .parse::<u64>()
                        .map_err(|_| bad(value, "expected begin-end"))
                };
                Ok((bound(begin)?, bound(end)?))
            })
            .collect::<Result<Vec<_>, ResourceError>>()?;
        Resource::ranges(name, pairs)
    } else if let Some(list) = between('{', '}') {
        Resource::set(name, items(list))
    } else {
        let number = number(value, value)?;
        Resource::scalar(name, number)
    }
}

impl FromStr for Resources {
    type Err = ResourceError;

    /// Reads `name:value` or `name(role):value`, separated by semicolons; a value is a number, `[1-2, 5-9]` or `{a, b}`. With a
    /// role other than `*` the resource is statically reserved for it.
    fn from_str(text: &str) -> Result<Resources, ResourceError> {
        let mut resources = Resources::new();
        for part in parts(text) {
            let (name, amount) = part?;
            let (name, role) = match name.split_once('(') {
                None => (name, None),
                Some((plain, rest)) => {
                    let role = rest
                        .strip_suffix(')')
                        .ok_or_else(|| bad(name, "missing ')'"))?
                        .trim();
                    let role = Role::new(role).map_err(|error| bad(name, error.to_string()))?;
                    (plain.trim(), Some(role).filter(|role| !role.is_star()))
                }
            };
            let resource = value(Name::from(name), amount)?;
            resources += match role {
                Some(role) => resource.reserved(Reservation::fixed(role))?,
                None => resource,
            };
        }
        Ok(resources)
    }
}

impl FromStr for Quantities {
    type Err = ResourceError;

    /// Reads `cpus:0.01;mem:32`: scalars only.
    fn from_str(text: &str) -> Result<Quantities, ResourceError> {
        let mut quantities = Quantities::new();
        for part in parts(text) {
            let (name, amount) = part?;
            let scalar =
                Scalar::from_f64(number(amount, amount)?).filter(|scalar| *scalar >= Scalar::ZERO);
            let name = Name::from(name);
            let scalar = scalar.ok_or_else(|| ResourceError::Scalar { name: name.clone() })?;
            quantities.set(&name, quantities.get(&name) + scalar);
        }
        Ok(quantities)
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, resource) in self.iter().enumerate() {
            write!(f, "{}{resource}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_mesos_reads_and_prints_what_it_prints() {
        for (text, printed) in [
            ("", ""),
            (
                "cpus:4;mem:1024;ports:[31000-32000]",
                "cpus:4; mem:1024; ports:[31000-32000]",
            ),
            (" mem : 10.5 ; cpus(*):0.1; ", "cpus:0.1; mem:10.5"),
            ("ports:[5-9, 1-2]", "ports:[1-2, 5-9]"),
            ("names:{b, a}", "names:{a, b}"),
            ("cpus(eng/a):2", "cpus(reservations: [(STATIC,eng/a)]):2"),
            ("cpus:1;cpus:0.5;disk:0", "cpus:1.5"),
            ("bandwidth:3;gpus:1", "gpus:1; bandwidth:3"),
        ] {
            assert_eq!(
                text.parse::<Resources>().map(|r| r.to_string()).as_deref(),
                Ok(printed),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "cpus",
            "cpus:",
            "cpus:x",
            ":1",
            "cpus:-1",
            "cpus:0.0001",
            "cpus:nan",
            "cpus:inf",
            "cpus:[1-2]",
            "ports:5",
            "ports:[9-5]",
            "ports:[1-5,5-6]",
            "ports:[1-x]",
            "names:{a,a}",
            "cpus(a:1",
            "cpus(a b):1",
            "cpus(..):1",
            "ports:[1-2",
            "cpus:{a}",
            "ports:[1-99999999999999999999]",
        ] {
            assert!(text.parse::<Resources>().is_err(), "{text}");
        }
    }

    #[test]
    fn quantities() {
        assert_eq!(
            "cpus:0.01;mem:32"
                .parse::<Quantities>()
                .unwrap()
                .to_string(),
            "cpus:0.01; mem:32"
        );
        assert!("ports:[1-2]".parse::<Quantities>().is_err());
        assert!("cpus:-1".parse::<Quantities>().is_err());
    }
}

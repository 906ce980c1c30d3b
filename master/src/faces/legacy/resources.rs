//! Resources as the legacy endpoints show them: one object of amounts, `{"cpus":1.0,…,"ports":"[31000-32000]"}`.

use tepui_proto::mesos::{Attribute, Resource, value};

use super::json::{self, Object};
use crate::view::{Amounts, merged};

const ALWAYS: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

impl Amounts {
    /// The members of a `RES` object.
    fn fill(&self, object: &mut Object<'_>) {
        for name in ALWAYS {
            object.double(name, self.scalar(name));
        }
        for (name, amount) in self
            .scalars
            .iter()
            .filter(|(name, _)| !ALWAYS.contains(&name.as_str()))
        {
            object.double(name, *amount as f64 / 1000.0);
        }
        for (name, ranges) in &self.ranges {
            object.string(name, &ranges_text(ranges));
        }
        for (name, items) in &self.sets {
            object.string(name, &format!("{{{}}}", items.join(", ")));
        }
    }

    /// Appends the `RES` object.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        json::object(out, |object| self.fill(object));
    }
}

fn ranges_text(ranges: &[(u64, u64)]) -> String {
    let parts: Vec<String> = merged(ranges)
        .into_iter()
        .map(|(begin, end)| format!("{begin}-{end}"))
        .collect();
    format!("[{}]", parts.join(", "))
}

/// The role that a resource is reserved for, the innermost of several; `None` if it is not.
pub(crate) fn reserved_for(resource: &Resource) -> Option<&str> {
    let refined = resource
        .reservations
        .last()
        .and_then(|reservation| reservation.role.as_deref());
    refined
        .or(resource.role.as_deref())
        .filter(|role| *role != "*")
}

/// The role that a resource is allocated to.
pub(crate) fn allocated_to(resource: &Resource) -> Option<&str> {
    resource
        .allocation_info
        .as_ref()
        .and_then(|info| info.role.as_deref())
}

/// Appends an agent's attributes: one member each, scalars as numbers, everything else as text.
pub(crate) fn attributes(attributes: &[Attribute], out: &mut Vec<u8>) {
    json::object(out, |object| {
        for attribute in attributes {
            let name = &attribute.name;
            match (
                &attribute.scalar,
                &attribute.text,
                &attribute.ranges,
                &attribute.set,
            ) {
                (Some(value::Scalar { value }), ..) => object.double(name, *value),
                (_, Some(text), ..) => object.string(name, &text.value),
                (_, _, Some(ranges), _) => {
                    let pairs: Vec<_> = ranges
                        .range
                        .iter()
                        .map(|range| (range.begin, range.end))
                        .collect();
                    object.string(name, &ranges_text(&pairs));
                }
                (.., Some(set)) => object.string(name, &format!("{{{}}}", set.item.join(", "))),
                _ => {}
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(name: &str, value: f64) -> Resource {
        Resource {
            name: name.to_owned(),
            scalar: Some(value::Scalar { value }),
            ..Resource::default()
        }
    }

    fn ports(begin: u64, end: u64) -> Resource {
        let ranges = value::Ranges {
            range: vec![value::Range { begin, end }],
        };
        Resource {
            name: "ports".to_owned(),
            ranges: Some(ranges),
            ..Resource::default()
        }
    }

    #[test]
    fn amounts_add_up_and_show_as_mesos_shows_them() {
        let mut revocable = scalar("cpus", 2.0);
        revocable.revocable = Some(Default::default());
        for (resources, expected) in [
            (vec![], r#"{"cpus":0.0,"gpus":0.0,"mem":0.0,"disk":0.0}"#),
            (
                vec![scalar("cpus", 0.1), scalar("cpus", 0.2)],
                r#"{"cpus":0.3,"gpus":0.0,"mem":0.0,"disk":0.0}"#,
            ),
            (
                vec![
                    ports(5, 6),
                    ports(1, 2),
                    ports(3, 3),
                    scalar("bandwidth", 7.0),
                    revocable,
                ],
                r#"{"cpus":0.0,"gpus":0.0,"mem":0.0,"disk":0.0,"bandwidth":7.0,"cpus_revocable":2.0,"ports":"[1-3, 5-6]"}"#,
            ),
        ] {
            let mut out = Vec::new();
            Amounts::of(&resources).write(&mut out);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
        assert_eq!(
            Amounts::of(&[ports(1, 10)])
                .quantities()
                .collect::<Vec<_>>(),
            [("ports", 10.0)]
        );
    }
}

//! Writes the tables by which `wire` checks encoded messages, and the code that forgets unknown enum numbers.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::schema::{Field, FieldLabel, Kind, Schema};

/// The source text of all tables and impls.
pub(crate) fn generate(schema: &Schema) -> String {
    let interesting = interesting(schema);
    let enums = with_enums(schema);
    let mut text = String::new();
    for (position, message) in schema.messages.iter().enumerate() {
        if message.is_map_entry && !interesting.contains(&position) {
            continue;
        }
        let required: Vec<&Field> = message
            .fields
            .iter()
            .filter(|field| field.label == FieldLabel::Required)
            .collect();
        let mut fields = String::new();
        let highest = message
            .fields
            .iter()
            .map(|field| field.number)
            .max()
            .unwrap_or(0);
        assert!(
            highest < 256,
            "{}: field numbers index a small table",
            message.name
        );
        let mut by_number = vec![0u8; highest as usize + 1];
        for (index, field) in message.fields.iter().enumerate() {
            by_number[field.number as usize] = index as u8 + 1;
            let bit = required
                .iter()
                .position(|other| other.number == field.number);
            let kind = match &field.kind {
                Kind::Enum(rust) => format!("Kind::Enum({rust}::is_valid)"),
                Kind::Message(name) => match schema.position(name) {
                    Some(of) if interesting.contains(&of) => format!("Kind::Message(&SHAPE_{of})"),
                    _ => "Kind::Opaque".to_owned(),
                },
                _ => "Kind::Opaque".to_owned(),
            };
            let repeated = matches!(field.label, FieldLabel::Repeated | FieldLabel::Map);
            let _ = write!(
                fields,
                "Field {{ name: \"{}\", kind: {kind}, required: {}, repeated: {repeated} }}, ",
                field.name,
                bit.map_or(0, |bit| 1u64 << bit),
            );
        }
        let all = required
            .iter()
            .enumerate()
            .fold(0u64, |all, (bit, _)| all | 1 << bit);
        let _ = writeln!(
            text,
            "static SHAPE_{position}: Shape = Shape {{ fields: &[{fields}], by_number: &{by_number:?}, required: {all} }};"
        );
        if message.is_map_entry {
            continue;
        }
        let _ = writeln!(
            text,
            "impl Checked for {} {{\nfn shape() -> &'static Shape {{ &SHAPE_{position} }}",
            message.rust
        );
        if enums.contains(&position) {
            text.push_str("fn forget_unknown_enums(&mut self) {\n");
            for field in &message.fields {
                forget(schema, &enums, field, &mut text);
            }
            text.push_str("}\n");
        }
        text.push_str("}\n");
    }
    text
}

fn forget(schema: &Schema, enums: &BTreeSet<usize>, field: &Field, text: &mut String) {
    let rust = &field.rust;
    let below = |name: &str| {
        schema
            .position(name)
            .is_some_and(|position| enums.contains(&position))
    };
    let line = match (&field.kind, field.label, &field.variant) {
        (_, FieldLabel::Map, _) => {
            let Kind::Message(entry) = &field.kind else {
                unreachable!("maps are messages")
            };
            match &schema.entry(entry).1.kind {
                Kind::Message(name) if below(name) => {
                    format!("self.{rust}.values_mut().for_each(Checked::forget_unknown_enums);")
                }
                _ => return,
            }
        }
        (Kind::Enum(of), FieldLabel::Optional, None) => {
            format!("self.{rust} = self.{rust}.filter(|number| {of}::is_valid(*number));")
        }
        (Kind::Enum(of), FieldLabel::Optional, Some(variant)) => {
            format!(
                "if let Some({variant}(number)) = self.{rust} && !{of}::is_valid(number) {{ self.{rust} = None; }}"
            )
        }
        (Kind::Enum(of), FieldLabel::Repeated, _) => {
            format!("self.{rust}.retain(|number| {of}::is_valid(*number));")
        }
        (Kind::Message(name), label, variant) if below(name) => match (label, variant) {
            (FieldLabel::Required, _) => format!("self.{rust}.forget_unknown_enums();"),
            (FieldLabel::Repeated, _) => {
                format!("self.{rust}.iter_mut().for_each(Checked::forget_unknown_enums);")
            }
            (_, Some(variant)) => {
                format!(
                    "if let Some({variant}(value)) = &mut self.{rust} {{ value.forget_unknown_enums(); }}"
                )
            }
            (_, None) => {
                format!("if let Some(value) = &mut self.{rust} {{ value.forget_unknown_enums(); }}")
            }
        },
        _ => return,
    };
    let _ = writeln!(text, "{line}");
}

/// Messages in which something can be wrong: a required field or an enum, here or further down. The rest need not be walked.
fn interesting(schema: &Schema) -> BTreeSet<usize> {
    closure(schema, |field| {
        field.label == FieldLabel::Required || matches!(field.kind, Kind::Enum(_))
    })
}

/// Messages with an enum that may be forgotten, here or further down.
fn with_enums(schema: &Schema) -> BTreeSet<usize> {
    closure(schema, |field| {
        field.label != FieldLabel::Required && matches!(field.kind, Kind::Enum(_))
    })
}

fn closure(schema: &Schema, direct: impl Fn(&Field) -> bool) -> BTreeSet<usize> {
    let mut set = BTreeSet::new();
    loop {
        let before = set.len();
        for (position, message) in schema.messages.iter().enumerate() {
            let found = message.fields.iter().any(|field| {
                direct(field)
                    || matches!(&field.kind, Kind::Message(name)
                        if schema.position(name).is_some_and(|position| set.contains(&position)))
            });
            if found {
                set.insert(position);
            }
        }
        if set.len() == before {
            return set;
        }
    }
}

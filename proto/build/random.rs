//! Writes, for the tests alone, an `impl Random` for every message: any message that has its required fields.

use std::fmt::Write;

use crate::schema::{Field, FieldLabel, Kind, Schema};

/// The source text of all impls.
pub(crate) fn generate(schema: &Schema) -> String {
    let mut text = String::new();
    for message in schema
        .messages
        .iter()
        .filter(|message| !message.is_map_entry)
    {
        let _ = writeln!(text, "impl Random for {} {{", message.rust);
        if message.fields.is_empty() {
            text.push_str("fn random(_: &mut Source) -> Self { Self::default() }\n}\n");
            continue;
        }
        text.push_str(
            "fn random(source: &mut Source) -> Self {\nlet mut message = Self::default();\n",
        );
        for field in &message.fields {
            let _ = writeln!(text, "{}", statement(schema, field));
        }
        text.push_str("message\n}\n}\n");
    }
    text
}

fn statement(schema: &Schema, field: &Field) -> String {
    let rust = &field.rust;
    let value = value(schema, &field.kind);
    match (field.label, &field.variant) {
        (FieldLabel::Required, _) => format!("message.{rust} = {value};"),
        (FieldLabel::Optional, Some(variant)) => {
            format!("if source.chance() {{ message.{rust} = Some({variant}({value})); }}")
        }
        // JSON shows the defaults of unset fields, so that an unset field comes back set.
        (FieldLabel::Optional, None) if field.default.is_some() && !field.deprecated => {
            format!("message.{rust} = Some({value});")
        }
        (FieldLabel::Optional, None) => {
            format!("if source.chance() {{ message.{rust} = Some({value}); }}")
        }
        (FieldLabel::Repeated, _) => {
            format!(
                "for _ in 0..source.count() {{ let value = {value}; message.{rust}.push(value); }}"
            )
        }
        (FieldLabel::Map, _) => {
            let Kind::Message(entry) = &field.kind else {
                unreachable!("maps are messages")
            };
            let value = self::value(schema, &schema.entry(entry).1.kind);
            format!(
                "for _ in 0..source.count() {{ let (key, value) = (source.text(), {value}); message.{rust}.insert(key, value); }}"
            )
        }
    }
}

fn value(schema: &Schema, kind: &Kind) -> String {
    match kind {
        Kind::Double => "source.double()".to_owned(),
        Kind::Int32 => "source.integer() as i32".to_owned(),
        Kind::Int64 => "source.integer() as i64".to_owned(),
        Kind::Uint32 => "source.integer() as u32".to_owned(),
        Kind::Uint64 => "source.integer()".to_owned(),
        Kind::Bool => "source.chance()".to_owned(),
        Kind::String => "source.text()".to_owned(),
        Kind::Bytes => "source.bytes()".to_owned(),
        Kind::Enum(rust) => {
            let numbers: Vec<i32> = schema.enums[rust]
                .iter()
                .map(|(_, number)| *number)
                .collect();
            format!("source.pick(&{numbers:?})")
        }
        Kind::Message(_) => "source.message()".to_owned(),
    }
}

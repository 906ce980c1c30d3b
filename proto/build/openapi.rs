//! Writes the schemas of Mesos' messages as they are in JSON, for documents of HTTP APIs: JSON Schema as OpenAPI 3.1 has it, one for each
//! message, by its full name.

use crate::schema::{Field, FieldLabel, Kind, Schema};

/// One JSON object.
pub(crate) fn generate(schema: &Schema) -> String {
    let messages = schema
        .messages
        .iter()
        .filter(|message| !message.is_map_entry && message.name.starts_with("mesos."))
        .map(|message| {
            let properties = message
                .fields
                .iter()
                .map(|field| format!("\"{}\":{}", field.name, property(schema, field)));
            let required = message
                .fields
                .iter()
                .filter(|field| field.label == FieldLabel::Required)
                .map(|field| format!("\"{}\"", field.name));
            let required = match list(required) {
                none if none.is_empty() => String::new(),
                names => format!(",\"required\":[{names}]"),
            };
            format!(
                "\"{}\":{{\"type\":\"object\",\"properties\":{{{}}}{required}}}",
                message.name,
                list(properties)
            )
        });
    format!("{{{}}}", list(messages))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn property(schema: &Schema, field: &Field) -> String {
    match (field.label, &field.kind) {
        (FieldLabel::Map, Kind::Message(entry)) => format!(
            r#"{{"type":"object","additionalProperties":{}}}"#,
            value(schema, &schema.entry(entry).1.kind)
        ),
        (FieldLabel::Repeated, kind) => {
            format!(r#"{{"type":"array","items":{}}}"#, value(schema, kind))
        }
        (_, kind) => value(schema, kind),
    }
}

fn value(schema: &Schema, kind: &Kind) -> String {
    match kind {
        Kind::Double => r#"{"type":"number"}"#.to_owned(),
        Kind::Int32 | Kind::Uint32 => r#"{"type":"integer","format":"int32"}"#.to_owned(),
        Kind::Int64 | Kind::Uint64 => r#"{"type":"integer","format":"int64"}"#.to_owned(),
        Kind::Bool => r#"{"type":"boolean"}"#.to_owned(),
        Kind::String => r#"{"type":"string"}"#.to_owned(),
        Kind::Bytes => r#"{"type":"string","contentEncoding":"base64"}"#.to_owned(),
        Kind::Enum(rust) => {
            let names = schema.enums[rust].iter().map(|(name, _)| format!("\"{name}\""));
            format!(r#"{{"type":"string","enum":[{}]}}"#, list(names))
        }
        Kind::Message(name) if schema.position(name).is_some() => {
            format!(r##"{{"$ref":"#/components/schemas/{name}"}}"##)
        }
        // google.protobuf.Duration, the only one of its kind.
        Kind::Message(_) => {
            r#"{"type":"object","properties":{"seconds":{"type":"integer"},"nanos":{"type":"integer"}}}"#
                .to_owned()
        }
    }
}

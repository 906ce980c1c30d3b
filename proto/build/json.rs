//! Writes the JSON codec: an `impl Json` for every message of `mesos.v1`, straight-line code without tables or reflection.

use std::fmt::Write;

use crate::schema::{Field, FieldLabel, Kind, Message, Schema};

/// The source text of all impls.
pub(crate) fn generate(schema: &Schema) -> String {
    let mut text = String::new();
    for message in schema
        .messages
        .iter()
        .filter(|message| !message.is_map_entry && message.name.starts_with("mesos."))
    {
        let _ = writeln!(text, "impl Json for {} {{", message.rust);
        encoder(schema, message, &mut text);
        decoder(schema, message, &mut text);
        text.push_str("}\n");
    }
    text
}

/// Every value is followed by a comma; the last one becomes the closing brace.
fn encoder(schema: &Schema, message: &Message, text: &mut String) {
    text.push_str("fn write_json(&self, out: &mut Vec<u8>) {\nout.push(b'{');\n");
    for field in &message.fields {
        let key = format!("out.extend_from_slice(b\"\\\"{}\\\":\");", field.name);
        let rust = &field.rust;
        match (field.label, &field.variant) {
            (FieldLabel::Map, _) => {
                let Kind::Message(entry) = &field.kind else {
                    unreachable!("maps are messages")
                };
                let value = write_value(&schema.entry(entry).1.kind, "value");
                let _ = writeln!(
                    text,
                    "if !self.{rust}.is_empty() {{ {key} write::map(out, &self.{rust}, |out, value| {{ {value} }}); out.push(b','); }}"
                );
            }
            (FieldLabel::Repeated, _) => {
                let value = write_value(&field.kind, "value");
                let _ = writeln!(
                    text,
                    "if !self.{rust}.is_empty() {{ {key} out.push(b'['); for value in &self.{rust} {{ {} }} write::close(out, b']'); out.push(b','); }}",
                    guarded(&field.kind, &format!("{value} out.push(b',');"))
                );
            }
            (FieldLabel::Required, _) => {
                let value = write_value(&field.kind, "value");
                let _ = writeln!(
                    text,
                    "{{ let value = &self.{rust}; {} }}",
                    guarded(&field.kind, &format!("{key} {value} out.push(b',');"))
                );
            }
            (FieldLabel::Optional, Some(variant)) => {
                let value = write_value(&field.kind, "value");
                let _ = writeln!(
                    text,
                    "if let Some({variant}(value)) = &self.{rust} {{ {} }}",
                    guarded(&field.kind, &format!("{key} {value} out.push(b',');"))
                );
            }
            (FieldLabel::Optional, None) => {
                let value = write_value(&field.kind, "value");
                let unset = match &field.default {
                    Some(default) if !field.deprecated => {
                        let shown = default.replace('"', "\\\"");
                        format!(
                            "else {{ out.extend_from_slice(b\"\\\"{}\\\":{shown},\"); }}",
                            field.name
                        )
                    }
                    _ => String::new(),
                };
                let _ = writeln!(
                    text,
                    "if let Some(value) = &self.{rust} {{ {} }} {unset}",
                    guarded(&field.kind, &format!("{key} {value} out.push(b',');"))
                );
            }
        }
    }
    text.push_str("write::close(out, b'}');\n}\n");
}

/// A number that is no member of its enum is as good as unset.
fn guarded(kind: &Kind, statements: &str) -> String {
    match kind {
        Kind::Enum(rust) => {
            format!("if let Ok(value) = {rust}::try_from(*value) {{ {statements} }}")
        }
        _ => statements.to_owned(),
    }
}

/// Writes the value behind the reference `value`.
fn write_value(kind: &Kind, value: &str) -> String {
    match kind {
        Kind::Double => format!("write::double(out, *{value});"),
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => {
            format!("write::integer(out, *{value});")
        }
        Kind::Bool => format!("write::boolean(out, *{value});"),
        Kind::String => format!("write::string(out, {value});"),
        Kind::Bytes => format!("write::bytes(out, {value});"),
        Kind::Enum(_) => format!("write::name(out, {value}.as_str_name());"),
        Kind::Message(_) => format!("Json::write_json({value}, out);"),
    }
}

fn decoder(schema: &Schema, message: &Message, text: &mut String) {
    let required: Vec<&Field> = message
        .fields
        .iter()
        .filter(|field| field.label == FieldLabel::Required)
        .collect();
    assert!(
        required.len() <= 64,
        "{}: the set of required fields is kept in 64 bits",
        message.name
    );
    text.push_str("fn read_json(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {\n");
    if !required.is_empty() {
        text.push_str("let mut seen = 0u64;\n");
    }
    text.push_str("let mut object = reader.object()?;\nwhile let Some(key) = reader.key(&mut object)? {\nmatch &*key {\n");
    for field in &message.fields {
        let (name, rust) = (&field.name, &field.rust);
        let arm = match field.label {
            FieldLabel::Map => {
                let Kind::Message(entry) = &field.kind else {
                    unreachable!("maps are messages")
                };
                let value = read_value(&schema.entry(entry).1.kind);
                format!("reader.map(\"{name}\", &mut self.{rust}, |reader| {{ {value} }})?")
            }
            FieldLabel::Repeated => match &field.kind {
                Kind::Message(_) => format!("reader.messages(\"{name}\", &mut self.{rust})?"),
                kind => {
                    let value = read_value(kind);
                    let value = if matches!(kind, Kind::Enum(_)) {
                        value
                    } else {
                        format!("Ok(Some({value}?))")
                    };
                    format!(
                        "reader.repeated(\"{name}\", &mut self.{rust}, |reader| {{ {value} }})?"
                    )
                }
            },
            FieldLabel::Required => {
                let bit = required
                    .iter()
                    .position(|other| other.number == field.number)
                    .expect("it is one of them");
                let value = read_value(&field.kind);
                let value = value.replace("reader.enumeration(", "reader.required_enum(");
                format!(
                    "if reader.present(\"{name}\")? {{ self.{rust} = {value}?; seen |= 1 << {bit}; }}"
                )
            }
            FieldLabel::Optional => {
                let value = read_value(&field.kind);
                let set = match (&field.variant, &field.kind) {
                    (Some(variant), Kind::Enum(_)) => {
                        format!("self.{rust} = {value}?.map({variant})")
                    }
                    (Some(variant), _) => format!("self.{rust} = Some({variant}({value}?))"),
                    (None, Kind::Enum(_)) => format!("self.{rust} = {value}?"),
                    (None, _) => format!("self.{rust} = Some({value}?)"),
                };
                format!("if reader.present(\"{name}\")? {{ {set}; }}")
            }
        };
        let _ = writeln!(text, "\"{name}\" => {{ {arm} }}");
    }
    text.push_str("_ => reader.skip()?,\n}\n}\n");
    if !required.is_empty() {
        let names: Vec<String> = required
            .iter()
            .map(|field| format!("\"{}\"", field.name))
            .collect();
        let _ = writeln!(text, "reader.require(seen, &[{}])", names.join(", "));
    } else {
        text.push_str("Ok(())\n");
    }
    text.push_str("}\n");
}

/// An expression of type `Result<T, Error>`; for enums `Result<Option<i32>, Error>`, without a value for unknown names.
fn read_value(kind: &Kind) -> String {
    match kind {
        Kind::Double => "reader.double()".to_owned(),
        Kind::Int32 => "reader.integer::<i32>()".to_owned(),
        Kind::Int64 => "reader.integer::<i64>()".to_owned(),
        Kind::Uint32 => "reader.integer::<u32>()".to_owned(),
        Kind::Uint64 => "reader.integer::<u64>()".to_owned(),
        Kind::Bool => "reader.boolean()".to_owned(),
        Kind::String => "reader.string()".to_owned(),
        Kind::Bytes => "reader.bytes()".to_owned(),
        Kind::Enum(rust) => {
            format!("reader.enumeration(|name| {rust}::from_str_name(name).map(i32::from))")
        }
        Kind::Message(_) => "reader.message()".to_owned(),
    }
}

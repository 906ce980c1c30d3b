//! The JSON that people send and see, as JSON Schema (as OpenAPI 3.1 has it): one place that says every field, for the API's document and for
//! tests that hold real documents against it.
//!
//! The `.json` files beside this one hold each type once. A type that goes both ways has two forms, derived here: as it is *shown* (closed: no
//! other key is ever printed, and what is always there is required) and as it is *sent* (open, because unknown keys are ignored; what is not
//! required may be null). What the files say beyond JSON Schema: `x-shown` lists what is always shown, `readOnly` and `writeOnly` members are
//! of one form only, as are types with `x-only`; `x-extends` takes the members of another type over, `x-sent` says what is different when it is
//! sent, `x-event` marks an event, and `$ref` is the bare name of a type.
//!
//! Not said: enumerations are read in any letter case, and rules over several fields.

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

const FILES: [&str; 5] = [
    include_str!("app.json"),
    include_str!("pod.json"),
    include_str!("answers.json"),
    include_str!("v3.json"),
    include_str!("events.json"),
];

/// What the name of the sent form ends with.
const SENT: &str = "Sent";
/// An app of which everything may be left out.
const UPDATE: &str = "AppUpdate";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Shown,
    Sent,
}

/// All schemas by name; references point below `#/components/schemas/`.
#[must_use]
pub fn all() -> Map<String, Value> {
    let types = Types::read();
    let mut all = Map::new();
    for (name, given) in &types.0 {
        let only = given["x-only"].as_str();
        if only != Some("sent") {
            all.insert(name.clone(), types.form(given, Form::Shown));
        }
        if only != Some("shown") && !types.is_alike(name, given) {
            let sent = types.form(given, Form::Sent);
            all.insert(types.name(name, Form::Sent), sent);
        }
    }
    if let Some(mut update) = all.get(&format!("App{SENT}")).cloned() {
        update["description"] = json!(
            "An app definition of which everything may be left out; `version` alone, or with `id`, goes back to that version."
        );
        if let Value::Object(members) = &mut update {
            members.remove("required");
        }
        all.insert(UPDATE.to_owned(), update);
    }
    let events: Vec<Value> = types
        .0
        .iter()
        .filter(|(_, given)| given["x-event"] == true)
        .map(|(name, _)| json!({ "$ref": format!("#/components/schemas/{name}") }))
        .collect();
    let described = "The `data:` line of an event; `eventType` tells which.";
    all.insert(
        "Event".to_owned(),
        json!({ "description": described, "oneOf": events, "discriminator": { "propertyName": "eventType" } }),
    );
    all
}

struct Types(Map<String, Value>);

impl Types {
    fn read() -> Self {
        let mut types = Map::new();
        for file in FILES {
            // They are part of the program, and a test reads them.
            let more: Map<String, Value> = serde_json::from_str(file).unwrap_or_default();
            types.extend(more);
        }
        let mut all = Self(types);
        let events: Vec<String> = all
            .0
            .iter()
            .filter(|(_, given)| given["x-event"] == true)
            .map(|(name, _)| name.clone())
            .collect();
        for name in events {
            let event = &mut all.0[&name];
            event["type"] = json!("object");
            event["x-only"] = json!("shown");
            event["properties"]["eventType"] = json!({ "type": "string", "const": name });
            event["properties"]["timestamp"] = json!({ "$ref": "Timestamp" });
            let mut always = event["x-shown"].as_array().cloned().unwrap_or_default();
            always.extend([json!("eventType"), json!("timestamp")]);
            event["x-shown"] = always.into();
        }
        all
    }

    /// The name of a type in a form.
    fn name(&self, name: &str, form: Form) -> String {
        let given = self.0.get(name).unwrap_or(&Value::Null);
        if form == Form::Shown || given["x-only"].is_string() || self.is_alike(name, given) {
            name.to_owned()
        } else {
            format!("{name}{SENT}")
        }
    }

    /// Whether both forms are the same.
    fn is_alike(&self, name: &str, given: &Value) -> bool {
        given["x-only"].is_null() && name != "App" && self.has_one_form(given)
    }

    fn has_one_form(&self, schema: &Value) -> bool {
        match schema {
            Value::Object(members) => {
                let different = ["properties", "x-sent", "x-shown", "default"];
                !different.iter().any(|key| members.contains_key(*key))
                    && members.iter().all(|(key, value)| match value {
                        Value::String(name) if key == "$ref" => {
                            let given = self.0.get(name).unwrap_or(&Value::Null);
                            self.has_one_form(given)
                        }
                        value => self.has_one_form(value),
                    })
            }
            Value::Array(items) => items.iter().all(|item| self.has_one_form(item)),
            _ => true,
        }
    }

    fn form(&self, schema: &Value, form: Form) -> Value {
        match schema {
            Value::Object(members) => self.object(members, form),
            Value::Array(items) => items.iter().map(|item| self.form(item, form)).collect(),
            other => other.clone(),
        }
    }

    fn object(&self, members: &Map<String, Value>, form: Form) -> Value {
        if let Some(base) = members.get("x-extends").and_then(Value::as_str) {
            return self.extended(base, members, form);
        }
        let mut made = Map::new();
        for (key, value) in members {
            match (key.as_str(), value) {
                ("$ref", Value::String(name)) if name == UPDATE => {
                    made.insert(key.clone(), json!(format!("#/components/schemas/{UPDATE}")));
                }
                ("$ref", Value::String(name)) => {
                    let name = self.name(name, form);
                    made.insert(key.clone(), json!(format!("#/components/schemas/{name}")));
                }
                ("properties", Value::Object(properties)) => {
                    let required = members.get("required");
                    let properties = self.properties(properties, required, form);
                    made.insert(key.clone(), properties);
                }
                ("required", _) if form == Form::Shown => {}
                ("default", _) if form == Form::Shown => {}
                (key, _) if key.starts_with("x-") => {}
                // They are said by the form.
                ("readOnly" | "writeOnly", _) => {}
                (_, value) => {
                    let value = match key.as_str() {
                        "enum" | "const" | "default" | "pattern" => value.clone(),
                        _ => self.form(value, form),
                    };
                    made.insert(key.clone(), value);
                }
            }
        }
        match form {
            Form::Shown => {
                if let Some(always) = members.get("x-shown") {
                    made.insert("required".to_owned(), always.clone());
                }
                if made.contains_key("properties") && !made.contains_key("additionalProperties") {
                    made.insert("additionalProperties".to_owned(), json!(false));
                }
            }
            Form::Sent => {
                let other = members.get("x-sent").and_then(Value::as_object);
                for (key, value) in other.into_iter().flatten() {
                    match value {
                        Value::Null => made.remove(key),
                        value => made.insert(key.clone(), value.clone()),
                    };
                }
            }
        }
        Value::Object(made)
    }

    fn properties(
        &self,
        given: &Map<String, Value>,
        required: Option<&Value>,
        form: Form,
    ) -> Value {
        let hidden = match form {
            Form::Shown => "writeOnly",
            Form::Sent => "readOnly",
        };
        let required = required
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let mut made = Map::new();
        for (name, schema) in given.iter().filter(|(_, schema)| schema[hidden] != true) {
            let schema = self.form(schema, form);
            let may_be_null = form == Form::Sent && !required.iter().any(|one| one == name);
            made.insert(
                name.clone(),
                if may_be_null {
                    nullable(schema)
                } else {
                    schema
                },
            );
        }
        Value::Object(made)
    }

    fn extended(&self, base: &str, members: &Map<String, Value>, form: Form) -> Value {
        let mut whole = self.0.get(base).cloned().unwrap_or_default();
        // What is extended may extend another.
        while let Some(further) = whole["x-extends"].as_str().map(str::to_owned) {
            let below = self.0.get(&further).cloned().unwrap_or_default();
            whole = joined(below, &whole);
        }
        let whole = joined(whole, &Value::Object(members.clone()));
        self.form(&whole, form)
    }
}

/// `base` with the members, the description and what is always shown of `more`.
fn joined(base: Value, more: &Value) -> Value {
    let mut whole = base;
    if let (Value::Object(members), Some(added)) =
        (&mut whole["properties"], more["properties"].as_object())
    {
        members.extend(added.clone());
    }
    let mut always = whole["x-shown"].as_array().cloned().unwrap_or_default();
    always.extend(more["x-shown"].as_array().cloned().unwrap_or_default());
    whole["x-shown"] = always.into();
    whole["description"] = more["description"].clone();
    if let Value::Object(members) = &mut whole {
        members.remove("x-extends");
    }
    whole
}

fn nullable(schema: Value) -> Value {
    let mut schema = schema;
    let kind = schema["type"].as_str().map(str::to_owned);
    match kind {
        Some(kind) => {
            schema["type"] = json!([kind, "null"]);
            if let Some(names) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                names.push(Value::Null);
            }
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

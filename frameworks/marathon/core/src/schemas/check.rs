//! Holds a document against a schema. It knows the words that the schemas use, and no others: one that is new is a fault of the schema.

use serde_json::{Map, Value};

/// What annotates and demands nothing.
const SILENT: [&str; 4] = ["description", "default", "deprecated", "discriminator"];

/// The first thing that is wrong with `value`, with its place.
pub(crate) fn fault(
    value: &Value,
    schema: &Value,
    all: &Map<String, Value>,
    at: &str,
) -> Option<String> {
    let rules = match schema {
        Value::Bool(true) => return None,
        Value::Object(rules) => rules,
        other => return Some(format!("{at}: {other} is no schema")),
    };
    rules
        .iter()
        .find_map(|(word, rule)| breach(value, word, rule, rules, all, at))
}

/// As [`fault`], for a schema by its name.
pub(crate) fn fault_of(value: &Value, name: &str, all: &Map<String, Value>) -> Option<String> {
    let schema = all.get(name).unwrap_or_else(|| panic!("no schema {name}"));
    fault(value, schema, all, "")
}

fn breach(
    value: &Value,
    word: &str,
    rule: &Value,
    rules: &Map<String, Value>,
    all: &Map<String, Value>,
    at: &str,
) -> Option<String> {
    let told = |holds: bool| (!holds).then(|| format!("{at}: {value} breaks {word} {rule}"));
    let limit = rule.as_f64().unwrap_or(f64::NAN);
    match (word, value) {
        ("$ref", _) => {
            let name = rule.as_str()?.strip_prefix("#/components/schemas/");
            let schema = name.and_then(|name| all.get(name));
            schema.map_or_else(
                || Some(format!("{at}: {rule} leads nowhere")),
                |schema| fault(value, schema, all, at),
            )
        }
        ("type", _) => told(match rule {
            Value::Array(kinds) => kinds.iter().any(|kind| is_a(value, kind)),
            kind => is_a(value, kind),
        }),
        // Enumerations are read in any letter case.
        ("enum", Value::String(text)) => {
            let names = rule.as_array()?.iter().filter_map(Value::as_str);
            told(
                names
                    .into_iter()
                    .any(|name| name.eq_ignore_ascii_case(text)),
            )
        }
        ("enum", _) => told(rule.as_array()?.contains(value)),
        ("const", _) => told(rule == value),
        ("minimum", Value::Number(number)) => told(number.as_f64()? >= limit),
        ("maximum", Value::Number(number)) => told(number.as_f64()? <= limit),
        ("minLength", Value::String(text)) => told(text.chars().count() as f64 >= limit),
        ("maxLength", Value::String(text)) => told(text.chars().count() as f64 <= limit),
        ("pattern", Value::String(text)) => {
            let pattern = regex::Regex::new(rule.as_str()?).expect("a regular expression");
            told(pattern.is_match(text))
        }
        ("minItems", Value::Array(items)) => told(items.len() as f64 >= limit),
        ("maxItems", Value::Array(items)) => told(items.len() as f64 <= limit),
        ("items", Value::Array(items)) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(place, item)| fault(item, rule, all, &format!("{at}/{place}")))
        }
        ("required", Value::Object(members)) => {
            let mut names = rule.as_array()?.iter().filter_map(Value::as_str);
            let missing = names.find(|name| !members.contains_key(*name));
            missing.map(|name| format!("{at}: {name} is missing"))
        }
        ("properties", Value::Object(members)) => members.iter().find_map(|(name, member)| {
            fault(member, rule.get(name)?, all, &format!("{at}/{name}"))
        }),
        ("propertyNames", Value::Object(members)) => {
            let mut names = members.keys();
            names.find_map(|name| {
                fault(
                    &Value::from(name.as_str()),
                    rule,
                    all,
                    &format!("{at}/{name}"),
                )
            })
        }
        ("additionalProperties", Value::Object(members)) => {
            let known = rules.get("properties").and_then(Value::as_object);
            let mut more = members
                .iter()
                .filter(|(name, _)| !known.is_some_and(|known| known.contains_key(*name)));
            match rule {
                Value::Bool(false) => more
                    .next()
                    .map(|(name, _)| format!("{at}: {name} is not known")),
                rule => more
                    .find_map(|(name, member)| fault(member, rule, all, &format!("{at}/{name}"))),
            }
        }
        ("anyOf", _) => {
            let mut faults = Vec::new();
            for one in rule.as_array()? {
                faults.push(fault(value, one, all, at)?);
            }
            Some(faults.join(" and "))
        }
        ("oneOf", _) => {
            let fits = rule
                .as_array()?
                .iter()
                .filter(|one| fault(value, one, all, at).is_none());
            told(fits.count() == 1)
        }
        (word, _) if SILENT.contains(&word) => None,
        (
            "minimum"
            | "maximum"
            | "minLength"
            | "maxLength"
            | "pattern"
            | "minItems"
            | "maxItems"
            | "items"
            | "required"
            | "properties"
            | "propertyNames"
            | "additionalProperties",
            _,
        ) => None,
        (word, _) => Some(format!("{at}: {word} is not understood")),
    }
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("number") => value.is_number(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => false,
    }
}

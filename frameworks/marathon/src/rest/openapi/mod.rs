//! The API as an OpenAPI document, made from [`table`] and the schemas of the core, and the page of the documentation.

mod endpoint;
mod table;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use endpoint::{Answer, Carries, Endpoint, Takes};
use table::{ALWAYS, table};

static DOCUMENT: LazyLock<bytes::Bytes> = LazyLock::new(|| {
    // A Value always has a text.
    serde_json::to_vec(&made()).unwrap_or_default().into()
});

/// `/v3/openapi.json`
pub(super) fn document() -> bytes::Bytes {
    DOCUMENT.clone()
}

/// What Marathon called types, when it had JSON schemas.
const OTHER_NAMES: [(&str, &str); 2] = [("AppDefinition", "AppSent"), ("PodDefinition", "PodSent")];

/// Media types of YAML and JSON.
const BODIES: [&str; 2] = ["application/json", "application/yaml"];

fn made() -> Value {
    let mut paths = Map::new();
    for endpoint in table() {
        let methods = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        methods[endpoint.method.to_lowercase()] = operation(endpoint);
    }
    let mut schemas = tepui_marathon_core::schemas::all();
    let shown = |items: &str| json!({ "type": "array", "items": reference(items) });
    schemas.insert("AppList".to_owned(), shown("AppInGroup"));
    for (name, what) in [
        ("Document", "An OpenAPI document."),
        ("Schema", "A JSON schema, draft 2020-12."),
    ] {
        schemas.insert(
            name.to_owned(),
            json!({ "type": "object", "description": what }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tepui's Marathon",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Paths below /v2 are Marathon's, those below /v3 Tepui's own. Followers pass every request on to the leader. Ids of \
                apps, pods and groups are paths: their slashes stand in URLs as they are, or as %2F, and empty segments are passed over. In \
                bodies unknown keys are ignored, null is as good as absence, and enumerations are read in any letter case.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": schemas, "headers": headers() },
    })
}

/// A schema that stands alone. Marathon's own names of long ago are known too.
pub(super) fn schema(name: &str) -> Option<Value> {
    let mut all = tepui_marathon_core::schemas::all();
    let other = OTHER_NAMES.into_iter().find(|(other, _)| *other == name);
    let name = other.map_or(name, |(_, name)| name);
    let mut needed = vec![name.to_owned()];
    let mut definitions = Map::new();
    while let Some(name) = needed.pop() {
        if let Some(mut schema) = all.remove(&name) {
            stand_alone(&mut schema, &mut needed);
            definitions.insert(name, schema);
        }
    }
    definitions.contains_key(name).then(|| {
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": format!("#/$defs/{name}"), "$defs": definitions })
    })
}

/// Has references lead to definitions of the same document, and says which these are.
fn stand_alone(schema: &mut Value, needed: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/components/schemas/") {
                            needed.push(name.to_owned());
                            *text = format!("#/$defs/{name}");
                        }
                    }
                    value => stand_alone(value, needed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| stand_alone(item, needed)),
        _ => {}
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn headers() -> Value {
    let text = |what: &str| json!({ "description": what, "schema": { "type": "string" } });
    json!({
        "Location": text("The id of what is new, or where to go."),
        "Marathon-Deployment-Id": text("The deployment that has begun."),
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = json!({ "summary": endpoint.what, "operationId": operation_id(endpoint) });
    let in_path = endpoint
        .path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(in_path);
    let in_query = endpoint.parameters.iter().map(|parameter| {
        let (schema, required) = match &parameter.takes {
            Takes::Flag(default) => (json!({ "type": "boolean", "default": default }), false),
            Takes::One => (json!({ "type": "string" }), false),
            Takes::Many([]) => (json!({ "type": "array", "items": { "type": "string" } }), false),
            Takes::Many(known) => (json!({ "type": "array", "items": { "type": "string", "enum": known } }), false),
            Takes::Counted { required } => (json!({ "type": "integer", "minimum": 1 }), *required),
        };
        json!({ "name": parameter.name, "in": "query", "required": required, "description": parameter.what, "schema": schema })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = endpoint.body {
        let content: Map<String, Value> = BODIES
            .into_iter()
            .map(|media_type| {
                (
                    media_type.to_owned(),
                    json!({ "schema": reference(schema) }),
                )
            })
            .collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    let good = endpoint
        .answers
        .iter()
        .map(|answer| (answer.status.to_string(), answered(answer)));
    let refusals = endpoint.refusals.iter().chain(ALWAYS);
    let refused = refusals.map(|(status, when)| {
        let content = json!({ "application/json": { "schema": reference("Error") } });
        (
            status.to_string(),
            json!({ "description": when, "content": content }),
        )
    });
    let answers: Map<String, Value> = good.chain(refused).collect();
    operation["responses"] = answers.into();
    operation
}

fn answered(answer: &Answer) -> Value {
    let mut answered = json!({ "description": answer.what });
    let content = match answer.carries {
        Carries::Empty => None,
        Carries::Json(schema) => {
            Some(json!({ "application/json": { "schema": reference(schema) } }))
        }
        Carries::Text => Some(json!({
            "text/plain": { "schema": { "type": "string" } },
            "text/html": { "schema": { "type": "string" } },
            "application/json": { "schema": { "type": "string" } },
        })),
        Carries::Backup => {
            Some(json!({ "application/x-ndjson": { "schema": { "type": "string" } } }))
        }
        Carries::Page(media_type) => {
            Some(json!({ media_type: { "schema": { "type": "string" } } }))
        }
        Carries::Events => Some(json!({ "text/event-stream": { "schema": { "type": "string" } } })),
    };
    if let Some(content) = content {
        answered["content"] = content;
    }
    if !answer.headers.is_empty() {
        let headers: Map<String, Value> = answer
            .headers
            .iter()
            .map(|name| {
                (
                    (*name).to_owned(),
                    json!({ "$ref": format!("#/components/headers/{name}") }),
                )
            })
            .collect();
        answered["headers"] = headers.into();
    }
    answered
}

/// `get_v2_apps_id`: unique, because no two paths differ in their signs alone.
fn operation_id(endpoint: &Endpoint) -> String {
    let mut id = endpoint.method.to_lowercase();
    let path = endpoint.path.replace('*', "all");
    for word in path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        id.push('_');
        id.push_str(word);
    }
    id
}

fn in_path(name: &str) -> Value {
    const SEGMENT: &str = "[a-z0-9]([a-z0-9.-]*[a-z0-9])?";
    let (what, schema) = match name {
        "id" | "group" => (
            "A path; its slashes may stand as they are.",
            json!({ "type": "string", "pattern": format!("^{SEGMENT}(/{SEGMENT})*$"), "maxLength": 190 }),
        ),
        "version" => (
            "A timestamp, ISO-8601.",
            json!({ "type": "string", "format": "date-time" }),
        ),
        "schema" => {
            let all = tepui_marathon_core::schemas::all();
            let names = all.keys().map(String::as_str);
            let names: Vec<&str> = names.chain(OTHER_NAMES.map(|(name, _)| name)).collect();
            (
                "Its name, as in the OpenAPI document, or as Marathon named it.",
                json!({ "type": "string", "enum": names }),
            )
        }
        _ => (
            "An id.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*$" }),
        ),
    };
    json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema })
}

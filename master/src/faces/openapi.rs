//! The operators' side as an OpenAPI document, made from [`TABLE`] and [`CALLS`].

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};
use tepui_proto::json::SCHEMAS;

use super::asked::{Asked, Response};
use super::operator::calls::{CALLS, CallRow};
use super::table::{Body, Endpoint, TABLE};
use super::{Face, pieces};

static DOCUMENT: LazyLock<String> = LazyLock::new(made);

/// `/tepui/v1/openapi.json`
pub(super) async fn document(_: Arc<Face>, asked: Asked) -> Response {
    pieces::json(&asked, |pieces| {
        pieces
            .text()
            .extend_from_slice(DOCUMENT.trim_end().as_bytes());
    })
}

/// The document, as it is committed.
pub(crate) fn made() -> String {
    let mut paths = Map::new();
    for endpoint in TABLE.iter().flat_map(|entry| entry.endpoints) {
        let methods = paths
            .entry(endpoint.path)
            .or_insert_with(|| Value::Object(Map::new()));
        methods[endpoint.method.to_lowercase()] = operation(endpoint);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tepui master: the operator's API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every path but those below /tepui is also reachable below /master. A master that does not lead answers with \
                307 to the leader, or 503 while there is none, except for /health, /version, /flags, /redirect, /metrics, /files, /logging, \
                /system, /help and /tepui/v1/info. GETs that answer with JSON take `jsonp`, the name of a function to wrap the answer in.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    });
    // A Value always has a text.
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut operation = Map::new();
    operation.insert("summary".to_owned(), endpoint.what.into());
    let in_path = endpoint.path.split(['{', '}']).skip(1).step_by(2).map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
    );
    let in_query = endpoint.parameters.iter().map(
        |(name, what)| json!({"name": name, "in": "query", "description": what, "schema": {"type": "string"}}),
    );
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), parameters.into());
    }
    let content = match &endpoint.body {
        Body::Nothing => None,
        Body::Form(fields) => {
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, what)| {
                    let schema = json!({"type": "string", "description": what});
                    ((*name).to_owned(), schema)
                })
                .collect();
            let schema = json!({"type": "object", "properties": properties});
            Some(json!({"application/x-www-form-urlencoded": {"schema": schema}}))
        }
        Body::Json(example) => Some(json!({"application/json": {"example": parsed(example)}})),
        Body::Call => {
            let examples: Map<String, Value> = CALLS
                .iter()
                .map(|row| {
                    let example = json!({"summary": row.what, "value": parsed(row.example)});
                    (row.kind.as_str_name().to_owned(), example)
                })
                .collect();
            Some(json!({
                "application/json": {"schema": {"$ref": "#/components/schemas/Call"}, "examples": examples},
                "application/x-protobuf": {"schema": {"type": "string", "format": "binary", "description": "mesos.v1.master.Call"}},
            }))
        }
    };
    if let Some(content) = content {
        operation.insert(
            "requestBody".to_owned(),
            json!({"required": true, "content": content}),
        );
    }
    let answers: Map<String, Value> = endpoint
        .answers
        .iter()
        .map(|(status, what)| {
            let mut answer = json!({"description": what});
            if *status == 200 && !endpoint.gives.is_empty() {
                let content = match &endpoint.body {
                    Body::Call => answer_schema(),
                    _ => json!({}),
                };
                answer["content"] = json!({endpoint.gives: content});
            }
            (status.to_string(), answer)
        })
        .collect();
    operation.insert("responses".to_owned(), answers.into());
    operation.into()
}

const CALL: &str = "mesos.v1.master.Call";
const RESPONSE: &str = "mesos.v1.master.Response";
const EVENT: &str = "mesos.v1.master.Event";

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn answer_schema() -> Value {
    json!({"schema": {
        "description": "SUBSCRIBE is answered with a stream of events, as RecordIO",
        "oneOf": [reference(RESPONSE), reference(EVENT)],
    }})
}

/// The call, and whatever is part of it, of answers and of events.
fn schemas() -> Map<String, Value> {
    // It is generated.
    let all: Map<String, Value> = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let call = call_schema(all.get(CALL).unwrap_or(&Value::Null));
    let mut found = Map::new();
    let mut wanted = vec![RESPONSE.to_owned(), EVENT.to_owned()];
    wanted.extend(referred(&call));
    while let Some(name) = wanted.pop() {
        if let Some(schema) = all.get(&name)
            && !found.contains_key(&name)
        {
            wanted.extend(referred(schema));
            found.insert(name, schema.clone());
        }
    }
    found.insert("Call".to_owned(), call);
    found
}

/// The messages that a schema refers to.
fn referred(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(fields) => match fields.get("$ref").and_then(Value::as_str) {
            Some(path) => path.rsplit('/').take(1).map(str::to_owned).collect(),
            None => fields.values().flat_map(referred).collect(),
        },
        Value::Array(items) => items.iter().flat_map(referred).collect(),
        _ => Vec::new(),
    }
}

/// One alternative for each type of call; `message` is the schema of the whole.
fn call_schema(message: &Value) -> Value {
    let alternative = |row: &CallRow| {
        let mut properties = json!({"type": {"const": row.kind.as_str_name()}});
        let mut required = vec!["type"];
        if let Some((field, _)) = row.field {
            properties[field] = message["properties"][field].clone();
            required.push(field);
        }
        let answers: Map<String, Value> = row
            .answers
            .iter()
            .map(|(status, what)| (status.to_string(), (*what).into()))
            .collect();
        json!({
            "title": row.kind.as_str_name(),
            "description": row.what,
            "type": "object",
            "properties": properties,
            "required": required,
            "x-answers": answers,
        })
    };
    json!({"oneOf": CALLS.iter().map(alternative).collect::<Vec<_>>()})
}

/// Examples are JSON: a test sees to it.
fn parsed(example: &str) -> Value {
    serde_json::from_str(example).unwrap_or_default()
}

/// The page of the documentation: every endpoint and every call with an example.
#[cfg(test)]
fn page() -> String {
    use std::fmt::Write;
    let mut page = String::from(
        "# The operator's API\n\n\
        <!-- Made from the master's own table of endpoints: `UPDATE_DOCS=1 cargo test -p tepui-master --lib openapi` writes it anew. -->\n\n\
        Everything here is on the leading master's port, 5050. The same as an OpenAPI document: [operator.json](openapi/operator.json), and at\n\
        `/tepui/v1/openapi.json` of every master. Paths other than Tepui's own are also reachable below `/master`.\n\n\
        A master that does not lead answers with 307 to the leader, or with 503 while there is none. Refusals are plain text that says why.\n\
        A wrong method is 405 with `Allow`. GETs that answer with JSON take `?jsonp=NAME`; answers of 1024 bytes and more are packed with gzip if\n\
        `Accept-Encoding` admits it; those with an `ETag` answer `If-None-Match` with 304 while nothing has changed.\n\n\
        ## Endpoints\n",
    );
    for endpoint in TABLE.iter().flat_map(|entry| entry.endpoints) {
        // Writing into a String cannot fail.
        let _ = write!(
            page,
            "\n### {} {}\n\n{}\n",
            endpoint.method, endpoint.path, endpoint.what
        );
        if !endpoint.parameters.is_empty() {
            page.push_str("\n| parameter | meaning |\n| --- | --- |\n");
            for (name, what) in endpoint.parameters {
                let _ = writeln!(page, "| `{name}` | {what} |");
            }
        }
        let mut command = "curl".to_owned();
        if endpoint.method != "GET" {
            let _ = write!(command, " -X {}", endpoint.method);
        }
        match &endpoint.body {
            Body::Nothing => {}
            Body::Form(fields) => {
                page.push_str("\n| field of the form | meaning |\n| --- | --- |\n");
                for (name, what) in *fields {
                    let _ = writeln!(page, "| `{name}` | {what} |");
                    let _ = write!(command, " --data-urlencode '{name}=…'");
                }
            }
            Body::Json(example) => {
                let _ = write!(command, " -d '{example}'");
            }
            Body::Call => command
                .push_str(" -H 'Content-Type: application/json' -d '{\"type\":\"GET_HEALTH\"}'"),
        }
        page.push_str("\n| status | when |\n| --- | --- |\n");
        for (status, what) in endpoint.answers {
            let _ = writeln!(page, "| {status} | {what} |");
        }
        let _ = write!(
            page,
            "\n```console\n$ {command} 'http://localhost:5050{}'\n```\n",
            endpoint.path
        );
    }
    page.push_str(
        "\n## Calls of `POST /api/v1`\n\n\
        JSON and protobuf (`application/x-protobuf`, `mesos.v1.master.Call`), both ways. Checks come in this order: leader, method, `Content-Type`\n\
        (400 without, 415 for another), body (400, with all missing required fields named), type and its field (400), `Accept` (406).\n",
    );
    for row in CALLS {
        let _ = write!(page, "\n### {}\n\n{}\n\n", row.kind.as_str_name(), row.what);
        page.push_str("| status | when |\n| --- | --- |\n");
        for (status, what) in row.answers {
            let _ = writeln!(page, "| {status} | {what} |");
        }
        let _ = write!(page, "\n```json\n{}\n```\n", row.example);
    }
    page
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_document_and_page_are_what_the_table_says() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
        for (name, expected) in [
            ("openapi/operator.json", made()),
            ("operator-api.md", page()),
        ] {
            let path = docs.join(name);
            if std::env::var_os("UPDATE_DOCS").is_some() {
                std::fs::write(&path, &expected).expect("written");
            }
            let found = std::fs::read_to_string(&path).expect("committed");
            assert!(
                found == expected,
                "docs/src/{name} is stale: UPDATE_DOCS=1 cargo test -p tepui-master --lib openapi"
            );
        }
    }

    #[test]
    fn every_type_of_call_has_its_schema() {
        let all: Value = serde_json::from_str(SCHEMAS).expect("it is generated");
        let types = all[CALL]["properties"]["type"]["enum"].as_array();
        let types = types.expect("the types of calls");
        let schemas = schemas();
        let alternatives = schemas["Call"]["oneOf"].as_array().expect("alternatives");
        for kind in types.iter().filter(|kind| *kind != "UNKNOWN") {
            let row = alternatives.iter().find(|row| row["title"] == *kind);
            let properties = row.and_then(|row| row["properties"].as_object());
            let properties = properties.unwrap_or_else(|| panic!("{kind} has no schema"));
            for (name, body) in properties.iter().filter(|(name, _)| *name != "type") {
                let [to] = &referred(body)[..] else {
                    panic!("{kind}: '{name}' is no message")
                };
                assert!(schemas.contains_key(to), "{kind}: {to} is missing");
            }
        }
        for (name, schema) in &schemas {
            for to in referred(schema) {
                assert!(schemas.contains_key(&to), "{name} refers to {to}");
            }
        }
    }

    #[test]
    fn every_example_is_json_and_every_endpoint_is_routed() {
        for entry in TABLE {
            for endpoint in entry.endpoints {
                if let Body::Json(example) = endpoint.body {
                    assert!(!parsed(example).is_null(), "{example}");
                }
                let found = super::super::routes::find(endpoint.path)
                    .unwrap_or_else(|| panic!("{} leads nowhere", endpoint.path));
                assert!(
                    std::ptr::eq(found.endpoints, entry.endpoints),
                    "{}",
                    endpoint.path
                );
            }
        }
    }
}

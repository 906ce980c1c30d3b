//! What the document says is what the router does, and what is committed is what the document says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use bytes::Bytes;
use http::Method;

use super::{
    super::route::{Parts, Wanted, route},
    *,
};

const UPDATE: &str = "UPDATE_DOCS=1 cargo test -p tepui-marathon --lib openapi";

/// The page of the documentation.
fn page() -> String {
    let mut page = String::from(
        "# Marathon's API\n\n\
        <!-- Made from the table of endpoints: `UPDATE_DOCS=1 cargo test -p tepui-marathon --lib openapi` writes it anew. -->\n\n\
        Everything here is on Marathon's port, 8080, of any instance: followers pass requests on to the leader. What is below `/v2` and the metrics\n\
        are Marathon's, what is below `/v3` is Tepui's own. The same with the schema of every body and answer, as an OpenAPI document:\n\
        [marathon.json](openapi/marathon.json), and at `/v3/openapi.json` of every instance.\n\n\
        Ids of apps, pods and groups are paths, whose slashes stand in URLs as they are. Bodies are JSON (`application/json`, which is also what a\n\
        body without `Content-Type` is taken for) or YAML (`application/yaml`). Unknown keys are ignored, and `null` is as good as absence.\n\
        A refusal is `{\"message\": …}`, with `details` that say by path what is wrong. Any request may also be answered by:\n\n",
    );
    page.push_str("| status | when |\n| --- | --- |\n");
    for (status, when) in ALWAYS {
        let _ = writeln!(page, "| {status} | {when} |");
    }
    page.push_str(
        "| 404 | there is no such path |\n| 405 | the path has no such method |\n\n## Endpoints\n",
    );
    for endpoint in table() {
        let _ = write!(
            page,
            "\n### {} {}\n\n{}\n",
            endpoint.method, endpoint.path, endpoint.what
        );
        if !endpoint.parameters.is_empty() {
            page.push_str("\n| parameter | meaning |\n| --- | --- |\n");
            for parameter in endpoint.parameters {
                let takes = match parameter.takes {
                    Takes::Flag(default) => format!(" (default {default})"),
                    Takes::One => String::new(),
                    Takes::Many([]) => "; may be repeated".to_owned(),
                    Takes::Many(known) => format!(": `{}`; may be repeated", known.join("`, `")),
                    Takes::Counted { required: true } => {
                        ", a number above 0; must be given".to_owned()
                    }
                    Takes::Counted { required: false } => ", a number above 0".to_owned(),
                };
                let _ = writeln!(page, "| `{}` | {}{takes} |", parameter.name, parameter.what);
            }
        }
        if let Some(schema) = endpoint.body {
            let _ = write!(page, "\nBody: `{schema}`\n");
        }
        page.push_str("\n| status | when | body |\n| --- | --- | --- |\n");
        for answer in endpoint.answers {
            let body = match answer.carries {
                Carries::Empty => "-".to_owned(),
                Carries::Json(schema) => format!("`{schema}`"),
                Carries::Text => "text".to_owned(),
                Carries::Page(media_type) => format!("`{media_type}`"),
                Carries::Backup => "lines of JSON".to_owned(),
                Carries::Events => "server-sent events".to_owned(),
            };
            let _ = writeln!(page, "| {} | {} | {body} |", answer.status, answer.what);
        }
        for (status, when) in endpoint.refusals {
            let _ = writeln!(page, "| {status} | {when} | `Error` |");
        }
    }
    page
}

#[test]
fn the_committed_document_and_page_are_what_the_table_says() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src");
    let document = serde_json::to_string_pretty(&made()).expect("a text") + "\n";
    for (name, expected) in [
        ("openapi/marathon.json", document),
        ("marathon-api.md", page()),
    ] {
        let path = docs.join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &expected).expect("written");
        }
        let found = std::fs::read_to_string(&path).expect("committed");
        assert!(found == expected, "docs/src/{name} is stale: {UPDATE}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_operations_have_names_of_their_own() {
    let document = made();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let mut ids = BTreeSet::new();
    for endpoint in table() {
        assert!(
            ids.insert(operation_id(endpoint)),
            "{}",
            operation_id(endpoint)
        );
        let carried = endpoint
            .answers
            .iter()
            .filter_map(|answer| match answer.carries {
                Carries::Json(schema) => Some(schema),
                _ => None,
            });
        for schema in carried.chain(endpoint.body) {
            assert!(schemas.contains_key(schema), "{}: {schema}", endpoint.path);
        }
        let statuses: Vec<u16> = endpoint.answers.iter().map(|one| one.status).collect();
        let refused = endpoint.refusals.iter().chain(ALWAYS).map(|one| one.0);
        let all: Vec<u16> = statuses.into_iter().chain(refused).collect();
        let distinct: BTreeSet<u16> = all.iter().copied().collect();
        assert_eq!(
            all.len(),
            distinct.len(),
            "{} {}: {all:?}",
            endpoint.method,
            endpoint.path
        );
    }
}

/// What a request is routed to: the name of the call or the query; none if there is no such path or method.
fn kind(method: &str, path: &str) -> Option<String> {
    let parts = Parts {
        method: &Method::from_bytes(method.as_bytes()).expect("a method"),
        path,
        query: "seconds=5&deadlineSeconds=5",
        content_type: None,
        body: Bytes::from_static(b"{}"),
        client_ip: String::new(),
    };
    let wanted = route(&parts);
    if let Wanted::Answer(answer) = &wanted {
        return (!matches!(answer.status, 404 | 405))
            .then(|| format!("an answer of {}", answer.status));
    }
    let shown = format!("{wanted:?}");
    let end = shown.find([' ', ')']).unwrap_or(shown.len());
    Some(shown[..end].replace('(', " "))
}

fn sample(path: &str) -> String {
    let values = [
        ("{id}", "a/b"),
        ("{group}", "a"),
        ("{version}", "2015-01-01T00:00:00.000Z"),
        ("{taskId}", "a_b.instance-1._app.1"),
        ("{instanceId}", "a_b.instance-1"),
        ("{deploymentId}", "d"),
        ("{schema}", "App"),
    ];
    values.iter().fold(path.to_owned(), |path, (name, value)| {
        path.replace(name, value)
    })
}

#[test]
fn every_endpoint_of_the_table_is_routed() {
    for Endpoint { method, path, .. } in table() {
        let sample = sample(path);
        assert!(
            !sample.contains('{'),
            "{path} has a parameter that `sample` does not know"
        );
        let found = kind(method, &sample);
        assert!(
            found.is_some(),
            "rest/openapi/table has {method} {path}, which the router does not know: take its row out, then {UPDATE}"
        );
    }
}

/// Words that stand in the router, the beginnings of what there may be.
fn words() -> BTreeSet<String> {
    let sources = [
        include_str!("../route.rs"),
        include_str!("../pods.rs"),
        include_str!("../v3.rs"),
    ];
    let mut words = BTreeSet::from(["x".to_owned()]);
    for source in sources {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted = code.split('"').skip(1).step_by(2);
        let plain = |word: &&str| {
            !word.is_empty()
                && word.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"*.-_".contains(&byte)
                })
        };
        words.extend(quoted.filter(plain).map(str::to_owned));
    }
    words
}

/// The router is asked for all that can be made of its own words; what it knows must stand in the table.
#[test]
fn every_route_is_in_the_table() {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    let words = words();
    let known: BTreeSet<(&str, String)> = table()
        .filter_map(|one| Some((one.method, kind(one.method, &sample(one.path))?)))
        .collect();
    let mut missing: BTreeMap<(&str, String), String> = BTreeMap::new();
    let mut look = |path: &str| {
        let mut there = false;
        for method in METHODS {
            let Some(kind) = kind(method, path) else {
                continue;
            };
            there = true;
            // A HEAD is as good as the GET; `/` leads to the UI.
            let same = method == "HEAD" && known.contains(&("GET", kind.clone()));
            if kind.starts_with("an answer")
                || kind == "Home"
                || same
                || known.contains(&(method, kind.clone()))
            {
                continue;
            }
            missing
                .entry((method, kind))
                .or_insert_with(|| path.to_owned());
        }
        there
    };
    let mut collections = Vec::new();
    for first in &words {
        look(&format!("/{first}"));
        for second in &words {
            let collection = format!("/{first}/{second}");
            let below = words
                .iter()
                .filter(|third| look(&format!("{collection}/{third}")))
                .count();
            if look(&collection) || below > 0 {
                collections.push(collection);
            }
        }
    }
    for collection in collections {
        for one in &words {
            look(&format!("{collection}/x::{one}"));
            look(&format!("{collection}/::{one}"));
            look(&format!("{collection}/x::{one}/x"));
            for two in &words {
                look(&format!("{collection}/{one}/{two}"));
                look(&format!("{collection}/x/{one}/{two}"));
            }
        }
    }
    assert!(known.len() > 50, "{}", known.len());
    assert!(
        missing.is_empty(),
        "the router knows what rest/openapi/table does not; add a row for each (and its schemas to the core's src/schemas), then {UPDATE}: {missing:#?}"
    );
}

#[test]
fn a_schema_stands_alone() {
    fn references(value: &Value, all: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(key, value)| match value {
                Value::String(text) if key == "$ref" => {
                    all.insert(text.clone());
                }
                value => references(value, all),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, all)),
            _ => {}
        }
    }
    let names = tepui_marathon_core::schemas::all().into_iter();
    let names = names.map(|(name, _)| name);
    let others = OTHER_NAMES.map(|(name, _)| name.to_owned());
    for name in names.chain(others) {
        let document = schema(&name).expect("there is one");
        let definitions = document["$defs"].as_object().expect("definitions");
        let mut wanted = BTreeSet::new();
        references(&document, &mut wanted);
        let there: BTreeSet<String> = definitions
            .keys()
            .map(|name| format!("#/$defs/{name}"))
            .collect();
        assert_eq!(wanted, there, "{name}");
    }
    assert_eq!(schema("Nothing"), None);
}

//! The schemas are whole, and say what they should of each form.

use serde_json::{Value, json};

use super::{FILES, all, check::fault_of};

#[test]
fn every_file_is_json_and_no_type_has_two_homes() {
    let mut names = std::collections::BTreeSet::new();
    for file in FILES {
        let types: serde_json::Map<String, Value> = serde_json::from_str(file).expect("JSON");
        assert!(!types.is_empty());
        for name in types.keys() {
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_no_word_is_left_over() {
    fn look(value: &Value, all: &serde_json::Map<String, Value>, at: &str) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    assert!(!key.starts_with("x-"), "{at}: {key}");
                    if key == "$ref" {
                        let name = value.as_str().expect("a text").rsplit('/').next();
                        assert!(all.contains_key(name.expect("a name")), "{at}: {value}");
                    }
                    look(value, all, &format!("{at}/{key}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| look(item, all, at)),
            _ => {}
        }
    }
    let all = all();
    for (name, schema) in &all {
        look(schema, &all, name);
    }
}

#[test]
fn the_shown_form_is_closed_and_the_sent_form_is_open() {
    let all = all();
    let sent = json!({ "id": "a", "uris": ["x"], "instances": null, "killSelection": "oldest_first", "anything": 1 });
    assert_eq!(fault_of(&sent, "AppSent", &all), None);
    for (document, name, want) in [
        (json!({}), "AppSent", ": id is missing"),
        (json!({}), "AppUpdate", ""),
        (
            json!({ "instances": -1 }),
            "AppUpdate",
            "/instances: -1 breaks minimum 0",
        ),
        (
            json!({ "cpus": "1" }),
            "AppUpdate",
            r#"/cpus: "1" breaks type ["number","null"]"#,
        ),
        (json!({ "id": "x" }), "Id", ""),
        (json!({ "id": "x", "more": 1 }), "Id", ": more is not known"),
        (
            json!({ "message": "x", "details": [] }),
            "Error",
            r#"/details: [] breaks type "string" and /details: [] breaks minItems 1"#,
        ),
    ] {
        let found = fault_of(&document, name, &all).unwrap_or_default();
        assert_eq!(found, want, "{document} as {name}");
    }
}

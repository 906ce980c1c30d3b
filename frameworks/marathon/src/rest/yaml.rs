//! Bodies in YAML: read into the JSON that the core takes.
//!
//! How deep a document is, how many nodes it has and what its aliases grow to is bounded by the reader; how long it is, by the server.

use bytes::Bytes;
use serde_json::{Value, json};
use tepui_marathon_core::Response;

/// Media types of YAML: the registered one, and those that were used before it.
const TYPES: [&str; 4] = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
];

/// Whether a media type, without parameters, is one of YAML.
pub(super) fn is_yaml(media_type: &str) -> bool {
    TYPES.iter().any(|one| one.eq_ignore_ascii_case(media_type))
}

/// The same document as JSON.
///
/// # Errors
/// 400: it is not YAML, or beyond the bounds.
pub(super) fn to_json(body: &[u8]) -> Result<Bytes, Response> {
    let refusal = |reason: String| {
        Response::json(
            400,
            &json!({ "message": "Invalid YAML", "details": reason }),
        )
    };
    let value: Value =
        serde_saphyr::from_slice(body).map_err(|error| refusal(error.to_string()))?;
    let json = serde_json::to_vec(&value).map_err(|error| refusal(error.to_string()))?;
    Ok(json.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_json() {
        let yaml = "id: /web  # a comment\ncmd: |\n  sleep 1\ncpus: 0.5\ninstances: 2\nlabels: {a: 'yes'}\nconstraints:\n- [hostname, UNIQUE]\nuser: null\ntty: true\n";
        let json = to_json(yaml.as_bytes()).expect("YAML");
        let value: Value = serde_json::from_slice(&json).expect("JSON");
        let want = json!({ "id": "/web", "cmd": "sleep 1\n", "cpus": 0.5, "instances": 2, "labels": { "a": "yes" },
            "constraints": [["hostname", "UNIQUE"]], "user": null, "tty": true });
        assert_eq!(value, want);
        let json = to_json(b"{\"id\": \"/a\"}").expect("JSON is YAML");
        assert_eq!(&json[..], b"{\"id\":\"/a\"}");
    }

    #[test]
    fn what_is_no_yaml_or_too_much_is_refused() {
        let deep = "[".repeat(100_000);
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (one, other) in ('a'..'j').zip('b'..='j') {
            let aliases = vec![format!("*{one}"); 9].join(",");
            laughs.push_str(&format!("{other}: &{other} [{aliases}]\n"));
        }
        for text in ["a: [", "a: b: c", deep.as_str(), laughs.as_str()] {
            let refusal = to_json(text.as_bytes()).expect_err("not to be read");
            let body: Value = serde_json::from_slice(&refusal.body).expect("JSON");
            assert_eq!(
                (refusal.status, &body["message"]),
                (400, &json!("Invalid YAML"))
            );
            assert!(
                body["details"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
    }
}

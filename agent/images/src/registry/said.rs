//! What registries say in headers and bodies, taken apart. Pure.

use std::collections::HashMap;

use serde::Deserialize;

/// A `WWW-Authenticate` header, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Reads one; `None` if it is of a kind that is not known.
pub(super) fn challenge(header: &str) -> Option<Challenge> {
    let (kind, rest) = header.split_once(' ').unwrap_or((header, ""));
    if kind.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !kind.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut fields: HashMap<String, String> = HashMap::new();
    let mut rest = rest.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        fields.insert(name, value.to_owned());
        rest = left.trim_start_matches([' ', ',']);
    }
    Some(Challenge::Bearer {
        realm: fields.remove("realm")?,
        service: fields.remove("service"),
        scope: fields.remove("scope"),
    })
}

/// What a registry says in an error's body, for people: one line, not long.
pub(super) fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let told = match serde_json::from_slice::<Errors>(body) {
        Ok(found) => found
            .errors
            .into_iter()
            .map(|error| {
                if error.message.is_empty() {
                    error.code
                } else {
                    error.message
                }
            })
            .find(|text| !text.is_empty()),
        Err(_) => None,
    };
    let plain: String = told
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    if plain.is_empty() {
        plain
    } else {
        format!(": {plain}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_taken_apart() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (header, read) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:a/b:pull,push\"",
                bearer("https://a/t", Some("s"), Some("repository:a/b:pull,push")),
            ),
            (
                "bearer realm=https://a/t, service=s",
                bearer("https://a/t", Some("s"), None),
            ),
            ("Bearer service=\"s\"", None),
            ("Bearer realm=\"unfinished", None),
            ("Negotiate", None),
        ] {
            assert_eq!(challenge(header), read, "{header}");
        }
    }

    #[test]
    fn a_registrys_words_are_shown_in_one_short_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\nway"}]}"#;
        assert_eq!(words(body), ": no way");
        assert_eq!(words(br#"{"errors":[{"code":"X"}]}"#), ": X");
        assert_eq!(words(b"<html>"), "");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(9000));
        assert!(words(long.as_bytes()).len() < 300);
    }
}

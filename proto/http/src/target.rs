//! Which request targets are served: those with a path. Routers take a path for granted (warp's panics without one), so this is asked
//! before them.

use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};

use crate::Refusal;

/// The longest part of a target that is repeated to the client, in characters.
const SHOWN: usize = 200;

/// Refuses a target without a path: `host:port`, as CONNECT has it, and `*`.
pub fn check(method: &Method, target: &Uri) -> Result<(), Refusal> {
    // An absolute target without a path, `http://a`, means the root; the URI says so itself.
    let path = target.path_and_query().map(PathAndQuery::path);
    if path.is_some_and(|path| path.starts_with('/')) {
        return Ok(());
    }
    let shown: String = target.to_string().chars().take(SHOWN).collect();
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        format!(
            "The target '{shown}' of this {method} request has no path. \
             This server is no proxy: ask for a path that begins with '/'"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_must_have_a_path() {
        for (target, served) in [
            ("/", true),
            ("//", true),
            ("/state?x=1", true),
            ("/?", true),
            ("http://a:1/state", true),
            ("http://a:1", true),
            ("http://a:1?x", true),
            ("a:1", false),
            ("a", false),
            ("[::1]:5050", false),
            ("*", false),
        ] {
            let uri: Uri = target.parse().unwrap_or_else(|_| panic!("{target}"));
            let found = check(&Method::CONNECT, &uri);
            assert_eq!(found.is_ok(), served, "{target}: {found:?}");
            if let Err(refusal) = found {
                assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
                assert!(refusal.why.contains(&format!("'{uri}'")), "{refusal}");
            }
        }
    }

    #[test]
    fn a_long_target_is_not_repeated_whole() {
        let uri: Uri = "a".repeat(10_000).parse().unwrap();
        let refusal = check(&Method::GET, &uri).unwrap_err();
        assert!(refusal.why.len() < 2 * SHOWN, "{refusal}");
    }
}

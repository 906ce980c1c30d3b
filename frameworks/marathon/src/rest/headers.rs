//! The headers that all answers share, and the answer to OPTIONS: what browsers ask before they let a page call.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tepui_marathon_core::Response;
use warp::{Reply as _, reply::Response as Answer};

use super::{
    route,
    serve::{insert, plain},
};
use crate::config::Config;

/// Nothing is to be cached. With `--access_control_allow_origin` browsers are told who may call, with which headers (`asked`: those that the
/// request names) and methods.
pub(super) fn common(headers: &mut HeaderMap, config: &Config, asked: Option<HeaderValue>) {
    insert(
        headers,
        "cache-control",
        "no-cache, no-store, must-revalidate",
    );
    insert(headers, "pragma", "no-cache");
    insert(headers, "expires", "0");
    let origins = config.access_control_allow_origin.as_ref();
    let Some(origin) = origins.and_then(|origins| origins.last()) else {
        return;
    };
    insert(headers, "access-control-allow-origin", origin);
    if let Some(asked) = asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    insert(
        headers,
        "access-control-allow-methods",
        "GET, HEAD, OPTIONS",
    );
    insert(headers, "access-control-max-age", "86400");
}

/// What a path can be asked, in `Allow`.
pub(super) fn options(path: &str) -> Answer {
    let allowed = route::allowed(path);
    if allowed.is_empty() {
        return plain(Response::message(404, "URI not found"));
    }
    let mut answer = StatusCode::OK.into_response();
    insert(answer.headers_mut(), "allow", &allowed);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_tell_the_methods_of_a_path() {
        for (path, allowed) in [
            ("/v2/events", "GET, HEAD, OPTIONS"),
            ("/v2/apps", "GET, HEAD, POST, PUT, PATCH, OPTIONS"),
            ("/v2/tasks/delete", "POST, OPTIONS"),
            ("/ping", "GET, HEAD, OPTIONS"),
        ] {
            let answer = options(path);
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.headers()["allow"], allowed, "{path}");
        }
        assert_eq!(options("/nothing").status(), 404);
    }

    #[test]
    fn browsers_are_told_what_they_asked_for_if_an_origin_is_set() {
        let mut config = Config::new("127.0.0.1:5050", "unused");
        let asked = || Some(HeaderValue::from_static("content-type, x-token"));
        let mut headers = HeaderMap::new();
        common(&mut headers, &config, asked());
        assert!(
            !headers.contains_key("access-control-allow-headers"),
            "{headers:?}"
        );
        config.access_control_allow_origin = Some(vec!["http://a".into(), "http://b".into()]);
        common(&mut headers, &config, asked());
        for (name, value) in [
            ("access-control-allow-origin", "http://b"),
            ("access-control-allow-headers", "content-type, x-token"),
            ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
            ("access-control-max-age", "86400"),
            ("pragma", "no-cache"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
    }
}

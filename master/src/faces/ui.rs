//! The web UI: files that were part of the source when the binary was built, or one plain page when there were none.
//!
//! Files below `assets/` carry a hash of their content in their names and may be kept for ever; everything else is asked for again each
//! time, by its tag. The UI routes behind the `#`, so a path that is no file is nothing: a tool that asks for what is not built learns it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};

use super::asked::{Asked, Response, bytes, empty, not_allowed, text};

/// One file of the bundle.
struct File {
    path: &'static str,
    tag: &'static str,
    content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/bundle.rs"));

const FALLBACK: &str = include_str!("fallback.html");

/// Answers anything that no other route wanted.
pub(super) fn answer(asked: &Asked) -> Response {
    let path = asked.path.trim_start_matches('/');
    let front = path.is_empty() || path == "index.html";
    let file = find(if front { "index.html" } else { path });
    if file.is_none() && !front {
        return text(
            StatusCode::NOT_FOUND,
            format!("There is nothing at {}", asked.path),
        );
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return not_allowed("GET", &asked.method);
    }
    match file {
        Some(file) => serve(asked, file),
        None => {
            let mut answer = bytes("text/html; charset=utf-8", FALLBACK.as_bytes());
            answer
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            answer
        }
    }
}

fn find(path: &str) -> Option<&'static File> {
    BUNDLE
        .binary_search_by(|file| file.path.cmp(path))
        .ok()
        .and_then(|at| BUNDLE.get(at))
}

fn serve(asked: &Asked, file: &'static File) -> Response {
    let cache = if file.path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let unchanged = asked
        .header(IF_NONE_MATCH)
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == file.tag));
    let mut answer = if unchanged {
        empty(StatusCode::NOT_MODIFIED)
    } else {
        bytes("", file.content)
    };
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(media_type(file.path)),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(ETAG, HeaderValue::from_static(file.tag));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    answer
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_can_be_searched() {
        assert!(BUNDLE.is_sorted_by(|one, other| one.path < other.path));
        for file in BUNDLE {
            assert!(find(file.path).is_some());
            assert!(file.tag.starts_with('"') && file.tag.ends_with('"'));
        }
    }
}

//! `/api-console`: a page that tells of the API and lets it be tried. It is made in the browser, from this instance's own OpenAPI document, and
//! asks nobody else for anything.

use warp::{Reply as _, reply::Response as Answer};

use super::serve::insert;

/// A part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Index,
    Style,
    Script,
}

/// Nothing but what is served here is loaded or run, and nobody else is asked.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn answer(page: Page) -> Answer {
    let (body, media_type) = match page {
        Page::Index => (include_str!("index.html"), "text/html; charset=utf-8"),
        Page::Style => (include_str!("console.css"), "text/css; charset=utf-8"),
        Page::Script => (include_str!("console.js"), "text/javascript; charset=utf-8"),
    };
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    insert(headers, "content-type", media_type);
    insert(headers, "content-security-policy", POLICY);
    insert(headers, "x-content-type-options", "nosniff");
    answer
}

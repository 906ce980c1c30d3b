//! Which path is whose: what [`TABLE`] says. Most paths are also reachable below `/master`, a slash at the end is ignored, the longest
//! beginning that is known wins, and what nobody wants is the UI's.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use http::StatusCode;
use warp::Filter;
use warp::filters::BoxedFilter;

use super::asked::{Asked, Response, asked, text};
use super::table::{Entry, Reach, TABLE};
use super::{Face, ui};

/// Everything as one filter.
pub(super) type Routes = BoxedFilter<(Response,)>;

type ByPath = HashMap<&'static str, &'static Entry>;

/// Who answers a path itself, and who what is below it.
static BY_PATH: LazyLock<(ByPath, ByPath)> = LazyLock::new(|| {
    let those = |reaches: [Reach; 2]| {
        let wanted = TABLE
            .iter()
            .filter(move |entry| reaches.contains(&entry.reach));
        wanted.map(|entry| (entry.path, entry)).collect()
    };
    (
        those([Reach::Itself, Reach::Both]),
        those([Reach::Below, Reach::Both]),
    )
});

/// Answered where they arrive: what frameworks ask, and what costs next to nothing. All else is for those who can wait a moment.
const AT_ONCE: [&str; 3] = ["api/v1/scheduler", "health", "redirect"];

/// What a handler that panicked leaves to say.
fn failed() -> Response {
    text(
        StatusCode::INTERNAL_SERVER_ERROR,
        "This request met a bug of the master; its log says more",
    )
}

/// All routes.
pub(super) fn routes(face: &Arc<Face>) -> Routes {
    let face = face.clone();
    asked()
        .then(move |asked: Asked| {
            let face = face.clone();
            async move {
                match find(&asked.path) {
                    Some(entry) if AT_ONCE.contains(&entry.path) => {
                        (entry.handler)(face, asked).await
                    }
                    Some(entry) => {
                        let answer = (entry.handler)(face.clone(), asked);
                        face.readers.run(answer).await.unwrap_or_else(failed)
                    }
                    None => ui::answer(&asked),
                }
            }
        })
        .boxed()
}

/// Whether a connection that begins with these bytes is of somebody who must not wait: of a framework or an agent, or of one who asks what is
/// answered at once. What does not show it yet counts as theirs.
pub(super) fn is_urgent(beginning: &[u8]) -> bool {
    let Some(line) = beginning.split(|byte| *byte == b'\r').next() else {
        return true;
    };
    let mut words = line.split(|byte| *byte == b' ');
    let (_method, target, version) = (words.next(), words.next(), words.next());
    let (Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0")) = (target, version) else {
        // HTTP/2 is what frameworks of the SDK and agents speak.
        return true;
    };
    let path = target.split(|byte| *byte == b'?').next().unwrap_or(target);
    std::str::from_utf8(path)
        .ok()
        .and_then(find)
        .is_some_and(|entry| AT_ONCE.contains(&entry.path))
}

/// Who answers a path.
pub(super) fn find(path: &str) -> Option<&'static Entry> {
    // A redirect goes to one place; what would be below it is nowhere.
    if path.ends_with("/redirect/") {
        return None;
    }
    let path = path.strip_prefix('/')?.trim_end_matches('/');
    let below_master = path
        .strip_prefix("master/")
        .and_then(longest)
        .filter(|entry| entry.of_master);
    below_master.or_else(|| longest(path))
}

fn longest(path: &str) -> Option<&'static Entry> {
    let (itself, below) = &*BY_PATH;
    if let Some(entry) = itself.get(path) {
        return Some(entry);
    }
    let mut rest = path;
    while let Some((parent, _)) = rest.rsplit_once('/') {
        if let Some(entry) = below.get(parent) {
            return Some(entry);
        }
        rest = parent;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_wins() {
        for (path, expected) in [
            ("/state", Some("state")),
            ("/state/", Some("state")),
            ("/master/state", Some("state")),
            ("/state/x", None),
            ("/api/v1", Some("api/v1")),
            ("/api/v1/", Some("api/v1")),
            ("/api/v1/scheduler", Some("api/v1/scheduler")),
            ("/api/v1/scheduler/x", Some("api/v1/scheduler")),
            ("/api/v1/other", Some("api/v1")),
            ("/api", None),
            ("/quota", Some("quota")),
            ("/quota/a/b", Some("quota")),
            ("/redirect", Some("redirect")),
            ("/redirect/", None),
            ("/redirect/x", None),
            ("/master/redirect/", None),
            ("/master/master/state", None),
            ("/tepui/v1/tasks/f/t/kill", Some("tepui/v1/tasks")),
            ("/tepui/v2", Some("tepui")),
            ("/master/tepui/v1/info", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(find(path).map(|entry| entry.path), expected, "{path}");
        }
    }

    #[test]
    fn who_must_not_wait() {
        for (beginning, expected) in [
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            ("POST /api/v1/scheduler HTTP/1.1\r\nhost: m\r\n", true),
            ("POST /master/api/v1/scheduler?x HTTP/1.0\r\n", true),
            ("GET /health HTTP/1.1\r\n", true),
            ("GET /redirect HTTP/1.1\r\n", true),
            ("GET /state HTTP/1.1\r\nhost: m\r\n\r\n", false),
            ("GET /state?jsonp=x HTTP/1.1\r\n", false),
            ("POST /api/v1 HTTP/1.1\r\n", false),
            ("GET / HTTP/1.1\r\n", false),
            ("GET /\u{e9} HTTP/1.1\r\n", false),
            // Nobody knows yet.
            ("", true),
            ("GET", true),
            ("GET /state", true),
            ("rubbish\r\n", true),
        ] {
            assert_eq!(is_urgent(beginning.as_bytes()), expected, "{beginning:?}");
        }
    }

    #[test]
    fn each_path_is_in_the_table_once() {
        let (itself, below) = &*BY_PATH;
        let both = TABLE.iter().filter(|entry| entry.reach == Reach::Both);
        assert_eq!(itself.len() + below.len(), TABLE.len() + both.count());
    }
}

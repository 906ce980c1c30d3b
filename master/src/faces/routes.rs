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
    fn each_path_is_in_the_table_once() {
        let (itself, below) = &*BY_PATH;
        let both = TABLE.iter().filter(|entry| entry.reach == Reach::Both);
        assert_eq!(itself.len() + below.len(), TABLE.len() + both.count());
    }
}

//! Ids of apps and groups: absolute paths such as `/prod/web`.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

/// An absolute, canonical path: begins with `/`, has no empty, `.` or `..` segment. The root is `/`.
///
/// Canonical does not mean valid: `definition::validate` judges the letters of each segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PathId(Arc<str>);

impl PathId {
    /// The root group.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from("/"))
    }

    /// Resolves `text` against the root: empty segments are dropped, `.` and `..` are followed.
    #[must_use]
    pub fn resolve(text: &str) -> Self {
        Self::resolve_against(text, "")
    }

    /// Resolves `text` against `base` unless it is absolute.
    #[must_use]
    pub fn resolve_in(text: &str, base: &Self) -> Self {
        if text.starts_with('/') {
            Self::resolve(text)
        } else {
            Self::resolve_against(text, &base.0)
        }
    }

    fn resolve_against(text: &str, base: &str) -> Self {
        let mut segments: Vec<&str> = Vec::new();
        for segment in base.split('/').chain(text.split('/')) {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                name => segments.push(name),
            }
        }
        let mut path = String::with_capacity(base.len() + text.len() + 1);
        for segment in segments {
            path.push('/');
            path.push_str(segment);
        }
        if path.is_empty() {
            path.push('/');
        }
        Self(path.into())
    }

    /// The text, with its leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments, outermost first; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The group that holds this path; the root holds itself.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            None | Some(0) => Self::root(),
            Some(at) => Self(self.0[..at].into()),
        }
    }

    /// The outermost group at or above this path; the root's is the root.
    #[must_use]
    pub fn top_level(&self) -> Self {
        self.segments()
            .next()
            .map_or_else(Self::root, Self::resolve)
    }

    /// True for `/a`, not for `/` and `/a/b`.
    #[must_use]
    pub fn is_top_level(&self) -> bool {
        !self.is_root() && self.parent().is_root()
    }

    /// True if this path lies below `group`, at any depth.
    #[must_use]
    pub fn is_below(&self, group: &Self) -> bool {
        if group.is_root() {
            return !self.is_root();
        }
        self.0
            .strip_prefix(&*group.0)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The form that task ids use: segments joined with `_`.
    #[must_use]
    pub fn safe(&self) -> String {
        self.0.trim_start_matches('/').replace('/', "_")
    }

    /// The form that task names and DNS use: segments in reverse order, joined with dots.
    #[must_use]
    pub fn reversed(&self) -> String {
        let mut name = String::with_capacity(self.0.len());
        for segment in self.segments().rev() {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(segment);
        }
        name
    }
}

impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for PathId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PathId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::resolve(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_resolve_and_read_in_every_form() {
        for (text, want, safe, reversed) in [
            ("web", "/web", "web", "web"),
            ("/prod/web", "/prod/web", "prod_web", "web.prod"),
            ("//prod//web/", "/prod/web", "prod_web", "web.prod"),
            ("/prod/./x/../web", "/prod/web", "prod_web", "web.prod"),
            ("../..", "/", "", ""),
        ] {
            let path = PathId::resolve(text);
            assert_eq!(
                (
                    path.as_str(),
                    path.safe().as_str(),
                    path.reversed().as_str()
                ),
                (want, safe, reversed),
                "{text}"
            );
        }
        let group = PathId::resolve("/prod");
        assert_eq!(PathId::resolve_in("web", &group).as_str(), "/prod/web");
        assert_eq!(PathId::resolve_in("../web", &group).as_str(), "/web");
        assert_eq!(PathId::resolve_in("/web", &group).as_str(), "/web");
        assert!(PathId::resolve("/prod/a/b").is_below(&group));
        assert!(!PathId::resolve("/prod-x").is_below(&group));
        assert!(!group.is_below(&group));
        assert_eq!(PathId::resolve("/a").parent(), PathId::root());
    }
}

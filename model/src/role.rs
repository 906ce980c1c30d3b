//! Roles: who resources are reserved for and shared between. A tree, written as a path.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

/// Why a text is not a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// Roles have at least one character.
    #[error("Empty role name is invalid")]
    Empty,
    /// A leading, trailing or doubled slash.
    #[error("Role '{0}' cannot start or end with a slash, nor have two slashes in a row")]
    Slash(String),
    /// A component that is `.`, `..` or `*`.
    #[error("Role '{role}' cannot include '{component}' as a component")]
    Component {
        /// The refused role.
        role: String,
        /// Its bad component.
        component: String,
    },
    /// A component that starts with a dash.
    #[error("Role component '{component}' of '{role}' is invalid because it begins with a dash")]
    Dash {
        /// The refused role.
        role: String,
        /// Its bad component.
        component: String,
    },
    /// So deep a tree that keeping it would cost more than it is worth.
    #[error("Role name is longer than {max} bytes")]
    TooLong {
        /// The longest allowed, in bytes.
        max: usize,
    },
    /// White space or a backspace.
    #[error("Role '{0}' cannot contain white space or backspace")]
    Character(String),
}

/// The longest role, in bytes. (Mesos has no bound; every ancestor of a role is kept, so a tree needs one.)
const ROLE_MAX_BYTES: usize = 1024;

/// A valid role name: `*`, or components joined by `/`. Equality is decided by the pointer where possible, so clone roles
/// rather than parse them again.
#[derive(Clone, PartialOrd, Ord)]
pub struct Role(Arc<str>);

impl Role {
    /// Checks the syntax: `*`, or components joined by single slashes, none of which is `.`, `..` or `*`, starts with
    /// `-`, or holds white space or a backspace.
    pub fn new(role: impl AsRef<str>) -> Result<Role, RoleError> {
        let role = role.as_ref();
        if role == "*" {
            return Ok(Role::star());
        }
        if role.is_empty() {
            return Err(RoleError::Empty);
        }
        if role.len() > ROLE_MAX_BYTES {
            return Err(RoleError::TooLong {
                max: ROLE_MAX_BYTES,
            });
        }
        if role.contains(['\t', '\n', '\u{b}', '\u{c}', '\r', ' ', '\u{8}']) {
            return Err(RoleError::Character(role.to_owned()));
        }
        for component in role.split('/') {
            match component {
                "" => return Err(RoleError::Slash(role.to_owned())),
                "." | ".." | "*" => {
                    return Err(RoleError::Component {
                        role: role.to_owned(),
                        component: component.to_owned(),
                    });
                }
                _ if component.starts_with('-') => {
                    return Err(RoleError::Dash {
                        role: role.to_owned(),
                        component: component.to_owned(),
                    });
                }
                _ => {}
            }
        }
        Ok(Role(Arc::from(role)))
    }

    /// The role `*`, which everybody may use and for which nothing can be reserved.
    pub fn star() -> Role {
        static STAR: OnceLock<Role> = OnceLock::new();
        STAR.get_or_init(|| Role(Arc::from("*"))).clone()
    }

    /// Whether this is `*`.
    pub fn is_star(&self) -> bool {
        &*self.0 == "*"
    }

    /// The role as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components from the top: `a/b/c` gives `a`, `b`, `c`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The role one level up, `a/b` for `a/b/c`; none for a top-level role.
    pub fn parent(&self) -> Option<Role> {
        let slash = self.0.rfind('/')?;
        Some(Role(Arc::from(&self.0[..slash])))
    }

    /// The strict ancestors from the nearest to the top: `a/b/c` gives `a/b`, `a`.
    pub fn ancestors(&self) -> impl Iterator<Item = Role> {
        std::iter::successors(self.parent(), Role::parent)
    }

    /// The top-level role that this one is under (itself if it is one).
    pub fn top(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(top, _)| top)
    }

    /// Whether `self` lies strictly under `ancestor`: `a/b` under `a`, but neither `a` nor `ab` under `a`.
    pub fn is_strict_subrole_of(&self, ancestor: &Role) -> bool {
        self.0.len() > ancestor.0.len()
            && self.0.as_bytes()[ancestor.0.len()] == b'/'
            && self.0.starts_with(&*ancestor.0)
    }

    /// Whether `self` may use what is reserved for `owner`: `self` is `owner` or lies under it.
    pub fn may_use_reservation_of(&self, owner: &Role) -> bool {
        self == owner || self.is_strict_subrole_of(owner)
    }
}

impl PartialEq for Role {
    fn eq(&self, other: &Role) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Role {}

impl Hash for Role {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Default for Role {
    fn default() -> Role {
        Role::star()
    }
}

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(role: &str) -> Result<Role, RoleError> {
        Role::new(role)
    }
}

impl TryFrom<&str> for Role {
    type Error = RoleError;
    fn try_from(role: &str) -> Result<Role, RoleError> {
        Role::new(role)
    }
}

impl AsRef<str> for Role {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Role {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax() {
        for good in [
            "*",
            "a",
            "a/b",
            "a-b",
            "...",
            "a/.hidden",
            "a*",
            "\u{e9}/x",
            "a/b/c/d",
        ] {
            assert_eq!(Role::new(good).map(|r| r.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/.", "a/../b", "a/*", "*/a", "-a", "a/-b",
            "a b", "a\tb", "a\u{8}",
        ] {
            assert!(Role::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_length_is_bounded() {
        assert!(Role::new("a".repeat(1024)).is_ok());
        assert_eq!(
            Role::new("a".repeat(1025)),
            Err(RoleError::TooLong { max: 1024 })
        );
    }

    #[test]
    fn the_tree() {
        let role = |r: &str| Role::new(r).unwrap();
        assert_eq!(
            role("a/b/c").ancestors().collect::<Vec<_>>(),
            [role("a/b"), role("a")]
        );
        assert_eq!(role("*").ancestors().count(), 0);
        assert_eq!(role("a/b/c").top(), "a");
        for (lower, upper, expected) in [
            ("a/b", "a", true),
            ("a/b/c", "a", true),
            ("a", "a", false),
            ("ab", "a", false),
            ("a", "a/b", false),
            ("ab/c", "a", false),
        ] {
            assert_eq!(
                role(lower).is_strict_subrole_of(&role(upper)),
                expected,
                "{lower} under {upper}"
            );
        }
        assert!(role("a").may_use_reservation_of(&role("a")));
        assert!(!role("a").may_use_reservation_of(&role("a/b")));
    }
}

//! The roles that Marathon is subscribed to: one from the start, more as apps ask for them. A role counts once UPDATE_FRAMEWORK has left; if
//! the master refuses that, or it could not be sent, the role is asked for again with the next REVIVE, and after a minute anyway.

use std::{collections::BTreeSet, time::Duration};

use tepui_proto::mesos;
use tokio::time::Instant;

/// After this a role that was refused is asked for again.
const AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Roles {
    /// In the order in which they came.
    subscribed: Vec<String>,
    /// How many there were before each UPDATE_FRAMEWORK that was not refused: fewer than there are roles.
    before: Vec<usize>,
    /// Those that are to be asked for again.
    missing: BTreeSet<String>,
    again_at: Option<Instant>,
}

impl Roles {
    pub(super) fn of(description: &mesos::FrameworkInfo) -> Self {
        Self {
            subscribed: description.roles.clone(),
            ..Self::default()
        }
    }

    /// What is to be subscribed to, so that these are a part of it; `None` if they are already.
    pub(super) fn with(&self, roles: &[String]) -> Option<Vec<String>> {
        let has: BTreeSet<&String> = self.subscribed.iter().collect();
        let new = roles.iter().filter(|role| !has.contains(role)).cloned();
        let new: Vec<String> = new.collect();
        (!new.is_empty()).then(|| [self.subscribed.as_slice(), &new].concat())
    }

    /// UPDATE_FRAMEWORK has left with these.
    pub(super) fn sent(&mut self, all: Vec<String>) {
        self.before.push(self.subscribed.len());
        self.forget(&all);
        self.subscribed = all;
    }

    /// It has not.
    pub(super) fn unsent(&mut self, mut all: Vec<String>, now: Instant) {
        self.miss(all.split_off(self.subscribed.len()), now);
    }

    /// The master has refused one: what was subscribed to before it holds on. With several on their way it is not said which; each refusal takes
    /// one back, and what is asked for twice does no harm.
    pub(super) fn refused(&mut self, now: Instant) {
        if let Some(before) = self.before.pop() {
            let lost = self.subscribed.split_off(before);
            self.miss(lost, now);
        }
    }

    fn miss(&mut self, roles: Vec<String>, now: Instant) {
        self.missing.extend(roles);
        self.again_at = Some(now + AGAIN);
    }

    /// These are not to be asked for again.
    pub(super) fn forget(&mut self, roles: &[String]) {
        for role in roles {
            self.missing.remove(role);
        }
        if self.missing.is_empty() {
            self.again_at = None;
        }
    }

    /// When to ask again.
    pub(super) const fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// Those to ask for again.
    pub(super) fn again(&mut self) -> Vec<String> {
        self.again_at = None;
        std::mem::take(&mut self.missing).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(roles: &[&str]) -> Vec<String> {
        roles.iter().map(|role| (*role).to_owned()).collect()
    }

    fn start() -> Roles {
        Roles::of(&mesos::FrameworkInfo {
            roles: list(&["*"]),
            ..Default::default()
        })
    }

    #[test]
    fn a_role_that_was_refused_or_not_sent_is_asked_for_again() {
        let (mut roles, now) = (start(), Instant::now());
        let all = roles.with(&list(&["*", "a"])).expect("a is new");
        assert_eq!(all, ["*", "a"]);
        roles.unsent(all.clone(), now);
        assert_eq!(roles.with(&list(&["a"])), Some(all.clone()), "not sent");
        assert_eq!(roles.again_at(), Some(now + AGAIN));
        roles.sent(all.clone());
        assert_eq!((roles.with(&list(&["a"])), roles.again_at()), (None, None));
        roles.refused(now);
        assert_eq!(roles.with(&list(&["a"])), Some(all), "refused");
        assert_eq!(roles.again_at(), Some(now + AGAIN));
        assert_eq!(roles.again(), ["a"]);
        assert_eq!(roles.again_at(), None);
        roles.refused(now);
        assert_eq!(roles.with(&list(&["*"])), None, "the first one stays");
    }

    #[test]
    fn refusals_take_back_what_was_sent_last_and_no_more() {
        let (mut roles, now) = (start(), Instant::now());
        for role in ["a", "b", "c"] {
            let all = roles.with(&list(&[role])).expect("it is new");
            roles.sent(all);
        }
        roles.refused(now);
        roles.refused(now);
        assert_eq!(roles.with(&list(&["a"])), None);
        assert_eq!(roles.with(&list(&["c"])), Some(list(&["*", "a", "c"])));
        roles.forget(&list(&["b"]));
        assert_eq!(roles.again(), ["c"]);
    }
}

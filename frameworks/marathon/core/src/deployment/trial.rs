//! How a deployment tries a new version before it goes on: some instances of it beside the old ones (canary), or all (blue/green).

use serde::{Deserialize, Serialize};

/// What is tried, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// How many instances of the new version there are beside the old ones.
    pub size: TrialSize,
    /// It goes on by itself when they were ready for so long without a break; none: only when it is told to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote_after_seconds: Option<u64>,
    /// The step of the deployment that was promoted last; 0: none. Each step has its own trial.
    #[serde(default)]
    pub(crate) promoted_step: usize,
}

/// See [`Trial::size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TrialSize {
    /// So many instances; when promoted, the others follow by the upgrade strategy.
    Instances(u32),
    /// So many of a hundred of the app's instances, rounded up.
    Percent(u32),
    /// As many as the app shall have; when promoted, all old ones end at once.
    All,
}

impl Trial {
    /// A canary of `size` (`3`, `25%`), or blue/green; none of both is no trial.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn parse(
        canary: Option<&str>,
        blue_green: bool,
        promote_after_seconds: Option<u64>,
    ) -> Result<Option<Self>, String> {
        let size = match (canary, blue_green) {
            (Some(_), true) => {
                return Err("a canary cannot be blue/green too: choose one".to_owned());
            }
            (Some(text), false) => Some(TrialSize::parse(text).ok_or_else(|| {
                format!("`canary` is `{text}`, and must be a number of instances above 0, or a share such as 25%")
            })?),
            (None, true) => Some(TrialSize::All),
            (None, false) if promote_after_seconds.is_some() => {
                return Err("there is nothing to promote without `canary` or `blueGreen`".to_owned());
            }
            (None, false) => None,
        };
        Ok(size.map(|size| Self {
            size,
            promote_after_seconds,
            promoted_step: 0,
        }))
    }

    /// How many instances of an app with so many are tried.
    pub(crate) fn count(self, instances: u32) -> usize {
        let count = match self.size {
            TrialSize::Instances(count) => count,
            TrialSize::Percent(percent) => {
                let count = (u64::from(instances) * u64::from(percent)).div_ceil(100);
                u32::try_from(count).unwrap_or(instances)
            }
            TrialSize::All => instances,
        };
        count.min(instances) as usize
    }

    /// `canary` or `blueGreen`.
    pub(crate) const fn kind(self) -> &'static str {
        match self.size {
            TrialSize::All => "blueGreen",
            _ => "canary",
        }
    }
}

impl TrialSize {
    fn parse(text: &str) -> Option<Self> {
        let (number, percent) = match text.strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let number: u32 = number.parse().ok().filter(|number| *number > 0)?;
        match percent {
            false => Some(Self::Instances(number)),
            true => (number <= 100).then_some(Self::Percent(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried() {
        for (canary, blue_green, after, want) in [
            (None, false, None, Ok(None)),
            (Some("2"), false, None, Ok(Some((2, "canary")))),
            (Some("100"), false, Some(1), Ok(Some((7, "canary")))),
            (Some("1%"), false, None, Ok(Some((1, "canary")))),
            (Some("50%"), false, None, Ok(Some((4, "canary")))),
            (None, true, Some(9), Ok(Some((7, "blueGreen")))),
            (Some("0"), false, None, Err("above 0")),
            (Some("101%"), false, None, Err("above 0")),
            (Some("-1"), false, None, Err("above 0")),
            (Some("1"), true, None, Err("choose one")),
            (None, false, Some(1), Err("nothing to promote")),
        ] {
            match (Trial::parse(canary, blue_green, after), want) {
                (Ok(trial), Ok(want)) => {
                    assert_eq!(trial.map(|trial| (trial.count(7), trial.kind())), want);
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
                (got, want) => panic!("{canary:?}: {got:?}, not {want:?}"),
            }
        }
    }
}

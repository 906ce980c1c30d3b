//! Labels: the key-value pairs that users hang on reservations, tasks and volumes.

use std::fmt;
use std::sync::Arc;

/// One label; the value may be absent, which differs from being empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// What the label is about.
    pub key: Arc<str>,
    /// What it says.
    pub value: Option<Arc<str>>,
}

/// A list of labels. Two lists are equal if they hold the same labels the same number of times, in whatever order.
#[derive(Clone, Default)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// The labels in the order in which they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Label> {
        self.0.iter()
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first label with this key, if it has one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|label| &*label.key == key)
            .and_then(|label| label.value.as_deref())
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Labels {
        Labels(labels.into_iter().collect())
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Labels {
        labels
            .into_iter()
            .map(|(key, value)| Label {
                key: Arc::from(key.as_ref()),
                value: Some(Arc::from(value.as_ref())),
            })
            .collect()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        if self.0.len() != other.0.len() {
            return false;
        }
        let (mut left, mut right): (Vec<_>, Vec<_>) =
            (self.0.iter().collect(), other.0.iter().collect());
        left.sort_unstable();
        right.sort_unstable();
        left == right
    }
}

impl Eq for Labels {}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, label) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(&label.key)?;
            if let Some(value) = &label.value {
                write!(f, ": {value}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_number_does() {
        let ab: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        let ba: Labels = [("b", "2"), ("a", "1")].into_iter().collect();
        let aab: Labels = [("a", "1"), ("a", "1"), ("b", "2")].into_iter().collect();
        let abb: Labels = [("a", "1"), ("b", "2"), ("b", "2")].into_iter().collect();
        assert_eq!(ab, ba);
        assert_ne!(aab, abb);
        assert_eq!(ab.to_string(), "{a: 1, b: 2}");
        assert_eq!(ab.get("b"), Some("2"));
    }
}

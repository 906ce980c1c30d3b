//! Reads JSON values with types and bounds, and collects every fault with its path and Marathon's code.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::response::{Detail, Response};

/// Faults found so far, one entry for each distinct path in the order of discovery.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Detail>);

impl Faults {
    /// Notes a fault.
    pub(crate) fn add(&mut self, path: impl Into<String>, error: impl Into<String>) {
        let (path, error) = (path.into(), error.into());
        match self.0.iter_mut().find(|detail| detail.path == path) {
            Some(detail) if detail.errors.contains(&error) => {}
            Some(detail) => detail.errors.push(error),
            None => self.0.push(Detail {
                path,
                errors: vec![error],
            }),
        }
    }

    /// Takes faults over that were found in a part that stands at `path`.
    pub(crate) fn absorb(&mut self, path: &str, part: Self) {
        for detail in part.0 {
            let inner = if detail.path == "/" {
                ""
            } else {
                detail.path.as_str()
            };
            for error in detail.errors {
                self.add(format!("{path}{inner}"), error);
            }
        }
    }

    /// Nothing, or the 422 answer with all faults under `message`.
    pub(crate) fn into_result(self, message: &str) -> Result<(), Response> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Response::details(422, message, &self.0))
        }
    }
}

/// One object of a document that is being read.
pub(crate) struct Object<'a> {
    map: &'a Map<String, Value>,
    path: String,
}

impl<'a> Object<'a> {
    /// The value as an object.
    pub(crate) fn new(
        value: &'a Value,
        path: impl Into<String>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let path = path.into();
        match value {
            Value::Object(map) => Some(Self { map, path }),
            _ => {
                faults.add(
                    if path.is_empty() {
                        "/".to_owned()
                    } else {
                        path
                    },
                    "error.expected.jsobject",
                );
                None
            }
        }
    }

    /// The path of a member.
    pub(crate) fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.path)
    }

    /// A member that is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Notes a fault if the member is absent.
    pub(crate) fn require(&self, key: &str, faults: &mut Faults) {
        if self.get(key).is_none() {
            faults.add(self.path(key), "error.path.missing");
        }
    }

    /// A text.
    pub(crate) fn text(&self, key: &str, faults: &mut Faults) -> Option<String> {
        text(self.get(key)?, || self.path(key), faults)
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str, faults: &mut Faults) -> Option<bool> {
        let value = self.get(key)?;
        if !value.is_boolean() {
            faults.add(self.path(key), "error.expected.jsboolean");
        }
        value.as_bool()
    }

    /// A number within bounds (inclusive).
    pub(crate) fn number(&self, key: &str, min: f64, max: f64, faults: &mut Faults) -> Option<f64> {
        number(self.get(key)?, || self.path(key), min, max, faults)
    }

    /// A whole number within bounds (inclusive).
    pub(crate) fn integer(
        &self,
        key: &str,
        min: i64,
        max: i64,
        faults: &mut Faults,
    ) -> Option<i64> {
        integer(self.get(key)?, || self.path(key), min, max, faults)
    }

    /// A whole number from 0 that fits `u32`.
    pub(crate) fn count(&self, key: &str, faults: &mut Faults) -> Option<u32> {
        // Marathon's integers are signed.
        self.integer(key, 0, i64::from(i32::MAX), faults)
            .and_then(|value| u32::try_from(value).ok())
    }

    /// The elements of an array with their paths.
    pub(crate) fn array(&self, key: &str, faults: &mut Faults) -> Option<Vec<(String, &'a Value)>> {
        match self.get(key)? {
            Value::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| (format!("{}({at})", self.path(key)), item))
                    .collect(),
            ),
            _ => {
                faults.add(self.path(key), "error.expected.jsarray");
                None
            }
        }
    }

    /// An array of texts.
    pub(crate) fn texts(&self, key: &str, faults: &mut Faults) -> Option<Vec<String>> {
        let items = self.array(key, faults)?;
        Some(
            items
                .into_iter()
                .filter_map(|(path, item)| text(item, || path, faults))
                .collect(),
        )
    }

    /// A map of texts.
    pub(crate) fn text_map(
        &self,
        key: &str,
        faults: &mut Faults,
    ) -> Option<BTreeMap<String, String>> {
        let map = Object::new(self.get(key)?, self.path(key), faults)?;
        let entries = map.map.iter().filter_map(|(name, value)| {
            Some((name.clone(), text(value, || map.path(name), faults)?))
        });
        Some(entries.collect())
    }

    /// One of some names, in any letter case.
    pub(crate) fn choice<T: Copy>(
        &self,
        key: &str,
        names: &[(&str, T)],
        faults: &mut Faults,
    ) -> Option<T> {
        let name = self.text(key, faults)?;
        let found = names
            .iter()
            .find(|(one, _)| one.eq_ignore_ascii_case(&name));
        if found.is_none() {
            faults.add(self.path(key), "error.unknown.enum.literal");
        }
        found.map(|(_, value)| *value)
    }

    /// The members.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.map.iter()
    }
}

/// A text, or a fault.
pub(crate) fn text(
    value: &Value,
    path: impl FnOnce() -> String,
    faults: &mut Faults,
) -> Option<String> {
    let Value::String(text) = value else {
        faults.add(path(), "error.expected.jsstring");
        return None;
    };
    Some(text.clone())
}

/// A number within bounds, or a fault.
pub(crate) fn number(
    value: &Value,
    path: impl FnOnce() -> String,
    min: f64,
    max: f64,
    faults: &mut Faults,
) -> Option<f64> {
    let fault = match value.as_f64() {
        None => "error.expected.jsnumber",
        Some(number) if number < min => "error.min",
        Some(number) if number > max => "error.max",
        number => return number,
    };
    faults.add(path(), fault);
    None
}

/// A whole number within bounds, or a fault.
pub(crate) fn integer(
    value: &Value,
    path: impl FnOnce() -> String,
    min: i64,
    max: i64,
    faults: &mut Faults,
) -> Option<i64> {
    // `1.0` counts as whole; the bound keeps the conversion exact.
    #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    let whole = |float: f64| (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    let fault = match value.as_i64().or_else(|| value.as_f64().and_then(whole)) {
        None => "error.expected.jsnumber",
        Some(number) if number < min => "error.min",
        Some(number) if number > max => "error.max",
        number => return number,
    };
    faults.add(path(), fault);
    None
}

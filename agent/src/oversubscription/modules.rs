//! `--modules` as scripts for Mesos have it. Modules are compiled in: what is read are the parameters of the two that are there.

use std::path::Path;

use serde::Deserialize;

/// Mesos' names for them.
pub(super) const FIXED: &str = "org_apache_mesos_FixedResourceEstimator";
pub(super) const LOAD: &str = "org_apache_mesos_LoadQoSController";

/// What the modules are told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parameters {
    /// Of the estimator.
    pub(super) resources: Option<String>,
    /// Of the controller.
    pub(super) load_threshold_5min: Option<f64>,
    /// Of the controller.
    pub(super) load_threshold_15min: Option<f64>,
}

/// A list, or, as Mesos' documentation has it, the one thing that would be in it.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn into_list(self) -> Vec<T> {
        match self {
            Self::Many(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

fn none<T>() -> OneOrMany<T> {
    OneOrMany::Many(Vec::new())
}

#[derive(Deserialize)]
struct Document {
    #[serde(default = "none")]
    libraries: OneOrMany<Library>,
}

/// Where the library would be is of no interest.
#[derive(Deserialize)]
struct Library {
    #[serde(default = "none")]
    modules: OneOrMany<Module>,
}

#[derive(Deserialize)]
struct Module {
    name: String,
    #[serde(default = "none")]
    parameters: OneOrMany<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    key: String,
    value: String,
}

/// Reads the flag: JSON, or the file where it is (`/path` or `file:///path`).
pub(super) fn parse(flag: &str) -> Result<Parameters, String> {
    let path = flag.strip_prefix("file://").unwrap_or(flag);
    let read;
    let text = if Path::new(path).is_absolute() {
        read = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        &read
    } else {
        flag
    };
    let document: Document = serde_json::from_str(text)
        .map_err(|error| format!("not what Mesos calls Modules in JSON: {error}"))?;
    let mut all = Parameters::default();
    let libraries = document.libraries.into_list().into_iter();
    for module in libraries.flat_map(|library| library.modules.into_list()) {
        if module.name != FIXED && module.name != LOAD {
            return Err(format!(
                "there is no module '{}': modules are compiled in, and those are {FIXED} and {LOAD}",
                module.name
            ));
        }
        for Parameter { key, value } in module.parameters.into_list() {
            let threshold = || {
                let number = value.parse::<f64>();
                number.map_err(|_| format!("the parameter '{key}': '{value}' is not a number"))
            };
            match (module.name.as_str(), key.as_str()) {
                (FIXED, "resources") => all.resources = Some(value),
                (LOAD, "load_threshold_5min") => all.load_threshold_5min = Some(threshold()?),
                (LOAD, "load_threshold_15min") => all.load_threshold_15min = Some(threshold()?),
                _ => {
                    return Err(format!(
                        "the module {} has no parameter '{key}'",
                        module.name
                    ));
                }
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_from_lists_and_from_single_ones() {
        let single = r#"{"libraries":{"file":"/usr/lib/libfixed.so","modules":{"name":"org_apache_mesos_FixedResourceEstimator",
            "parameters":{"key":"resources","value":"cpus:14"}}}}"#;
        let lists = r#"{"libraries":[{"file":"/usr/lib/libload.so","modules":[{"name":"org_apache_mesos_LoadQoSController",
            "parameters":[{"key":"load_threshold_5min","value":"6"},{"key":"load_threshold_15min","value":"4.5"}]}]},{}]}"#;
        assert_eq!(parse(single).unwrap().resources.as_deref(), Some("cpus:14"));
        let expected = Parameters {
            resources: None,
            load_threshold_5min: Some(6.0),
            load_threshold_15min: Some(4.5),
        };
        assert_eq!(parse(lists).unwrap(), expected);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("modules.json");
        std::fs::write(&file, lists).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(parse(path).unwrap(), expected);
        assert_eq!(parse(&format!("file://{path}")).unwrap(), expected);
        assert_eq!(parse("{}").unwrap(), Parameters::default());
    }

    #[test]
    fn what_is_not_there_is_named() {
        let module = |name: &str, key: &str, value: &str| {
            format!(
                r#"{{"libraries":[{{"modules":[{{"name":"{name}","parameters":[{{"key":"{key}","value":"{value}"}}]}}]}}]}}"#
            )
        };
        let cases = [
            (
                "nonsense".to_owned(),
                "not what Mesos calls Modules in JSON",
            ),
            ("/nowhere".to_owned(), "cannot be read"),
            (
                module("org_apache_mesos_TestHook", "a", "b"),
                "there is no module 'org_apache_mesos_TestHook'",
            ),
            (module(FIXED, "size", "1"), "has no parameter 'size'"),
            (
                module(LOAD, "load_threshold_5min", "high"),
                "'high' is not a number",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}

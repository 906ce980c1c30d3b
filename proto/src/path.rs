//! Where in a message something is: `accept.operations[0].launch.task_infos[2].task_id.value`.

use std::fmt::Write as _;

/// How many missing fields an error names.
const MISSING_LIMIT: usize = 16;

/// A field, or one element of a repeated field or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Step {
    name: &'static str,
    index: Option<u32>,
}

impl Step {
    pub(crate) fn field(name: &'static str) -> Self {
        Self { name, index: None }
    }

    pub(crate) fn element(name: &'static str, index: u32) -> Self {
        Self {
            name,
            index: Some(index),
        }
    }
}

/// The text of a path and one more step.
pub(crate) fn text(path: &[Step], last: Step) -> String {
    let mut text = String::new();
    for step in path.iter().chain([&last]) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(step.name);
        if let Some(index) = step.index {
            let _ = write!(text, "[{index}]");
        }
    }
    text
}

/// The required fields that were not there; the first few of them.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    paths: Vec<String>,
}

impl Missing {
    pub(crate) fn note(&mut self, path: &[Step], last: Step) {
        if self.paths.len() < MISSING_LIMIT {
            self.paths.push(text(path, last));
        }
    }

    pub(crate) fn into_paths(self) -> Vec<String> {
        self.paths
    }
}

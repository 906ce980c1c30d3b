//! The executor of its user that an app names: described to Mesos as Marathon does it. The task then has neither command nor container; both
//! are the executor's, whose command line ends with that of the app.

use std::borrow::Cow;

use tepui_proto::mesos::{
    CommandInfo, ContainerInfo, ExecutorId, ExecutorInfo, Resource, executor_info,
};

use crate::definition::App;

/// The executor of one task of an app.
pub(crate) fn id_of(task_id: &str) -> String {
    format!("marathon-{task_id}")
}

/// Describes the executor at `path`. `command` is the app's, with its variables and files.
pub(super) fn executor_info(
    path: &str,
    app: &App,
    task_id: &str,
    command: CommandInfo,
    container: Option<ContainerInfo>,
    resources: Vec<Resource>,
) -> ExecutorInfo {
    let words = match &app.cmd {
        Some(cmd) => Cow::Borrowed(cmd.as_str()),
        None => app
            .args
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
    };
    // A path is always quoted, so that the line is Marathon's.
    let path = format!("'{}'", path.replace('\'', r"'\''"));
    let line = format!("chmod ug+rx {path} && exec {path} {words}");
    let mut executor = ExecutorInfo {
        executor_id: ExecutorId {
            value: id_of(task_id),
        },
        command: Some(CommandInfo {
            shell: Some(true),
            value: Some(line.trim_end().to_owned()),
            arguments: Vec::new(),
            ..command
        }),
        container: container.map(Box::new),
        resources,
        ..ExecutorInfo::default()
    };
    executor.set_type(executor_info::Type::Custom);
    executor
}

/// A word that the shell takes as it is.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:=@%+,-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Cow::Borrowed(word);
    }
    format!("'{}'", word.replace('\'', r"'\''")).into()
}

//! Tasks with a volume, for the tests of all that brings volumes.

use std::path::Path;

use tepui_proto::mesos::v1 as mesos;
use tepui_proto::mesos::v1::container_info::Type;
use tepui_proto::mesos::v1::{ContainerInfo, Volume};

use crate::shell;

/// A task with this volume at `data`.
pub(crate) fn with(id: &str, command: &str, volume: Volume) -> mesos::TaskInfo {
    let mut task = shell(id, command);
    task.container = Some(Box::new(ContainerInfo {
        r#type: Type::Mesos.into(),
        volumes: vec![volume],
        ..Default::default()
    }));
    task
}

/// A command that waits for a file.
pub(crate) fn once_there(path: &Path, then: &str) -> String {
    format!(
        "while ! test -e {}; do sleep 0.02; done; {then}",
        path.display()
    )
}

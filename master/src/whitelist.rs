//! `--whitelist`: a file with the host names of those agents that are offered, one a line, looked at every few seconds.
//!
//! Until it could be read for the first time nothing is offered; a file that cannot be read later leaves the last list in
//! force. An empty file is a list of nobody.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::driver::{Inbox, Notice};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The list, as it was read last.
#[derive(Debug)]
pub(crate) struct Whitelist {
    path: PathBuf,
    hostnames: BTreeSet<String>,
    /// Why it could not be read last time, so that the log says it once.
    trouble: Option<String>,
}

impl Whitelist {
    /// Reads the file, and tells the core before anything can be offered.
    pub(crate) async fn begin(path: PathBuf, inbox: &Inbox) -> Self {
        let mut list = Self {
            path,
            hostnames: BTreeSet::new(),
            trouble: None,
        };
        list.look().await;
        info!(
            "{} host names are on the whitelist {}",
            list.hostnames.len(),
            list.path.display()
        );
        inbox.notify(Notice::Whitelist(Some(list.hostnames.clone())));
        list
    }

    /// Reads the file again and again, and tells the core what has changed.
    pub(crate) async fn keep_up(mut self, inbox: Inbox, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
            if self.look().await {
                info!(
                    "the whitelist {} has changed; it has {} host names",
                    self.path.display(),
                    self.hostnames.len()
                );
                inbox.notify(Notice::Whitelist(Some(self.hostnames.clone())));
            }
        }
    }

    /// Returns whether the list has changed.
    async fn look(&mut self) -> bool {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        match read {
            Ok(Ok(hostnames)) => {
                self.trouble = None;
                let before = std::mem::replace(&mut self.hostnames, hostnames);
                before != self.hostnames
            }
            Ok(Err(error)) => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    warn!(
                        "the whitelist {} cannot be read, the last one stays in force: {trouble}",
                        self.path.display()
                    );
                    self.trouble = Some(trouble);
                }
                false
            }
            // The runtime is going down.
            Err(_) => false,
        }
    }
}

fn read(path: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        let message = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            message,
        ));
    }
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_read_leaves_the_last_list() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("agents");
        let mut list = Whitelist {
            path: path.clone(),
            hostnames: BTreeSet::new(),
            trouble: None,
        };
        let names = |list: &Whitelist| list.hostnames.iter().cloned().collect::<Vec<_>>();
        assert!(!list.look().await);
        assert!(list.trouble.is_some());
        for (text, changed, expected) in [
            ("b\n\n a \n", true, &["a", "b"][..]),
            ("a\r\nb", false, &["a", "b"]),
            ("", true, &[]),
            ("c", true, &["c"]),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(list.look().await, changed, "{text:?}");
            assert_eq!(names(&list), expected, "{text:?}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(!list.look().await);
        assert_eq!(names(&list), ["c"]);
    }
}

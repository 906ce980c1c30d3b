//! `tepui store …`: all that Marathon has stored, into a file and back.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{CommandError, Context, print_json};
use crate::daemon;

/// What a restore costs, while there is still time.
const WARNING: &str = "Before you start Marathon: tasks launched since the backup are killed, and persistent volumes made since the backup are DESTROYED \
    as soon as their agents offer them. Copy what is in them first.";

/// Commands on what Marathon has stored.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreCommand {
    /// Write a backup of all apps, pods, groups, versions, instances and deployments: of the running Marathon, or of a stopped one's store.
    Backup {
        /// The file; it must not be there yet.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Put a backup into the store of a Marathon that is stopped. The file is checked first; a store that holds something is left alone.
    #[command(group(clap::ArgGroup::new("where").required(true).args(["zk", "work_dir"])))]
    Restore {
        /// A file that `backup` wrote.
        file: PathBuf,
        #[command(flatten)]
        place: Place,
        /// Take a store that holds something too; it holds nothing but the backup afterwards.
        #[arg(long)]
        replace: bool,
    },
}

/// Where a store is.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// In ZooKeeper: what Marathon's --zk is, zk://H1:P1,H2:P2/PATH.
    #[arg(long, value_name = "URL", conflicts_with = "work_dir")]
    zk: Option<String>,
    /// Embedded: what Marathon's --work_dir is.
    #[arg(long = "work-dir", alias = "work_dir", value_name = "FOLDER")]
    work_dir: Option<PathBuf>,
}

impl Place {
    fn is_named(&self) -> bool {
        self.zk.is_some() || self.work_dir.is_some()
    }

    fn config(&self) -> tepui_marathon::Config {
        let work_dir = self.work_dir.clone();
        let mut config = tepui_marathon::Config::new(
            "",
            work_dir.unwrap_or_else(|| daemon::default_work_dir("marathon")),
        );
        config.zk.clone_from(&self.zk);
        config
    }
}

/// Runs a command to its end.
pub(crate) async fn run(context: &Context, command: StoreCommand) -> Result<(), CommandError> {
    let failed = |error: tepui_marathon::Error| CommandError::Failed(error.to_string());
    match command {
        StoreCommand::Backup { file, place } => {
            let backup = if place.is_named() {
                tepui_marathon::backup_stopped(&place.config())
                    .await
                    .map_err(failed)?
            } else {
                let url = format!("{}/v3/backup", context.cluster.marathon);
                context.cluster.client().get_large(&url).await?
            };
            let damaged = |error| CommandError::Failed(format!("what came is not whole: {error}"));
            let records = tepui_marathon::check_backup(&backup).map_err(damaged)?;
            save(&file, &backup)
                .map_err(|error| input(&file, format!("cannot be written: {error}")))?;
            told(context, "written to", &file, records);
            Ok(())
        }
        StoreCommand::Restore {
            file,
            place,
            replace,
        } => {
            let backup = std::fs::read(&file)
                .map_err(|error| input(&file, format!("cannot be read: {error}")))?;
            let records = match tepui_marathon::restore(&place.config(), &backup, replace).await {
                Err(tepui_marathon::Error::Backup(error)) => {
                    return Err(input(&file, error.to_string()));
                }
                restored => restored.map_err(failed)?,
            };
            told(context, "restored from", &file, records);
            eprintln!("{WARNING}");
            Ok(())
        }
    }
}

fn input(file: &Path, reason: String) -> CommandError {
    CommandError::Input {
        path: file.display().to_string(),
        reason,
    }
}

fn told(context: &Context, what: &str, file: &Path, records: usize) {
    let file = file.display().to_string();
    if context.json {
        print_json(&json!({ "file": file, "records": records }));
    } else {
        println!("{records} records {what} {file}");
    }
}

/// Only its owner may read it: environments of apps are in it. It is there wholly or not at all, also after a power cut.
fn save(file: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut open = std::fs::OpenOptions::new();
    let mut written = open.write(true).create_new(true).mode(0o600).open(file)?;
    let done = written.write_all(content).and_then(|()| written.sync_all());
    if done.is_err() {
        let _ = std::fs::remove_file(file);
    }
    done
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        _command: StoreCommand,
    }

    #[test]
    fn a_restore_is_told_where() {
        let line = |args: &[&str]| Line::try_parse_from([&["store"], args].concat());
        assert!(line(&["backup", "f"]).is_ok());
        let nowhere = line(&["restore", "f"]).expect_err("no place");
        assert!(nowhere.to_string().contains("--zk"), "{nowhere}");
        assert!(line(&["restore", "f", "--zk", "zk://a:1/b"]).is_ok());
        assert!(line(&["restore", "f", "--work-dir", "/x"]).is_ok());
        assert!(line(&["restore", "f", "--zk", "zk://a:1/b", "--work-dir", "/x"]).is_err());
    }
}

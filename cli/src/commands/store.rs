//! `tepui store …`: all that Marathon has stored, into a file and back.

use std::{
    fs::File,
    io::{BufReader, BufWriter, IsTerminal as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use tepui_marathon::Progress;

use super::{CommandError, Context, items, number, print_json, text};
use crate::{client::ClientError, daemon, table::Table};

/// What a restore costs, while there is still time.
const WARNING: &str = "When you start Marathon, tasks launched since the backup are killed. Persistent volumes made since the backup are left alone: \
    `tepui store held` lists them, `tepui store free` destroys them and ends that.";

/// How often it is told how far something is: on a terminal, and elsewhere.
const SOON: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(10);

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
        /// A role in which something may be reserved that the backup does not know; may be given again. Roles of the backup's own apps and
        /// groups, and of what is replaced, are known.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
    },
    /// List what is reserved for instances that the restored backup does not know; it is left alone.
    Held,
    /// Free what is held since a restore. Persistent volumes are DESTROYED, with all that is in them.
    #[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["ids", "all", "end"])))]
    Free {
        /// Ids of instances, as `held` lists them.
        #[arg(value_name = "ID", conflicts_with = "all")]
        ids: Vec<String>,
        /// All that is listed.
        #[arg(long)]
        all: bool,
        /// End the hold: from now on, what is reserved for unknown instances is freed as soon as it is offered.
        #[arg(long)]
        end: bool,
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
        StoreCommand::Held => {
            let held = context.cluster.marathon_get("/v3/store/held").await?;
            show(context, &held);
            Ok(())
        }
        StoreCommand::Free { ids, all, end } => {
            let order = json!({ "ids": ids, "all": all, "end": end });
            let path = "/v3/store/free";
            let sent = context
                .cluster
                .marathon_send(Method::POST, path, Some(&order));
            let freed = sent.await?;
            if !context.json {
                let count = items(&freed, "freed").len();
                println!("{count} freed; what agents have of it goes when they offer it");
            }
            show(context, &freed);
            Ok(())
        }
        StoreCommand::Backup { file, place } => {
            let unwritten = |error| input(&file, format!("cannot be written: {error}"));
            let mut draft = Draft::begin(&file).map_err(unwritten)?;
            let mut pace = Pace::new(context);
            let mut bytes = 0;
            let mut write = |data: &[u8]| {
                bytes += data.len();
                pace.tell(|| format!("{} KiB are written", bytes >> 10));
                draft.write(data)
            };
            if place.is_named() {
                match tepui_marathon::backup_stopped(&place.config(), write).await {
                    Err(tepui_marathon::Error::Write(error)) => return Err(unwritten(error)),
                    made => drop(made.map_err(failed)?),
                }
            } else {
                let url = format!("{}/v3/backup", context.cluster.marathon);
                let client = context.cluster.client();
                match client.get_large(&url, &mut write).await {
                    Err(ClientError::Write(error)) => return Err(unwritten(error)),
                    got => got?,
                }
            }
            pace.end();
            let written = draft.end().map_err(unwritten)?;
            let damaged = |error| CommandError::Failed(format!("what came is not whole: {error}"));
            let records = tepui_marathon::check_backup(written).map_err(damaged)?;
            draft.keep().map_err(unwritten)?;
            told(context, "written to", &file, records);
            Ok(())
        }
        StoreCommand::Restore {
            file,
            place,
            replace,
            roles,
        } => {
            let unread = |error| input(&file, format!("cannot be read: {error}"));
            let backup = BufReader::new(File::open(&file).map_err(unread)?);
            let mut pace = Pace::new(context);
            let each = |progress| {
                pace.tell(|| match progress {
                    Progress::Checked(records) => format!("{records} records are checked"),
                    Progress::Brought(records) => format!("{records} records are in the store"),
                    Progress::Done(keys) => format!("{keys} keys are as they are to be"),
                });
            };
            let config = place.config();
            let restored = tepui_marathon::restore(&config, backup, replace, &roles, each).await;
            pace.end();
            let records = match restored {
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

/// Tells on standard error how far something is that takes long: on a terminal in one line, else now and then.
struct Pace {
    quiet: bool,
    line: bool,
    next: Instant,
    told: bool,
}

impl Pace {
    fn new(context: &Context) -> Self {
        Self {
            quiet: context.json,
            line: std::io::stderr().is_terminal(),
            next: Instant::now() + SOON,
            told: false,
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        let now = Instant::now();
        if self.quiet || now < self.next {
            return;
        }
        self.told = true;
        if self.line {
            self.next = now + SOON;
            eprint!("\r\x1b[K… {}", what());
        } else {
            self.next = now + SELDOM;
            eprintln!("… {}", what());
        }
    }

    fn end(&mut self) {
        if self.told && self.line {
            eprint!("\r\x1b[K");
        }
    }
}

/// What is held.
fn show(context: &Context, answer: &Value) {
    if context.json {
        print_json(answer);
        return;
    }
    let Some(since) = answer["restoredAt"].as_str() else {
        println!("nothing is held");
        return;
    };
    print!("{}", listed(items(answer, "held")));
    if answer["complete"] == false {
        println!("more is held than is listed: free some of it to see the rest");
    }
    println!(
        "held since the restore of {since}; `tepui store free` frees it, `--end` ends the hold"
    );
}

fn listed(held: &[Value]) -> String {
    if held.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "ID", "HOST", "ROLE", "CPUS", "MEM", "DISK", "VOLUMES", "SEEN",
    ]);
    for one in held {
        let volumes = items(one, "volumes").iter();
        let volumes = volumes.map(|volume| {
            format!(
                "{} ({} MiB)",
                text(volume, "containerPath"),
                number(&volume["sizeMib"])
            )
        });
        let volumes: Vec<String> = volumes.collect();
        let amount = |name: &str| number(&one["resources"][name]);
        table.row([
            text(one, "id").to_owned(),
            text(one, "host").to_owned(),
            text(one, "role").to_owned(),
            amount("cpus"),
            amount("mem"),
            amount("disk"),
            volumes.join(", "),
            text(one, "lastSeen").to_owned(),
        ]);
    }
    table.render()
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

/// A file that is being written under another name, and only gets its own once it is whole and on the disk. Only its owner may read it:
/// environments of apps are in it. Dropped before, nothing of it is left.
struct Draft {
    open: BufWriter<File>,
    /// Where it is written.
    draft: PathBuf,
    file: PathBuf,
    /// It is whole, and could not get its name.
    stays: bool,
}

impl Draft {
    /// Refused if there is such a file already.
    fn begin(file: &Path) -> std::io::Result<Self> {
        if file.symlink_metadata().is_ok() {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        let name = file.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut draft_name = name.to_owned();
        draft_name.push(format!(".{}.part", std::process::id()));
        let draft = file.with_file_name(draft_name);
        let mut open = File::options();
        let open = open.read(true).write(true).create_new(true).mode(0o600);
        Ok(Self {
            open: BufWriter::new(open.open(&draft)?),
            draft,
            file: file.to_owned(),
            stays: false,
        })
    }

    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.open.write_all(data)
    }

    /// All of it is written; to be read once more.
    fn end(&mut self) -> std::io::Result<BufReader<&File>> {
        self.open.flush()?;
        let file = self.open.get_mut();
        file.sync_all()?;
        file.rewind()?;
        Ok(BufReader::new(file))
    }

    /// Gives it its name, unless somebody else has made such a file meanwhile. If that fails, it stays under the other name, which the error
    /// tells: it is whole, and was long in coming.
    fn keep(self) -> std::io::Result<()> {
        self.keep_by(|draft, file| std::fs::hard_link(draft, file))
    }

    /// `link` gives a file a second name, where the file system can do that.
    fn keep_by(
        mut self,
        link: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        if let Err(error) = self.take_name(link) {
            self.stays = true;
            let told = format!("{error}; the whole backup is {}", self.draft.display());
            return Err(std::io::Error::new(error.kind(), told));
        }
        let folder = self.file.parent().filter(|one| *one != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn take_name(
        &self,
        link: impl FnOnce(&Path, &Path) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        match link(&self.draft, &self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        // There are no hard links on vfat, and on some file systems that are mounted from elsewhere. An empty file takes the name, which only one
        // can do, and then it is replaced.
        let mut empty = File::options();
        empty.write(true).create_new(true).mode(0o600);
        empty.open(&self.file)?;
        std::fs::rename(&self.draft, &self.file).inspect_err(|_| {
            let _ = std::fs::remove_file(&self.file);
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.stays {
            let _ = std::fs::remove_file(&self.draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::fs::PermissionsExt as _};

    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        _command: StoreCommand,
    }

    #[test]
    fn what_is_held_is_a_table() {
        let held = json!([{
            "id": "db.instance-1", "host": "h1", "role": "dev", "resources": { "cpus": 0.5, "mem": 64.0, "disk": 110.0 },
            "volumes": [{ "containerPath": "data", "sizeMib": 100.0 }, { "containerPath": "log", "sizeMib": 10.0 }],
            "lastSeen": "2026-11-29T10:00:00.000Z",
        }]);
        assert_eq!(
            listed(items(&json!({ "held": held }), "held")),
            "ID             HOST  ROLE  CPUS  MEM  DISK  VOLUMES                       SEEN\n\
             db.instance-1  h1    dev    0.5   64   110  data (100 MiB), log (10 MiB)  2026-11-29T10:00:00.000Z\n"
        );
    }

    #[test]
    fn a_file_is_there_wholly_or_not_at_all_and_takes_no_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut given_up = Draft::begin(&file).unwrap();
        given_up.write(b"half").unwrap();
        assert!(!file.exists());
        drop(given_up);
        assert_eq!(names(), 0);

        let mut draft = Draft::begin(&file).unwrap();
        draft.write(b"who").unwrap();
        draft.write(b"le").unwrap();
        let mut read = String::new();
        draft.end().unwrap().read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), file.exists()), ("whole", false));
        draft.keep().unwrap();
        assert_eq!(
            (std::fs::read(&file).unwrap(), names()),
            (b"whole".to_vec(), 1)
        );
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Draft::begin(&file).err().unwrap();
        assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);

        // One that somebody made meanwhile is left as it is.
        let other = folder.path().join("other");
        let mut late = Draft::begin(&other).unwrap();
        late.write(b"late").unwrap();
        std::fs::write(&other, "theirs").unwrap();
        late.end().unwrap();
        let part = late.draft.clone();
        let refused = late.keep().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert!(refused.to_string().contains(part.to_str().unwrap()));
        assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
        assert_eq!(
            (std::fs::read(&part).unwrap(), names()),
            (b"late".to_vec(), 3)
        );
    }

    #[test]
    fn a_backup_gets_its_name_without_hard_links_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let draft = |data: &[u8]| {
            let mut draft = Draft::begin(&file).unwrap();
            draft.write(data).unwrap();
            draft.end().unwrap();
            draft
        };
        // As vfat says it.
        let no_links = |_: &Path, _: &Path| Err(std::io::ErrorKind::PermissionDenied.into());

        draft(b"whole").keep_by(no_links).unwrap();
        assert_eq!(
            (std::fs::read(&file).unwrap(), names()),
            (b"whole".to_vec(), 1)
        );
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        // It takes no other's place either, and is not lost.
        std::fs::remove_file(&file).unwrap();
        let late = draft(b"late");
        let part = late.draft.clone();
        std::fs::write(&file, "theirs").unwrap();
        let refused = late.keep_by(no_links).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert!(refused.to_string().contains(part.to_str().unwrap()));
        assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
        assert_eq!(std::fs::read(&part).unwrap(), b"late");

        // Nothing empty is left in its place if it cannot be renamed.
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(&part).unwrap();
        let lost = draft(b"lost");
        std::fs::remove_file(&lost.draft).unwrap();
        lost.keep_by(no_links).unwrap_err();
        assert_eq!(names(), 0);
    }

    #[test]
    fn what_is_freed_is_named() {
        let line = |args: &[&str]| Line::try_parse_from([&["store", "free"], args].concat());
        assert!(line(&[]).is_err(), "nothing is freed by mistake");
        for good in [
            &["i1", "i2"][..],
            &["--all"],
            &["--all", "--end"],
            &["--end"],
            &["i1", "--end"],
        ] {
            assert!(line(good).is_ok(), "{good:?}");
        }
        assert!(line(&["i1", "--all"]).is_err());
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

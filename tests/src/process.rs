//! Tepui's binary, and others, as processes of a test.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{sys::signal, unistd::Pid};
use tempfile::TempDir;

use crate::until;

pub use nix::sys::signal::Signal;

/// Tepui's binary: `TEPUI_BIN`, or the release build of this workspace.
///
/// # Panics
/// There is none.
#[must_use]
pub fn tepui() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tepui");
    let binary = std::env::var_os("TEPUI_BIN").map_or(built, PathBuf::from);
    assert!(
        binary.exists(),
        "{} is not there: run ./test, or `cargo build --release` first",
        binary.display()
    );
    binary
}

/// The Python that has the foreign clients: `TEPUI_PYTHON`, or the one that `./test` makes.
///
/// # Panics
/// There is none.
#[must_use]
pub fn python() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let python = std::env::var_os("TEPUI_PYTHON").map_or(made, PathBuf::from);
    assert!(
        python.exists(),
        "{} is not there: run ./test, which makes it",
        python.display()
    );
    python
}

/// The scheduler and executor on mesos-go: `TEPUI_GO_SCENARIOS`, or what `./test` builds.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn go_scenarios() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/go/scenarios");
    let binary = std::env::var_os("TEPUI_GO_SCENARIOS").map_or(built, PathBuf::from);
    assert!(
        binary.exists(),
        "{} is not there: run ./test, which builds it",
        binary.display()
    );
    binary
}

/// A port of the loopback address that was free a moment ago, and is given to nobody else in this process: who asked for it may bind it later, or
/// again.
///
/// # Panics
/// The machine has none.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    // Held until one is found that is new, so that each try is another port.
    let mut tried = Vec::new();
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("a free port").port();
        tried.push(listener);
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(port) {
            return port;
        }
    }
}

/// A process with its log. It is killed, and its log shown if the test fails, when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    _folder: TempDir,
}

impl Process {
    /// Starts `tepui` with arguments.
    #[must_use]
    pub fn tepui<A: AsRef<str>>(args: &[A]) -> Self {
        Self::tepui_in(&[], args)
    }

    /// Starts `tepui` with arguments, and with variables beside those of this process.
    #[must_use]
    pub fn tepui_in<A: AsRef<str>>(variables: &[(String, String)], args: &[A]) -> Self {
        let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        let mut command = Command::new(tepui());
        command.args(&args).envs(variables.iter().cloned());
        Self::start(&format!("tepui {}", args.join(" ")), command)
    }

    /// Starts a command; both of its outputs go to its log.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let file = File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            _folder: folder,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let _ = signal::kill(Pid::from_raw(pid), signal); // it may have ended
    }

    /// Kills it as nothing can be prepared for, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its status once it has ended.
    ///
    /// # Panics
    /// It did not end in time.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || self.child.try_wait().expect("its status"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, self.log());
        }
    }
}

//! A daemon under test, in a process of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::BenchError;

const UP_TIMEOUT: Duration = Duration::from_secs(20);

/// A running daemon; it is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts `tepui <args> --ip=127.0.0.1 --port=<free>` with this very binary and waits until `ready`, a path of its HTTP API, is answered
    /// with 200.
    pub(crate) async fn start(
        args: &[&str],
        work_dir: &Path,
        ready: &str,
    ) -> Result<Self, BenchError> {
        let address = free_address().map_err(BenchError::Start)?;
        let (ip, port) = (address.ip(), address.port());
        let listen = [format!("--ip={ip}"), format!("--port={port}")];
        Self::spawn(args, listen, work_dir, ready, address).await
    }

    /// The address of a master: of the one that is named, or of one that is started and ends with what is given back.
    pub(crate) async fn master(
        named: Option<String>,
        work_dir: &Path,
    ) -> Result<(Option<Self>, String), BenchError> {
        if let Some(address) = named {
            return Ok((None, address));
        }
        let daemon = Self::start(&["master"], work_dir, "/slaves").await?;
        let address = daemon.address.to_string();
        Ok((Some(daemon), address))
    }

    /// Starts `tepui marathon` for a master and waits until it leads.
    pub(crate) async fn start_marathon(master: &str, work_dir: &Path) -> Result<Self, BenchError> {
        let address = free_address().map_err(BenchError::Start)?;
        let (ip, port) = (address.ip(), address.port());
        let listen = [
            format!("--http_address={ip}"),
            format!("--http_port={port}"),
        ];
        let master = format!("--master={master}");
        let args = ["marathon", &master];
        Self::spawn(&args, listen, work_dir, "/v2/leader", address).await
    }

    async fn spawn(
        args: &[&str],
        listen: [String; 2],
        work_dir: &Path,
        ready: &str,
        address: SocketAddr,
    ) -> Result<Self, BenchError> {
        let binary = std::env::current_exe().map_err(BenchError::Start)?;
        let mut command = Command::new(binary);
        command
            .args(args)
            .args(listen)
            .arg(format!("--work_dir={}", work_dir.display()))
            .env("TEPUI_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().map_err(BenchError::Start)?;
        let daemon = Self { child, address };
        let started = Instant::now();
        while !answers(address, ready).await {
            if started.elapsed() > UP_TIMEOUT {
                return Err(BenchError::NotUp {
                    command: format!("tepui {}", args.join(" ")),
                    address: address.to_string(),
                    seconds: UP_TIMEOUT.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(daemon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        use nix::{sys::signal, unistd::Pid};
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Asked first, so that it takes what it started with it.
            let _ = signal::kill(Pid::from_raw(pid), signal::Signal::SIGTERM);
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(5) {
                if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a path is answered with 200.
async fn answers(address: SocketAddr, path: &str) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        std::io::Result::Ok(status)
    };
    matches!(ask.await, Ok(status) if &status == b"HTTP/1.1 200")
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The resident memory of a process, in bytes.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that it ever was, in bytes.
pub(crate) fn peak_rss_bytes(pid: u32) -> Option<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// The CPU time that a process has used, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    #[allow(clippy::cast_precision_loss)] // a clock rate
    Some(ticks / per_second as f64)
}

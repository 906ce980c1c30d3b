//! Real ZooKeeper servers for tests: Debian's package, started by hand on free ports, ended with the test.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{PATIENCE, process::free_port, until};

const JAR: &str = "/usr/share/java/zookeeper.jar";
const CONF: &str = "/etc/zookeeper/conf";
/// For the answer to a word: a server that is busy writing may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Until an ensemble serves.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// One to three servers.
#[derive(Debug)]
pub struct Ensemble {
    _directory: TempDir,
    servers: Vec<Server>,
}

#[derive(Debug)]
struct Server {
    port: u16,
    home: PathBuf,
    process: Option<Child>,
}

impl Ensemble {
    /// Starts so many servers and waits until they serve.
    ///
    /// # Panics
    /// ZooKeeper is not installed, or does not serve in time.
    #[must_use]
    pub fn start(count: usize) -> Self {
        assert!(
            Path::new(JAR).exists() && Command::new("java").arg("-version").output().is_ok(),
            "these tests need ZooKeeper ({JAR}) and a JRE: run ./test, which installs them"
        );
        let directory = tempfile::tempdir().expect("ZooKeeper's files, ports and processes");
        let ports: Vec<u16> = (0..count * 3).map(|_| free_port()).collect();
        let servers: Vec<Server> = (0..count)
            .map(|n| {
                let home = directory.path().join(n.to_string());
                fs::create_dir(&home).expect("ZooKeeper's files, ports and processes");
                let mut config = format!(
                    "tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
                     admin.enableServer=false\n4lw.commands.whitelist=*\nminSessionTimeout=1000\n",
                    home.display(),
                    ports[n]
                );
                if count > 1 {
                    for other in 0..count {
                        config.push_str(&format!("server.{}=127.0.0.1:{}:{}\n", other + 1, ports[count + other], ports[2 * count + other]));
                    }
                    fs::write(home.join("myid"), (n + 1).to_string()).expect("ZooKeeper's files, ports and processes");
                }
                fs::write(home.join("zoo.cfg"), config).expect("ZooKeeper's files, ports and processes");
                Server { port: ports[n], home, process: None }
            })
            .collect();
        let mut ensemble = Self {
            _directory: directory,
            servers,
        };
        ensemble.start_all();
        ensemble
    }

    /// `zk://h:p,…` with the path.
    pub fn url(&self, path: &str) -> String {
        let servers: Vec<String> = self
            .servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        format!("zk://{}{path}", servers.join(","))
    }

    /// Starts those that do not run, and waits until all serve.
    pub fn start_all(&mut self) {
        for server in &mut self.servers {
            server.start();
        }
        let started = Instant::now();
        for server in &self.servers {
            while server.mode().is_none() {
                assert!(
                    started.elapsed() < START_TIMEOUT,
                    "ZooKeeper does not serve: {}",
                    server.log()
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// SIGKILL for all.
    pub fn kill_all(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
    }

    /// How many nodes the first server holds.
    ///
    /// # Panics
    /// It does not serve.
    #[must_use]
    pub fn nodes(&self) -> usize {
        until("ZooKeeper to tell how many nodes it has", PATIENCE, || {
            let answer = self.servers[0].ask(b"mntr")?;
            let mut lines = answer.lines();
            let count = lines.find_map(|line| line.strip_prefix("zk_znode_count\t"))?;
            count.trim().parse().ok()
        })
    }

    /// SIGKILL for the server that leads the ensemble.
    ///
    /// # Panics
    /// None does.
    pub fn kill_leader(&mut self) {
        let servers = &mut self.servers;
        let leader = until("a server that leads", PATIENCE, || {
            let leads = |server: &Server| server.mode().as_deref() == Some("leader");
            servers.iter().position(leads)
        });
        servers[leader].kill();
    }
}

impl Server {
    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        let log = fs::File::create(self.home.join("log"))
            .expect("ZooKeeper's files, ports and processes");
        let process = Command::new("java")
            .args([
                "-Xmx256m",
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-cp",
                &format!("{CONF}:{JAR}"),
            ])
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.home.join("zoo.cfg"))
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(
                log.try_clone()
                    .expect("ZooKeeper's files, ports and processes"),
            )
            .stderr(log)
            .spawn()
            .expect("ZooKeeper's files, ports and processes");
        self.process = Some(process);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process
                .kill()
                .expect("ZooKeeper's files, ports and processes");
            process
                .wait()
                .expect("ZooKeeper's files, ports and processes");
        }
    }

    /// `leader`, `follower` or `standalone`, when it serves.
    fn mode(&self) -> Option<String> {
        let answer = self.ask(b"srvr")?;
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Mode: "))
            .map(str::to_owned)
    }

    /// The answer to one of its four-letter words.
    fn ask(&self, word: &[u8; 4]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        stream.write_all(word).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

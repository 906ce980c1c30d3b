//! An agent in a process of its own, which can be killed as nothing can be prepared for.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tepui_agent::{Agent, Config};

use crate::master::Master;

/// Where the master and the agent's folder are.
const TOLD: &str = "TEPUI_TEST_AGENT_TO_BE_KILLED";

/// The agent's process; killed when dropped.
pub(crate) struct Life(Child);

impl Life {
    /// Runs what looks like a test, and calls [`live`], in a process of its own.
    pub(crate) fn start(test: &str, master: &Master, folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(TOLD, format!("{} {}", master.addr, folder.display()))
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is the agent until it is killed; nothing in a process that [`Life`] has not started.
pub(crate) async fn live(config_of: fn(SocketAddr, &Path) -> Config) {
    let Some(told) = std::env::var_os(TOLD) else {
        return;
    };
    let told = told.into_string().unwrap();
    let (master, folder) = told.split_once(' ').unwrap();
    let config = config_of(master.parse().unwrap(), Path::new(folder));
    let _agent = Agent::start(config).await.unwrap();
    std::future::pending::<()>().await;
}

//! The CSI plugin of the agent's tests in a process of its own, for tests of whole clusters: `csi_plugin FOLDER`. Its socket, its volumes, its file
//! for the agent (`plugins/plugin.json`) and what it was asked (`calls`) are in the folder. It stays until it is killed.

use std::path::Path;

use csi_plugin::{CsiPlugin, Does};

#[path = "../tests/kit/csi_plugin.rs"]
#[allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a kit of tests"
)]
mod csi_plugin;

fn main() {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("csi_plugin FOLDER");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    let does = Does {
        stage: true,
        attach: true,
        attach_readers: true,
        mounts: true,
    };
    let plugin = CsiPlugin::start(folder, does);
    plugin.configure(&folder.join("plugins"), "");
    loop {
        std::thread::park();
    }
}

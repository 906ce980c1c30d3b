//! What a container costs on this machine, printed: `cargo bench -p tepui-agent --bench containers [-- COUNT]`.
//!
//! * launch: from the call of `launch` to `Started`, one container at a time, with pid, mount, ipc and uts namespaces and all cgroups;
//! * life: the same until nothing of it is left (`true`, ended, destroyed);
//! * sustained: `true` containers a second, from launch to destroyed, several in flight;
//! * memory: supervisor plus init, Private_Clean + Private_Dirty of smaps_rollup, while the task runs.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tepui_agent::containerizer::{
    Command, ContainerEvent, ContainerId, Containerizer, ContainerizerConfig, LaunchSpec, Lifetime,
    Limits,
};
use tokio::sync::mpsc::Receiver;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How many containers are under way at once in the sustained run.
const IN_FLIGHT: usize = 16;
/// How many live at once when their memory is measured.
const RESIDENT: usize = 50;

#[tokio::main]
async fn main() -> Outcome<()> {
    let count = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(1000);
    let folder = tempfile::tempdir()?;
    let config = ContainerizerConfig {
        runtime_dir: folder.path().join("runtime"),
        cgroups_root: format!("tepui-bench-{}", std::process::id()),
        measure_block_io: false,
        lifetime: Lifetime::Ephemeral,
    };
    let begun = Instant::now();
    let (containerizer, mut events) = Containerizer::start(config)?;
    println!("start ms: {:.2}", begun.elapsed().as_secs_f64() * 1000.0);
    println!(
        "{}",
        containerizer
            .capabilities()
            .warning()
            .unwrap_or_else(|| "full isolation".to_owned())
    );
    let (launches, lives) =
        one_at_a_time(&containerizer, &mut events, folder.path(), count / 4).await?;
    println!(
        "launch ms: p50 {:.2} p99 {:.2}",
        quantile(&launches, 0.50),
        quantile(&launches, 0.99)
    );
    println!(
        "life ms: p50 {:.2} p99 {:.2}",
        quantile(&lives, 0.50),
        quantile(&lives, 0.99)
    );
    let (rate, delays) = sustained(&containerizer, &mut events, folder.path(), count).await?;
    println!(
        "sustained: {rate:.0} containers/s, launch ms p50 {:.2} p99 {:.2}",
        quantile(&delays, 0.50),
        quantile(&delays, 0.99)
    );
    println!(
        "supervisor and init: {} KiB private",
        memory(&containerizer, &mut events, folder.path()).await? / 1024
    );
    Ok(())
}

fn spec(folder: &Path, name: String, program: &[&str]) -> Outcome<LaunchSpec> {
    let sandbox = folder.join(&name);
    std::fs::create_dir(&sandbox)?;
    let arguments = program.iter().map(|&word| word.to_owned()).collect();
    let command = Command::Exec {
        executable: program[0].to_owned(),
        arguments,
    };
    let mut spec = LaunchSpec::new(ContainerId::new(name)?, command, sandbox);
    spec.environment = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    spec.limits = Limits {
        cpu_millis: 100,
        memory_bytes: Some(32 << 20),
        processes: Some(100),
        ..Limits::default()
    };
    Ok(spec)
}

async fn next(events: &mut Receiver<ContainerEvent>) -> Outcome<ContainerEvent> {
    Ok(events.recv().await.ok_or("the event stream has ended")?)
}

async fn one_at_a_time(
    containerizer: &Containerizer,
    events: &mut Receiver<ContainerEvent>,
    folder: &Path,
    count: usize,
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let (mut launches, mut lives) = (Vec::new(), Vec::new());
    for number in 0..count {
        let spec = spec(folder, format!("one-{number}"), &["/bin/true"])?;
        let container = spec.container.clone();
        let begun = Instant::now();
        containerizer.launch(spec).await?;
        let ContainerEvent::Started { .. } = next(events).await? else {
            return Err("a launch failed".into());
        };
        launches.push(begun.elapsed());
        next(events).await?;
        containerizer.destroy(&container).await?;
        lives.push(begun.elapsed());
    }
    Ok((launches, lives))
}

async fn sustained(
    containerizer: &Containerizer,
    events: &mut Receiver<ContainerEvent>,
    folder: &Path,
    count: usize,
) -> Outcome<(f64, Vec<Duration>)> {
    let mut specs = (0..count)
        .map(|number| spec(folder, format!("many-{number}"), &["/bin/true"]))
        .collect::<Outcome<Vec<_>>>()?;
    let (mut launched, mut delays, mut done) = (HashMap::new(), Vec::new(), 0);
    let begun = Instant::now();
    while done < count {
        while launched.len() < IN_FLIGHT {
            let Some(spec) = specs.pop() else { break };
            launched.insert(spec.container.clone(), Instant::now());
            containerizer.launch(spec).await?;
        }
        match next(events).await? {
            ContainerEvent::Started { container, .. } => {
                delays.extend(launched.get(&container).map(Instant::elapsed))
            }
            ContainerEvent::Exited { container, exit } => {
                if !exit.status.is_some_and(|status| status.success()) {
                    return Err(format!("{container}: {exit:?}").into());
                }
                containerizer.destroy(&container).await?;
                launched.remove(&container);
                done += 1;
            }
        }
    }
    Ok((count as f64 / begun.elapsed().as_secs_f64(), delays))
}

async fn memory(
    containerizer: &Containerizer,
    events: &mut Receiver<ContainerEvent>,
    folder: &Path,
) -> Outcome<u64> {
    let mut inits = Vec::new();
    for number in 0..RESIDENT {
        containerizer
            .launch(spec(
                folder,
                format!("resident-{number}"),
                &["/bin/sleep", "1000"],
            )?)
            .await?;
        let ContainerEvent::Started { container, pid } = next(events).await? else {
            return Err("a launch failed".into());
        };
        inits.push((container, pid));
    }
    let mut total = 0;
    for (_, init) in &inits {
        let status = std::fs::read_to_string(format!("/proc/{init}/status"))?;
        let supervisor = status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))
            .ok_or("no parent")?
            .trim()
            .parse()?;
        total += private_bytes(*init)? + private_bytes(supervisor)?;
    }
    for (container, _) in &inits {
        containerizer.destroy(container).await?;
    }
    Ok(total / RESIDENT as u64)
}

fn private_bytes(pid: u32) -> Outcome<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = rollup
        .lines()
        .filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"));
    let kib = private.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(kib.sum::<u64>() * 1024)
}

fn quantile(durations: &[Duration], quantile: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let index = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(index)
        .map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
}

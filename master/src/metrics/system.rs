//! Numbers of the machine, read when they are asked for.

use std::fs;

/// Names and values of `system/…`; what cannot be read is left out.
pub(crate) fn numbers() -> Vec<(&'static str, f64)> {
    let mut numbers = Vec::with_capacity(6);
    if let Ok(cpus) = std::thread::available_parallelism() {
        numbers.push(("system/cpus_total", cpus.get() as f64));
    }
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        let names = ["system/load_1min", "system/load_5min", "system/load_15min"];
        numbers.extend(
            names
                .into_iter()
                .zip(load.split_whitespace())
                .filter_map(|(name, value)| Some((name, value.parse().ok()?))),
        );
    }
    if let Ok(memory) = fs::read_to_string("/proc/meminfo") {
        for (key, name) in [
            ("MemTotal:", "system/mem_total_bytes"),
            ("MemFree:", "system/mem_free_bytes"),
        ] {
            let kib = memory.lines().find_map(|line| {
                line.strip_prefix(key)?
                    .trim()
                    .strip_suffix(" kB")?
                    .trim()
                    .parse::<f64>()
                    .ok()
            });
            numbers.extend(kib.map(|kib| (name, kib * 1024.0)));
        }
    }
    numbers
}

/// Resident memory of this process in bytes.
pub(super) fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = status.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096.0)
}

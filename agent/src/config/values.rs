//! Durations and sizes as Mesos writes them.

use std::time::Duration;

/// Reads a duration as Mesos writes it: `10secs`, `1.5mins`, `1weeks`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("secs", 1.0),
        ("mins", 60.0),
        ("hrs", 3600.0),
        ("days", 86_400.0),
        ("weeks", 604_800.0),
    ];
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * factor).ok()
}

/// Reads a size as Mesos writes it: `2GB`, `512MB`, `4KB`, `100B`, in steps of 1024.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] = [
        ("B", 1),
        ("KB", 1 << 10),
        ("MB", 1 << 20),
        ("GB", 1 << 30),
        ("TB", 1 << 40),
    ];
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a duration as Mesos does: in the largest unit in which it is whole.
pub(crate) fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    const UNITS: [(&str, u128); 8] = [
        ("weeks", 604_800_000_000_000),
        ("days", 86_400_000_000_000),
        ("hrs", 3_600_000_000_000),
        ("mins", 60_000_000_000),
        ("secs", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let whole = |unit: &&(&str, u128)| nanos > 0 && nanos.is_multiple_of(unit.1);
    UNITS.iter().find(whole).map_or_else(
        || "0ns".to_owned(),
        |(name, unit)| format!("{}{name}", nanos / unit),
    )
}

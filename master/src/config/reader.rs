//! How the values of flags are read, with the flag's name in what is said of a value that cannot be.

use std::time::Duration;

use tepui_model::Quantities;
use tepui_model::resources::{Name, Scalar};
use tepui_proto::mesos::DomainInfo;

use super::ConfigError;
use crate::flags::Flags;

pub(super) const MAX: Duration = Duration::from_secs(1_000 * 365 * 86_400);

pub(super) fn invalid(flag: &'static str, value: &str, expected: &'static str) -> ConfigError {
    ConfigError::Invalid {
        flag,
        value: value.to_owned(),
        expected,
    }
}

pub(super) struct Reader<'a> {
    pub(super) flags: &'a Flags,
}

impl Reader<'_> {
    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        flag: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.flags
            .get(flag)
            .map(|value| {
                value
                    .trim()
                    .parse()
                    .map_err(|_| invalid(flag, value, expected))
            })
            .transpose()
    }

    pub(super) fn count(&self, flag: &'static str) -> Result<usize, ConfigError> {
        Ok(self.parsed(flag, "a number")?.unwrap_or_default())
    }

    /// Names separated by commas.
    pub(super) fn names(&self, flag: &'static str) -> Vec<String> {
        let list = self.flags.get(flag).unwrap_or_default();
        list.split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect()
    }

    pub(super) fn bytes(&self, flag: &'static str) -> Result<usize, ConfigError> {
        let value = self.flags.get(flag).unwrap_or_default();
        parse_bytes(value).ok_or_else(|| invalid(flag, value, "a size such as 4KB"))
    }

    /// The master's fault domain; whoever has one has to have a region and a zone.
    pub(super) fn domain(&self) -> Result<Option<DomainInfo>, ConfigError> {
        const EXPECTED: &str = r#"JSON, or file:///path of a file with JSON, such as {"fault_domain":{"region":{"name":"eu"},"zone":{"name":"eu-1"}}}"#;
        let Some(value) = self.flags.get("domain") else {
            return Ok(None);
        };
        let wrong = || invalid("domain", value, EXPECTED);
        let text = match value.strip_prefix("file://") {
            Some(path) => std::fs::read(path).map_err(|_| wrong())?,
            None => value.as_bytes().to_vec(),
        };
        let domain: DomainInfo = tepui_proto::json::from_slice(&text).map_err(|_| wrong())?;
        let complete = domain
            .fault_domain
            .as_ref()
            .is_some_and(|fault| !fault.region.name.is_empty() && !fault.zone.name.is_empty());
        if !complete {
            return Err(wrong());
        }
        Ok(Some(domain))
    }

    pub(super) fn switch(&self, flag: &'static str) -> Result<bool, ConfigError> {
        match self.flags.get(flag).unwrap_or("false") {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(invalid(flag, other, "true or false")),
        }
    }

    pub(super) fn duration(
        &self,
        flag: &'static str,
        range: std::ops::RangeInclusive<Duration>,
        expected: &'static str,
    ) -> Result<Duration, ConfigError> {
        let value = self.flags.get(flag).unwrap_or_default();
        parse_duration(value)
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| invalid(flag, value, expected))
    }

    /// `N/DURATION`.
    pub(super) fn removal_rate(&self) -> Result<Option<(u32, Duration)>, ConfigError> {
        const FLAG: &str = "agent_removal_rate_limit";
        let Some(value) = self.flags.get(FLAG) else {
            return Ok(None);
        };
        let read = || {
            let (permits, duration) = value.split_once('/')?;
            let permits = permits.trim().parse().ok().filter(|permits| *permits > 0)?;
            let duration = parse_duration(duration).filter(|duration| !duration.is_zero())?;
            Some((permits, duration))
        };
        let limit = read().ok_or_else(|| {
            invalid(
                FLAG,
                value,
                "a number above 0 and a duration, such as 1/10mins",
            )
        })?;
        Ok(Some(limit))
    }

    /// A percentage.
    pub(super) fn removal_limit(&self) -> Result<f64, ConfigError> {
        const FLAG: &str = "recovery_agent_removal_limit";
        let value = self.flags.get(FLAG).unwrap_or_default();
        let percent = value.trim().strip_suffix('%');
        percent
            .and_then(|percent| percent.trim().parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| percent / 100.0)
            .ok_or_else(|| invalid(FLAG, value, "a percentage from 0% to 100%"))
    }

    pub(super) fn part(&self) -> Result<f64, ConfigError> {
        const FLAG: &str = "allocator_agent_recovery_factor";
        let value = self.flags.get(FLAG).unwrap_or_default();
        let part = value.trim().parse::<f64>().ok();
        part.filter(|part| (0.0..=1.0).contains(part))
            .ok_or_else(|| invalid(FLAG, value, "a number from 0 to 1"))
    }

    pub(super) fn weights(&self) -> Result<Vec<(String, f64)>, ConfigError> {
        let Some(value) = self.flags.get("weights") else {
            return Ok(Vec::new());
        };
        let wrong = || {
            invalid(
                "weights",
                value,
                "role=weight,role=weight with weights above 0",
            )
        };
        value
            .split(',')
            .map(|pair| {
                let (role, weight) = pair.split_once('=').ok_or_else(wrong)?;
                let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
                if role.trim().is_empty() || !weight.is_finite() || weight <= 0.0 {
                    return Err(wrong());
                }
                Ok((role.trim().to_owned(), weight))
            })
            .collect()
    }

    pub(super) fn min_allocatable(&self) -> Result<Vec<Quantities>, ConfigError> {
        let value = self
            .flags
            .get("min_allocatable_resources")
            .unwrap_or_default();
        let amounts = |alternative: &str| {
            alternative
                .split(';')
                .try_fold(Quantities::new(), |amounts, one| {
                    let (name, amount) = one.split_once(':')?;
                    let (name, amount) =
                        (name.trim(), Scalar::from_f64(amount.trim().parse().ok()?)?);
                    let sound = !name.is_empty() && amount.thousandths() >= 0;
                    sound.then(|| amounts.with(&Name::from(name), amount))
                })
        };
        if value.trim().is_empty() {
            return Ok(Vec::new());
        }
        value
            .split('|')
            .map(|alternative| {
                amounts(alternative).ok_or_else(|| {
                    invalid(
                        "min_allocatable_resources",
                        value,
                        "alternatives such as cpus:0.01|mem:32",
                    )
                })
            })
            .collect()
    }
}

/// Reads Mesos' durations: a number, possibly with a fraction, and one of `ns us ms secs mins hrs days weeks`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let nanos = match unit {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "secs" => 1e9,
        "mins" => 60e9,
        "hrs" => 3_600e9,
        "days" => 86_400e9,
        "weeks" => 604_800e9,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    let seconds = number * nanos / 1e9;
    if !(0.0..=MAX.as_secs_f64()).contains(&seconds) {
        return None;
    }
    Some(Duration::from_secs_f64(seconds))
}

/// Reads Mesos' sizes: a whole number and one of `B KB MB GB TB`, by powers of 1024.
pub(super) fn parse_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let power = ["B", "KB", "MB", "GB", "TB"]
        .iter()
        .position(|known| *known == unit)?;
    let factor = 1usize.checked_shl(u32::try_from(10 * power).ok()?)?;
    number.trim().parse::<usize>().ok()?.checked_mul(factor)
}

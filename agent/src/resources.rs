//! What this machine has to offer, and how flags say it: `--resources` and `--attributes`.
//!
//! What is not given is found out: all cpus; memory less 1 GiB (half of it on machines below 2 GiB); the disk of the work directory less
//! 5 GiB (half below 10 GiB); ports 31000 to 32000. Any disk given by hand turns the finding out of disks off.

use std::path::Path;

use tepui_proto::json;
use tepui_proto::mesos::v1::offer::operation::Reserve;
use tepui_proto::mesos::v1::resource::{ReservationInfo, reservation_info};
use tepui_proto::mesos::v1::{Attribute, Resource, value};

/// A flag's value that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: '{part}': {problem}")]
pub struct FlagValueError {
    /// Which flag, without dashes.
    pub flag: &'static str,
    /// The part that is wrong.
    pub part: String,
    /// What is wrong with it.
    pub problem: String,
}

fn wrong(flag: &'static str, part: &str, problem: impl Into<String>) -> FlagValueError {
    FlagValueError {
        flag,
        part: part.to_owned(),
        problem: problem.into(),
    }
}

/// The value of a resource or attribute.
enum Parsed {
    Scalar(f64),
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
    Text(String),
}

fn parse_value(flag: &'static str, text: &str) -> Result<Parsed, FlagValueError> {
    let inside = |open, close| {
        text.strip_prefix(open)
            .and_then(|rest: &str| rest.strip_suffix(close))
    };
    let items = |list: &str| {
        list.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    if let Some(list) = inside('[', ']') {
        let mut ranges = Vec::new();
        for item in items(list) {
            let (begin, end) = item
                .split_once('-')
                .ok_or_else(|| wrong(flag, text, "a range is begin-end"))?;
            let bound = |bound: &str| {
                bound
                    .trim()
                    .parse::<u64>()
                    .map_err(|_| wrong(flag, text, "a range is begin-end"))
            };
            let (begin, end) = (bound(begin)?, bound(end)?);
            if begin > end {
                return Err(wrong(flag, text, "a range ends before it begins"));
            }
            ranges.push((begin, end));
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return Err(wrong(flag, text, "ranges overlap"));
        }
        return Ok(Parsed::Ranges(ranges));
    }
    if let Some(list) = inside('{', '}') {
        return Ok(Parsed::Set(items(list)));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(Parsed::Scalar(number)),
        Ok(_) => Err(wrong(
            flag,
            text,
            "a number must be finite and not negative",
        )),
        Err(_) => Ok(Parsed::Text(text.to_owned())),
    }
}

pub(crate) fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value }),
        ..Default::default()
    }
}

fn range_value(ranges: Vec<(u64, u64)>) -> value::Ranges {
    value::Ranges {
        range: ranges
            .into_iter()
            .map(|(begin, end)| value::Range { begin, end })
            .collect(),
    }
}

pub(crate) fn ports(begin: u64, end: u64) -> Resource {
    Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges.into(),
        ranges: Some(range_value(vec![(begin, end)])),
        ..Default::default()
    }
}

/// Reads `--resources`: `cpus:4;mem:1024;ports(role):[31000-32000]`, or a JSON array of Resource.
pub fn parse_resources(text: &str) -> Result<Vec<Resource>, FlagValueError> {
    const FLAG: &str = "resources";
    let text = text.trim();
    if text.starts_with('[') {
        let wrapped = format!("{{\"resources\":{text}}}");
        return json::from_slice::<Reserve>(wrapped.as_bytes())
            .map(|read| read.resources)
            .map_err(|error| wrong(FLAG, text, error.to_string()));
    }
    let mut resources = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, value) = part
            .split_once(':')
            .ok_or_else(|| wrong(FLAG, part, "expected name:value"))?;
        let (name, role) = match name.trim().split_once('(') {
            None => (name.trim(), None),
            Some((name, role)) => (
                name.trim(),
                Some(
                    role.strip_suffix(')')
                        .ok_or_else(|| wrong(FLAG, part, "expected name(role):value"))?
                        .trim(),
                ),
            ),
        };
        if name.is_empty() {
            return Err(wrong(FLAG, part, "a resource has a name"));
        }
        let mut resource = Resource {
            name: name.to_owned(),
            ..Default::default()
        };
        match parse_value(FLAG, value.trim())? {
            Parsed::Scalar(number) => resource = scalar(name, number),
            Parsed::Ranges(ranges) => {
                resource.r#type = value::Type::Ranges.into();
                resource.ranges = Some(range_value(ranges));
            }
            Parsed::Set(item) => {
                resource.r#type = value::Type::Set.into();
                resource.set = Some(value::Set { item });
            }
            Parsed::Text(_) => {
                return Err(wrong(
                    FLAG,
                    part,
                    "a resource is a number, [ranges] or {a set}",
                ));
            }
        }
        if let Some(role) = role.filter(|role| *role != "*") {
            resource.reservations.push(ReservationInfo {
                r#type: Some(reservation_info::Type::Static.into()),
                role: Some(role.to_owned()),
                ..Default::default()
            });
        }
        resources.push(resource);
    }
    Ok(resources)
}

/// Reads `--attributes`: `rack:a;n:3;r:[1-5]`.
pub fn parse_attributes(text: &str) -> Result<Vec<Attribute>, FlagValueError> {
    const FLAG: &str = "attributes";
    let mut attributes = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (name, text) = part
            .split_once(':')
            .ok_or_else(|| wrong(FLAG, part, "expected name:value"))?;
        let mut attribute = Attribute {
            name: name.trim().to_owned(),
            ..Default::default()
        };
        match parse_value(FLAG, text.trim())? {
            Parsed::Scalar(number) => {
                attribute.r#type = value::Type::Scalar.into();
                attribute.scalar = Some(value::Scalar { value: number });
            }
            Parsed::Ranges(ranges) => {
                attribute.r#type = value::Type::Ranges.into();
                attribute.ranges = Some(range_value(ranges));
            }
            Parsed::Text(text) => {
                attribute.r#type = value::Type::Text.into();
                attribute.text = Some(value::Text { value: text });
            }
            Parsed::Set(_) => return Err(wrong(FLAG, part, "an attribute cannot be a set")),
        }
        attributes.push(attribute);
    }
    Ok(attributes)
}

/// Adds what was not given and can be found out.
#[must_use]
pub fn complete(mut given: Vec<Resource>, work_dir: &Path) -> Vec<Resource> {
    let has = |name: &str, given: &[Resource]| given.iter().any(|resource| resource.name == name);
    if !has("cpus", &given) {
        given.push(scalar("cpus", cpus()));
    }
    if !has("mem", &given) {
        given.push(scalar("mem", spare(memory_mib(), 1024)));
    }
    if !has("disk", &given) {
        given.push(scalar("disk", spare(disk_mib(work_dir), 5 * 1024)));
    }
    if !has("ports", &given) {
        given.push(ports(31_000, 32_000));
    }
    given
}

fn cpus() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| {
        f64::from(u32::try_from(count.get()).unwrap_or(1))
    })
}

/// What is left when some is kept for the machine: `kept`, or half if there is less than twice as much.
fn spare(total: u64, kept: u64) -> f64 {
    (if total >= 2 * kept {
        total - kept
    } else {
        total / 2
    }) as f64
}

pub(crate) fn memory_bytes() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib * 1024)
    };
    (field("MemTotal:"), field("MemFree:"))
}

fn memory_mib() -> u64 {
    match memory_bytes().0 >> 20 {
        0 => 2048,
        mib => mib,
    }
}

fn disk_mib(path: &Path) -> u64 {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    nix::sys::statvfs::statvfs(existing).map_or(20 * 1024, |disk| {
        (disk.blocks() * disk.fragment_size()) >> 20
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_of_resources() {
        let read = parse_resources(
            " cpus:4; mem(web):1024 ;ports:[31000-31099, 32000-32001];names:{a, b}",
        )
        .unwrap();
        assert_eq!(read.len(), 4);
        assert_eq!(read[0], scalar("cpus", 4.0));
        assert_eq!(read[1].reservations[0].role(), "web");
        assert_eq!(read[2].ranges.as_ref().unwrap().range.len(), 2);
        assert_eq!(read[3].set.as_ref().unwrap().item, ["a", "b"]);
        for bad in [
            "cpus",
            "cpus:x",
            "cpus:-1",
            "cpus:NaN",
            ":3",
            "ports:[5-1]",
            "ports:[1-5,5-9]",
            "mem(web:1",
            "ports:[a-b]",
        ] {
            assert!(parse_resources(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn resources_as_json() {
        let read =
            parse_resources(r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2}}]"#).unwrap();
        assert_eq!(read, [scalar("cpus", 2.0)]);
        assert!(parse_resources(r#"[{"name":"cpus"}]"#).is_err());
    }

    #[test]
    fn attributes_are_numbers_ranges_or_text() {
        let read = parse_attributes("rack:a b;n:3;r:[1-5]").unwrap();
        let kinds: Vec<_> = read.iter().map(|attribute| attribute.r#type()).collect();
        assert_eq!(
            kinds,
            [value::Type::Text, value::Type::Scalar, value::Type::Ranges]
        );
        assert!(parse_attributes("s:{a}").is_err());
        assert!(parse_attributes("nothing").is_err());
    }

    #[test]
    fn a_part_is_kept_for_the_machine() {
        assert_eq!(spare(4096, 1024), 3072.0);
        assert_eq!(spare(1024, 1024), 512.0);
        assert_eq!(complete(vec![scalar("disk", 1.0)], Path::new("/")).len(), 4);
    }
}

//! What an operation on an agent's resources turns into what.

use tepui_model::Resources;
use tepui_model::resources::Scalar;

use super::resources::from_wire;
use crate::mesos;
use crate::mesos::offer::Operation;
use crate::mesos::offer::operation::Type;

/// What an operation does to a total: `before` becomes `after`. Nothing is allocated in either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// Taken out of the total, in which it must be contained.
    pub before: Resources,
    /// Put in its place.
    pub after: Resources,
}

impl Conversion {
    /// The total after the operation; `None` if the total does not hold what the operation needs.
    #[must_use]
    pub fn apply(&self, total: &Resources) -> Option<Resources> {
        Some(total.checked_sub(&self.before)? + &self.after)
    }
}

/// Reads RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME or SHRINK_VOLUME. Allocations in it are disregarded, and who may ask for
/// it is not judged.
///
/// # Errors
///
/// When it is none of these, lacks its part, or its resources cannot be converted; the sentence says what is wrong.
pub fn conversion(operation: &Operation) -> Result<Conversion, String> {
    let kind = operation.r#type();
    let missing = |field: &str| format!("Expecting '{field}' to be present");
    match kind {
        Type::Reserve => {
            let asked = operation
                .reserve
                .as_ref()
                .ok_or_else(|| missing("reserve"))?;
            let after = read(&asked.resources)?;
            let before = if asked.source.is_empty() {
                after.pop_reservation().map_err(|error| error.to_string())?
            } else {
                read(&asked.source)?
            };
            Ok(Conversion { before, after })
        }
        Type::Unreserve => {
            let asked = operation.unreserve.as_ref();
            let before = read(&asked.ok_or_else(|| missing("unreserve"))?.resources)?;
            let after = before
                .pop_reservation()
                .map_err(|error| error.to_string())?;
            Ok(Conversion { before, after })
        }
        Type::Create => {
            let asked = operation.create.as_ref().ok_or_else(|| missing("create"))?;
            let (disks, volumes) = disks_of(&asked.volumes)?;
            Ok(Conversion {
                before: disks,
                after: volumes,
            })
        }
        Type::Destroy => {
            let asked = operation.destroy.as_ref();
            let (disks, volumes) = disks_of(&asked.ok_or_else(|| missing("destroy"))?.volumes)?;
            Ok(Conversion {
                before: volumes,
                after: disks,
            })
        }
        Type::GrowVolume => {
            let asked = operation.grow_volume.as_ref();
            let asked = asked.ok_or_else(|| missing("grow_volume"))?;
            let (size, more) = (size_of(&asked.volume)?, size_of(&asked.addition)?);
            let grown = sized(&asked.volume, size + more);
            Ok(Conversion {
                before: read(&[asked.volume.clone(), asked.addition.clone()])?,
                after: read(&[grown])?,
            })
        }
        Type::ShrinkVolume => {
            let asked = operation.shrink_volume.as_ref();
            let asked = asked.ok_or_else(|| missing("shrink_volume"))?;
            let (size, less) = (size_of(&asked.volume)?, scalar(&asked.subtract)?);
            if less >= size {
                return Err("a volume cannot shrink to nothing".to_owned());
            }
            let shrunk = sized(&asked.volume, size - less);
            Ok(Conversion {
                before: read(std::slice::from_ref(&asked.volume))?,
                after: read(&[shrunk, sized(&disk_of(&asked.volume), less)])?,
            })
        }
        Type::Unknown | Type::Launch | Type::LaunchGroup | Type::CreateDisk | Type::DestroyDisk => {
            Err(format!(
                "{} is no operation on an agent's own resources",
                kind.as_str_name()
            ))
        }
    }
}

/// The disk behind a persistent volume: without persistence, use and sharing.
#[must_use]
pub fn disk_of(volume: &mesos::Resource) -> mesos::Resource {
    let source = volume.disk.as_ref().and_then(|disk| disk.source.clone());
    mesos::Resource {
        disk: source.map(|source| {
            Box::new(mesos::resource::DiskInfo {
                source: Some(source),
                ..Default::default()
            })
        }),
        shared: None,
        ..volume.clone()
    }
}

fn read(list: &[mesos::Resource]) -> Result<Resources, String> {
    if list.is_empty() {
        return Err("No resources are named".to_owned());
    }
    let mut read = from_wire(list).map_err(|error| error.to_string())?;
    read.unallocate();
    Ok(read)
}

/// The disks behind volumes, and the volumes.
fn disks_of(list: &[mesos::Resource]) -> Result<(Resources, Resources), String> {
    let volumes = read(list)?;
    if volumes.lots().any(|lot| !lot.kind().is_persistent_volume()) {
        return Err("Not all of the resources are persistent volumes".to_owned());
    }
    let disks: Vec<_> = list.iter().map(disk_of).collect();
    Ok((read(&disks)?, volumes))
}

fn scalar(value: &mesos::value::Scalar) -> Result<Scalar, String> {
    Scalar::from_f64(value.value)
        .filter(|amount| *amount > Scalar::default())
        .ok_or_else(|| format!("{} is no amount", value.value))
}

fn size_of(disk: &mesos::Resource) -> Result<Scalar, String> {
    scalar(disk.scalar.as_ref().ok_or("a disk's size is a number")?)
}

fn sized(disk: &mesos::Resource, size: Scalar) -> mesos::Resource {
    mesos::Resource {
        scalar: Some(mesos::value::Scalar {
            value: size.as_f64(),
        }),
        ..disk.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(text: &str) -> Operation {
        crate::json::from_slice(text.as_bytes()).unwrap()
    }

    fn disk(size: u32, disk: &str) -> String {
        format!(
            r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":{size}}},"reservations":[{{"type":"DYNAMIC","role":"eng"}}],"allocation_info":{{"role":"eng"}}{disk}}}"#
        )
    }

    fn volume(size: u32) -> String {
        disk(
            size,
            r#","disk":{"persistence":{"id":"v"},"volume":{"container_path":"data","mode":"RW"}}"#,
        )
    }

    #[test]
    fn what_becomes_what() {
        let reserved = "disk(reservations: [(DYNAMIC,eng)]):5";
        let as_volume = |size: u32| read(&[serde(&volume(size))]).unwrap().to_string();
        let cases = [
            (
                format!(
                    r#"{{"type":"RESERVE","reserve":{{"resources":[{}]}}}}"#,
                    disk(5, "")
                ),
                "disk:5".to_owned(),
                reserved.to_owned(),
            ),
            (
                format!(
                    r#"{{"type":"UNRESERVE","unreserve":{{"resources":[{}]}}}}"#,
                    disk(5, "")
                ),
                reserved.to_owned(),
                "disk:5".to_owned(),
            ),
            (
                format!(
                    r#"{{"type":"CREATE","create":{{"volumes":[{}]}}}}"#,
                    volume(5)
                ),
                reserved.to_owned(),
                as_volume(5),
            ),
            (
                format!(
                    r#"{{"type":"DESTROY","destroy":{{"volumes":[{}]}}}}"#,
                    volume(5)
                ),
                as_volume(5),
                reserved.to_owned(),
            ),
            (
                format!(
                    r#"{{"type":"GROW_VOLUME","grow_volume":{{"volume":{},"addition":{}}}}}"#,
                    volume(5),
                    disk(2, "")
                ),
                format!("{}; disk(reservations: [(DYNAMIC,eng)]):2", as_volume(5)),
                as_volume(7),
            ),
            (
                format!(
                    r#"{{"type":"SHRINK_VOLUME","shrink_volume":{{"volume":{},"subtract":{{"value":2}}}}}}"#,
                    volume(5)
                ),
                as_volume(5),
                format!("{}; disk(reservations: [(DYNAMIC,eng)]):2", as_volume(3)),
            ),
        ];
        for (text, before, after) in cases {
            let read = conversion(&operation(&text)).unwrap();
            assert_eq!(read.before.to_string(), before, "{text}");
            assert_eq!(read.after.to_string(), after, "{text}");
            let applied = read.apply(&read.before).unwrap();
            assert_eq!(applied, read.after);
            assert_eq!(read.apply(&Resources::new()), None);
        }
    }

    fn serde(text: &str) -> mesos::Resource {
        crate::json::from_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_cannot_be_converted_says_why() {
        for (text, why) in [
            (r#"{"type":"RESERVE"}"#.to_owned(), "'reserve'"),
            (r#"{"type":"RESERVE","reserve":{}}"#.to_owned(), "No resources"),
            (r#"{"type":"LAUNCH"}"#.to_owned(), "LAUNCH is no operation"),
            (
                format!(r#"{{"type":"CREATE","create":{{"volumes":[{}]}}}}"#, disk(5, "")),
                "persistent volumes",
            ),
            (
                format!(
                    r#"{{"type":"SHRINK_VOLUME","shrink_volume":{{"volume":{},"subtract":{{"value":5}}}}}}"#,
                    volume(5)
                ),
                "shrink to nothing",
            ),
            (
                format!(
                    r#"{{"type":"SHRINK_VOLUME","shrink_volume":{{"volume":{},"subtract":{{"value":-1}}}}}}"#,
                    volume(5)
                ),
                "-1 is no amount",
            ),
            (
                r#"{"type":"UNRESERVE","unreserve":{"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]}}"#
                    .to_owned(),
                "not reserved",
            ),
        ] {
            let error = conversion(&operation(&text)).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

//! `Volume`s of a `ContainerInfo`: what they show, and where. What is not built is refused by name.

use std::path::{Component, Path, PathBuf};

use tepui_proto::mesos::v1::volume::source::{self, sandbox_path};
use tepui_proto::mesos::v1::volume::{Mode, Source as VolumeSource};
use tepui_proto::mesos::v1::{Volume, mount_propagation};

use super::plan::{Planned, What, wanted};
use super::secrets;
use crate::containerizer::{At, Hidden, Source};
use crate::external_volumes::{csi, docker};

/// What a volume may refer to.
pub(crate) struct Around<'a> {
    /// The container's own sandbox, on the host.
    pub(crate) sandbox: &'a Path,
    /// That of the container above it, if there is one.
    pub(crate) parent: Option<&'a Path>,
    /// Where persistent volumes of the container above are on the host: by their path in its sandbox.
    pub(crate) parents_volumes: &'a [(PathBuf, PathBuf)],
    /// Host paths are made where they are missing, as Docker does it.
    pub(crate) make_host_paths: bool,
}

/// Whether a path has nothing that leads up.
fn plain(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path)
            .components()
            .all(|component| !matches!(component, Component::ParentDir))
}

/// Where a volume is to be seen.
pub(crate) fn place(path: &str) -> Result<At, String> {
    if !plain(path) {
        return Err(format!(
            "a volume's container_path '{}' is empty or has '..' in it",
            path.escape_default()
        ));
    }
    let path = Path::new(path);
    if path.is_absolute() {
        if path == Path::new("/") {
            return Err("a volume cannot take the place of '/'".to_owned());
        }
        return Ok(At::Inside(path.to_owned()));
    }
    if path
        .components()
        .all(|component| component == Component::CurDir)
    {
        return Err("a volume cannot take the place of the sandbox".to_owned());
    }
    Ok(At::Sandbox(path.to_owned()))
}

/// What a host path shows: an absolute one itself, a relative one what is there in the sandbox.
pub(crate) fn host(path: &str, around: &Around<'_>) -> Result<Source, String> {
    if !plain(path) {
        return Err(format!(
            "a volume's host_path '{}' is empty or has '..' in it",
            path.escape_default()
        ));
    }
    let path = Path::new(path);
    if !path.is_absolute() {
        return Ok(Source::Beneath(around.sandbox.to_owned(), path.to_owned()));
    }
    if around.make_host_paths && !path.exists() {
        std::fs::create_dir_all(path).map_err(|error| {
            format!(
                "cannot make the volume's host_path {}: {error}",
                path.display()
            )
        })?;
    }
    Ok(Source::Host(path.to_owned()))
}

fn of_source(
    from: &VolumeSource,
    driver: Option<&str>,
    read_only: bool,
    around: &Around<'_>,
) -> Result<What, String> {
    let mount = |source: Source| Ok(What::Mount(source));
    let lacks = |what: &str| {
        format!(
            "a volume's source of type {} lacks '{what}'",
            from.r#type().as_str_name()
        )
    };
    match from.r#type() {
        source::Type::HostPath => {
            let path = from.host_path.as_ref().ok_or_else(|| lacks("host_path"))?;
            let shared = path
                .mount_propagation
                .as_ref()
                .map(|propagation| propagation.mode());
            if shared == Some(mount_propagation::Mode::Bidirectional) {
                return Err("a volume's mount propagation BIDIRECTIONAL is not built: mounts made inside stay inside".to_owned());
            }
            host(&path.path, around).map(What::Mount)
        }
        source::Type::SandboxPath => {
            let path = from
                .sandbox_path
                .as_ref()
                .ok_or_else(|| lacks("sandbox_path"))?;
            if !plain(&path.path) || Path::new(&path.path).is_absolute() {
                return Err(format!(
                    "a volume's sandbox path '{}' is no path below a sandbox",
                    path.path.escape_default()
                ));
            }
            let wanted = PathBuf::from(&path.path);
            match path.r#type() {
                sandbox_path::Type::Self_ => {
                    mount(Source::Beneath(around.sandbox.to_owned(), wanted))
                }
                sandbox_path::Type::Parent => {
                    let persistent = around
                        .parents_volumes
                        .iter()
                        .find_map(|(at, real)| Some((real, wanted.strip_prefix(at).ok()?)));
                    if let Some((real, rest)) = persistent {
                        // An operator may have put links on the way to the disk; nobody else can.
                        let real = real.canonicalize().unwrap_or_else(|_| real.clone());
                        return mount(Source::Beneath(real, rest.to_owned()));
                    }
                    let parent = around
                        .parent
                        .ok_or("a volume of the parent's sandbox needs a parent container")?;
                    mount(Source::Beneath(parent.to_owned(), wanted))
                }
                sandbox_path::Type::Unknown => Err(lacks("sandbox_path.type")),
            }
        }
        source::Type::Secret => {
            let secret = from.secret.as_ref().ok_or_else(|| lacks("secret"))?;
            mount(Source::Content(Hidden(secrets::resolve(secret)?.to_vec())))
        }
        source::Type::DockerVolume => {
            let volume = from.docker_volume.as_ref();
            let volume = volume.ok_or_else(|| lacks("docker_volume"))?;
            let driver = volume.driver.as_deref().or(driver).ok_or_else(|| {
                let name = volume.name.escape_debug();
                format!("the volume driver is not specified for volume '{name}'")
            })?;
            let options = volume.driver_options.iter();
            let options = options.flat_map(|options| &options.parameter);
            let options = options.map(|option| (option.key.clone(), option.value.clone()));
            let wanted = docker::Wanted::new(driver, &volume.name, options.collect())?;
            Ok(What::Driver(wanted))
        }
        source::Type::CsiVolume => {
            let volume = from
                .csi_volume
                .as_ref()
                .ok_or_else(|| lacks("csi_volume"))?;
            csi::Wanted::read(volume, read_only).map(What::Csi)
        }
        source::Type::Unknown => Err("a volume's source does not say its 'type'".to_owned()),
    }
}

/// A volume that the engine of Docker knows by this name.
pub(crate) fn named(driver: &str, name: &str) -> Result<What, String> {
    docker::Wanted::new(driver, name, Vec::new()).map(What::Driver)
}

/// Reads one volume. `driver`: the docker volume driver of those that do not name theirs, of which a host path that is no path is then a name.
pub(crate) fn read(
    volume: &Volume,
    driver: Option<&str>,
    around: &Around<'_>,
) -> Result<Planned, String> {
    let read_only = volume.mode() == Mode::Ro;
    let what = match (&volume.host_path, &volume.image, &volume.source) {
        (Some(path), None, None) => match driver {
            Some(driver) if !path.starts_with('/') => named(driver, path)?,
            _ => What::Mount(host(path, around)?),
        },
        (None, Some(image), None) => What::Image(wanted(image)?),
        (None, None, Some(from)) => of_source(from, driver, read_only, around)?,
        _ => {
            return Err(format!(
                "the volume at '{}' has not exactly one of host_path, image and source",
                volume.container_path.escape_default()
            ));
        }
    };
    Ok(Planned {
        what,
        at: place(&volume.container_path)?,
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(json: &str) -> Result<Planned, String> {
        let volume: Volume = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
        let volumes = [(PathBuf::from("data"), PathBuf::from("/volumes/v"))];
        let around = Around {
            sandbox: Path::new("/s/c"),
            parent: Some(Path::new("/s")),
            parents_volumes: &volumes,
            make_host_paths: false,
        };
        read(&volume, None, &around)
    }

    #[test]
    fn every_kind_is_read() {
        let beneath = |base: &str, path: &str| Source::Beneath(base.into(), path.into());
        for (json, from, at, read_only) in [
            (
                r#"{"mode":"RO","container_path":"/data","host_path":"/var/x"}"#,
                Source::Host("/var/x".into()),
                At::Inside("/data".into()),
                true,
            ),
            (
                r#"{"mode":"RW","container_path":"in/here","host_path":"own"}"#,
                beneath("/s/c", "own"),
                At::Sandbox("in/here".into()),
                false,
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"PARENT","path":"shared"}}}"#,
                beneath("/s", "shared"),
                At::Sandbox("x".into()),
                false,
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"PARENT","path":"data/sub"}}}"#,
                beneath("/volumes/v", "sub"),
                At::Sandbox("x".into()),
                false,
            ),
            (
                r#"{"mode":"RO","container_path":"key","source":{"type":"SECRET","secret":{"type":"VALUE","value":{"data":"aGk="}}}}"#,
                Source::Content(Hidden(b"hi".to_vec())),
                At::Sandbox("key".into()),
                true,
            ),
        ] {
            let read = read_json(json).unwrap();
            let What::Mount(what) = read.what else {
                panic!("{json}")
            };
            assert_eq!((what, read.at, read.read_only), (from, at, read_only));
        }
        let image = r#"{"mode":"RW","container_path":"root","image":{"type":"DOCKER","docker":{"name":"busybox"}}}"#;
        assert!(matches!(read_json(image).unwrap().what, What::Image(_)));
    }

    #[test]
    fn volumes_of_drivers_are_read() {
        let whose = |json: &str, driver: Option<&str>| {
            let volume: Volume = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
            let around = Around {
                sandbox: Path::new("/s"),
                parent: None,
                parents_volumes: &[],
                make_host_paths: false,
            };
            match read(&volume, driver, &around).unwrap().what {
                What::Driver(wanted) => (wanted.key.driver, wanted.key.name, wanted.options),
                other => panic!("{other:?}"),
            }
        };
        let named = |driver: &str| (driver.to_owned(), "v".to_owned(), Vec::new());
        let source = r#"{"mode":"RW","container_path":"/x","source":{"type":"DOCKER_VOLUME","docker_volume":{"driver":"rexray","name":"v",
            "driver_options":{"parameter":[{"key":"size","value":"5"}]}}}}"#;
        let options = vec![("size".to_owned(), "5".to_owned())];
        assert_eq!(
            whose(source, Some("other")),
            ("rexray".to_owned(), "v".to_owned(), options)
        );
        let without = r#"{"mode":"RW","container_path":"/x","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"v"}}}"#;
        assert_eq!(whose(without, Some("pxd")), named("pxd"));
        let path = r#"{"mode":"RW","container_path":"/x","host_path":"v"}"#;
        assert_eq!(whose(path, Some("pxd")), named("pxd"));
    }

    #[test]
    fn what_is_not_built_or_makes_no_sense_is_named() {
        for (json, why) in [
            (r#"{"mode":"RW","container_path":"x"}"#, "not exactly one"),
            (
                r#"{"mode":"RW","container_path":"../x","host_path":"/a"}"#,
                "'..'",
            ),
            (
                r#"{"mode":"RW","container_path":"/","host_path":"/a"}"#,
                "place of '/'",
            ),
            (
                r#"{"mode":"RW","container_path":".","host_path":"/a"}"#,
                "place of the sandbox",
            ),
            (
                r#"{"mode":"RW","container_path":"x","host_path":"/a/../b"}"#,
                "'..'",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"DOCKER_VOLUME","docker_volume":{"name":"v"}}}"#,
                "the volume driver is not specified for volume 'v'",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"DOCKER_VOLUME","docker_volume":{"driver":"","name":"v"}}}"#,
                "a docker volume's driver '' is empty",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"CSI_VOLUME"}}"#,
                "a volume's source of type CSI_VOLUME lacks 'csi_volume'",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"CSI_VOLUME","csi_volume":{"plugin_name":"p"}}}"#,
                "'source.csi_volume.static_provisioning' is not set for CSI volume",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"SECRET","secret":{"type":"REFERENCE","reference":{"name":"pw"}}}}"#,
                "the secret 'pw' is a reference",
            ),
            (
                r#"{"mode":"RW","container_path":"x","source":{"type":"SANDBOX_PATH","sandbox_path":{"type":"SELF","path":"/etc"}}}"#,
                "no path below a sandbox",
            ),
            (
                r#"{"mode":"RW","container_path":"x","image":{"type":"APPC","appc":{"name":"a"}}}"#,
                "APPC",
            ),
        ] {
            let refused = read_json(json).map(|_| ()).unwrap_err();
            assert!(refused.contains(why), "{json}: {refused}");
        }
    }
}

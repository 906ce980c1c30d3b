use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::containerizer::At;
use crate::privileged::privileged;
use crate::provision::plan::Planned;

/// A `dvdcli` whose volumes are directories beside it, which counts as a driver does and writes down how it was called.
fn program(folder: &Path) -> PathBuf {
    use std::io::Write;
    let script = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
name=${3#--volumename=}
case "$1 $2 $name" in
*silent) sleep 600 ;;
*refused) echo "no such disk" >&2; echo "ask someone" >&2; exit 3 ;;
*odd) echo nowhere ;;
"unmount "*stuck) [ -e free ] || { echo busy >&2; exit 1; } ;;
mount*) mkdir -p "$name" && pwd -P | sed "s|\$|/$name|" ;;
esac
"#;
    let path = folder.join("dvdcli");
    // Written by another process: what this one has open for writing, programs that other tests start at the moment have open too until they are
    // executed, and a program that somebody writes cannot be.
    let mut writer = std::process::Command::new("sh")
        .args(["-c", "umask 022; cat > \"$1\" && chmod +x \"$1\"", "sh"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = writer.stdin.take().unwrap();
    words.write_all(script.as_bytes()).unwrap();
    drop(words);
    assert!(writer.wait().unwrap().success());
    path
}

fn room(folder: &Path, alive: &[&str], same_boot: bool) -> DockerVolumes {
    let config = DockerVolumesConfig {
        program: Some(program(folder)),
        ..Default::default()
    };
    let alive = alive.iter().map(|&one| one.to_owned()).collect();
    start(&config, &folder.join("run"), &alive, same_boot)
}

fn wanted(name: &str) -> Planned {
    let options = vec![("size".to_owned(), "5".to_owned())];
    Planned {
        what: What::Driver(Wanted::new("d", name, options).unwrap()),
        at: At::Sandbox(name.into()),
        read_only: false,
    }
}

async fn mount(volumes: &DockerVolumes, container: &str, names: &[&str]) -> Result<(), String> {
    let mut planned: Vec<Planned> = names.iter().map(|name| wanted(name)).collect();
    volumes
        .mount(container, &mut planned, Path::new("/"))
        .await?;
    for (volume, name) in planned.iter().zip(names) {
        let What::Mount(Source::Host(place)) = &volume.what else {
            panic!("{volume:?}")
        };
        assert!(place.ends_with(name) && place.is_dir());
    }
    Ok(())
}

/// The calls since the last time.
fn calls(folder: &Path) -> Vec<String> {
    let path = folder.join("calls");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(path);
    let short = |line: &str| line.replace(" --volumedriver=d --volumename=", " ");
    text.lines().map(short).collect()
}

fn written(folder: &Path) -> usize {
    let records = std::fs::read_dir(folder.join("run/isolators/docker/volume"));
    records.map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_first_mounts_and_the_last_unmounts() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let volumes = room(folder, &[], true);
    mount(&volumes, "a", &["x"]).await.unwrap();
    assert_eq!(calls(folder), ["mount x --volumeopts=size=5"]);
    mount(&volumes, "b", &["x", "y"]).await.unwrap();
    assert_eq!(calls(folder), ["mount y --volumeopts=size=5"]);
    assert!(volumes.has("a") && volumes.has("b") && volumes.mounted() == 2);
    volumes.release("a").await;
    assert_eq!(calls(folder), [""; 0]);
    volumes.release("b").await;
    assert_eq!(calls(folder), ["unmount x", "unmount y"]);
    volumes.release("b").await;
    assert_eq!((calls(folder).len(), volumes.mounted()), (0, 0));
    assert!(!volumes.has("a") && !volumes.has("b"));
    assert_eq!((written(folder), volumes.failed()), (0, 0));
    assert!(volumes.0.turns.lock().is_empty());
}

#[tokio::test]
async fn many_at_once_mount_once_and_unmount_once() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let volumes = room(folder.path(), &[], true);
    let mut mounting = JoinSet::new();
    for number in 0..20 {
        let volumes = volumes.clone();
        mounting.spawn(async move {
            let container = number.to_string();
            mount(&volumes, &container, &["x"]).await.unwrap();
        });
    }
    while let Some(mounted) = mounting.join_next().await {
        mounted.unwrap();
    }
    let mut releasing = JoinSet::new();
    for number in 0..20 {
        let volumes = volumes.clone();
        releasing.spawn(async move { volumes.release(&number.to_string()).await });
    }
    while releasing.join_next().await.is_some() {}
    let calls = calls(folder.path());
    assert_eq!(calls, ["mount x --volumeopts=size=5", "unmount x"]);
    assert_eq!(written(folder.path()), 0);
}

#[tokio::test]
async fn what_fails_says_why_and_is_unmounted_where_it_may_be_mounted() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let volumes = room(folder, &[], true);
    let refused = mount(&volumes, "a", &["x", "refused"]).await.unwrap_err();
    assert_eq!(
        refused,
        "cannot mount the volume 'refused' of the docker volume driver 'd': dvdcli ended with exit status: 3: no such disk; ask someone"
    );
    volumes.release("a").await;
    assert_eq!(calls(folder)[2..], ["unmount x"]);
    let odd = mount(&volumes, "b", &["odd"]).await.unwrap_err();
    assert!(
        odd.contains("answered 'nowhere', which is no directory"),
        "{odd}"
    );
    volumes.release("b").await;
    assert_eq!(calls(folder)[1..], ["unmount odd"]);
    assert_eq!((written(folder), volumes.failed()), (0, 2));
}

#[tokio::test]
async fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let found = Program::find(Some(&program(folder.path()))).unwrap();
    let found = found.with_patience(Duration::from_millis(200));
    let wanted = Wanted::new("d", "silent", Vec::new()).unwrap();
    let began = std::time::Instant::now();
    let Failure::Unclear(why) = found.mount(&wanted).await.unwrap_err() else {
        panic!("nobody knows whether it is mounted")
    };
    assert_eq!(why, "dvdcli did not end within 200ms");
    // Its `sleep` would have kept the pipes open.
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_cannot_be_unmounted_is_tried_again_unless_somebody_wants_it() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let volumes = room(folder, &[], true);
    mount(&volumes, "a", &["stuck"]).await.unwrap();
    calls(folder);
    volumes.release("a").await;
    assert_eq!((calls(folder).len(), volumes.failed()), (1, 1));
    // A next life finds it.
    let volumes = room(folder, &[], true);
    assert!(volumes.has("a"));
    mount(&volumes, "b", &["stuck"]).await.unwrap();
    volumes.settle_all().await;
    assert_eq!(calls(folder), [""; 0]);
    assert!(!volumes.has("a"));
    std::fs::write(folder.join("free"), "").unwrap();
    volumes.release("b").await;
    assert_eq!(calls(folder), ["unmount stuck"]);
    assert_eq!(written(folder), 0);
}

#[tokio::test]
async fn the_next_life_keeps_what_the_living_hold() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let volumes = room(folder, &[], true);
    mount(&volumes, "a", &["x", "y"]).await.unwrap();
    mount(&volumes, "b", &["y", "z"]).await.unwrap();
    calls(folder);
    let volumes = room(folder, &["a"], true);
    volumes.settle_all().await;
    assert_eq!(calls(folder), ["unmount z"]);
    // The place is known.
    mount(&volumes, "c", &["x"]).await.unwrap();
    assert_eq!(calls(folder), [""; 0]);
    volumes.release("a").await;
    volumes.release("c").await;
    assert_eq!(calls(folder), ["unmount y", "unmount x"]);

    mount(&volumes, "d", &["x"]).await.unwrap();
    calls(folder);
    // After a restart of the machine nothing is mounted, but a driver may hold the volume still.
    let volumes = room(folder, &[], false);
    assert_eq!(volumes.mounted(), 0);
    mount(&volumes, "e", &["x"]).await.unwrap();
    volumes.settle_all().await;
    assert_eq!(calls(folder), ["mount x --volumeopts=size=5"]);
    volumes.release("e").await;
    assert_eq!((written(folder), volumes.mounted()), (0, 0));
}

#[tokio::test]
async fn without_the_program_nothing_is_held() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = DockerVolumesConfig {
        program: Some(folder.path().join("dvdcli")),
        ..Default::default()
    };
    let volumes = start(&config, folder.path(), &HashSet::new(), true);
    let refused = mount(&volumes, "a", &["x"]).await.unwrap_err();
    assert_eq!(
        refused,
        "the volume 'x' of the docker volume driver 'd' cannot be had on this machine: the program 'dvdcli', which asks docker volume \
         drivers for volumes, is missing: put it into the agent's PATH"
    );
    assert!(!volumes.has("a"));
    for (driver, name) in [("", "x"), ("d", ""), ("d", "a\nb")] {
        assert!(Wanted::new(driver, name, Vec::new()).is_err());
    }
}

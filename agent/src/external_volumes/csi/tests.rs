//! Volumes on their way here and back, asked of a plugin that only makes directories: nobody has to be root.

use std::time::Duration;

use tonic::Code;

use super::*;
use crate::containerizer::At;
use crate::provision::plan::Planned;
use plugin_kit::{CsiPlugin, Does, NODE_ID, Wrong};

#[path = "../../../tests/kit/csi_plugin.rs"]
#[allow(
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "it is a kit of several tests"
)]
mod plugin_kit;

const ALL: Does = Does {
    stage: true,
    attach: true,
    attach_readers: true,
    mounts: false,
};
const PLAIN: Does = Does {
    stage: false,
    attach: false,
    attach_readers: false,
    mounts: false,
};
const COME: [&str; 3] = [
    "ControllerPublishVolume v",
    "NodeStageVolume v",
    "NodePublishVolume v",
];
const LEAVE: [&str; 3] = [
    "NodeUnpublishVolume v",
    "NodeUnstageVolume v",
    "ControllerUnpublishVolume v",
];

/// A folder with a plugin and its file, in which agents live one after the other.
struct World {
    folder: tempfile::TempDir,
    plugin: CsiPlugin,
    /// For each call, where not what agents have.
    patience: Option<Duration>,
}

/// With a plugin that does not answer.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

impl World {
    fn new(does: Does) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugin = CsiPlugin::start(folder.path(), does);
        plugin.configure(&folder.path().join("plugins"), "");
        Self {
            folder,
            plugin,
            patience: None,
        }
    }

    /// A life of the agent, in this boot of the machine.
    fn life(&self, alive: &[&str], boot: &str) -> CsiVolumes {
        let config = CsiConfig {
            plugin_config_dir: Some(self.folder.path().join("plugins")),
        };
        let mut plugins = Plugins::new(&config, self.folder.path(), boot);
        plugins.patience = self.patience;
        let alive = alive.iter().map(|&one| one.to_owned()).collect();
        let directory = self.folder.path().join("held");
        Room::start(plugins, directory, &alive, boot == "1")
    }

    /// All that the agent has written down and made.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let mut open = vec![
            self.folder.path().join("held"),
            self.folder.path().join("csi"),
        ];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = entry.file_name();
                let kept = ["plugin", "volumes", "default", "mounts"];
                if !kept.contains(&name.to_str().unwrap()) || path.is_file() {
                    left.push(path.clone());
                }
                open.push(path);
            }
        }
        left
    }
}

fn wanted(id: &str, read_only: bool, more: &str) -> Wanted {
    let json = format!(
        r#"{{"plugin_name":"plugin","static_provisioning":{{"volume_id":"{id}","volume_capability":{{
            "mount":{{"fs_type":"ext4"}},"access_mode":{{"mode":"MULTI_NODE_SINGLE_WRITER"}}}}{more}}}}}"#
    );
    let volume = tepui_proto::json::from_slice(json.as_bytes()).unwrap();
    Wanted::read(&volume, read_only).unwrap()
}

async fn mount_as(
    volumes: &CsiVolumes,
    container: &str,
    wanted: Wanted,
) -> Result<PathBuf, String> {
    let read_only = wanted.read_only;
    let mut planned = [Planned {
        what: What::Csi(wanted),
        at: At::Sandbox("v".into()),
        read_only,
    }];
    volumes
        .mount(container, &mut planned, Path::new("/"))
        .await?;
    match &planned[0].what {
        What::Mount(Source::Host(place)) => Ok(place.clone()),
        other => panic!("{other:?}"),
    }
}

async fn mount(volumes: &CsiVolumes, container: &str, id: &str) -> Result<PathBuf, String> {
    mount_as(volumes, container, wanted(id, false, "")).await
}

#[tokio::test]
async fn a_volume_comes_by_all_steps_and_leaves_by_all() {
    let world = World::new(ALL);
    let volumes = world.life(&[], "1");
    let context = r#","volume_context":{"pool":"fast"}"#;
    let place = mount_as(&volumes, "a", wanted("v", true, context))
        .await
        .unwrap();
    assert_eq!(world.plugin.calls(), COME);
    let mounts = world.folder.path().join("csi/plugin/default/mounts/v");
    assert_eq!(place, mounts.join("target"));
    let attach = world.plugin.last_attach();
    assert_eq!((attach.node_id.as_str(), attach.readonly), (NODE_ID, true));
    assert_eq!(attach.volume_context["pool"], "fast");
    let stage = world.plugin.last_stage();
    assert_eq!(
        Path::new(&stage.staging_target_path),
        mounts.join("staging")
    );
    assert_eq!(stage.publish_context["device"], "sdx");
    let publish = world.plugin.last_publish();
    assert_eq!(publish.staging_target_path, stage.staging_target_path);
    assert_eq!(publish.publish_context, stage.publish_context);
    assert_eq!(publish.volume_context["pool"], "fast");
    assert_eq!(publish.volume_capability, stage.volume_capability);
    assert!(publish.readonly);
    assert_eq!(volumes.mounted(), 1);

    volumes.release("a").await;
    assert_eq!(world.plugin.calls(), LEAVE);
    assert_eq!((world.plugin.held(), volumes.mounted()), ([0; 3], 0));
    assert_eq!(world.left(), Vec::<PathBuf>::new());
    let calls = &volumes.calls()["plugin"];
    // Six for the steps, and five before them.
    assert_eq!((calls.pending, calls.finished, calls.failed), (0, 11, 0));
}

#[tokio::test]
async fn what_a_plugin_does_not_do_is_not_asked() {
    let world = World::new(PLAIN);
    let root = world.folder.path().join("elsewhere");
    let more = format!(
        r#","target_path_root":"{}","target_path_exists":true"#,
        root.display()
    );
    let directory = world.folder.path().join("plugins");
    world.plugin.configure(&directory, &more);
    let volumes = world.life(&[], "1");
    let place = mount(&volumes, "a", "v").await.unwrap();
    assert_eq!(place, root.join("v/target"));
    assert_eq!(world.plugin.calls(), ["NodePublishVolume v"]);
    assert_eq!(world.plugin.last_publish().staging_target_path, "");
    volumes.release("a").await;
    assert_eq!(world.plugin.calls(), ["NodeUnpublishVolume v"]);
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);

    let world = World::new(Does {
        attach_readers: false,
        ..ALL
    });
    let volumes = world.life(&[], "1");
    let reader = mount_as(&volumes, "a", wanted("v", true, "")).await;
    reader.unwrap();
    assert!(!world.plugin.last_attach().readonly);
    assert!(world.plugin.last_publish().readonly);
}

#[tokio::test]
async fn containers_share_what_serves_them_and_the_last_takes_it_away() {
    let world = World::new(ALL);
    let volumes = world.life(&[], "1");
    let first = mount(&volumes, "a", "v").await.unwrap();
    let reader = mount_as(&volumes, "b", wanted("v", true, "")).await;
    assert_eq!(reader.unwrap(), first);
    assert_eq!(world.plugin.calls(), COME);
    let other = wanted("v", false, r#","volume_context":{"a":"b"}"#);
    let refused = mount_as(&volumes, "c", other).await.unwrap_err();
    assert_eq!(
        refused,
        "cannot mount the volume 'v' of the CSI plugin 'plugin': another container of this agent has it with another capability or \
         context, or only to read"
    );
    volumes.release("c").await;
    volumes.release("a").await;
    assert_eq!(world.plugin.calls(), [""; 0]);
    // Published for a writer, it stays so.
    mount(&volumes, "d", "v").await.unwrap();
    volumes.release("b").await;
    assert_eq!(world.plugin.calls(), [""; 0]);
    volumes.release("d").await;
    assert_eq!(world.plugin.calls(), LEAVE);

    // A reader's is no writer's.
    mount_as(&volumes, "e", wanted("v", true, ""))
        .await
        .unwrap();
    mount(&volumes, "f", "v").await.unwrap_err();
    volumes.release("f").await;
    volumes.release("e").await;
    world.plugin.calls();
    mount(&volumes, "g", "v").await.unwrap();
    assert!(!world.plugin.last_publish().readonly);
    volumes.release("g").await;
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn many_at_once_bring_it_once_and_take_it_away_once() {
    let world = World::new(ALL);
    let volumes = world.life(&[], "1");
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let volumes = volumes.clone();
        all.spawn(async move { mount(&volumes, &number.to_string(), "v").await.map(|_| ()) });
    }
    while let Some(mounted) = all.join_next().await {
        mounted.unwrap().unwrap();
    }
    for number in 0..20 {
        let volumes = volumes.clone();
        all.spawn(async move {
            volumes.release(&number.to_string()).await;
            Ok(())
        });
    }
    while all.join_next().await.is_some() {}
    assert_eq!(world.plugin.calls(), [COME, LEAVE].concat());
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

/// Each step goes wrong in each way: the message names it, and what may have been done is undone, and nothing else.
#[tokio::test]
async fn whatever_goes_wrong_is_named_and_undone() {
    let says = |code| Wrong::Says(code, "no disk;\nask someone");
    let why = |call: &str, rest: &str| {
        format!("cannot mount the volume 'v' of the CSI plugin 'plugin': {call}: {rest}")
    };
    for (at, call) in [
        "ControllerPublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
    ]
    .into_iter()
    .enumerate()
    {
        for (wrong, said, perhaps) in [
            (
                says(Code::NotFound),
                "NotFound: no disk;; ask someone",
                false,
            ),
            (
                says(Code::Internal),
                "Internal: no disk;; ask someone",
                true,
            ),
            (
                Wrong::DoesAndSays(Code::Unavailable, "later"),
                "Unavailable: later",
                true,
            ),
            (Wrong::Hangs, "no answer within 2s", true),
        ] {
            let mut world = World::new(ALL);
            world.patience = matches!(wrong, Wrong::Hangs).then_some(SHORT_PATIENCE);
            let volumes = world.life(&[], "1");
            world.plugin.goes_wrong(call, wrong);
            let refused = mount(&volumes, "a", "v").await.unwrap_err();
            assert_eq!(refused, why(call, said));
            assert_eq!(world.plugin.calls(), COME[..=at]);
            volumes.release("a").await;
            let undone = if perhaps { at + 1 } else { at };
            assert_eq!(world.plugin.calls(), LEAVE[3 - undone..], "{call} {said}");
            assert_eq!((world.plugin.held(), volumes.failed()), ([0; 3], 1));
            assert_eq!(world.left(), Vec::<PathBuf>::new());
            assert!(!volumes.has("a"));
        }
    }
    // It is asked before anything is done.
    for call in [
        "Probe",
        "NodeGetCapabilities",
        "GetPluginCapabilities",
        "ControllerGetCapabilities",
        "NodeGetInfo",
    ] {
        let world = World::new(ALL);
        let volumes = world.life(&[], "1");
        world.plugin.goes_wrong(call, says(Code::Internal));
        let refused = mount(&volumes, "a", "v").await.unwrap_err();
        assert_eq!(refused, why(call, "Internal: no disk;; ask someone"));
        volumes.release("a").await;
        assert_eq!(world.plugin.calls(), [""; 0]);
        assert_eq!(world.left(), Vec::<PathBuf>::new());
    }
    let world = World::new(PLAIN);
    let volumes = world.life(&[], "1");
    world.plugin.goes_wrong("Probe", says(Code::Unimplemented));
    let refused = mount(&volumes, "a", "v").await.unwrap_err();
    assert!(
        refused.ends_with("the plugin does not speak version 1 of CSI, and others are not built")
    );
}

#[tokio::test]
async fn what_cannot_be_taken_away_is_tried_again_by_whoever_comes() {
    for (at, call) in [
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "ControllerUnpublishVolume",
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new(ALL);
        let volumes = world.life(&[], "1");
        mount(&volumes, "a", "v").await.unwrap();
        world.plugin.calls();
        world
            .plugin
            .goes_wrong(call, Wrong::Says(Code::Internal, "busy"));
        volumes.release("a").await;
        assert_eq!(world.plugin.calls(), LEAVE[..=at]);
        assert!(volumes.has("a") && volumes.failed() == 1);
        // Half gone, it goes wholly before it comes again.
        let refused = mount(&volumes, "b", "v").await.unwrap_err();
        let why = format!(
            "cannot mount the volume 'v' of the CSI plugin 'plugin': {call}: Internal: busy"
        );
        assert_eq!(refused, why);
        volumes.release("b").await;
        // However many come and fail, one is enough to try again.
        assert!(volumes.has("a") && !volumes.has("b"));
        world.plugin.calls();
        world.plugin.recovers();
        mount(&volumes, "c", "v").await.unwrap();
        let again: Vec<&str> = LEAVE[at..].iter().chain(&COME).copied().collect();
        assert_eq!(world.plugin.calls(), again);
        // The ended hold nothing that somebody else has now.
        volumes.settle_all().await;
        assert!(!volumes.has("a") && !volumes.has("b"));
        volumes.release("c").await;
        assert_eq!(world.plugin.calls(), LEAVE);
        assert_eq!((world.plugin.held(), world.left()), ([0; 3], Vec::new()));
    }
}

#[tokio::test]
async fn the_next_life_keeps_what_the_living_hold_and_takes_the_rest_away() {
    let world = World::new(ALL);
    let volumes = world.life(&[], "1");
    mount(&volumes, "a", "v").await.unwrap();
    mount(&volumes, "b", "w").await.unwrap();
    world.plugin.calls();
    let volumes = world.life(&["a"], "1");
    volumes.settle_all().await;
    assert_eq!(
        world.plugin.calls(),
        LEAVE.map(|call| call.replace(" v", " w"))
    );
    mount(&volumes, "c", "v").await.unwrap();
    assert_eq!(world.plugin.calls(), [""; 0]);
    volumes.release("a").await;
    volumes.release("c").await;
    assert_eq!(world.plugin.calls(), LEAVE);
    assert_eq!(world.left(), Vec::<PathBuf>::new());

    // The machine has restarted. The storage still lets it reach the volume; nobody knows about the rest.
    mount(&volumes, "d", "v").await.unwrap();
    world.plugin.calls();
    let volumes = world.life(&[], "2");
    mount(&volumes, "e", "v").await.unwrap();
    assert_eq!(world.plugin.calls(), COME[1..]);
    volumes.settle_all().await;
    assert_eq!(world.plugin.calls(), [""; 0]);
    volumes.release("e").await;
    assert_eq!(world.plugin.calls(), LEAVE);
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

/// An agent is killed in the middle of each call, done or not: its next life takes away all that there may be.
#[tokio::test]
async fn an_agent_that_is_killed_within_a_step_is_cleaned_up_after() {
    for (at, call) in [
        "ControllerPublishVolume",
        "NodeStageVolume",
        "NodePublishVolume",
        "NodeUnpublishVolume",
        "NodeUnstageVolume",
        "ControllerUnpublishVolume",
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new(ALL);
        let volumes = world.life(&[], "1");
        world.plugin.goes_wrong(call, Wrong::Hangs);
        let last = if at < 3 { COME[at] } else { LEAVE[at - 3] };
        let living = async {
            mount(&volumes, "a", "v").await.ok();
            volumes.release("a").await;
        };
        let asked = async {
            let mut calls = Vec::new();
            while calls.last().is_none_or(|call| call != last) {
                tokio::task::yield_now().await;
                calls.extend(world.plugin.calls());
            }
        };
        tokio::select! {
            () = living => panic!("{call} is answered"),
            () = asked => {}
        }
        drop(volumes);
        world.plugin.recovers();
        let volumes = world.life(&[], "1");
        assert!(volumes.has("a"));
        volumes.settle_all().await;
        let undone = if at < 3 {
            &LEAVE[2 - at..]
        } else {
            &LEAVE[at - 3..]
        };
        assert_eq!(world.plugin.calls(), undone, "{call}");
        assert_eq!((world.plugin.held(), world.left()), ([0; 3], Vec::new()));
    }
}

#[tokio::test]
async fn what_cannot_be_had_at_all_is_said_before_anything_is_done() {
    let mut world = World::new(ALL);
    let volumes = world.life(&[], "1");
    let mut other = wanted("v", false, "");
    other.key.plugin = "other".to_owned();
    let refused = mount_as(&volumes, "a", other).await.unwrap_err();
    let directory = world.folder.path().join("plugins");
    assert_eq!(
        refused,
        format!(
            "the volume 'v' of the CSI plugin 'other' cannot be had on this machine: no file in {} describes this plugin",
            directory.display()
        )
    );
    let long = wanted(&"x".repeat(256), false, "");
    let refused = mount_as(&volumes, "a", long).await.unwrap_err();
    assert!(
        refused.contains("too long for the name of a file"),
        "{refused}"
    );
    assert!(!volumes.has("a"));

    world.plugin.stop();
    let refused = mount(&volumes, "a", "v").await.unwrap_err();
    let wanted = format!(
        "cannot mount the volume 'v' of the CSI plugin 'plugin': the plugin cannot be reached at {}",
        world.folder.path().join("csi.sock").display()
    );
    assert!(refused.starts_with(&wanted), "{refused}");
    volumes.release("a").await;
    assert_eq!(world.left(), Vec::<PathBuf>::new());
    // It is looked for each time.
    world.plugin.serve();
    mount(&volumes, "a", "v").await.unwrap();

    let without = Plugins::new(&CsiConfig::default(), world.folder.path(), "1");
    let none = without.check(&self::wanted("v", false, "")).unwrap_err();
    assert!(
        none.ends_with("the agent has no --csi_plugin_config_dir"),
        "{none}"
    );
}

//! Archives that want out, up, or more than is good.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tar::EntryType;
use tepui_images::{Bounds, RegistryOptions};

use crate::kit::{
    Entry, archive, directory, file, gzip, image, layout, left_over, other, store_with, wanted,
};

/// Unpacks one layer; where it is, or what was said.
async fn unpack_with(entries: &[Entry], bounds: Bounds, dir: &Path) -> Result<PathBuf, String> {
    let made = image(&[archive(entries)], gzip);
    layout(&made, &dir.join("oci"));
    let store = store_with(dir, RegistryOptions::default(), bounds);
    let held = store
        .get(&wanted(&format!("oci:{}/oci", dir.display())))
        .await
        .map_err(|error| error.to_string());
    assert_eq!(left_over(dir), 0);
    let root = store.make_root("c", &held?).unwrap();
    Ok(root.layers.join(&root.lower[0]))
}

async fn unpack(entries: &[Entry], dir: &Path) -> Result<PathBuf, String> {
    unpack_with(entries, Bounds::default(), dir).await
}

#[tokio::test]
async fn what_would_leave_the_layer_is_refused_by_name() {
    let link = |name, target| other(name, EntryType::Link, target);
    for (entries, why) in [
        (
            vec![file("../escaped", "")],
            "'../escaped' has '..' in its path",
        ),
        (vec![file("a/../../escaped", "")], "has '..' in its path"),
        (
            vec![link("a", "../../../etc/passwd")],
            "a hard link to '../../../etc/passwd', outside of the layer",
        ),
        (
            vec![link("a", "/etc/hostname")],
            "a hard link to '/etc/hostname', which is not there",
        ),
        (vec![link("a", "nothing")], "which is not there"),
        (
            vec![file("a", ""), file("a/b", "")],
            "below something that is no directory",
        ),
        (
            vec![other("l", EntryType::Symlink, "l"), file("l/b", "")],
            "links that lead in a circle",
        ),
        (vec![file(".wh.", "")], "deletes nothing"),
        (vec![file(".wh...", "")], "deletes nothing"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("store/escaped");
        let said = unpack(&entries, dir.path()).await.unwrap_err();
        assert!(said.contains(why), "{said}");
        assert!(!outside.exists() && !dir.path().join("escaped").exists());
    }
}

#[tokio::test]
async fn links_lead_no_further_than_the_layers_own_root() {
    let dir = tempfile::tempdir().unwrap();
    let target: &'static str =
        Box::leak(format!("{}/outside", dir.path().display()).into_boxed_str());
    std::fs::create_dir(target).unwrap();
    let entries = [
        other("absolute", EntryType::Symlink, target),
        file("absolute/file", "1"),
        other("up", EntryType::Symlink, "../../../../../../../../tmp"),
        file("up/file", "2"),
        file("/rooted", "3"),
        other("over", EntryType::Symlink, "/etc/hostname"),
        file("over", "4"),
        other("proc", EntryType::Symlink, "/proc/self/root"),
        directory("proc"),
        file("proc/file", "5"),
    ];
    let root = unpack(&entries, dir.path()).await;
    // Links to what is not in the layer cannot be followed: they dangle.
    let said = root.unwrap_err();
    assert!(said.contains("'absolute/file'"), "{said}");
    assert_eq!(std::fs::read_dir(target).unwrap().count(), 0);

    let dir = tempfile::tempdir().unwrap();
    let entries = [
        directory("tmp"),
        other("up", EntryType::Symlink, "../../../../../../../../tmp"),
        file("up/file", "2"),
        file("/rooted", "3"),
        other("over", EntryType::Symlink, "/etc/hostname"),
        file("over", "4"),
        other("proc", EntryType::Symlink, "/proc/self/root"),
        directory("proc"),
        file("proc/file", "5"),
        file("hard", "6"),
        other("same", EntryType::Link, "/hard"),
        other("soft", EntryType::Link, "up"),
    ];
    let root = unpack(&entries, dir.path()).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(
        (
            read("tmp/file"),
            read("rooted"),
            read("over"),
            read("proc/file")
        ),
        ("2".into(), "3".into(), "4".into(), "5".into())
    );
    assert_eq!(
        std::fs::metadata(root.join("hard")).unwrap().ino(),
        std::fs::metadata(root.join("same")).unwrap().ino()
    );
    assert!(
        std::fs::symlink_metadata(root.join("soft"))
            .unwrap()
            .is_symlink()
    );
}

#[tokio::test]
async fn devices_are_left_out_and_modes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut setuid = file("su", "x");
    setuid.mode = 0o4755;
    let mut closed = directory("closed");
    closed.mode = 0o500;
    let entries = [
        other("null", EntryType::Char, ""),
        other("disk", EntryType::Block, ""),
        other("pipe", EntryType::Fifo, ""),
        setuid,
        closed,
        file("closed/file", "in"),
    ];
    let root = unpack(&entries, dir.path()).await.unwrap();
    assert!(!root.join("null").exists() && !root.join("disk").exists());
    assert!(root.join("pipe").exists());
    let mode = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(mode("su").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(mode("closed").permissions().mode() & 0o7777, 0o500);
    assert_eq!(
        (mode("su").mtime(), mode("closed").mtime()),
        (1_600_000_000, 1_600_000_000)
    );
}

#[tokio::test]
async fn opaque_directories_and_replaced_ones_hide_what_is_below() {
    let dir = tempfile::tempdir().unwrap();
    let entries = [
        directory("a"),
        file("a/.wh..wh..opq", ""),
        file(".wh.b", ""),
        directory("b"),
        directory("c"),
        file(".wh.c", ""),
        file(".wh.d", ""),
        file("d", "d"),
        file(".wh..wh.plnk", ""),
        directory("plain"),
    ];
    let root = unpack(&entries, dir.path()).await.unwrap();
    let attribute = if nix::unistd::geteuid().is_root() {
        "trusted.overlay.opaque"
    } else {
        "user.overlay.opaque"
    };
    for (name, opaque) in [("a", true), ("b", true), ("c", true), ("plain", false)] {
        assert_eq!(
            xattr::get(root.join(name), attribute).unwrap().is_some(),
            opaque,
            "{name}"
        );
    }
    assert_eq!(std::fs::read_to_string(root.join("d")).unwrap(), "d");
    assert!(!root.join(".wh.plnk").exists() && !root.join("a/.wh..opq").exists());
}

#[tokio::test]
async fn bombs_end_at_the_bound() {
    let bounds = Bounds {
        bytes: 1 << 20,
        files: 100,
    };
    let many: Vec<Entry> = (0..101).map(|_| file("same", "")).collect();
    for (entries, why) in [
        (
            vec![Entry {
                content: vec![0; 2 << 20],
                ..file("zeros", "")
            }],
            "more than 1048576 bytes (--image_max_layer_size",
        ),
        (many, "more than 100 files (--image_max_layer_files"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let said = unpack_with(&entries, bounds, dir.path()).await.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    let dir = tempfile::tempdir().unwrap();
    let deep: &'static str =
        "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/0/1/2/3/4/5/6/7/8/9";
    assert!(unpack(&[file(deep, "")], dir.path()).await.is_ok());
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // The blob's digest is right, what it unpacks to is not what the image was made of.
    let mut made = image(&[archive(&[file("a", "a")])], gzip);
    let text = String::from_utf8(made.manifest.clone()).unwrap();
    let replaced = gzip(&archive(&[file("a", "b")]));
    let digest = tepui_images::Digest::of(&replaced).to_string();
    let old = made.layers[0].to_string();
    let old_size = made.blobs[&old].len();
    let text = text.replace(&old, &digest).replace(
        &format!("\"size\":{old_size}"),
        &format!("\"size\":{}", replaced.len()),
    );
    made.manifest = text.into_bytes();
    made.blobs.insert(digest, replaced);
    layout(&made, &dir.path().join("oci"));
    let store = crate::kit::store(dir.path());
    let error = store
        .get(&wanted(&format!("oci:{}/oci", dir.path().display())))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("an unpacked layer has the wrong digest"),
        "{error}"
    );

    // An archive that ends early.
    let dir = tempfile::tempdir().unwrap();
    let whole = archive(&[file("a", "some content that is cut")]);
    let made = image(&[whole[..520].to_vec()], gzip);
    layout(&made, &dir.path().join("oci"));
    let store = crate::kit::store(dir.path());
    let error = store
        .get(&wanted(&format!("oci:{}/oci", dir.path().display())))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot be unpacked"), "{error}");
}

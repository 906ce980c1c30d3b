//! What is kept, for whom, and what goes.

use std::collections::HashSet;
use std::path::Path;

use crate::kit::{archive, file, gzip, image, layout, left_over, store, wanted};

fn two_images(dir: &Path) -> [String; 2] {
    let base = archive(&[file("base", "b")]);
    let one = image(&[base.clone(), archive(&[file("one", "1")])], gzip);
    let two = image(&[base, archive(&[file("two", "2")])], |bytes| {
        zstd::encode_all(bytes, 1).unwrap()
    });
    layout(&one, &dir.join("one"));
    layout(&two, &dir.join("two"));
    ["one", "two"].map(|name| format!("oci:{}/{name}", dir.display()))
}

fn layers(dir: &Path) -> usize {
    let all = std::fs::read_dir(dir.join("store/layers"))
        .unwrap()
        .flatten();
    all.filter(|entry| entry.path().is_dir()).count()
}

#[tokio::test]
async fn what_a_container_uses_stays_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = two_images(dir.path());
    {
        let store = store(dir.path());
        let held = store.get(&wanted(&one)).await.unwrap();
        store.get(&wanted(&two)).await.unwrap();
        // Packed differently, the shared layer is the same.
        assert_eq!(layers(dir.path()), 3);
        store.make_root("alive", &held).unwrap();
        store
            .make_root("dead", &store.get(&wanted(&two)).await.unwrap())
            .unwrap();
        drop(held);
        assert!(store.prune(&[]).images.is_empty());
    }
    let store = store(dir.path());
    assert_eq!(store.recover(&HashSet::from(["alive".to_owned()])), 1);
    let facts = store.list();
    assert_eq!(
        facts.iter().map(|one| one.containers).collect::<Vec<_>>(),
        [1, 0]
    );
    let pruned = store.prune(&[]);
    assert_eq!(
        (pruned.images.as_slice(), pruned.layers),
        (&[two.clone()][..], 1)
    );
    assert_eq!((layers(dir.path()), left_over(dir.path())), (2, 0));
    store.release("alive").unwrap();
    store.release("alive").unwrap();
    assert!(!dir.path().join("store/containers/alive").exists());
    assert_eq!(store.prune(&[one.parse().unwrap()]).images.len(), 0);
    assert_eq!(store.prune(&[]).layers, 2);
    assert_eq!(layers(dir.path()), 0);
    // And it can be had again.
    store.get(&wanted(&one)).await.unwrap();
    assert_eq!(layers(dir.path()), 2);
}

#[tokio::test]
async fn the_longest_unused_goes_first_and_only_while_the_disk_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = two_images(dir.path());
    let store = store(dir.path());
    store.get(&wanted(&one)).await.unwrap();
    store.get(&wanted(&two)).await.unwrap();
    while store.list()[0].used_at_ms <= store.list()[1].used_at_ms {
        store.get(&wanted(&one)).await.unwrap();
    }
    let rounds = std::cell::Cell::new(0);
    let once = || rounds.replace(rounds.get() + 1) == 0;
    assert_eq!(store.relieve(&[], &once).images, [two]);
    assert_eq!(layers(dir.path()), 2);
}

#[tokio::test]
async fn what_a_crash_leaves_is_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let [one, _] = two_images(dir.path());
    store(dir.path()).get(&wanted(&one)).await.unwrap();
    let root = dir.path().join("store");
    // Half a layer under its scratch name; a layer without facts; facts without a layer; an image with half a record.
    std::fs::create_dir_all(root.join("tmp/layer-7/etc")).unwrap();
    std::fs::create_dir(root.join("layers/0123456789abcdef01234567")).unwrap();
    std::fs::write(root.join("layers/ffffffffffffffffffffffff.json"), "{").unwrap();
    std::fs::write(root.join("images/x.json"), "{\"name\":").unwrap();
    let again = store(dir.path());
    assert_eq!(again.list().len(), 1);
    assert_eq!((layers(dir.path()), left_over(dir.path())), (2, 0));
    assert_eq!(std::fs::read_dir(root.join("images")).unwrap().count(), 1);
    drop(again);
    // An image one of whose layers is gone is not there; it is pulled again.
    let layer = std::fs::read_dir(root.join("layers"))
        .unwrap()
        .flatten()
        .find(|entry| entry.path().is_dir())
        .unwrap();
    std::fs::remove_dir_all(layer.path()).unwrap();
    let again = store(dir.path());
    assert!(again.list().is_empty());
    again.get(&wanted(&one)).await.unwrap();
    assert_eq!(layers(dir.path()), 2);
}

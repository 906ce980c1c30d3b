//! What registries do, and what a person is told of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tepui_images::{Bounds, Credentials, Digest, RegistryOptions, Wanted};

use crate::kit::{
    Answer, Asked, Made, Registry, archive, directory, file, gzip, image, layout, left_over, store,
    store_with, wanted,
};

fn two_layers() -> Made {
    let noise: String = (0..20_000u32)
        .map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761)))
        .collect();
    let below = archive(&[directory("a/"), file("a/one", &noise), file("a/two", "2")]);
    let above = archive(&[file("a/.wh.one", ""), file("b", "b")]);
    image(&[below, above], gzip)
}

/// Pulls from a registry that behaves so; the error's text, which must leave nothing behind.
async fn refused(
    behave: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
) -> String {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(two_layers(), behave).await;
    let store = store(dir.path());
    let name = format!("{}/team/app:1", registry.address);
    let error = store.get(&wanted(&name)).await.unwrap_err().to_string();
    assert!(error.contains(&format!("image '{name}'")), "{error}");
    assert!(store.list().is_empty());
    // The other layer's unpacking may still be clearing up.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while left_over(dir.path()) > 0 {
        let late = tokio::time::Instant::now() > deadline;
        assert!(!late, "something half made was left");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    error
}

#[tokio::test]
async fn an_image_is_pulled_once_and_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let made = two_layers();
    let registry = Registry::start(made.clone(), |_, _| None).await;
    let store = store(dir.path());
    let name = format!("{}/app", registry.address);
    let wanted = wanted(&name);
    let (first, second) = tokio::join!(store.get(&wanted), store.get(&wanted));
    let (held, second) = (first.unwrap(), second.unwrap());
    assert_eq!(held.image(), second.image());
    assert_eq!(held.image().digest, Digest::of(&made.manifest));
    assert_eq!(held.image().config.entrypoint, ["/bin/sh"]);
    for layer in &made.layers {
        assert_eq!(registry.count(&layer.to_string()), 1);
    }
    assert_eq!(registry.count("/manifests/"), 1);
    let root = store.make_root("c", &held).unwrap();
    let [above, below] = &root.lower[..] else {
        panic!("{root:?}")
    };
    assert_eq!(
        std::fs::read_to_string(root.layers.join(above).join("b")).unwrap(),
        "b"
    );
    assert_eq!(
        std::fs::read_to_string(root.layers.join(below).join("a/two")).unwrap(),
        "2"
    );
    // A deleted file is overlayfs' whiteout.
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let whiteout = std::fs::symlink_metadata(root.layers.join(above).join("a/one")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert_eq!(left_over(dir.path()), 0);
    // Asked again, only the manifest is looked at.
    let refreshed = Wanted {
        refresh: true,
        ..wanted
    };
    store.get(&refreshed).await.unwrap();
    assert_eq!(registry.count("/manifests/"), 2);
    assert_eq!(registry.count(&made.layers[0].to_string()), 1);
}

#[tokio::test]
async fn every_failure_names_the_image_the_cause_and_what_to_do() {
    let text = refused(|asked, _| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Answer::new(404, ""))
    })
    .await;
    assert!(
        text.contains("does not have it (404)") && text.contains("Check its name and tag"),
        "{text}"
    );

    let text = refused(|_, _| {
        Some(Answer::new(
            401,
            r#"{"errors":[{"code":"DENIED","message":"no entry"}]}"#,
        ))
    })
    .await;
    assert!(
        text.contains("refuses access (401: no entry)") && text.contains("--docker_config"),
        "{text}"
    );

    let text = refused(|_, _| Some(Answer::new(429, ""))).await;
    assert!(
        text.contains("429") && text.contains("5 times") && text.contains("mirror"),
        "{text}"
    );

    let text = refused(|_, _| Some(Answer::new(503, ""))).await;
    assert!(text.contains("answers 503 (5 attempts)"), "{text}");

    let layer = two_layers().layers[1].to_string();
    let missing = layer.clone();
    let text =
        refused(move |asked, _| asked.path.ends_with(&missing).then(|| Answer::new(404, ""))).await;
    assert!(
        text.contains(&format!("not its layer {layer} (404)")) && text.contains("push it again"),
        "{text}"
    );

    let (wrong, blob) = (layer.clone(), two_layers().blobs[&layer].clone());
    let text = refused(move |asked, _| {
        asked.path.ends_with(&wrong).then(|| {
            let mut damaged = blob.clone();
            damaged[50] ^= 1;
            Answer::new(200, damaged)
        })
    })
    .await;
    assert!(
        text.contains("wrong digest")
            && text.contains(&layer)
            && text.contains("nothing of it is used"),
        "{text}"
    );

    let (cut, blob) = (layer.clone(), two_layers().blobs[&layer].clone());
    let text = refused(move |asked, before| {
        asked.path.ends_with(&cut).then(|| Answer {
            // Some bytes at first, none ever after.
            cut_after: Some(if before == 0 { 10 } else { 0 }),
            ..Answer::new(
                if before == 0 { 200 } else { 206 },
                blob[if before == 0 { 0 } else { 10 }..].to_vec(),
            )
        })
    })
    .await;
    assert!(
        text.contains("was cut after 10 of") && text.contains(&layer),
        "{text}"
    );

    let text = refused(|asked, _| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Answer::new(200, r#"{"schemaVersion":2,"manifests":[]}"#))
    })
    .await;
    assert!(text.contains("it is not made for linux/"), "{text}");

    let text = refused(|asked, _| {
        asked
            .path
            .contains("/manifests/")
            .then(|| Answer::new(200, "<html>"))
    })
    .await;
    assert!(text.contains("its manifest cannot be used"), "{text}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    // Held, so that nobody else listens there.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = closed.local_addr().unwrap();
    let error = store(dir.path())
        .get(&wanted(&format!("{address}/a")))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&format!("registry {address} cannot be reached"))
            && text.contains("5 attempts"),
        "{text}"
    );
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_stopped() {
    let made = two_layers();
    let layer = made.layers[0].to_string();
    let blob = made.blobs[&layer].clone();
    let (path, whole) = (layer.clone(), blob.clone());
    let ranges: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&ranges);
    let registry = Registry::start(made, move |asked, before| {
        if !asked.path.ends_with(&path) {
            return None;
        }
        seen.lock()
            .push(asked.headers.get("range").cloned().unwrap_or_default());
        // Every attempt brings a third: more attempts than fruitless ones would be allowed.
        let from = before * whole.len() / 8;
        (before < 7).then(|| Answer {
            cut_after: Some(whole.len() / 8),
            ..Answer::new(if before == 0 { 200 } else { 206 }, whole[from..].to_vec())
        })
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    // The lengths of the pieces must add up to the offsets asked for.
    assert_eq!(
        blob.len() % 8,
        0,
        "the test's blob is not a multiple of 8: {}",
        blob.len()
    );
    store
        .get(&wanted(&format!("{}/app", registry.address)))
        .await
        .unwrap();
    let asked = ranges.lock().clone();
    assert_eq!(asked.len(), 8, "{asked:?}");
    assert_eq!(asked[3], format!("bytes={}-", 3 * blob.len() / 8));
}

#[tokio::test]
async fn a_registry_that_recovers_is_waited_for() {
    let registry = Registry::start(two_layers(), |_, before| match before {
        0 => Some(Answer {
            headers: vec![("retry-after", "0".to_owned())],
            ..Answer::new(429, "")
        }),
        1 => Some(Answer::new(502, "")),
        2 => Some(Answer {
            cut_after: Some(0),
            ..Answer::new(200, "x")
        }),
        _ => None,
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store
        .get(&wanted(&format!("{}/app", registry.address)))
        .await
        .unwrap();
}

#[tokio::test]
async fn tokens_are_got_with_the_credentials_of_the_registry() {
    let registry = Registry::start(two_layers(), |asked, _| {
        let given = asked.headers.get("authorization").map(String::as_str);
        if asked.path.starts_with("/token") {
            let good =
                given == Some("Basic dTpw") && asked.path.contains("scope=repository%3Aapp%3Apull");
            return Some(if good {
                Answer::new(200, r#"{"token":"T1"}"#)
            } else {
                Answer::new(401, "")
            });
        }
        let host = &asked.headers["host"];
        (given != Some("Bearer T1")).then(|| Answer {
            headers: vec![(
                "www-authenticate",
                format!(
                    r#"Bearer realm="http://{host}/token",service="s",scope="repository:app:pull""#
                ),
            )],
            ..Answer::new(401, "")
        })
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{}/app", registry.address);
    let store = store(dir.path());
    let error = store.get(&wanted(&name)).await.unwrap_err().to_string();
    assert!(error.contains("refuses access (401"), "{error}");
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.address
    );
    let own = Wanted {
        credentials: Some(Credentials::parse(config.as_bytes()).unwrap()),
        ..wanted(&name)
    };
    store.get(&own).await.unwrap();
    // The same by the agent's own credentials; one token does for all of the image.
    let other = tempfile::tempdir().unwrap();
    let options = RegistryOptions {
        credentials: Credentials::parse(config.as_bytes()).unwrap(),
        ..RegistryOptions::default()
    };
    let before = registry.count("/token");
    store_with(other.path(), options, Bounds::default())
        .get(&wanted(&name))
        .await
        .unwrap();
    assert_eq!(registry.count("/token"), before + 1);
}

#[tokio::test]
async fn mirrors_are_asked_first_and_the_registry_when_they_do_not_help() {
    let good = Registry::start(two_layers(), |_, _| None).await;
    let bad = Registry::start(two_layers(), |_, _| Some(Answer::new(404, ""))).await;
    let options = |mirror: &str| RegistryOptions {
        default: format!("http://{}", good.address),
        mirrors: BTreeMap::from([(good.address.clone(), vec![format!("http://{mirror}")])]),
        ..RegistryOptions::default()
    };
    let dir = tempfile::tempdir().unwrap();
    store_with(dir.path(), options(&bad.address), Bounds::default())
        .get(&wanted("app"))
        .await
        .unwrap();
    assert_eq!(bad.count("/v2/library/app/manifests/latest"), 1);
    assert_eq!(good.count("/v2/library/app/manifests/latest"), 1);
    let other = tempfile::tempdir().unwrap();
    let options = RegistryOptions {
        default: format!("http://{}", bad.address),
        mirrors: BTreeMap::from([(
            bad.address.clone(),
            vec![format!("http://{}", good.address)],
        )]),
        ..RegistryOptions::default()
    };
    store_with(other.path(), options, Bounds::default())
        .get(&wanted("app"))
        .await
        .unwrap();
    assert_eq!(bad.count("/v2/"), 1);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    let made = two_layers();
    let elsewhere = Registry::start(made.clone(), |asked, _| {
        assert!(!asked.headers.contains_key("authorization"));
        None
    })
    .await;
    let target = elsewhere.address.clone();
    let registry = Registry::start(made, move |asked, _| {
        if !asked.headers.contains_key("authorization") {
            return Some(Answer {
                headers: vec![("www-authenticate", "Basic realm=x".to_owned())],
                ..Answer::new(401, "")
            });
        }
        asked.path.contains("/blobs/").then(|| Answer {
            headers: vec![("location", format!("http://{target}{}", asked.path))],
            ..Answer::new(307, "")
        })
    })
    .await;
    let config = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.address
    );
    let options = RegistryOptions {
        credentials: Credentials::parse(config.as_bytes()).unwrap(),
        ..RegistryOptions::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(dir.path(), options, Bounds::default());
    store
        .get(&wanted(&format!("{}/app", registry.address)))
        .await
        .unwrap();
    assert!(elsewhere.count("/blobs/") >= 3);
}

#[tokio::test]
async fn layouts_and_saved_archives_are_images_too() {
    let made = two_layers();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("oci");
    layout(&made, &path);
    let store = store(dir.path());
    let name = format!("oci:{}:v1", path.display());
    assert_eq!(
        store.get(&wanted(&name)).await.unwrap().image().digest,
        Digest::of(&made.manifest)
    );
    let error = store
        .get(&wanted(&format!("oci:{}:v2", path.display())))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no image is called 'v2', only: v1"),
        "{error}"
    );

    // As `docker save` writes it, one of the layers as a link.
    let layer = archive(&[file("x", "x")]);
    let config = serde_json::json!({ "rootfs": { "diff_ids": [Digest::of(&layer).to_string(), Digest::of(&layer).to_string()] } });
    let mut saved = tar::Builder::new(Vec::new());
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        saved.append_data(&mut header, name, bytes).unwrap();
    };
    put("c.json", config.to_string().as_bytes());
    put("l1/layer.tar", &layer);
    put(
        "manifest.json",
        br#"[{"Config":"c.json","RepoTags":["app:1"],"Layers":["l1/layer.tar","l2/layer.tar"]}]"#,
    );
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    saved
        .append_link(&mut header, "l2/layer.tar", "../l1/layer.tar")
        .unwrap();
    let folder = dir.path().join("local");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("app:1.tar"), saved.into_inner().unwrap()).unwrap();
    let by_path = wanted(&format!("docker-archive:{}/app:1.tar", folder.display()));
    // A colon ends the path.
    assert!(store.get(&by_path).await.is_err());
    let options = RegistryOptions {
        default: folder.display().to_string(),
        ..RegistryOptions::default()
    };
    let other = tempfile::tempdir().unwrap();
    let local = store_with(other.path(), options, Bounds::default());
    let held = local.get(&wanted("app:1")).await.unwrap();
    let root = local.make_root("c", &held).unwrap();
    assert_eq!(root.lower.len(), 1);
    let error = local.get(&wanted("app:2")).await.unwrap_err().to_string();
    assert!(
        error.contains("neither app:2.tar nor an OCI layout app"),
        "{error}"
    );
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_leaves_nothing() {
    let (hold, held) = tokio::sync::watch::channel(());
    let registry = Registry::start(two_layers(), move |asked, _| {
        // The connection stays silent for the layers: an answer that never has its body.
        let _keep = &hold;
        asked.path.contains("/blobs/").then(|| Answer {
            cut_after: Some(0),
            ..Answer::new(503, "x")
        })
    })
    .await;
    drop(held);
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let name = format!("{}/app", registry.address);
    let wanted = wanted(&name);
    {
        let mut pull = std::pin::pin!(store.get(&wanted));
        let started = async {
            while registry.count("/blobs/") == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = &mut pull => panic!("it cannot end"),
            () = started => {}
        }
    }
    let seen = registry.count("/");
    assert!(store.list().is_empty() && left_over(dir.path()) == 0);
    assert!(registry.count("/") <= seen + 1);
    assert_eq!(store.recover(&HashSet::new()), 0);
}

//! Images made by hand, and a registry that serves them and misbehaves as it is told.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tepui_images::{Bounds, Digest, RegistryOptions, Store, StoreConfig, Wanted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One entry of an archive, with whatever name.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: tar::EntryType,
    pub(crate) mode: u32,
    pub(crate) link: &'static str,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn file(name: &'static str, content: &str) -> Entry {
    Entry {
        name,
        kind: tar::EntryType::Regular,
        mode: 0o644,
        link: "",
        content: content.as_bytes().to_vec(),
    }
}

pub(crate) fn other(name: &'static str, kind: tar::EntryType, link: &'static str) -> Entry {
    Entry {
        name,
        kind,
        mode: 0o755,
        link,
        content: Vec::new(),
    }
}

pub(crate) fn directory(name: &'static str) -> Entry {
    other(name, tar::EntryType::Directory, "")
}

/// Writes the archive byte by byte where the tar crate would refuse the name.
pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.content.len() as u64);
        header.set_mtime(1_600_000_000);
        let own = nix::unistd::geteuid().as_raw();
        header.set_uid(own.into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        let raw = header.as_old_mut();
        raw.name[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        raw.linkname[..entry.link.len()].copy_from_slice(entry.link.as_bytes());
        if matches!(entry.kind, tar::EntryType::Char | tar::EntryType::Block) {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        builder.append(&header, &entry.content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Blobs of one image, and which of them is the manifest.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) layers: Vec<Digest>,
}

/// An OCI image of these (unpacked) layers, packed by `pack`.
pub(crate) fn image(layers: &[Vec<u8>], pack: impl Fn(&[u8]) -> Vec<u8>) -> Made {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut blobs = HashMap::new();
    let mut add = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        blobs.insert(digest.to_string(), bytes);
        (
            digest,
            serde_json::json!({ "digest": digest.to_string(), "size": size }),
        )
    };
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| Digest::of(layer).to_string())
        .collect();
    let config = serde_json::json!({
        "architecture": arch, "os": "linux",
        "config": { "Entrypoint": ["/bin/sh"], "Cmd": ["-c", "true"], "Env": ["A=b"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let (_, config) = add(serde_json::to_vec(&config).unwrap());
    let (digests, packed): (Vec<_>, Vec<_>) = layers.iter().map(|layer| add(pack(layer))).unzip();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": packed,
    });
    Made {
        manifest: serde_json::to_vec(&manifest).unwrap(),
        blobs,
        layers: digests,
    }
}

/// Writes the image as an OCI layout.
pub(crate) fn layout(made: &Made, directory: &Path) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let digest = Digest::of(&made.manifest).to_string();
    let all = made
        .blobs
        .iter()
        .map(|(digest, bytes)| (digest.as_str(), bytes));
    for (digest, bytes) in all.chain([(digest.as_str(), &made.manifest)]) {
        std::fs::write(blobs.join(&digest["sha256:".len()..]), bytes).unwrap();
    }
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest, "size": made.manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": "v1" },
    }] });
    std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
}

pub(crate) fn store_with(directory: &Path, registry: RegistryOptions, bounds: Bounds) -> Store {
    let registry = RegistryOptions {
        pause: Duration::from_millis(1),
        ..registry
    };
    Store::open(StoreConfig {
        directory: directory.join("store"),
        registry,
        bounds,
    })
    .unwrap()
}

pub(crate) fn store(directory: &Path) -> Store {
    store_with(directory, RegistryOptions::default(), Bounds::default())
}

pub(crate) fn wanted(name: &str) -> Wanted {
    Wanted {
        reference: name.parse().unwrap(),
        refresh: false,
        credentials: None,
    }
}

/// Every directory below the store's `tmp`, which must be empty when nothing is under way.
pub(crate) fn left_over(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("store/tmp"))
        .unwrap()
        .count()
}

/// A request, as far as registries care.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

/// An answer, and how many bytes of its body really leave before the connection is cut.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) cut_after: Option<usize>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            cut_after: None,
        }
    }
}

type Behaviour = dyn Fn(&Asked, usize) -> Option<Answer> + Send + Sync;

/// A registry on a loopback port. `behave` is asked first, with how often this path was asked for before.
pub(crate) struct Registry {
    pub(crate) address: String,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub(crate) async fn start(
        made: Made,
        behave: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, made, behave) = (Arc::clone(&asked), Arc::new(made), Arc::new(behave));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, made, behave) =
                    (Arc::clone(&seen), Arc::clone(&made), Arc::clone(&behave));
                tokio::spawn(async move { serve(stream, &seen, &made, &*behave).await });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.asked
            .lock()
            .iter()
            .filter(|path| path.contains(part))
            .count()
    }
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<String>>, made: &Made, behave: &Behaviour) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(read).unwrap();
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let before = {
        let mut seen = seen.lock();
        let before = seen.iter().filter(|one| **one == path).count();
        seen.push(path.clone());
        before
    };
    let asked = Asked { path, headers };
    let answer = behave(&asked, before).unwrap_or_else(|| plain(&asked, made));
    let mut head = format!(
        "HTTP/1.1 {} x\r\ncontent-length: {}\r\nconnection: close\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let body = &answer.body[..answer.cut_after.unwrap_or(answer.body.len())];
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.shutdown().await;
}

/// What a well-behaved registry answers, ranges included.
fn plain(asked: &Asked, made: &Made) -> Answer {
    let last = asked.path.rsplit('/').next().unwrap();
    let not_there = || {
        Answer::new(
            404,
            r#"{"errors":[{"code":"UNKNOWN","message":"not here"}]}"#,
        )
    };
    if asked.path.contains("/manifests/") {
        let own = Digest::of(&made.manifest).to_string();
        return if last == own || !last.starts_with("sha256:") && !last.contains("nothing") {
            Answer::new(200, made.manifest.clone())
        } else {
            not_there()
        };
    }
    let Some(blob) = made.blobs.get(last) else {
        return not_there();
    };
    let from = asked.headers.get("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        Some(from) => Answer::new(206, &blob[from..]),
        None => Answer::new(200, blob.clone()),
    }
}

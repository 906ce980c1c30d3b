//! The fetcher against a server on loopback that behaves badly on purpose, and against hostile archives.

mod archives;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What is served, large enough for several pieces.
fn body() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i % 251) as u8).collect()
}

/// A server: what was asked for, in order, with the head of each request.
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    /// Answers wait for this on `/wait`.
    go: Arc<tokio::sync::Notify>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
            go: Arc::default(),
        };
        let (heads, go) = (Arc::clone(&server.heads), Arc::clone(&server.go));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&heads), Arc::clone(&go)));
            }
        });
        server
    }

    fn uri(&self, path: &str) -> Uri {
        Uri {
            value: format!("http://127.0.0.1:{}/{path}", self.port),
            ..Default::default()
        }
    }

    fn cached(&self, path: &str) -> Uri {
        Uri {
            cache: Some(true),
            ..self.uri(path)
        }
    }

    /// Requests for a path, in order.
    fn asked(&self, path: &str) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let start = format!("GET /{path} ");
        heads
            .iter()
            .filter(|head| head.starts_with(&start))
            .cloned()
            .collect()
    }
}

async fn serve(
    mut stream: TcpStream,
    heads: Arc<Mutex<Vec<String>>>,
    go: Arc<tokio::sync::Notify>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let before = {
        let mut heads = heads.lock().unwrap();
        let start = format!("GET {path} ");
        let before = heads.iter().filter(|head| head.starts_with(&start)).count();
        heads.push(head.clone());
        before
    };
    let body = body();
    let start: usize = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("range: bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    let whole = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"one\"\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let (head, content, hang) = match path.as_str() {
        "/missing" => ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), &[][..], false),
        "/busy" if before < 2 => ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), &[][..], false),
        "/redirect" => ("HTTP/1.1 302 Found\r\nLocation: /plain\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), &[][..], false),
        "/cut" if before == 0 => (whole, &body[..100_000], false),
        "/cut" => (
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len() - 1,
                body.len(),
                body.len() - start
            ),
            &body[start..],
            false,
        ),
        // Takes no notice of Range.
        "/cut-anew" if before == 0 => (whole, &body[..100_000], false),
        "/dead" => (whole, &body[..0], false),
        "/stall" => (whole, &body[..1000], true),
        "/wait" => {
            go.notified().await;
            (whole, &body[..], false)
        }
        _ => (whole, &body[..], false),
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(content).await;
    if hang {
        // Until the other side gives up.
        let _ = stream.read_buf(&mut Vec::new()).await;
    }
}

/// A fetcher, and a sandbox for it.
struct Room {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
}

impl Room {
    fn new(change: impl FnOnce(&mut FetcherConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sandbox")).unwrap();
        let fetcher = again(folder.path(), change);
        Self { folder, fetcher }
    }

    fn sandbox(&self) -> PathBuf {
        self.folder.path().join("sandbox")
    }

    async fn fetch(&self, uris: &[Uri]) -> Result<(), String> {
        let fetched = self.fetcher.fetch(uris, &self.sandbox(), None).await;
        fetched.map_err(|error| error.to_string())
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.sandbox().join(file)).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.fetcher.metrics();
        metrics
            .iter()
            .find(|(found, _)| found.ends_with(name))
            .unwrap()
            .1
    }

    /// The names in the cache.
    fn cache(&self) -> Vec<String> {
        let part = fs::read_dir(self.folder.path().join("fetch")).unwrap();
        let parts: Vec<_> = part.map(|entry| entry.unwrap().path()).collect();
        let files = parts.iter().flat_map(|part| fs::read_dir(part).unwrap());
        files
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// The fetcher of an agent's next life on the same directory.
fn again(work_dir: &Path, change: impl FnOnce(&mut FetcherConfig)) -> Fetcher {
    let mut config = Config::for_master_at("127.0.0.1:1".parse().unwrap(), work_dir);
    change(&mut config.fetcher);
    Fetcher::new(&config)
}

#[tokio::test]
async fn files_come_from_everywhere_and_are_what_the_uri_says() {
    let server = Server::start().await;
    let room = Room::new(|config| config.frameworks_home = Some("/proc/sys".into()));
    let tool = room.folder.path().join("tool");
    fs::write(&tool, "#!/bin/sh\n").unwrap();
    let uris = [
        server.uri("plain"),
        Uri {
            output_file: Some("deep/er/name".to_owned()),
            ..server.uri("redirect")
        },
        Uri {
            executable: Some(true),
            value: format!("file://{}", tool.display()),
            ..Default::default()
        },
        Uri {
            value: "kernel/ostype".to_owned(),
            ..Default::default()
        },
    ];
    room.fetch(&uris).await.unwrap();
    assert_eq!(room.read("plain"), body());
    assert_eq!(room.read("deep/er/name"), body());
    assert_eq!(room.read("ostype"), b"Linux\n");
    let mode = |file: &str| {
        fs::metadata(room.sandbox().join(file))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!((mode("tool"), mode("plain")), (0o755, 0o644));
    assert_eq!(
        (
            room.metric("task_fetches_succeeded"),
            room.metric("task_fetches_failed")
        ),
        (1.0, 0.0)
    );
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    let server = Server::start().await;
    let room = Room::new(|_| {});
    room.fetch(&[
        server.uri("cut"),
        server.uri("cut-anew"),
        server.uri("busy"),
    ])
    .await
    .unwrap();
    for file in ["cut", "cut-anew", "busy"] {
        assert!(room.read(file) == body(), "{file}");
    }
    let asked = server.asked("cut");
    assert_eq!(asked.len(), 2);
    let second = asked[1].to_ascii_lowercase();
    assert!(
        second.contains("range: bytes=") && second.contains("if-range: \"one\""),
        "{second}"
    );
    assert_eq!(
        (server.asked("cut-anew").len(), server.asked("busy").len()),
        (2, 3)
    );
}

#[tokio::test]
async fn a_failure_names_the_uri_and_the_cause() {
    let server = Server::start().await;
    let room = Room::new(|config| {
        config.stall_timeout = Duration::from_secs(2);
        config.max_bytes = 400_000;
    });
    let error = room.fetch(&[server.uri("missing")]).await.unwrap_err();
    assert_eq!(
        error,
        format!(
            "'http://127.0.0.1:{}/missing': the server answered 404 Not Found",
            server.port
        )
    );
    assert_eq!(server.asked("missing").len(), 1);
    let error = room.fetch(&[server.uri("stall")]).await.unwrap_err();
    assert!(
        error.contains("nothing came for 2s after 1000 bytes"),
        "{error}"
    );
    let error = room.fetch(&[server.uri("dead")]).await.unwrap_err();
    assert!(error.contains("given up after 5 attempts"), "{error}");
    // Held, so that nobody else listens there.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = Uri {
        value: format!("http://{}/x", closed.local_addr().unwrap()),
        ..Default::default()
    };
    let error = room.fetch(&[nobody]).await.unwrap_err();
    assert!(error.contains("onnection refused"), "{error}");
    let nothing = Uri {
        value: "/no/such/file".to_owned(),
        ..Default::default()
    };
    let error = room.fetch(&[nothing]).await.unwrap_err();
    assert_eq!(
        error,
        "'/no/such/file': cannot open /no/such/file: No such file or directory (os error 2)"
    );
    let device = Uri {
        value: "/dev/zero".to_owned(),
        ..Default::default()
    };
    assert!(
        room.fetch(&[device])
            .await
            .unwrap_err()
            .contains("it is no file")
    );
    assert_eq!(room.metric("task_fetches_failed"), 6.0);

    let small = Room::new(|config| config.max_bytes = 1000);
    let error = small.fetch(&[server.uri("plain")]).await.unwrap_err();
    assert!(
        error.contains("the file has more than 1000 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_is_written_through_a_link_out_of_the_sandbox() {
    let server = Server::start().await;
    let room = Room::new(|_| {});
    let outside = room.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, room.sandbox().join("absolute")).unwrap();
    symlink("../outside", room.sandbox().join("relative")).unwrap();
    symlink(outside.join("target"), room.sandbox().join("plain")).unwrap();
    for out in ["absolute/x", "relative/x"] {
        let uri = Uri {
            output_file: Some(out.to_owned()),
            ..server.uri("plain")
        };
        let error = room.fetch(&[uri]).await.unwrap_err();
        assert!(error.contains("it leads out of the sandbox"), "{error}");
    }
    room.fetch(&[server.uri("plain")]).await.unwrap();
    assert!(
        fs::symlink_metadata(room.sandbox().join("plain"))
            .unwrap()
            .is_file()
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[tokio::test]
async fn one_download_serves_many_tasks() {
    let server = Server::start().await;
    let room = Room::new(|_| {});
    let uri = server.cached("wait");
    let sandboxes: Vec<PathBuf> = (0..8)
        .map(|i| room.folder.path().join(format!("s{i}")))
        .collect();
    let fetches = sandboxes.iter().map(|sandbox| {
        fs::create_dir(sandbox).unwrap();
        let (fetcher, uri) = (room.fetcher.clone(), uri.clone());
        async move { fetcher.fetch(&[uri], sandbox, None).await }
    });
    let all = futures::future::join_all(fetches);
    let release = async {
        while server.asked("wait").is_empty() {
            tokio::task::yield_now().await;
        }
        server.go.notify_one();
    };
    let (all, ()) = futures::join!(all, release);
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    for sandbox in &sandboxes {
        assert!(fs::read(sandbox.join("wait")).unwrap() == body());
    }
    room.fetch(&[uri]).await.unwrap();
    assert_eq!(server.asked("wait").len(), 1);
    assert_eq!(room.metric("cache_size_used_bytes"), 300_000.0);
    assert_eq!(room.cache().len(), 1);
}

#[tokio::test]
async fn the_cache_keeps_to_its_size_and_the_longest_unused_go() {
    let server = Server::start().await;
    let room = Room::new(|config| config.cache_bytes = 700_000);
    for path in ["a", "b", "a", "c", "a", "b"] {
        room.fetch(&[server.cached(path)]).await.unwrap();
    }
    let asked = |path: &str| server.asked(path).len();
    // b went for c, as a was used later; then c went for b.
    assert_eq!((asked("a"), asked("b"), asked("c")), (1, 2, 1));
    assert_eq!(room.metric("cache_size_used_bytes"), 600_000.0);
    assert_eq!(room.cache().len(), 2);

    let tiny = Room::new(|config| config.cache_bytes = 1000);
    tiny.fetch(&[server.cached("d")]).await.unwrap();
    assert!(tiny.read("d") == body());
    assert_eq!(
        (tiny.metric("cache_size_used_bytes"), tiny.cache().len()),
        (0.0, 0)
    );
}

#[tokio::test]
async fn what_is_abandoned_or_left_by_a_crash_is_never_used() {
    let server = Server::start().await;
    let room = Room::new(|_| {});
    let abandoned = tokio::time::timeout(
        Duration::from_secs(3),
        room.fetch(&[server.cached("stall")]),
    )
    .await;
    assert!(abandoned.is_err());
    assert_eq!(server.asked("stall").len(), 1);
    assert_eq!(
        (room.cache(), room.metric("cache_size_used_bytes")),
        (vec![], 0.0)
    );

    room.fetch(&[server.cached("x")]).await.unwrap();
    let part = fs::read_dir(room.folder.path().join("fetch"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(part.join("7.part"), "half").unwrap();
    fs::write(part.join("8"), "of another life").unwrap();
    let next = Room {
        fetcher: again(room.folder.path(), |_| {}),
        folder: room.folder,
    };
    next.fetch(&[server.cached("x")]).await.unwrap();
    assert_eq!(server.asked("x").len(), 2);
    assert!(part.is_dir() && next.read("x") == body());
    assert!(!part.join("7.part").exists() && !part.join("8").exists());

    // Somebody cleans up what is none of his business.
    for entry in fs::read_dir(&part).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    next.fetch(&[server.cached("x")]).await.unwrap();
    assert_eq!(server.asked("x").len(), 3);
    assert!(next.read("x") == body());
}

#[tokio::test]
async fn everything_is_the_task_users_and_done_with_its_rights() {
    if !crate::privileged::privileged() {
        return;
    }
    let server = Server::start().await;
    let room = Room::new(|_| {});
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    nix::unistd::chown(&room.sandbox(), Some(nobody.uid), Some(nobody.gid)).unwrap();
    let archive = room.folder.path().join("a.tar");
    fs::write(&archive, archives::tar(&[archives::file("dir/x", b"x")])).unwrap();
    fs::set_permissions(room.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = room.folder.path().join("secret");
    fs::write(&secret, "root's own").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let of = |path: &Path| Uri {
        value: path.display().to_string(),
        ..Default::default()
    };
    let fetch = |uri: Uri| {
        let (fetcher, sandbox) = (room.fetcher.clone(), room.sandbox());
        async move {
            fetcher
                .fetch(&[uri], &sandbox, Some("nobody"))
                .await
                .map_err(|error| error.to_string())
        }
    };
    fetch(Uri {
        output_file: Some("sub/plain".to_owned()),
        ..server.cached("plain")
    })
    .await
    .unwrap();
    fetch(of(&archive)).await.unwrap();
    for file in ["sub", "sub/plain", "a.tar", "dir", "dir/x"] {
        let found = fs::symlink_metadata(room.sandbox().join(file)).unwrap();
        assert_eq!(
            (found.uid(), found.gid()),
            (nobody.uid.as_raw(), nobody.gid.as_raw()),
            "{file}"
        );
    }
    let error = fetch(of(&secret)).await.unwrap_err();
    assert!(error.contains("Permission denied"), "{error}");
    // A file that a group of the agent's, not of the task's, may read.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(fetch(of(&secret)).await.is_err());
    assert!(fs::File::create(room.folder.path().join("still-root")).is_ok());
}

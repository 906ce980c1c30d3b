//! Files of sandboxes, by virtual paths: the sandbox's own absolute path, the same through `runs/latest`, or
//! `/frameworks/<framework>/executors/<executor>/runs/<container or latest>`.
//!
//! Nothing outside a sandbox can be reached: the kernel resolves what follows the sandbox's directory beneath it (openat2), so neither
//! `..` nor a link, nor one that is put there at the last moment, leads out.

use std::fs::{self, File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, HeaderValue};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use serde_json::{Value, json};

use super::Face;
use super::asked::{Asked, Response, text};

/// At most this much is read at once: 16 pages.
pub(super) const READ_BYTES: u64 = 64 << 10;
/// A piece of a download.
const PIECE_BYTES: usize = 128 << 10;

/// Why a file is not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotShown {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl NotShown {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn response(self) -> Response {
        text(self.status, self.message)
    }
}

/// A file or directory as `/files/browse` tells it.
pub(super) struct Listed {
    pub(super) path: String,
    pub(super) metadata: Metadata,
}

/// Splits a virtual path into its sandbox's directory and what is below.
fn resolve(work_dir: &Path, agent: &str, virtual_path: &str) -> Option<(PathBuf, PathBuf)> {
    let slaves = work_dir.join("slaves");
    let path = Path::new(virtual_path);
    let (base, rest) = match path.strip_prefix(&slaves) {
        Ok(below) => {
            let mut parts = below.components();
            let Component::Normal(agent) = parts.next()? else {
                return None;
            };
            (slaves.join(agent), parts.as_path().to_owned())
        }
        Err(_) => (slaves.join(agent), path.strip_prefix("/").ok()?.to_owned()),
    };
    let mut parts = rest.components();
    let mut sandbox = base;
    for fixed in [
        Some("frameworks"),
        None,
        Some("executors"),
        None,
        Some("runs"),
        None,
    ] {
        let Component::Normal(part) = parts.next()? else {
            return None;
        };
        if fixed.is_some_and(|fixed| part != fixed) {
            return None;
        }
        sandbox.push(part);
    }
    Some((sandbox, parts.as_path().to_owned()))
}

/// Opens what a virtual path names, and tells its real path.
fn open(work_dir: &Path, agent: &str, virtual_path: &str) -> Result<File, NotShown> {
    let unknown = || NotShown::new(StatusCode::NOT_FOUND, "Requested path not found");
    let (sandbox, rest) = resolve(work_dir, agent, virtual_path).ok_or_else(unknown)?;
    let root = File::open(&sandbox).map_err(|_| unknown())?;
    let rest = if rest.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &rest
    };
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    match openat2(&root, rest, how) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::EXDEV | Errno::ELOOP) => Err(NotShown::new(
            StatusCode::BAD_REQUEST,
            "Resolved path is inaccessible: it leads out of the sandbox",
        )),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Err(unknown()),
        Err(Errno::EACCES | Errno::EPERM) => Err(NotShown::new(StatusCode::FORBIDDEN, "")),
        Err(error) => Err(NotShown::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("Cannot open the path: {error}"),
        )),
    }
}

fn broken(error: std::io::Error) -> NotShown {
    NotShown::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("Cannot read the path: {error}"),
    )
}

/// What a directory holds, by name. A file holds nothing.
fn list(work_dir: &Path, agent: &str, virtual_path: &str) -> Result<Vec<Listed>, NotShown> {
    let directory = open(work_dir, agent, virtual_path)?;
    if !directory.metadata().map_err(broken)?.is_dir() {
        return Ok(Vec::new());
    }
    let base = virtual_path.trim_end_matches('/');
    // Through the descriptor, so that what is listed is what was opened.
    let through = PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&directory)
    ));
    let mut listed = Vec::new();
    for entry in fs::read_dir(through).map_err(broken)?.flatten() {
        if let (Ok(metadata), Some(name)) = (entry.metadata(), entry.file_name().to_str()) {
            listed.push(Listed {
                path: format!("{base}/{name}"),
                metadata,
            });
        }
    }
    listed.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listed)
}

/// Some bytes of a file, and its size. `None` as offset reads nothing.
fn read_at(
    work_dir: &Path,
    agent: &str,
    virtual_path: &str,
    offset: Option<u64>,
    length: Option<u64>,
) -> Result<(Vec<u8>, u64), NotShown> {
    let mut file = open(work_dir, agent, virtual_path)?;
    let metadata = file.metadata().map_err(broken)?;
    if metadata.is_dir() {
        return Err(NotShown::new(
            StatusCode::BAD_REQUEST,
            "Cannot read a directory",
        ));
    }
    if !metadata.is_file() {
        return Err(NotShown::new(
            StatusCode::BAD_REQUEST,
            "Cannot read what is no regular file",
        ));
    }
    let size = metadata.len();
    let Some(offset) = offset.filter(|offset| *offset < size) else {
        return Ok((Vec::new(), size));
    };
    let mut data = Vec::new();
    file.seek(SeekFrom::Start(offset)).map_err(broken)?;
    file.take(length.unwrap_or(READ_BYTES).min(READ_BYTES))
        .read_to_end(&mut data)
        .map_err(broken)?;
    Ok((data, size))
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    face: &Face,
    path: String,
    work: impl FnOnce(&Path, &str, &str) -> Result<T, NotShown> + Send + 'static,
) -> Result<T, NotShown> {
    let (layout, agent) = (face.layout.clone(), face.agent.read().clone());
    let path = layout
        .by_its_own_name(Path::new(&path))
        .and_then(|path| path.into_os_string().into_string().ok())
        .unwrap_or(path);
    tokio::task::spawn_blocking(move || work(layout.work_dir(), &agent, &path))
        .await
        .unwrap_or_else(|_| {
            Err(NotShown::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Reading the path failed",
            ))
        })
}

pub(super) async fn list_files(face: &Face, path: String) -> Result<Vec<Listed>, NotShown> {
    blocking(face, path, list).await
}

pub(super) async fn read_file(
    face: &Face,
    path: String,
    offset: Option<u64>,
    length: Option<u64>,
) -> Result<(Vec<u8>, u64), NotShown> {
    blocking(face, path, move |work_dir, agent, path| {
        read_at(work_dir, agent, path, offset, length)
    })
    .await
}

fn path_of(asked: &Asked) -> Result<String, NotShown> {
    let path = asked.parameter("path").filter(|path| !path.is_empty());
    path.map(str::to_owned).ok_or_else(|| {
        NotShown::new(
            StatusCode::BAD_REQUEST,
            "Expecting 'path=value' in query.\n",
        )
    })
}

/// A number that may be -1 for "not given".
fn number(asked: &Asked, name: &str) -> Result<Option<u64>, NotShown> {
    let bad = |problem: &str| {
        NotShown::new(
            StatusCode::BAD_REQUEST,
            format!("Failed to parse {name}: {problem}.\n"),
        )
    };
    let Some(text) = asked.parameter(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number: i64 = text.parse().map_err(|_| bad("not a number"))?;
    match number {
        -1 => Ok(None),
        negative if negative < 0 => Err(bad("negative")),
        number => Ok(u64::try_from(number).ok()),
    }
}

pub(super) async fn browse(face: &Face, asked: &Asked) -> Response {
    let listed = match path_of(asked) {
        Ok(path) => list_files(face, path).await,
        Err(problem) => Err(problem),
    };
    match listed {
        Ok(listed) => asked.json(&listed.iter().map(entry).collect::<Vec<_>>()),
        Err(problem) => problem.response(),
    }
}

fn entry(listed: &Listed) -> Value {
    let metadata = &listed.metadata;
    json!({
        "path": listed.path,
        "nlink": metadata.nlink(),
        "size": metadata.len(),
        "mtime": metadata.mtime() as f64,
        "mode": mode(metadata),
        "uid": user(metadata.uid()),
        "gid": group(metadata.gid()),
    })
}

pub(super) fn user(uid: u32) -> String {
    let known = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid))
        .ok()
        .flatten();
    known.map_or_else(|| uid.to_string(), |user| user.name)
}

pub(super) fn group(gid: u32) -> String {
    let known = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(gid))
        .ok()
        .flatten();
    known.map_or_else(|| gid.to_string(), |group| group.name)
}

/// `drwxr-xr-x`.
fn mode(metadata: &Metadata) -> String {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => 'd',
        kind if kind.is_symlink() => 'l',
        _ => '-',
    };
    let bits = metadata.permissions().mode();
    std::iter::once(kind)
        .chain((0..9).map(|index| {
            if bits >> (8 - index) & 1 == 1 {
                ['r', 'w', 'x'][index % 3]
            } else {
                '-'
            }
        }))
        .collect()
}

pub(super) async fn read(face: &Face, asked: &Asked) -> Response {
    let what = || {
        Ok((
            path_of(asked)?,
            number(asked, "offset")?,
            number(asked, "length")?,
        ))
    };
    let read = match what() {
        Ok((path, offset, length)) => read_file(face, path, offset, length)
            .await
            .map(|read| (read, offset)),
        Err(problem) => Err(problem),
    };
    match read {
        // Asked for no place, the answer is the size: that is how tails begin.
        Ok(((data, size), offset)) => asked.json(
            &json!({"data": String::from_utf8_lossy(&data), "offset": offset.unwrap_or(size)}),
        ),
        Err(problem) => problem.response(),
    }
}

pub(super) async fn download(face: &Arc<Face>, asked: &Asked) -> Response {
    let opened = match path_of(asked) {
        Ok(path) => blocking(face, path.clone(), |work_dir, agent, path| {
            let file = open(work_dir, agent, path)?;
            let metadata = file.metadata().map_err(broken)?;
            if metadata.is_file() {
                Ok((file, metadata.len()))
            } else {
                Err(NotShown::new(
                    StatusCode::BAD_REQUEST,
                    "Cannot download a directory.\n",
                ))
            }
        })
        .await
        .map(|opened| (opened, path)),
        Err(problem) => Err(problem),
    };
    let ((file, size), path) = match opened {
        Ok(opened) => opened,
        Err(problem) => return problem.response(),
    };
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or("file")
        .replace(['"', '\\', '\r', '\n'], "_");
    let pieces = tokio_util::io::ReaderStream::with_capacity(
        tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), size),
        PIECE_BYTES,
    );
    let mut answer = warp::reply::Reply::into_response(warp::reply::stream(pieces));
    let headers = answer.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(&name)),
    );
    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename={name}")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    answer
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("txt" | "log") => "text/plain",
        Some("html" | "htm") => "text/html",
        Some("json") => "application/json",
        Some("js") => "text/javascript",
        Some("css") => "text/css",
        Some("csv") => "text/csv",
        Some("xml") => "application/xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        Some("gz" | "tgz") => "application/gzip",
        _ => "application/octet-stream",
    }
}

/// Every virtual path of a live executor and what it stands for.
pub(super) fn debug(face: &Face) -> Value {
    let agent = face.agent.read().clone();
    let view = face.view.read();
    let executors = view
        .frameworks
        .values()
        .flat_map(|framework| framework.executors.values());
    let mut paths = serde_json::Map::new();
    for executor in executors {
        let state = &executor.state;
        let (framework, id) = (state.framework_id.as_str(), state.id.as_str());
        let sandbox = face
            .layout
            .sandbox(&agent, framework, id, &state.container.to_string())
            .display()
            .to_string();
        paths.insert(
            format!("/frameworks/{framework}/executors/{id}/runs/latest"),
            json!(sandbox),
        );
        paths.insert(sandbox.clone(), json!(sandbox));
    }
    Value::Object(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Layout;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_sandboxes_can_be_read_and_nothing_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Layout::new(dir.path())
            .create("S0", "f", "e", "c", None)
            .unwrap();
        fs::write(sandbox.join("stdout"), "hello").unwrap();
        fs::create_dir(sandbox.join("sub")).unwrap();
        symlink("../stdout", sandbox.join("sub/in")).unwrap();
        symlink(
            "../../../../../../../../../../etc/passwd",
            sandbox.join("out"),
        )
        .unwrap();
        symlink("/etc/passwd", sandbox.join("absolute")).unwrap();
        fs::write(dir.path().join("slaves/S0/frameworks/f/secret"), "x").unwrap();
        let absolute = sandbox.display().to_string();
        let read = |path: &str| {
            read_at(dir.path(), "S0", path, Some(0), None)
                .map(|(data, _)| data)
                .map_err(|problem| problem.status.as_u16())
        };
        for good in ["/stdout", "/sub/in", "/sub/../stdout", "//stdout"] {
            for base in [
                absolute.as_str(),
                "/frameworks/f/executors/e/runs/c",
                "/frameworks/f/executors/e/runs/latest",
            ] {
                assert_eq!(
                    read(&format!("{base}{good}")),
                    Ok(b"hello".to_vec()),
                    "{base}{good}"
                );
            }
        }
        let cases = [
            ("/out", 400),
            ("/absolute", 400),
            ("/../../../../secret", 400),
            ("/sub/../../../../../secret", 400),
            ("", 400),
            ("/sub", 400),
            ("/nothing", 404),
            ("/stdout/x", 404),
        ];
        for (path, status) in cases {
            assert_eq!(read(&format!("{absolute}{path}")), Err(status), "{path}");
        }
        for path in [
            "/etc/passwd",
            "relative",
            "",
            "/frameworks/f",
            "/frameworks/f/executors/e/runs/..",
            "/frameworks/../../meta/journal",
        ] {
            assert_eq!(read(path), Err(404), "{path}");
        }
    }

    #[test]
    fn offsets_follow_the_tail_protocol() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Layout::new(dir.path())
            .create("S0", "f", "e", "c", None)
            .unwrap();
        fs::write(sandbox.join("stdout"), vec![b'x'; 100_000]).unwrap();
        let path = "/frameworks/f/executors/e/runs/latest/stdout";
        for (offset, length, bytes) in [
            (None, None, 0),
            (Some(0), None, 65_536),
            (Some(0), Some(1 << 40), 65_536),
            (Some(0), Some(10), 10),
            (Some(99_990), None, 10),
            (Some(100_000), None, 0),
            (Some(u64::MAX), None, 0),
        ] {
            let (data, size) = read_at(dir.path(), "S0", path, offset, length).unwrap();
            assert_eq!(
                (data.len(), size),
                (bytes, 100_000),
                "{offset:?} {length:?}"
            );
        }
        let listed = list(dir.path(), "S0", "/frameworks/f/executors/e/runs/latest").unwrap();
        assert_eq!(listed.len(), 1);
        let shown = entry(&listed[0]);
        assert_eq!(
            (&shown["path"], &shown["mode"]),
            (
                &json!("/frameworks/f/executors/e/runs/latest/stdout"),
                &json!("-rw-r--r--")
            )
        );
        assert!(list(dir.path(), "S0", path).unwrap().is_empty());
    }
}

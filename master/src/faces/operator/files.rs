//! LIST_FILES and READ_FILE, and what `/files/…` needs: the master shows one file, its log, if `--external_log_file` names one.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use http::StatusCode;
use tepui_proto::mesos::master::{call, response};
use tepui_proto::mesos::{FileInfo, TimeInfo};

use super::super::Face;
use super::super::asked::{Response, Shareable, StreamBroken, text};

/// Where the log is among the virtual paths.
pub(crate) const LOG: &str = "/master/log";
/// The most that is read at once: 16 pages.
pub(crate) const MOST_BYTES: u64 = 64 << 10;

/// The real path of what is shown as `path`.
pub(crate) fn log(face: &Face, path: &str) -> Result<PathBuf, Response> {
    let shown = path.trim_end_matches('/');
    if shown != LOG && shown != LOG.trim_start_matches('/') {
        return Err(text(
            StatusCode::NOT_FOUND,
            format!("There is no file '{path}'"),
        ));
    }
    face.config
        .log_file
        .clone()
        .ok_or_else(|| text(StatusCode::NOT_FOUND, "This master has no log file"))
}

fn failed(path: &Path, error: &std::io::Error) -> Response {
    let status = if error.kind() == std::io::ErrorKind::NotFound {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    text(
        status,
        format!("Failed to read '{}': {error}", path.display()),
    )
}

/// LIST_FILES
pub(super) fn list(face: &Face, path: &str) -> Result<response::ListFiles, Response> {
    let log = log(face, path)?;
    let metadata = std::fs::metadata(&log).map_err(|error| failed(&log, &error))?;
    let info = FileInfo {
        path: LOG.to_owned(),
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.size()),
        mtime: Some(TimeInfo {
            nanoseconds: metadata
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(metadata.mtime_nsec()),
        }),
        mode: Some(metadata.mode()),
        uid: Some(metadata.uid().to_string()),
        gid: Some(metadata.gid().to_string()),
    };
    Ok(response::ListFiles {
        file_infos: vec![info],
    })
}

/// READ_FILE
pub(super) async fn read(
    face: &Face,
    call: call::ReadFile,
) -> Result<response::ReadFile, Response> {
    let log = log(face, &call.path)?;
    part(log, call.offset, call.length.unwrap_or(MOST_BYTES)).await
}

/// A part of a file, at most [`MOST_BYTES`] of it, and the size of the whole.
pub(crate) async fn part(
    path: PathBuf,
    offset: u64,
    length: u64,
) -> Result<response::ReadFile, Response> {
    let reading = tokio::task::spawn_blocking(move || {
        let read = || {
            let mut file = std::fs::File::open(&path)?;
            let size = file.metadata()?.len();
            let mut data = Vec::new();
            if offset < size {
                file.seek(SeekFrom::Start(offset))?;
                file.take(length.min(MOST_BYTES)).read_to_end(&mut data)?;
            }
            Ok(response::ReadFile {
                size,
                data: data.into(),
            })
        };
        read().map_err(|error: std::io::Error| failed(&path, &error))
    });
    reading.await.unwrap_or_else(|_| {
        Err(text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The log could not be read",
        ))
    })
}

/// A whole file as large as it is now, read while it is sent.
pub(crate) async fn whole(
    path: PathBuf,
) -> Result<impl Stream<Item = Result<Bytes, StreamBroken>> + Send + Sync, Response> {
    let size = part(path.clone(), 0, 0).await?.size;
    let parts = futures::stream::try_unfold(0, move |at| {
        let path = path.clone();
        async move {
            if at >= size {
                return Ok(None);
            }
            let read = part(path, at, MOST_BYTES.min(size - at))
                .await
                .map_err(|_| StreamBroken("the file cannot be read any more"))?;
            if read.data.is_empty() {
                return Err(StreamBroken("the file has become shorter"));
            }
            let next = at + read.data.len() as u64;
            Ok(Some((read.data, next)))
        }
    });
    Ok(Shareable::new(Box::pin(parts)))
}

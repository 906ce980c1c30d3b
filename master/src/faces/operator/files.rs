//! LIST_FILES and READ_FILE: the master shows one file, its log, if `--external_log_file` names one.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use http::StatusCode;
use tepui_proto::mesos::master::{call, response};
use tepui_proto::mesos::{FileInfo, TimeInfo};

use super::super::Face;
use super::super::asked::{Response, text};

/// Where the log is among the virtual paths.
const LOG: &str = "/master/log";
/// The most that is read at once: 16 pages.
const MOST_BYTES: u64 = 64 << 10;

fn log(face: &Face, path: &str) -> Result<PathBuf, Response> {
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
    let wanted = call.length.unwrap_or(MOST_BYTES).min(MOST_BYTES);
    let reading = tokio::task::spawn_blocking(move || {
        let read = || {
            let mut file = std::fs::File::open(&log)?;
            let size = file.metadata()?.len();
            let mut data = Vec::new();
            if call.offset < size {
                file.seek(SeekFrom::Start(call.offset))?;
                file.take(wanted).read_to_end(&mut data)?;
            }
            Ok(response::ReadFile {
                size,
                data: data.into(),
            })
        };
        read().map_err(|error: std::io::Error| failed(&log, &error))
    });
    reading.await.unwrap_or_else(|_| {
        Err(text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The log could not be read",
        ))
    })
}

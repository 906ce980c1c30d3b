//! `/files/browse`, `/files/read`, `/files/download`, `/files/debug`: the master shows one file, `/master/log`.

use std::sync::Arc;

use http::header::{CONTENT_DISPOSITION, HeaderValue};

use super::super::asked::{Asked, Response, streaming};
use super::super::operator::files::{self, LOG, MOST_BYTES};
use super::super::{Face, pieces};
use super::json;
use super::writes::{bad, or_return};

fn path(asked: &Asked) -> Result<String, Response> {
    asked
        .parameters()
        .remove("path")
        .filter(|path| !path.is_empty())
        .ok_or_else(|| bad("Expecting 'path=value' in query.\n"))
}

/// `/files/browse`: a file instead of a folder has nothing in it.
pub(crate) async fn browse(face: Arc<Face>, asked: Asked) -> Response {
    let path = or_return!(path(&asked));
    or_return!(files::log(&face, &path));
    pieces::json(&asked, |pieces| pieces.text().extend_from_slice(b"[]"))
}

/// `/files/read`: without an offset (or with -1) the size of the file as the offset, and no data.
pub(crate) async fn read(face: Arc<Face>, asked: Asked) -> Response {
    let path = or_return!(path(&asked));
    let parameters = asked.parameters();
    let number = |name: &str| match parameters.get(name).map(|text| text.parse::<i64>()) {
        None | Some(Ok(-1)) => Ok(None),
        Some(Ok(number)) => u64::try_from(number)
            .map(Some)
            .map_err(|_| bad(format!("Negative {name} provided: {number}.\n"))),
        Some(Err(_)) => Err(bad(format!(
            "Failed to parse {name}: expecting a number.\n"
        ))),
    };
    let offset = or_return!(number("offset"));
    let length = or_return!(number("length"));
    let log = or_return!(files::log(&face, &path));
    let wanted = if offset.is_some() {
        length.unwrap_or(MOST_BYTES)
    } else {
        0
    };
    let found = or_return!(files::part(log, offset.unwrap_or(0), wanted).await);
    let offset = offset.unwrap_or(found.size);
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            object.string("data", &String::from_utf8_lossy(&found.data));
            object.integer("offset", i64::try_from(offset).unwrap_or(i64::MAX));
        });
    })
}

/// `/files/download`: the whole file, as it is.
pub(crate) async fn download(face: Arc<Face>, asked: Asked) -> Response {
    let path = or_return!(path(&asked));
    let log = or_return!(files::log(&face, &path));
    let name = log
        .file_name()
        .map(|name| name.to_string_lossy().replace(['"', '\\'], "_"))
        .unwrap_or_default();
    let stream = or_return!(files::whole(log).await);
    let mut answer = streaming("application/octet-stream", stream);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename={name}")) {
        answer.headers_mut().insert(CONTENT_DISPOSITION, value);
    }
    answer
}

/// `/files/debug`: virtual and real paths.
pub(crate) async fn debug(face: Arc<Face>, asked: Asked) -> Response {
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            if let Some(log) = &face.config.log_file {
                object.string(LOG, &log.display().to_string());
            }
        });
    })
}

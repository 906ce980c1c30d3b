//! The endpoints that change something: quota, weights, teardown. What they ask for is judged by the core, as in the v1 API.

use std::sync::Arc;

use http::{Method, StatusCode};
use tepui_master_core::OperatorCall;
use tepui_proto::json::Json;

use super::super::Face;
use super::super::asked::{Asked, Response, form, not_allowed, text};
use super::super::operator::{messages, writes};
use super::super::pieces::{self, Tag};
use super::{leading, operate};
use crate::reign::Reign;

/// The largest body that these endpoints take.
const MOST_BYTES: usize = 4 << 20;

pub(super) fn bad(why: impl Into<String>) -> Response {
    text(StatusCode::BAD_REQUEST, why)
}

/// The leader's reign and the body of a POST, PUT or whatever `allowed` says.
pub(super) async fn posted(
    face: &Face,
    asked: &mut Asked,
    allowed: &'static str,
) -> Result<(Arc<Reign>, bytes::Bytes), Response> {
    let reign = leading(face, asked)?;
    if !allowed.split(", ").any(|method| asked.method == method) {
        return Err(not_allowed(allowed, &asked.method));
    }
    let body = asked.read_body(MOST_BYTES).await?;
    Ok((reign, body))
}

/// One message of a body of JSON.
pub(super) fn message<M: Json + Default>(body: &[u8]) -> Result<M, Response> {
    tepui_proto::json::from_slice(body).map_err(|error| unread(&error))
}

/// A list of messages of a body of JSON.
pub(super) fn messages<M: Json + Default>(
    body: &[u8],
    name: &'static str,
) -> Result<Vec<M>, Response> {
    tepui_proto::json::list_from_slice(body, name).map_err(|error| unread(&error))
}

fn unread(error: &tepui_proto::json::Error) -> Response {
    bad(if error.is_syntax() {
        format!("Failed to parse body into JSON: {error}")
    } else {
        format!("Failed to convert JSON into protobuf: {error}")
    })
}

/// Has the core do it, unless it cannot even be asked.
pub(super) async fn ask(reign: &Reign, call: Result<OperatorCall, writes::Refusal>) -> Response {
    match call {
        Ok(call) => operate(reign, call).await,
        Err((status, why)) => text(status, why),
    }
}

macro_rules! or_return {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return refusal,
        }
    };
}
pub(super) use or_return;

/// `/teardown`: POST of `frameworkId=…`.
pub(crate) async fn teardown(face: Arc<Face>, mut asked: Asked) -> Response {
    let (reign, body) = or_return!(posted(&face, &mut asked, "POST").await);
    match form(&String::from_utf8_lossy(&body)).get("frameworkId") {
        Some(id) => ask(&reign, writes::teardown(id)).await,
        None => bad("Missing 'frameworkId' query parameter"),
    }
}

/// `/quota`: GET tells all, POST sets one role's.
pub(crate) async fn quota(face: Arc<Face>, mut asked: Asked) -> Response {
    const ALLOWED: &str = "GET, POST, DELETE";
    if asked.method == Method::GET || asked.method == Method::HEAD {
        let reign = or_return!(leading(&face, &asked));
        return pieces::tagged(&asked, Tag::of(&reign), |pieces| {
            reign.view.read(|state| {
                tepui_proto::json::write(&messages::quota(state), pieces.text());
            });
        });
    }
    let (reign, body) = or_return!(posted(&face, &mut asked, ALLOWED).await);
    if asked.method == Method::DELETE {
        return bad("Failed to remove quota: expecting the role behind /quota/");
    }
    let request = or_return!(message(&body));
    operate(&reign, OperatorCall::SetQuota { request }).await
}

/// `/quota/ROLE`: DELETE takes it away.
pub(crate) async fn quota_of_role(face: Arc<Face>, mut asked: Asked) -> Response {
    let (reign, _) = or_return!(posted(&face, &mut asked, "DELETE").await);
    let path = asked.path.trim_end_matches('/');
    let role = path.split_once("/quota/").map_or("", |(_, role)| role);
    let role = percent_encoding::percent_decode_str(role)
        .decode_utf8_lossy()
        .into_owned();
    operate(&reign, OperatorCall::RemoveQuota { role }).await
}

/// `/weights`: GET tells those that were set, PUT sets some.
pub(crate) async fn weights(face: Arc<Face>, mut asked: Asked) -> Response {
    if asked.method == Method::GET || asked.method == Method::HEAD {
        let reign = or_return!(leading(&face, &asked));
        return pieces::tagged(&asked, Tag::of(&reign), |pieces| {
            let infos = reign
                .view
                .read(|state| messages::weight_infos(state, &face.config));
            super::json::list(&infos, pieces.text(), |info, out| {
                tepui_proto::json::write(info, out);
            });
        });
    }
    let (reign, body) = or_return!(posted(&face, &mut asked, "GET, PUT").await);
    let weights = or_return!(messages(&body, "weights"));
    operate(&reign, OperatorCall::UpdateWeights { weights }).await
}

//! Answers of the REST API: status, two headers, JSON body.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{path::PathId, timestamp::Timestamp};

/// What a client gets. The shell adds the headers that all answers share; `Content-Type` is `application/json` when there is a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// `Location`, an absolute path of an app.
    pub location: Option<String>,
    /// `Marathon-Deployment-Id`.
    pub deployment_id: Option<String>,
    /// JSON, or empty.
    pub body: Bytes,
}

/// One path of an object and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// `/container/docker/image`, `/healthChecks(0)`, `/` for the whole object.
    pub path: String,
    /// At least one.
    pub errors: Vec<String>,
}

impl Response {
    /// An answer whose body is `value` as JSON.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(status: u16, value: &T) -> Self {
        // Only maps with keys that are not strings fail to serialise, and none of ours has any.
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self {
            status,
            location: None,
            deployment_id: None,
            body: body.into(),
        }
    }

    /// An answer without body.
    #[must_use]
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            location: None,
            deployment_id: None,
            body: Bytes::new(),
        }
    }

    /// `{"message": …}`.
    #[must_use]
    pub fn message(status: u16, message: impl Into<String>) -> Self {
        Self::json(status, &json!({ "message": message.into() }))
    }

    /// 422 or 400 with `details`.
    #[must_use]
    pub fn details(status: u16, message: &str, details: &[Detail]) -> Self {
        Self::json(status, &json!({ "message": message, "details": details }))
    }

    /// 400: not JSON at all.
    #[must_use]
    pub fn invalid_json(reason: &str) -> Self {
        Self::json(
            400,
            &json!({ "message": "Invalid JSON", "details": reason }),
        )
    }

    /// 200: a deployment has begun.
    #[must_use]
    pub fn deployment(status: u16, version: Timestamp, id: &str) -> Self {
        let mut response = Self::json(status, &json!({ "version": version, "deploymentId": id }));
        response.deployment_id = Some(id.to_owned());
        response
    }

    /// 404: no such app, or no such version of it.
    #[must_use]
    pub fn no_app(id: &PathId, version: Option<Timestamp>) -> Self {
        let version = version
            .map(|version| format!(" in version {version}"))
            .unwrap_or_default();
        Self::message(404, format!("App '{id}' does not exist{version}"))
    }

    /// 409: other deployments hold what this one would change.
    #[must_use]
    pub fn locked<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        let ids: Vec<Value> = ids.into_iter().map(|id| json!({ "id": id })).collect();
        let message = "App is locked by one or more deployments. Override with the option '?force=true'. View details at \
                       '/v2/deployments/<DEPLOYMENT_ID>'.";
        Self::json(409, &json!({ "message": message, "deployments": ids }))
    }
}

//! Every path and method of the API with all that it takes and answers. The document and the page are made from it; tests hold it against the
//! router, both ways.

mod plain;
mod v2;
mod v3;

use super::endpoint::Carries::Json;
use super::endpoint::{Answer, Endpoint, Parameter, Refusal, deploys, flag};

/// What any request may be answered.
pub(super) const ALWAYS: &[Refusal] = &[
    (500, "a follower's request to the leader broke off"),
    (502, "no leader is known, or it cannot be reached"),
    (
        503,
        "more requests than --http_max_concurrent_requests, or the leadership ended meanwhile",
    ),
];

const DEPLOYMENT_ID: &[&str] = &["Marathon-Deployment-Id"];

const DEPLOYED: Answer = deploys(
    200,
    "a deployment has begun",
    Json("DeploymentResult"),
    DEPLOYMENT_ID,
);

const FORCE: Parameter = flag("force", false, "take over what other deployments hold");

const PARTIAL: Parameter = flag(
    "partialUpdate",
    true,
    "keep what is not named; otherwise it returns to its default",
);

const NO_APP: Refusal = (404, "there is no such app, or no such version of it");

const NO_POD: Refusal = (404, "there is no such pod, or no such version of it");

const TOO_MANY: Refusal = (
    403,
    "--max_apps, --max_instances, --max_running_deployments or the last service port is reached",
);

const LOCKED: Refusal = (
    409,
    "other deployments hold what it would change; `deployments` names them",
);

const UNREADABLE: Refusal = (
    400,
    "the body is not JSON, not YAML, or not of the right kind",
);

const TOO_LARGE: Refusal = (413, "the body is larger than 16 MiB");

const MEDIA: Refusal = (415, "the body is of another media type than JSON or YAML");

const INVALID: Refusal = (422, "what is wrong is told by path");

/// The whole API, in the order of the page.
pub(super) fn table() -> impl Iterator<Item = &'static Endpoint> {
    v2::TABLE.iter().chain(plain::TABLE).chain(v3::TABLE)
}

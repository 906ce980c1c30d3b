//! Paths without a version: Marathon's, and the page that tells of the API.

use super::{MEDIA, TOO_LARGE};
use crate::rest::openapi::endpoint::Carries::{Empty, Page, Text};
use crate::rest::openapi::endpoint::{Answer, Endpoint, answer, deploys, get, ok};

const ELSEWHERE: Answer = deploys(302, "it is there", Empty, &["Location"]);

pub(super) const TABLE: &[Endpoint] = &[
    get(
        "/ping",
        "pong",
        &[],
        &[
            answer(200, "it is there", Text),
            answer(204, "`Accept` names nothing that it can be said in", Empty),
        ],
        &[],
    ),
    get(
        "/config",
        "What this instance was started with. Of the form of Marathon's answer only that it is JSON is kept.",
        &[],
        &[ok("Configuration")],
        &[],
    ),
    get(
        "/logging",
        "Which parts of the program log how much.",
        &[],
        &[ok("Loggers")],
        &[],
    ),
    Endpoint {
        method: "POST",
        path: "/logging",
        what: "Changes how much a part of the leader logs, for a while or until it ends.",
        parameters: &[],
        body: Some("LoggerChangeSent"),
        answers: &[ok("LoggerChange")],
        refusals: &[
            (400, "the body is not JSON, or not YAML"),
            TOO_LARGE,
            MEDIA,
            (
                422,
                "what is wrong is told by path; or 100 loggers are set already",
            ),
            (
                501,
                "the program that runs this instance has no log that can be changed",
            ),
        ],
    },
    get(
        "/help",
        "Leads to the page that tells of this API.",
        &[],
        &[ELSEWHERE],
        &[],
    ),
    get("/api-console", "The same.", &[], &[ELSEWHERE], &[]),
    get(
        "/api-console/index.html",
        "A page that tells of this API, and lets it be tried.",
        &[],
        &[answer(200, "the page", Page("text/html"))],
        &[],
    ),
    get(
        "/api-console/console.css",
        "How it looks.",
        &[],
        &[answer(200, "its style", Page("text/css"))],
        &[],
    ),
    get(
        "/api-console/console.js",
        "What it does.",
        &[],
        &[answer(200, "its script", Page("text/javascript"))],
        &[],
    ),
    get(
        "/public/api/openapi.json",
        "This API as an OpenAPI document.",
        &[],
        &[ok("Document")],
        &[],
    ),
    get(
        "/public/api/v2/schema/{schema}.json",
        "The JSON schema of a type of that document, alone.",
        &[],
        &[ok("Schema")],
        &[(404, "there is no such type")],
    ),
    get(
        "/metrics",
        "Metrics under Marathon's names.",
        &[],
        &[ok("Metrics")],
        &[],
    ),
    get(
        "/metrics/prometheus",
        "The same for Prometheus.",
        &[],
        &[answer(200, "the metrics", Text)],
        &[(404, "--metrics_prometheus is off")],
    ),
];

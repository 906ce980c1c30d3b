//! One GET: judged by its status, or told as it is.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use tepui_marathon_core::{ProbeOutcome, ReadinessAnswer};

use super::tls;

/// Of an answer to a readiness check so much is kept, in bytes; the rest is cut off.
const MAX_ANSWER: usize = 16 << 10;

#[derive(Clone, Debug)]
pub(crate) struct Client(Pool<HttpsConnector<HttpConnector>, Empty<Bytes>>);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) path: &'a str,
}

impl Target<'_> {
    pub(super) fn url(&self) -> String {
        let Self {
            host, port, path, ..
        } = self;
        let scheme = self.scheme();
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        }
    }

    const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls::any_certificate())
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A probe asks whether a new connection would be served, so none is kept.
        Self(
            Pool::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .pool_idle_timeout(Duration::from_secs(1))
                .build(connector),
        )
    }

    /// 200 to 399 is healthy; redirects are not followed.
    pub(super) async fn probe(&self, target: Target<'_>, ignore_1xx: bool) -> ProbeOutcome {
        match self.get(target).await {
            Ok(answer) => judge(answer.status(), ignore_1xx),
            Err(reason) => ProbeOutcome::Unhealthy(reason),
        }
    }

    /// The answer as it is, with the beginning of its body.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn ask(&self, target: Target<'_>) -> Result<ReadinessAnswer, String> {
        let answer = self.get(target).await?;
        let status = answer.status().as_u16();
        let content_type = answer.headers().get(header::CONTENT_TYPE);
        let content_type = content_type
            .and_then(|value| value.to_str().ok())
            .unwrap_or("text/plain")
            .to_owned();
        let mut body = Vec::new();
        let mut rest = Limited::new(answer.into_body(), MAX_ANSWER);
        // What comes after an error, or beyond the bound, is left out.
        while let Some(Ok(frame)) = rest.frame().await {
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
        }
        Ok(ReadinessAnswer {
            status,
            content_type,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    /// The body of what a URL answers with 200, up to so many bytes.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn fetch(&self, url: &str, max_bytes: usize) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|error| format!("is no URL: {error}"))?;
        let request = Request::get(uri)
            .header(header::USER_AGENT, "Tepui-Marathon")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| root_cause(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), max_bytes).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body)
                .chars()
                .take(200)
                .collect::<String>();
            return Err(format!("{status}: {said}"));
        }
        Ok(body)
    }

    async fn get(&self, target: Target<'_>) -> Result<http::Response<Incoming>, String> {
        let request = target.url().parse::<Uri>().map_err(http::Error::from);
        let request = request.and_then(|uri| {
            Request::get(uri)
                .header(header::USER_AGENT, "Tepui-Marathon")
                .header(header::CONNECTION, "close")
                .body(Empty::new())
        });
        let request =
            request.map_err(|error| format!("`{}` cannot be asked for: {error}", target.path))?;
        let answer = self.0.request(request).await;
        answer.map_err(|error| root_cause(&error))
    }
}

fn judge(status: StatusCode, ignore_1xx: bool) -> ProbeOutcome {
    match status.as_u16() {
        100..=199 if ignore_1xx => ProbeOutcome::Ignored,
        200..=399 => ProbeOutcome::Healthy,
        _ => ProbeOutcome::Unhealthy(status.to_string()),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

//! One GET, judged by its status.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use tepui_marathon_core::ProbeOutcome;

#[derive(Clone, Debug)]
pub(super) struct Client(Pool<HttpConnector, Empty<Bytes>>);

impl Client {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        // A probe asks whether a new connection would be served, so none is kept.
        Self(
            Pool::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .pool_idle_timeout(Duration::from_secs(1))
                .build(connector),
        )
    }

    /// 200 to 399 is healthy; redirects are not followed.
    pub(super) async fn probe(
        &self,
        host: &str,
        port: u16,
        tls: bool,
        path: &str,
        ignore_1xx: bool,
    ) -> ProbeOutcome {
        if tls {
            return ProbeOutcome::Unhealthy(
                "HTTPS probes are not built yet; use protocol HTTP or TCP".into(),
            );
        }
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query(path)
            .build();
        let request = uri.and_then(|uri| {
            Request::get(uri)
                .header(header::USER_AGENT, "Tepui-Marathon")
                .header(header::CONNECTION, "close")
                .body(Empty::new())
        });
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                return ProbeOutcome::Unhealthy(format!("`{path}` cannot be asked for: {error}"));
            }
        };
        match self.0.request(request).await {
            Ok(answer) => judge(answer.status(), ignore_1xx),
            Err(error) => ProbeOutcome::Unhealthy(root_cause(&error)),
        }
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

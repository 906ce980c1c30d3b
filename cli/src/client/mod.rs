//! Talking to a cluster as anyone outside of it would: the public HTTP APIs of master, agents and Marathon.
//!
//! One small client over hyper: requests with a deadline, redirects to the leader followed (also protocol-relative ones), answers bounded, and
//! server-sent events read as a stream. Errors name the address and say what to try.

mod events;
mod http;

pub(crate) use events::Events;
pub(crate) use http::{Client, ClientError};

use serde_json::Value;

/// Where the cluster's public faces are.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// The master's base URL, without a trailing slash.
    pub(crate) master: String,
    /// Marathon's base URL, without a trailing slash.
    pub(crate) marathon: String,
    client: Client,
}

impl Cluster {
    pub(crate) fn new(master: &str, marathon: &str) -> Self {
        Self {
            master: base_url(master),
            marathon: base_url(marathon),
            client: Client::new(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// GET of a JSON document from the master.
    pub(crate) async fn master_get(&self, path: &str) -> Result<Value, ClientError> {
        self.client
            .get(&format!("{}{path}", self.master))
            .await?
            .json()
    }

    /// One call of the master's v1 operator API: its answer, or null where there is none.
    pub(crate) async fn master_call(&self, call: &Value) -> Result<Value, ClientError> {
        let (url, body) = (format!("{}/api/v1", self.master), call.to_string());
        self.client
            .send(http_types::Method::POST, &url, body.into())
            .await?
            .json()
    }

    /// GET of a JSON document from Marathon.
    pub(crate) async fn marathon_get(&self, path: &str) -> Result<Value, ClientError> {
        self.client
            .get(&format!("{}{path}", self.marathon))
            .await?
            .json()
    }

    /// Any other request to Marathon; an answer of 4xx or 5xx is an error that carries Marathon's own explanation.
    pub(crate) async fn marathon_send(
        &self,
        method: http_types::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.client
            .send(method, &format!("{}{path}", self.marathon), body.into())
            .await?
            .json()
    }
}

impl Cluster {
    /// A change that makes a deployment: its answer, and the id of the deployment.
    pub(crate) async fn marathon_change(
        &self,
        method: http_types::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, String), ClientError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let url = format!("{}{path}", self.marathon);
        let answer = self.client.send(method, &url, body.into()).await?;
        let id = answer.header("marathon-deployment-id");
        let id = id.map(str::to_owned).unwrap_or_default();
        Ok((answer.json()?, id))
    }
}

/// `HOST:PORT`, or a URL, as a URL without a trailing slash.
fn base_url(address: &str) -> String {
    let address = address.trim_end_matches('/');
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("http://{address}")
    }
}

/// The path of an app below a Marathon collection: ids are absolute or relative, and a clients' double slash is avoided.
pub(crate) fn app_path(id: &str) -> String {
    format!("/v2/apps/{}", id.trim_matches('/'))
}

/// The `http` crate under a name that does not collide with this module's own.
pub(crate) use ::http as http_types;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_base_urls() {
        for (given, expected) in [
            ("127.0.0.1:5050", "http://127.0.0.1:5050"),
            ("http://127.0.0.1:5050/", "http://127.0.0.1:5050"),
            (
                "http://m:80/service/marathon/",
                "http://m:80/service/marathon",
            ),
        ] {
            assert_eq!(base_url(given), expected);
        }
    }

    #[test]
    fn app_paths_have_single_slashes() {
        assert_eq!(app_path("/prod/web"), "/v2/apps/prod/web");
        assert_eq!(app_path("web"), "/v2/apps/web");
    }
}

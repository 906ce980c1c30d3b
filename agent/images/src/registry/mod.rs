//! The OCI distribution API, its reading half: manifests and blobs over HTTP, with tokens, mirrors, retries and resumed downloads.
//!
//! Asked first are the mirrors of a registry, in their order, then the registry itself; the first that has the manifest gives the layers too.
//! 429, 5xx and connections that fail are tried again with growing pauses; a blob that is cut goes on where it stopped.

mod download;
mod said;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::fs::File;

use crate::credentials::Credentials;
use crate::digest::{Digest, Hasher};
use crate::error::Problem;
use crate::http_client::{self, Client, Unreachable};
use crate::manifest::{self, Descriptor, Document, MAX_DOCUMENT_BYTES};
use crate::reference::{DOCKER_HUB, Reference};
use crate::source::{Blob, Found, Progress};
use download::Download;
use said::{Challenge, challenge, words};

/// How often anything is tried.
const ATTEMPTS: usize = 5;
/// The longest pause that a registry's Retry-After gets.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The most bytes of an answer that says what went wrong, and of a token.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// A token is used again for this long; registries give them for a minute at least.
const TOKEN_LIFE: Duration = Duration::from_secs(50);

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Of names without a registry: an address (`https://registry-1.docker.io`), a host, or an absolute path of a directory with `name:tag.tar`
    /// archives. Mesos' `--docker_registry`.
    pub default: String,
    /// Asked first, in this order, by registry host (`docker.io` is the default registry).
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts (`host[:port]`) that are spoken to without TLS. Loopback addresses are in any case.
    pub insecure: Vec<String>,
    /// For all registries. Mesos' `--docker_config`.
    pub credentials: Credentials,
    /// The first pause before another attempt; each next is twice as long.
    pub pause: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            default: "https://registry-1.docker.io".to_owned(),
            mirrors: BTreeMap::new(),
            insecure: Vec::new(),
            credentials: Credentials::default(),
            pause: Duration::from_millis(500),
        }
    }
}

/// One server that may have an image.
#[derive(Debug, Clone)]
struct Endpoint {
    /// `https://host:port`, without a slash at the end.
    base: String,
    /// What credentials are filed under, and what messages say.
    name: String,
}

/// One repository at one registry and its mirrors.
pub(crate) struct Repository {
    endpoints: Vec<Endpoint>,
    repository: String,
    version: String,
    pinned: Option<Digest>,
    credentials: Vec<Credentials>,
    pause: Duration,
    /// Authorization headers that work, by endpoint.
    tokens: Mutex<HashMap<String, (HeaderValue, Instant)>>,
    /// The endpoint that had the manifest.
    chosen: Mutex<usize>,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({:?}, {})", self.endpoints, self.repository)
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, _)) if !host.ends_with(']') => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An address from `https://host:port/`, `host:port` or `host`.
fn endpoint(written: &str, insecure: &[String]) -> Endpoint {
    let trimmed = written.trim_end_matches('/');
    let (scheme, host) = match trimmed.split_once("://") {
        Some((scheme, host)) => (Some(scheme), host),
        None => (None, trimmed),
    };
    let host = host.trim_end_matches("/v2");
    let name = match host {
        "registry-1.docker.io" | "index.docker.io" | DOCKER_HUB => DOCKER_HUB,
        other => other,
    };
    let address = if name == DOCKER_HUB {
        "registry-1.docker.io"
    } else {
        host
    };
    let plain = is_loopback(host) || insecure.iter().any(|one| one == host);
    let scheme = scheme.unwrap_or(if plain { "http" } else { "https" });
    Endpoint {
        base: format!("{scheme}://{address}"),
        name: name.to_owned(),
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// What one attempt led to when it led to no success.
enum Again {
    /// Try again; after a pause of this length if the registry asked for one.
    Later(Problem, Option<Duration>),
    /// Trying again is no use.
    Never(Problem),
}

impl Repository {
    /// Where a reference of a registry is to be looked for. `own` are credentials that came with the task; they go first.
    pub(crate) fn new(
        reference: &Reference,
        options: &RegistryOptions,
        own: Option<&Credentials>,
    ) -> Option<Self> {
        let Reference::Registry {
            host,
            repository,
            digest,
            ..
        } = reference
        else {
            return None;
        };
        let registry = host
            .clone()
            .filter(|host| host != DOCKER_HUB)
            .unwrap_or_else(|| options.default.clone());
        let last = if host.as_deref() == Some(DOCKER_HUB) {
            endpoint(DOCKER_HUB, &options.insecure)
        } else {
            endpoint(&registry, &options.insecure)
        };
        let mut endpoints: Vec<Endpoint> = options
            .mirrors
            .get(&last.name)
            .into_iter()
            .flatten()
            .map(|mirror| endpoint(mirror, &options.insecure))
            .collect();
        endpoints.push(last);
        Some(Self {
            endpoints,
            repository: repository.clone(),
            version: reference.version(),
            pinned: *digest,
            credentials: own
                .cloned()
                .into_iter()
                .chain([options.credentials.clone()])
                .collect(),
            pause: options.pause,
            tokens: Mutex::default(),
            chosen: Mutex::new(0),
        })
    }

    fn basic(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let login = self
            .credentials
            .iter()
            .find_map(|credentials| credentials.of(&endpoint.name))?;
        let mut header = HeaderValue::from_str(&login.basic()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }

    /// Answers a challenge with a header that may do.
    async fn authorize(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        header: &str,
    ) -> Result<Option<HeaderValue>, Again> {
        let basic = self.basic(endpoint);
        let Some(Challenge::Bearer {
            realm,
            service,
            scope,
        }) = challenge(header)
        else {
            return Ok(basic);
        };
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut url = format!("{realm}?scope={}", encode(&scope));
        if let Some(service) = service {
            url = format!("{url}&service={}", encode(&service));
        }
        // A password is not sent in the clear to whom a registry behind TLS points at.
        if endpoint.base.starts_with("https:") && !realm.starts_with("https:") {
            return Err(Again::Never(Problem::invalid(
                "registry",
                format!(
                    "{} sends to {realm} for a token, which is not https",
                    endpoint.name
                ),
            )));
        }
        let mut headers = HeaderMap::new();
        if let Some(basic) = basic {
            headers.insert(AUTHORIZATION, basic);
        }
        let answer = client
            .get(&url, &headers)
            .await
            .map_err(|error| self.unreachable(endpoint, &error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(endpoint, answer, "manifest", None).await);
        }
        let body = http_client::read(answer.into_body(), MAX_ANSWER_BYTES)
            .await
            .map_err(|error| self.unreachable(endpoint, &error))?
            .unwrap_or_default();
        let token = serde_json::from_slice::<Token>(&body)
            .ok()
            .and_then(|token| token.token.or(token.access_token))
            .and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        match token {
            Some(mut token) => {
                token.set_sensitive(true);
                Ok(Some(token))
            }
            None => Err(Again::Never(Problem::invalid(
                "registry",
                format!("{realm} answers without a token"),
            ))),
        }
    }

    fn unreachable(&self, endpoint: &Endpoint, error: &Unreachable) -> Again {
        Again::Later(
            Problem::Unreachable {
                registry: endpoint.name.clone(),
                cause: error.to_string(),
                attempts: 1,
            },
            None,
        )
    }

    /// Turns a bad status into words. `blob` is what was asked for, if it was no manifest.
    async fn refused(
        &self,
        endpoint: &Endpoint,
        answer: Response<Incoming>,
        what: &'static str,
        blob: Option<Digest>,
    ) -> Again {
        let (status, registry) = (answer.status(), endpoint.name.clone());
        let wait = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        let body = http_client::read(answer.into_body(), MAX_ANSWER_BYTES).await;
        let detail = words(&body.ok().flatten().unwrap_or_default());
        match (status, blob) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Again::Never(Problem::Unauthorized {
                    registry,
                    status: status.as_u16(),
                    detail,
                })
            }
            (StatusCode::NOT_FOUND, None) => Again::Never(Problem::NotFound { registry, detail }),
            (StatusCode::NOT_FOUND, Some(digest)) => Again::Never(Problem::Missing {
                registry,
                what,
                digest,
            }),
            (StatusCode::TOO_MANY_REQUESTS, _) => Again::Later(
                Problem::TooManyRequests {
                    registry,
                    attempts: 1,
                    seconds: 0,
                },
                wait,
            ),
            _ => {
                let problem = Problem::Status {
                    registry,
                    status: status.as_u16(),
                    detail,
                    attempts: 1,
                };
                if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
                    Again::Later(problem, wait)
                } else {
                    Again::Never(problem)
                }
            }
        }
    }

    /// One GET, with a token if one is asked for. Gives back successes only.
    async fn get(
        &self,
        endpoint: &Endpoint,
        path: &str,
        mut headers: HeaderMap,
        what: &'static str,
        blob: Option<Digest>,
    ) -> Result<Response<Incoming>, Again> {
        let client = http_client::client().map_err(|error| self.unreachable(endpoint, &error))?;
        let url = format!("{}/v2/{}/{path}", endpoint.base, self.repository);
        let known = self.tokens.lock().get(&endpoint.base).cloned();
        if let Some((token, since)) = known
            && since.elapsed() < TOKEN_LIFE
        {
            headers.insert(AUTHORIZATION, token);
        }
        let mut asked = false;
        loop {
            let answer = client
                .get(&url, &headers)
                .await
                .map_err(|error| self.unreachable(endpoint, &error))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            let header = answer
                .headers()
                .get(WWW_AUTHENTICATE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            if let (StatusCode::UNAUTHORIZED, Some(header), false) =
                (answer.status(), header, asked)
            {
                asked = true;
                if let Some(token) = self.authorize(&client, endpoint, &header).await? {
                    let fresh = (token.clone(), Instant::now());
                    self.tokens.lock().insert(endpoint.base.clone(), fresh);
                    headers.insert(AUTHORIZATION, token);
                    continue;
                }
            }
            return Err(self.refused(endpoint, answer, what, blob).await);
        }
    }

    /// Pauses before attempt number `attempt` + 1; every pause is twice as long as the one before, give or take a quarter.
    async fn rest(&self, attempt: usize, asked: Option<Duration>) {
        let own = self.pause * 2u32.pow(attempt.min(8) as u32);
        let jitter = own.mul_f64(rand::random_range(0.75..1.25));
        tokio::time::sleep(asked.unwrap_or(jitter).min(LONGEST_PAUSE)).await;
    }

    /// A small document, whole.
    async fn document(
        &self,
        endpoint: &Endpoint,
        path: &str,
        what: &'static str,
        expected: Option<Digest>,
    ) -> Result<(Vec<u8>, String), Problem> {
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(manifest::ACCEPT));
            let blob = expected.filter(|_| what == "configuration");
            let read = match self.get(endpoint, path, headers, what, blob).await {
                Ok(answer) => {
                    let kind = answer
                        .headers()
                        .get(CONTENT_TYPE)
                        .and_then(|kind| kind.to_str().ok())
                        .unwrap_or_default()
                        .to_owned();
                    match http_client::read(answer.into_body(), MAX_DOCUMENT_BYTES).await {
                        Ok(Some(bytes)) => Ok((bytes, kind)),
                        Ok(None) => Err(Again::Never(Problem::invalid(
                            what,
                            format!("larger than {MAX_DOCUMENT_BYTES} bytes"),
                        ))),
                        Err(error) => Err(self.unreachable(endpoint, &error)),
                    }
                }
                Err(again) => Err(again),
            };
            attempt += 1;
            match read {
                Ok((bytes, kind)) => {
                    let got = Digest::of(&bytes);
                    return match expected.filter(|expected| *expected != got) {
                        Some(expected) => Err(Problem::WrongDigest {
                            what,
                            expected,
                            got,
                            from: endpoint.name.clone(),
                        }),
                        None => Ok((bytes, kind)),
                    };
                }
                Err(Again::Never(problem)) => return Err(problem),
                Err(Again::Later(problem, _)) if attempt == ATTEMPTS => {
                    return Err(tried(problem, attempt, begun.elapsed()));
                }
                Err(Again::Later(problem, asked)) => {
                    tracing::debug!("{}: {problem}; trying again", self.repository);
                    self.rest(attempt - 1, asked).await;
                }
            }
        }
    }

    async fn find_at(&self, endpoint: &Endpoint) -> Result<Found, Problem> {
        let path = format!("manifests/{}", self.version);
        let (mut bytes, mut kind) = self
            .document(endpoint, &path, "manifest", self.pinned)
            .await?;
        if let Document::Index(all) = manifest::read(&bytes, &kind)? {
            let one = manifest::choose(all)?;
            let path = format!("manifests/{}", one.digest);
            (bytes, kind) = self
                .document(endpoint, &path, "manifest", Some(one.digest))
                .await?;
        }
        let digest = Digest::of(&bytes);
        let Document::Manifest(manifest) = manifest::read(&bytes, &kind)? else {
            return Err(Problem::invalid("index", "an index within an index"));
        };
        let path = format!("blobs/{}", manifest.config.digest);
        let (config, _) = self
            .document(
                endpoint,
                &path,
                "configuration",
                Some(manifest.config.digest),
            )
            .await?;
        Ok(Found {
            digest,
            manifest,
            config,
        })
    }

    /// Manifest and configuration, from the first endpoint that has them.
    pub(crate) async fn find(&self) -> Result<Found, Problem> {
        let last = self.endpoints.len() - 1;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            match self.find_at(endpoint).await {
                Ok(found) => {
                    *self.chosen.lock() = index;
                    return Ok(found);
                }
                Err(problem) if index < last => {
                    tracing::info!("mirror {} does not help: {problem}", endpoint.name);
                }
                Err(problem) => return Err(problem),
            }
        }
        Err(Problem::invalid("registry", "there is none to ask"))
    }

    /// Downloads a layer into `path`, checking it on the way.
    pub(crate) async fn layer(
        &self,
        layer: &Descriptor,
        path: PathBuf,
        progress: &Progress,
    ) -> Result<Blob, Problem> {
        let chosen = *self.chosen.lock();
        let endpoint = &self.endpoints[chosen];
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Problem::disk("create", &path))?;
        let mut download = Download {
            repository: self,
            endpoint,
            layer,
            file: File::from_std(file),
            path,
            hasher: Hasher::default(),
            got: 0,
            progress,
        };
        download.run().await?;
        Ok(Blob {
            file: download.file.into_std().await,
            offset: 0,
            length: layer.size,
            unchecked: None,
        })
    }
}

/// A problem, with how often and for how long it was met.
fn tried(problem: Problem, attempts: usize, during: Duration) -> Problem {
    match problem {
        Problem::TooManyRequests { registry, .. } => Problem::TooManyRequests {
            registry,
            attempts,
            seconds: during.as_secs(),
        },
        Problem::Status {
            registry,
            status,
            detail,
            ..
        } => Problem::Status {
            registry,
            status,
            detail,
            attempts,
        },
        Problem::Unreachable {
            registry, cause, ..
        } => Problem::Unreachable {
            registry,
            cause,
            attempts,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_stand_where_their_names_say() {
        let insecure = ["plain:80".to_owned()];
        for (written, base, name) in [
            (
                "https://registry-1.docker.io",
                "https://registry-1.docker.io",
                "docker.io",
            ),
            ("docker.io", "https://registry-1.docker.io", "docker.io"),
            ("quay.io", "https://quay.io", "quay.io"),
            ("localhost:5000", "http://localhost:5000", "localhost:5000"),
            ("127.0.0.2:5000", "http://127.0.0.2:5000", "127.0.0.2:5000"),
            ("[::1]:5000", "http://[::1]:5000", "[::1]:5000"),
            ("plain:80", "http://plain:80", "plain:80"),
            (
                "https://localhost:5000/",
                "https://localhost:5000",
                "localhost:5000",
            ),
            ("http://mirror/v2/", "http://mirror", "mirror"),
        ] {
            let found = endpoint(written, &insecure);
            assert_eq!((found.base.as_str(), found.name.as_str()), (base, name));
        }
    }
}

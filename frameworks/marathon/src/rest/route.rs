//! What a request wants, by method, path and query. Ids of apps are paths themselves, so the last segments decide.

use bytes::Bytes;
use http::Method;
use percent_encoding::percent_decode_str;
use tepui_marathon_core::{
    ApiCall, Origin, Response,
    view::{Embed, GroupEmbed, LabelSelector, Query},
};

use super::{console::Page, yaml};

/// What a request wants.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A change, or an answer that only the core has.
    Call(ApiCall),
    /// A read.
    Query(Query),
    /// `/v2/events`, of these types.
    Events {
        types: Vec<String>,
    },
    Leader,
    Abdicate,
    Info,
    Plugins,
    Ping,
    Metrics,
    Prometheus,
    /// `/v3/backup`.
    Backup,
    /// `/v3/openapi.json`, `/public/api/openapi.json`.
    OpenApi,
    /// `/public/api/v2/schema/<name>.json`.
    Schema(String),
    /// `/config`
    Config,
    /// `GET /logging`
    Loggers,
    /// `POST /logging`
    Log(Bytes),
    /// `/api-console/…`
    Console(Page),
    /// Somewhere else, from the path that was asked for.
    Elsewhere(&'static str),
    /// `/` and `/ui`: go to the UI.
    Home,
    /// An answer that needs nothing else.
    Answer(Response),
}

/// The parts of a request that decide.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) method: &'a Method,
    /// As it came, with percent-encoding.
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) content_type: Option<&'a str>,
    pub(super) body: Bytes,
    pub(super) client_ip: String,
}

/// Finds out what a request wants; what cannot be is answered in Marathon's words.
pub(super) fn route(parts: &Parts<'_>) -> Wanted {
    let decoded = percent_decode_str(parts.path).decode_utf8_lossy();
    let segments: Vec<&str> = decoded
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let parameters = Parameters::parse(parts.query);
    match segments.as_slice() {
        [] => Wanted::Home,
        ["ui"] => only(parts.method, &[Method::GET], Wanted::Home),
        ["ping"] => only(parts.method, &[Method::GET, Method::HEAD], Wanted::Ping),
        ["metrics"] => only(parts.method, &[Method::GET], Wanted::Metrics),
        ["metrics", "prometheus"] => only(parts.method, &[Method::GET], Wanted::Prometheus),
        ["config"] => only(parts.method, &[Method::GET], Wanted::Config),
        ["logging"] if parts.method == Method::POST => match body(parts) {
            Ok(body) => Wanted::Log(body),
            Err(refusal) => Wanted::Answer(refusal),
        },
        ["logging"] => only(parts.method, &[Method::GET], Wanted::Loggers),
        ["help" | "api-console", ..] => console(parts, &segments),
        ["public", "api", "openapi.json"] => only(parts.method, &[Method::GET], Wanted::OpenApi),
        ["public", "api", "v2", "schema", file] => match file.strip_suffix(".json") {
            Some(name) => only(
                parts.method,
                &[Method::GET],
                Wanted::Schema(name.to_owned()),
            ),
            None => Wanted::Answer(Response::message(404, "URI not found")),
        },
        ["v2", "apps", rest @ ..] => apps(parts, rest, &parameters),
        ["v2", "tasks", rest @ ..] => tasks(parts, rest, &parameters),
        ["v2", "deployments", rest @ ..] => deployments(parts, rest, &parameters),
        ["v2", "queue", rest @ ..] => queue(parts, rest, &parameters),
        ["v3", rest @ ..] => super::v3::route(parts, rest, &parameters),
        ["v2", "leader"] if parts.method == Method::DELETE => Wanted::Abdicate,
        ["v2", "leader"] => only(parts.method, &[Method::GET], Wanted::Leader),
        ["v2", "info"] => only(parts.method, &[Method::GET], Wanted::Info),
        ["v2", "plugins"] => only(parts.method, &[Method::GET], Wanted::Plugins),
        ["v2", "plugins", id, ..] => Wanted::Answer(Response::message(
            404,
            format!("No plugin with this pluginId: {id}"),
        )),
        ["v2", "events"] => only(
            parts.method,
            &[Method::GET, Method::HEAD],
            Wanted::Events {
                types: parameters.all("event_type"),
            },
        ),
        ["v2", "groups", rest @ ..] => groups(parts, rest, &parameters),
        ["v2", "pods", rest @ ..] => super::pods::pods(parts, rest, &parameters),
        _ => Wanted::Answer(Response::message(404, "URI not found")),
    }
}

/// The methods that a path has, for `Allow`: where a GET is, HEAD and OPTIONS are too. Empty if there is no such path.
pub(super) fn allowed(path: &str) -> String {
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let has = |method: &&Method| {
        let parts = Parts {
            method,
            path,
            query: "",
            content_type: None,
            body: Bytes::new(),
            client_ip: String::new(),
        };
        !matches!(
            route(&parts),
            Wanted::Answer(Response {
                status: 404 | 405,
                ..
            })
        )
    };
    let mut names = Vec::new();
    for method in methods.iter().filter(has) {
        names.push(method.as_str());
        if method == Method::GET {
            names.push("HEAD");
        }
    }
    if !names.is_empty() {
        names.push("OPTIONS");
    }
    names.join(", ")
}

/// The page that tells of the API and lets it be tried, and the ways there.
fn console(parts: &Parts<'_>, segments: &[&str]) -> Wanted {
    let below = parts.path.ends_with('/');
    let wanted = match segments {
        ["help"] if below => Wanted::Elsewhere("../api-console/index.html"),
        ["help"] => Wanted::Elsewhere("api-console/index.html"),
        ["api-console"] if !below => Wanted::Elsewhere("api-console/index.html"),
        ["api-console"] | ["api-console", "index.html"] => Wanted::Console(Page::Index),
        ["api-console", "console.css"] => Wanted::Console(Page::Style),
        ["api-console", "console.js"] => Wanted::Console(Page::Script),
        _ => return Wanted::Answer(Response::message(404, "URI not found")),
    };
    only(parts.method, &[Method::GET], wanted)
}

fn apps(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    let embed = || {
        let values = parameters.all("embed");
        Embed::parse(values.iter().map(String::as_str))
    };
    let force = parameters.flag("force", false);
    let path = |segments: &[&str]| format!("/{}", segments.join("/"));
    match (parts.method.as_str(), rest) {
        ("GET", []) => {
            let label = match parameters
                .first("label")
                .map(|text| LabelSelector::parse(&text))
                .transpose()
            {
                Ok(label) => label,
                Err(refusal) => return Wanted::Answer(refusal),
            };
            Wanted::Query(Query::Apps {
                cmd: parameters.first("cmd"),
                id: parameters.first("id"),
                label,
                embed: embed(),
            })
        }
        ("GET", [group @ .., "*", "tasks"]) => {
            Wanted::Query(Query::TasksBelow { group: path(group) })
        }
        ("GET", [group @ .., "*"]) => Wanted::Query(Query::AppsBelow {
            group: path(group),
            embed: embed(),
        }),
        ("GET", [id @ .., "tasks"]) if !id.is_empty() => {
            Wanted::Query(Query::AppTasks { id: path(id) })
        }
        ("GET", [id @ .., "versions"]) if !id.is_empty() => {
            Wanted::Query(Query::Versions { id: path(id) })
        }
        ("GET", [id @ .., "versions", version]) if !id.is_empty() => {
            Wanted::Query(Query::Version {
                id: path(id),
                version: (*version).to_owned(),
            })
        }
        ("GET", id) => Wanted::Query(Query::App {
            id: path(id),
            embed: embed(),
        }),
        ("POST", []) => with_body(parts, |body, origin| ApiCall::CreateApp {
            body,
            force,
            origin,
        }),
        ("POST", [id @ .., "restart"]) if !id.is_empty() => Wanted::Call(ApiCall::RestartApp {
            id: path(id),
            force,
        }),
        ("PUT", []) => with_body(parts, |body, _| ApiCall::UpdateApps {
            body,
            force,
            partial: parameters.flag("partialUpdate", true),
            create: true,
        }),
        ("PATCH", []) => with_body(parts, |body, _| ApiCall::UpdateApps {
            body,
            force,
            partial: true,
            create: false,
        }),
        ("PUT", id) => with_body(parts, |body, origin| {
            let partial = parameters.flag("partialUpdate", true);
            ApiCall::UpdateApp {
                id: path(id),
                body,
                force,
                partial,
                create: true,
                origin,
            }
        }),
        ("PATCH", id) => with_body(parts, |body, origin| ApiCall::UpdateApp {
            id: path(id),
            body,
            force,
            partial: true,
            create: false,
            origin,
        }),
        ("DELETE", [id @ .., "tasks"]) if !id.is_empty() => Wanted::Call(ApiCall::KillAppTasks {
            id: path(id),
            host: parameters.first("host"),
            scale: parameters.flag("scale", false),
            wipe: parameters.flag("wipe", false),
            force,
        }),
        ("DELETE", [id @ .., "tasks", task_id]) if !id.is_empty() => {
            Wanted::Call(ApiCall::KillAppTask {
                id: path(id),
                task_id: (*task_id).to_owned(),
                scale: parameters.flag("scale", false),
                wipe: parameters.flag("wipe", false),
                force,
            })
        }
        ("DELETE", id) if !id.is_empty() => Wanted::Call(ApiCall::DeleteApp {
            id: path(id),
            force: parameters.flag("force", true),
        }),
        _ => not_allowed(),
    }
}

fn groups(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    let path = |segments: &[&str]| format!("/{}", segments.join("/"));
    let force = parameters.flag("force", false);
    let values = parameters.all("embed");
    let values = || values.iter().map(String::as_str);
    match (parts.method.as_str(), rest) {
        ("GET", [id @ .., "apps"]) => Wanted::Query(Query::GroupApps {
            id: path(id),
            embed: Embed::parse(values()),
        }),
        ("GET", [id @ .., "versions"]) => Wanted::Call(ApiCall::GroupVersions { id: path(id) }),
        ("GET", [id @ .., "versions", version]) => Wanted::Call(ApiCall::GroupVersion {
            id: path(id),
            version: (*version).to_owned(),
        }),
        ("GET", id) => Wanted::Query(Query::Group {
            id: path(id),
            embed: GroupEmbed::parse(values()),
        }),
        ("POST", base) => with_body(parts, |body, _| ApiCall::CreateGroup {
            base: path(base),
            body,
            force,
        }),
        ("PUT", id) => with_body(parts, |body, _| ApiCall::UpdateGroup {
            id: path(id),
            body,
            force,
            dry_run: parameters.flag("dryRun", false),
        }),
        ("PATCH", id) if !id.is_empty() => {
            with_body(parts, |body, _| ApiCall::PatchGroup { id: path(id), body })
        }
        ("DELETE", id) => Wanted::Call(ApiCall::DeleteGroup {
            id: path(id),
            force,
        }),
        _ => not_allowed(),
    }
}

fn tasks(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    match (parts.method.as_str(), rest) {
        ("GET", []) => {
            let mut status = parameters.all("status");
            status.extend(parameters.all("status[]"));
            Wanted::Query(Query::Tasks { status })
        }
        ("POST", ["delete"]) => with_body(parts, |body, _| ApiCall::KillTasks {
            body,
            scale: parameters.flag("scale", false),
            wipe: parameters.flag("wipe", false),
            force: parameters.flag("force", false),
        }),
        (_, [] | ["delete"]) => not_allowed(),
        _ => Wanted::Answer(Response::message(404, "URI not found")),
    }
}

fn deployments(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    match (parts.method.as_str(), rest) {
        ("GET", []) => Wanted::Query(Query::Deployments),
        ("DELETE", [id]) => Wanted::Call(ApiCall::CancelDeployment {
            id: (*id).to_owned(),
            force: parameters.flag("force", false),
        }),
        _ => not_allowed(),
    }
}

fn queue(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    match (parts.method.as_str(), rest) {
        ("GET", []) => {
            let embeds = parameters.all("embed");
            Wanted::Call(ApiCall::Queue {
                last_unused_offers: embeds.iter().any(|embed| embed == "lastUnusedOffers"),
            })
        }
        ("DELETE", [id @ .., "delay"]) if !id.is_empty() => Wanted::Call(ApiCall::ResetDelay {
            id: format!("/{}", id.join("/")),
        }),
        _ => not_allowed(),
    }
}

pub(super) fn only(method: &Method, allowed: &[Method], wanted: Wanted) -> Wanted {
    if allowed.contains(method) {
        wanted
    } else {
        not_allowed()
    }
}

pub(super) fn not_allowed() -> Wanted {
    Wanted::Answer(Response::message(405, "Method Not Allowed"))
}

/// A body in JSON, also of one that came in YAML: another media type is refused, none is taken for JSON.
fn body(parts: &Parts<'_>) -> Result<Bytes, Response> {
    let named = parts.content_type.unwrap_or("application/json");
    let media_type = named.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") || media_type == "*/*" {
        Ok(parts.body.clone())
    } else if yaml::is_yaml(media_type) {
        yaml::to_json(&parts.body)
    } else {
        Err(Response::message(415, "Unsupported Media Type"))
    }
}

/// A call with a body.
pub(super) fn with_body(parts: &Parts<'_>, call: impl FnOnce(Bytes, Origin) -> ApiCall) -> Wanted {
    let body = match body(parts) {
        Ok(body) => body,
        Err(refusal) => return Wanted::Answer(refusal),
    };
    let uri = if parts.query.is_empty() {
        parts.path.to_owned()
    } else {
        format!("{}?{}", parts.path, parts.query)
    };
    Wanted::Call(call(
        body,
        Origin {
            client_ip: parts.client_ip.clone(),
            uri,
        },
    ))
}

/// The query's parameters, in order, decoded.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned()
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub(super) fn first(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Names and values, as they were sent.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `true` in any letter case is true, anything else is not.
    pub(super) fn flag(&self, name: &str, otherwise: bool) -> bool {
        self.first(name)
            .map_or(otherwise, |value| value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
#[path = "route_tests.rs"]
mod tests;

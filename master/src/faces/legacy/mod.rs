//! The endpoints that Mesos had before its v1 API, and that its tools still read: `/state` and its kin, `/metrics/snapshot`, `/version`.
//! Also `/metrics` for Prometheus. Keys, order and types are Mesos'.

mod constraints;
pub(crate) mod files;
mod gauges;
pub(crate) mod json;
pub(crate) mod maintenance;
pub(crate) mod operations;
pub(crate) mod process;
pub(crate) mod registry;
pub(crate) mod resources;
mod roles;
pub(crate) mod shapes;
mod summary;
pub(crate) mod writes;

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use tepui_master_core::OperatorCall;
use tokio::sync::oneshot;

use super::asked::{Asked, Response, empty, redirect, text};
use super::pieces::{self, Piece, Pieces, Tag};
use super::{Face, gone, scheduler};
use crate::driver::{CoreNumbers, Request, Waiter};
use crate::metrics;
use crate::reign::{CAPABILITIES, MESOS_VERSION, Reign, Standing};
use crate::view::{Framework, ShownAgent, State};
pub(super) use constraints::offer_constraints_debug;
pub(super) use roles::{RoleSums, roles};
pub(super) use summary::state_summary;

/// When this build was made is not in it, so that builds are reproducible.
pub(crate) const BUILD_DATE: &str = "1970-01-01 00:00:00";

/// Mesos lists this many tasks unless told otherwise.
const PAGE: usize = 100;

/// The view of the leader, or where the leader is.
fn leading(face: &Face, asked: &Asked) -> Result<Arc<Reign>, Response> {
    face.leading(|| asked.path_and_query())
}

macro_rules! leading {
    ($face:expr, $asked:expr) => {
        match leading(&$face, &$asked) {
            Ok(reign) => reign,
            Err(elsewhere) => return elsewhere,
        }
    };
}

/// `/health`: this process answers.
pub(super) async fn health(_: Arc<Face>, _: Asked) -> Response {
    empty(StatusCode::OK)
}

/// `/redirect`: to the leader, also on the leader itself.
pub(super) async fn to_leader(face: Arc<Face>, _: Asked) -> Response {
    match face.standing() {
        Standing::Leading(_) | Standing::Recovering => redirect(&format!(
            "//{}:{}",
            face.identity.hostname,
            face.identity.address.port()
        )),
        Standing::Following(Some(leader)) => redirect(&format!("//{leader}")),
        Standing::Following(None) | Standing::Nobody => {
            text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected")
        }
    }
}

/// `/version`
pub(super) async fn version(_: Arc<Face>, asked: Asked) -> Response {
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| version_members(object, true))
    })
}

fn version_members(object: &mut json::Object<'_>, first: bool) {
    if first {
        object.string("version", MESOS_VERSION);
    }
    object.string("build_date", BUILD_DATE);
    object.double("build_time", 0.0);
    object.string("build_user", "tepui");
}

/// `/flags`
pub(super) async fn flags(face: Arc<Face>, asked: Asked) -> Response {
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            object.object("flags", |flags| all_flags(&face, flags))
        })
    })
}

fn all_flags(face: &Face, flags: &mut json::Object<'_>) {
    for (name, value) in &face.config.flags {
        flags.string(name, value);
    }
}

/// `/state`
pub(super) async fn state(face: Arc<Face>, asked: Asked) -> Response {
    let reign = leading!(face, asked);
    let tag = Tag::of(&reign);
    let numbers = numbers(&reign).await;
    pieces::tagged(&asked, tag, |pieces| {
        reign.view.read(|state| {
            json::object(pieces.text(), |object| {
                state_members(&face, &reign, state, &numbers, object)
            });
            // The object stays open for the lists.
            pieces.text().pop();
            pieces.text().extend_from_slice(b",\"slaves\":");
            pieces.list(state.agents.values().map(agent_piece));
            pieces.text().extend_from_slice(b",\"recovered_slaves\":");
            json::list(
                state.recovered_agents.values(),
                pieces.text(),
                |info, out| shapes::recovered_agent(&info.object, out),
            );
            frameworks_members(&reign, state, |_| true, b',', pieces);
            pieces
                .text()
                .extend_from_slice(b",\"orphan_tasks\":[],\"unregistered_frameworks\":[]}");
        });
    })
}

/// The SLAVE of an agent.
fn agent_json(agent: &ShownAgent) -> &bytes::Bytes {
    agent.legacy(|agent, out| json::object(out, |object| shapes::agent_members(agent, object)))
}

fn agent_piece(agent: &Arc<ShownAgent>) -> Piece {
    Piece::Bytes(agent_json(agent).clone())
}

/// Appends a SLAVE that has more members than usual.
fn agent_with(agent: &ShownAgent, out: &mut Vec<u8>, more: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(agent_json(agent));
    // It is opened again, and never empty.
    out.pop();
    out.push(b',');
    more(out);
    out.push(b'}');
}

fn state_members(
    face: &Face,
    reign: &Reign,
    state: &State,
    numbers: &CoreNumbers,
    object: &mut json::Object<'_>,
) {
    let identity = &face.identity;
    object.string("version", MESOS_VERSION);
    version_members(object, false);
    object.double("start_time", identity.started_at.as_secs_f64());
    object.double("elected_time", reign.elected_at.as_secs_f64());
    object.string("id", &identity.id);
    object.string("pid", &identity.pid());
    object.string("hostname", &identity.hostname);
    object.strings("capabilities", CAPABILITIES);
    let active = state
        .agents
        .values()
        .filter(|agent| agent.object.active())
        .count();
    object.double("activated_slaves", active as f64);
    object.double("deactivated_slaves", (state.agents.len() - active) as f64);
    object.double(
        "unreachable_slaves",
        numbers.counters.slaves_unreachable as f64,
    );
    shapes::domain(object, reign.master.domain.as_ref());
    object.string("leader", &identity.pid());
    object.object("leader_info", |object| {
        object.string("id", &identity.id);
        object.string("pid", &identity.pid());
        object.integer("port", identity.address.port().into());
        object.string("hostname", &identity.hostname);
        shapes::domain(object, reign.master.domain.as_ref());
    });
    if let Some(cluster) = &face.config.cluster {
        object.string("cluster", cluster);
    }
    if let Some(log) = &face.config.log_file {
        object.string("external_log_file", &log.display().to_string());
    }
    object.object("flags", |flags| all_flags(face, flags));
}

/// Appends `"frameworks":[…],"completed_frameworks":[…]` after `before`, a comma or a brace.
fn frameworks_members(
    reign: &Reign,
    state: &State,
    wanted: impl Fn(&Framework) -> bool,
    before: u8,
    pieces: &mut Pieces,
) {
    for (before, key, frameworks) in [
        (before, "frameworks", &state.frameworks),
        (b',', "completed_frameworks", &state.completed_frameworks),
    ] {
        let text = pieces.text();
        text.push(before);
        json::string(key, text);
        text.extend_from_slice(b":[");
        for (at, framework) in frameworks
            .values()
            .filter(|framework| wanted(framework))
            .enumerate()
        {
            if at > 0 {
                pieces.text().push(b',');
            }
            framework_object(reign, framework, pieces);
        }
        pieces.text().push(b']');
    }
}

/// One FW with its tasks.
fn framework_object(reign: &Reign, framework: &Framework, pieces: &mut Pieces) {
    let (before, after) =
        framework.legacy(|framework| framework_parts(&reign.master.id, framework));
    pieces.text().extend_from_slice(before);
    for (key, tasks) in [
        ("tasks", &framework.tasks),
        ("unreachable_tasks", &framework.unreachable_tasks),
        ("completed_tasks", &framework.completed_tasks),
    ] {
        let text = pieces.text();
        text.push(b',');
        json::string(key, text);
        text.push(b':');
        pieces.list(tasks.values().map(|task| Piece::LegacyTask(task.clone())));
    }
    pieces.text().extend_from_slice(after);
}

/// What is before the tasks of a FW, and what is after them.
fn framework_parts(master: &str, framework: &Framework) -> (Vec<u8>, Vec<u8>) {
    let mut before = Vec::new();
    json::object(&mut before, |object| {
        shapes::framework_members(&framework.shown.object, framework.amounts(), object)
    });
    // The object stays open for the lists.
    before.pop();
    let mut after = b",\"offers\":".to_vec();
    json::list(framework.offers.values(), &mut after, |offer, out| {
        shapes::offer(master, offer, out)
    });
    after.extend_from_slice(b",\"executors\":");
    json::list(framework.executors.values(), &mut after, |executor, out| {
        shapes::executor(&executor.object, out)
    });
    json::members_after(&mut after, |object| {
        shapes::framework_end(&framework.shown.object, object);
    });
    after.push(b'}');
    (before, after)
}

/// `/slaves`
pub(super) async fn slaves(face: Arc<Face>, asked: Asked) -> Response {
    let reign = leading!(face, asked);
    let wanted = asked.parameters().remove("slave_id");
    let is_wanted = |id: &str| wanted.as_ref().is_none_or(|wanted| wanted == id);
    pieces::tagged(&asked, Tag::of(&reign), |pieces| {
        reign.view.read(|state| {
            json::object(pieces.text(), |object| {
                let agents = state
                    .agents
                    .values()
                    .filter(|agent| is_wanted(agent.object.id.as_str()));
                object.list("slaves", agents, |agent, out| {
                    agent_with(agent, out, |out| {
                        let full = agent.full(|agent, out| {
                            json::members(out, |object| shapes::agent_full_members(agent, object));
                        });
                        out.extend_from_slice(full);
                    });
                });
                let recovered = state
                    .recovered_agents
                    .iter()
                    .filter(|(id, _)| is_wanted(id.as_str()));
                object.list("recovered_slaves", recovered, |(_, info), out| {
                    shapes::recovered_agent(&info.object, out)
                });
            });
        });
    })
}

/// `/frameworks`
pub(super) async fn frameworks(face: Arc<Face>, asked: Asked) -> Response {
    let reign = leading!(face, asked);
    let wanted = asked.parameters().remove("framework_id");
    pieces::tagged(&asked, Tag::of(&reign), |pieces| {
        reign.view.read(|state| {
            let is_wanted = |framework: &Framework| {
                wanted
                    .as_ref()
                    .is_none_or(|id| framework.shown.object.id.as_str() == id)
            };
            frameworks_members(&reign, state, is_wanted, b'{', pieces);
            pieces
                .text()
                .extend_from_slice(b",\"unregistered_frameworks\":[]}");
        });
    })
}

/// `/tasks`
pub(super) async fn tasks(face: Arc<Face>, asked: Asked) -> Response {
    let reign = leading!(face, asked);
    let parameters = asked.parameters();
    let number = |name: &'static str, default: usize| match parameters.get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| text_error(name, text)),
    };
    let (limit, offset) = match (number("limit", PAGE), number("offset", 0)) {
        (Ok(limit), Ok(offset)) => (limit, offset),
        (Err(why), _) | (_, Err(why)) => return text(StatusCode::BAD_REQUEST, why),
    };
    let ascending = parameters.get("order").is_some_and(|order| order == "asc");
    let (framework_id, task_id) = (parameters.get("framework_id"), parameters.get("task_id"));
    let tag = Tag::of(&reign);
    let found: Vec<_> = reign.view.read(|state| {
        let frameworks = state
            .frameworks
            .values()
            .chain(state.completed_frameworks.values());
        frameworks
            .filter(|framework| {
                framework_id.is_none_or(|id| framework.shown.object.id.as_str() == id)
            })
            .flat_map(Framework::all_tasks)
            .filter(|task| task_id.is_none_or(|id| task.object.facts.id.as_str() == id))
            .cloned()
            .collect()
    });
    // Each task's time is read once, not at every comparison.
    let first_seen = |task: &tepui_master_core::TaskSnapshot| {
        task.statuses
            .first()
            .and_then(|status| status.get(&task.facts).timestamp)
            .unwrap_or_default()
    };
    let mut found: Vec<_> = found
        .into_iter()
        .map(|task| (first_seen(&task.object), task))
        .collect();
    found.sort_by(|(seen, one), (other_seen, other)| {
        let order = seen
            .total_cmp(other_seen)
            .then(one.object.key.cmp(&other.object.key));
        if ascending { order } else { order.reverse() }
    });
    pieces::tagged(&asked, tag, |pieces| {
        pieces.text().extend_from_slice(b"{\"tasks\":");
        pieces.list(
            found
                .into_iter()
                .skip(offset)
                .take(limit)
                .map(|(_, task)| Piece::LegacyTask(task)),
        );
        pieces.text().push(b'}');
    })
}

fn text_error(name: &str, value: &str) -> String {
    format!("Failed to parse the parameter '{name}': '{value}' is not a number")
}

/// Has the core do what an operator wants.
pub(crate) async fn operate(reign: &Reign, call: OperatorCall) -> Response {
    let (waiter, answer) = oneshot::channel();
    if reign
        .inbox
        .send(
            Request::Operator {
                call,
                waiter: Waiter::Http(waiter),
            },
            0,
        )
        .await
        .is_err()
    {
        return gone();
    }
    answer.await.map_or_else(|_| gone(), scheduler::answered)
}

/// The core's numbers as of now; none if it has just stopped.
pub(crate) async fn numbers(reign: &Reign) -> Box<CoreNumbers> {
    let (waiter, answer) = oneshot::channel();
    if reign.inbox.send(Request::Numbers(waiter), 0).await.is_err() {
        return Box::default();
    }
    answer.await.unwrap_or_default()
}

/// Everything that metrics are made of.
pub(crate) async fn sources(face: &Face) -> metrics::Sources {
    let reign = match face.standing() {
        Standing::Leading(reign) => Some(reign),
        _ => None,
    };
    let numbers = match &reign {
        Some(reign) => Some(numbers(reign).await),
        None => None,
    };
    let of_view = reign.as_ref().map(|reign| {
        reign.view.read(|state| {
            let totals = state.totals();
            let more = gauges::of(state, &totals, &face.config);
            (totals, more)
        })
    });
    let (totals, more) = of_view.map_or((None, Vec::new()), |(totals, more)| (Some(totals), more));
    metrics::Sources {
        numbers,
        totals,
        more,
        names: reign
            .as_ref()
            .map(|reign| reign.view.read(State::framework_names))
            .unwrap_or_default(),
        inbox: reign
            .as_ref()
            .map(|reign| reign.inbox.depth())
            .unwrap_or_default(),
        epoch: reign.as_ref().map(|reign| reign.epoch()),
        uptime: face.clock.now().since(face.identity.started_at),
        per_framework: face.config.publish_per_framework_metrics,
    }
}

/// `/metrics/snapshot`
pub(super) async fn metrics_snapshot(face: Arc<Face>, asked: Asked) -> Response {
    if let Some(timeout) = asked.parameters().get("timeout")
        && crate::config::parse_duration(timeout).is_none()
    {
        return text(
            StatusCode::BAD_REQUEST,
            format!("Failed to parse timeout '{timeout}': expecting a duration such as 5secs"),
        );
    }
    let sources = sources(&face).await;
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            for (name, value) in metrics::snapshot(&sources, &face.metrics) {
                object.double(&name, value);
            }
        });
    })
}

/// `/metrics`, for Prometheus.
pub(super) async fn metrics_text(face: Arc<Face>, asked: Asked) -> Response {
    let sources = sources(&face).await;
    let body = metrics::prometheus(&sources, &face.metrics);
    let mut answer = pieces::whole(
        "text/plain; version=0.0.4; charset=utf-8",
        body.into_bytes(),
        tepui_http::negotiate::accepts_gzip(&asked.headers),
    );
    answer
        .headers_mut()
        .insert("cache-control", HeaderValue::from_static("no-store"));
    answer
}

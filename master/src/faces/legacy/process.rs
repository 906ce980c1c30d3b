//! What the process tells of itself and of its registry: `/system/stats.json`, `/registrar(1)/registry`, `/help`.

use std::sync::Arc;

use tepui_proto::json::write;
use tepui_proto::mesos::maintenance;

use super::super::Face;
use super::super::asked::{Asked, Response};
use super::super::operator::messages;
use super::super::pieces::{self, Tag};
use super::super::table::TABLE;
use super::{json, leading};
use crate::metrics;

/// `/system/stats.json`
pub(crate) async fn system_stats(_: Arc<Face>, asked: Asked) -> Response {
    pieces::json(&asked, |pieces| {
        json::object(pieces.text(), |object| {
            for (name, value) in metrics::machine() {
                let name = name.trim_start_matches("system/");
                match name.strip_prefix("load_") {
                    Some(span) => object.double(&format!("avg_load_{span}"), value),
                    // Counts, not measures.
                    None => object.integer(name, value as i64),
                }
            }
        });
    })
}

/// `/registrar(1)/registry`: what the registry keeps, as far as operators are told of it.
pub(crate) async fn registry(face: Arc<Face>, asked: Asked) -> Response {
    let reign = match leading(&face, &asked) {
        Ok(reign) => reign,
        Err(elsewhere) => return elsewhere,
    };
    pieces::tagged(&asked, Tag::of(&reign), |pieces| {
        reign.view.read(|state| {
            json::object(pieces.text(), |object| {
                object.object("master", |object| {
                    object.with("info", |out| write(&reign.master, out));
                });
                object.object("slaves", |object| {
                    let known = state
                        .agents
                        .values()
                        .map(|agent| (&agent.object.info, Some(&agent.object)));
                    let recovered = state.recovered_agents.values().map(|info| (info, None));
                    object.list("slaves", known.chain(recovered), |(info, agent), out| {
                        json::object(out, |object| {
                            object.with("info", |out| write(&**info, out));
                            if let Some(agent) = agent {
                                if let Some(drain) = &agent.drain {
                                    object.with("drain_info", |out| write(drain, out));
                                }
                                object.boolean("deactivated", agent.deactivated);
                            }
                        });
                    });
                });
                object.object("machines", |object| {
                    let maintenance::ClusterStatus {
                        draining_machines,
                        down_machines,
                    } = &state.maintenance.status;
                    let draining = draining_machines
                        .iter()
                        .map(|machine| (&machine.id, "DRAINING"));
                    let down = down_machines.iter().map(|id| (id, "DOWN"));
                    object.list("machines", draining.chain(down), |(id, mode), out| {
                        json::object(out, |object| {
                            object.object("info", |object| {
                                object.with("id", |out| write(id, out));
                                object.string("mode", mode);
                            });
                        });
                    });
                });
                object.list("schedules", [&state.maintenance.schedule], |one, out| {
                    write(one, out)
                });
                object.list(
                    "weights",
                    messages::weight_infos(state, &face.config),
                    |info, out| {
                        json::object(out, |object| object.with("info", |out| write(&info, out)))
                    },
                );
                object.list(
                    "quota_configs",
                    messages::quota(state).configs,
                    |quota, out| write(&quota, out),
                );
            });
        });
    })
}

/// `/help`: every endpoint and what it is for.
pub(crate) async fn help(_: Arc<Face>, asked: Asked) -> Response {
    let mut page = String::new();
    for entry in TABLE {
        for endpoint in entry.endpoints {
            page.push_str(&format!(
                "{:6} {}\n       {}\n",
                endpoint.method, endpoint.path, endpoint.what
            ));
        }
    }
    pieces::whole(
        "text/plain; charset=utf-8",
        page.into_bytes(),
        tepui_http::negotiate::accepts_gzip(&asked.headers),
    )
}

//! What the process tells of itself: `/system/stats.json`, `/help`.

use std::sync::Arc;

use super::super::Face;
use super::super::asked::{Asked, Response};
use super::super::pieces;
use super::super::table::TABLE;
use super::json;
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

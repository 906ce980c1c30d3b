//! Images, for operators: PRUNE_IMAGES of Mesos' v1 API, and Tepui's own list.

use std::sync::Arc;

use http::StatusCode;
use tepui_proto::mesos::v1::Image;

use super::Face;
use super::asked::{Response, text};
use crate::provision::plan::wanted;

/// Removes every image that no container uses. Answers when it is done.
pub(super) async fn prune(face: &Arc<Face>, excluded: &[Image]) -> Response {
    let mut references = Vec::with_capacity(excluded.len());
    for image in excluded {
        match wanted(image) {
            Ok(wanted) => references.push(wanted.reference),
            Err(problem) => {
                return text(
                    StatusCode::BAD_REQUEST,
                    format!("Failed to validate agent::Call: excluded_images: {problem}"),
                );
            }
        }
    }
    let provisioner = face.provisioner.clone();
    let pruning = tokio::task::spawn_blocking(move || provisioner.prune(&references)).await;
    match pruning {
        Ok(pruned) => {
            tracing::info!(
                "removed {} unused images and {} layers ({} MiB) as an operator asked",
                pruned.images.len(),
                pruned.layers,
                pruned.bytes >> 20
            );
            text(StatusCode::OK, "")
        }
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("images could not be removed: {error}"),
        ),
    }
}

/// `/tepui/v1/images`: every image on this agent, by name.
pub(super) fn list(face: &Face) -> serde_json::Value {
    let one = |facts: tepui_images::ImageFacts| {
        serde_json::json!({
            "name": facts.image.name,
            "digest": facts.image.digest.to_string(),
            "layers": facts.image.layers.len(),
            "bytes": facts.bytes,
            "containers": facts.containers,
            "pulled_at_ms": facts.image.pulled_at_ms,
            "used_at_ms": facts.used_at_ms,
        })
    };
    let images: Vec<_> = face
        .provisioner
        .store()
        .list()
        .into_iter()
        .map(one)
        .collect();
    serde_json::json!({ "images": images })
}

//! Requests of `/v2/pods`: what comes after `::` in a path is what is wanted of the pod.

use tepui_marathon_core::{ApiCall, Response, view::Query};

use super::route::{Parameters, Parts, Wanted, not_allowed, with_body};

/// `rest` are the segments after `pods`.
pub(super) fn pods(parts: &Parts<'_>, rest: &[&str], parameters: &Parameters) -> Wanted {
    let path = rest.join("/");
    let (id, of) = path.split_once("::").unwrap_or((&path, ""));
    let id = format!("/{}", id.trim_matches('/'));
    let force = parameters.flag("force", false);
    let wipe = parameters.flag("wipe", false);
    let root = id == "/";
    let (of, which) = of.split_once('/').unwrap_or((of, ""));
    match (parts.method.as_str(), of, which) {
        ("HEAD", "", "") if root => Wanted::Answer(Response::empty(200)),
        ("GET", "", "") if root => Wanted::Query(Query::Pods),
        ("POST", "", "") if root => with_body(parts, |body, origin| ApiCall::CreatePod {
            body,
            force,
            origin,
        }),
        ("GET", "status", "") if root => Wanted::Query(Query::PodStatuses),
        (_, "" | "status", _) if root => not_allowed(),
        ("GET", "", "") => Wanted::Query(Query::Pod { id }),
        ("PUT", "", "") => with_body(parts, |body, origin| ApiCall::UpdatePod {
            id,
            body,
            force,
            origin,
        }),
        ("DELETE", "", "") => {
            with_body(parts, |_, origin| ApiCall::DeletePod { id, force, origin })
        }
        ("GET", "status", "") => Wanted::Query(Query::PodStatus { id }),
        ("GET", "versions", "") => Wanted::Query(Query::PodVersions { id }),
        ("GET", "versions", version) => Wanted::Query(Query::PodVersion {
            id,
            version: version.to_owned(),
        }),
        ("DELETE", "instances", "") => with_body(parts, |body, _| ApiCall::KillPodInstances {
            id,
            body,
            wipe,
        }),
        ("DELETE", "instances", instance) => Wanted::Call(ApiCall::KillPodInstance {
            id,
            instance: instance.to_owned(),
            wipe,
        }),
        (_, "" | "status" | "versions" | "instances", _) => not_allowed(),
        _ => Wanted::Answer(Response::message(404, "URI not found")),
    }
}

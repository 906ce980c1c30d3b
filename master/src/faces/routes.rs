//! Which path is whose. Every path is also reachable below `/master`, a slash at the end is ignored, and what no route wants is the UI's.

use std::future::Future;
use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;

use super::asked::{Asked, Response, asked};
use super::{Face, legacy, operator, proxy, scheduler, tepui, ui};

/// Any number of routes as one.
pub(super) type Routes = BoxedFilter<(Response,)>;

/// A route to a handler: `path` matches, whole or (`below`) as a beginning.
fn route<F, H>(face: &Arc<Face>, path: &'static str, below: bool, handler: H) -> Routes
where
    H: Fn(Arc<Face>, Asked) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let mut matching: BoxedFilter<()> = warp::any().boxed();
    for segment in path.split('/') {
        matching = matching.and(warp::path(segment)).boxed();
    }
    if !below {
        matching = matching.and(warp::path::end()).boxed();
    }
    let face = face.clone();
    matching
        .and(asked())
        .then(move |asked| handler(face.clone(), asked))
        .boxed()
}

/// All routes. Those that are asked most come first.
pub(super) fn routes(face: &Arc<Face>) -> Routes {
    let f = face;
    // Mesos lets whatever follows /api/v1/scheduler and /api/v1 pass.
    let api = either([
        route(f, "api/v1/scheduler", true, scheduler::call),
        route(f, "api/v1", true, operator::call),
    ]);
    let reads = either([
        route(f, "state", false, legacy::state),
        route(f, "state-summary", false, legacy::state_summary),
        route(f, "slaves", false, legacy::slaves),
        route(f, "frameworks", false, legacy::frameworks),
        route(f, "tasks", false, legacy::tasks),
        route(f, "roles", false, legacy::roles),
        route(f, "flags", false, legacy::flags),
    ]);
    let process = either([
        route(f, "health", false, legacy::health),
        route(f, "version", false, legacy::version),
        route(f, "redirect", false, legacy::to_leader),
        route(f, "teardown", false, legacy::teardown),
        route(f, "metrics/snapshot", false, legacy::metrics_snapshot),
        route(f, "metrics", false, legacy::metrics_text),
    ]);
    let process = either([
        process,
        route(
            f,
            "hierarchical-allocator(1)/offer_constraints_debug",
            false,
            legacy::offer_constraints_debug,
        ),
    ]);
    let own = either([
        route(f, "tepui/v1/info", false, tepui::info),
        route(f, "tepui/v1/events", false, tepui::events),
        route(f, "tepui/v1/tasks", true, tepui::tasks),
        route(f, "tepui/v1/agents", true, proxy::agent_files),
        route(f, "tepui", true, tepui::nothing),
    ]);
    let proxies = either([
        route(f, "service", true, proxy::service),
        route(f, "agent", true, proxy::agent),
    ]);
    let below = either([api, reads, process]);
    let master = warp::path("master").and(below.clone()).boxed();
    let page = asked().map(|asked| ui::answer(&asked)).boxed();
    either([below, own, proxies, master, page])
}

fn either<const N: usize>(routes: [Routes; N]) -> Routes {
    let mut routes = routes.into_iter();
    let first = routes.next().unwrap_or_else(|| {
        warp::any()
            .and_then(|| async { Err(warp::reject()) })
            .boxed()
    });
    routes.fold(first, |all, next| all.or(next).unify().boxed())
}

//! `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up`.

use std::sync::Arc;

use http::Method;
use tepui_master_core::OperatorCall;

use super::super::Face;
use super::super::asked::{Asked, Response, not_allowed};
use super::super::pieces::{self, Tag};
use super::writes::{message, messages, or_return, posted};
use super::{leading, operate};

fn reads(asked: &Asked) -> bool {
    asked.method == Method::GET || asked.method == Method::HEAD
}

/// `/maintenance/schedule`: GET tells all windows, POST replaces them.
pub(crate) async fn schedule(face: Arc<Face>, mut asked: Asked) -> Response {
    if reads(&asked) {
        let reign = or_return!(leading(&face, &asked));
        return pieces::tagged(&asked, Tag::of(&reign), |pieces| {
            let maintenance = reign.view.read(|state| state.maintenance.clone());
            tepui_proto::json::write(&maintenance.schedule, pieces.text());
        });
    }
    let (reign, body) = or_return!(posted(&face, &mut asked, "GET, POST").await);
    let schedule = or_return!(message(&body));
    operate(&reign, OperatorCall::UpdateMaintenanceSchedule { schedule }).await
}

/// `/maintenance/status`
pub(crate) async fn status(face: Arc<Face>, asked: Asked) -> Response {
    let reign = or_return!(leading(&face, &asked));
    if !reads(&asked) {
        return not_allowed("GET", &asked.method);
    }
    pieces::tagged(&asked, Tag::of(&reign), |pieces| {
        let maintenance = reign.view.read(|state| state.maintenance.clone());
        tepui_proto::json::write(&maintenance.status, pieces.text());
    })
}

/// `/machine/down`
pub(crate) async fn down(face: Arc<Face>, mut asked: Asked) -> Response {
    let (reign, body) = or_return!(posted(&face, &mut asked, "POST").await);
    let machines = or_return!(messages(&body, "machines"));
    operate(&reign, OperatorCall::StartMaintenance { machines }).await
}

/// `/machine/up`
pub(crate) async fn up(face: Arc<Face>, mut asked: Asked) -> Response {
    let (reign, body) = or_return!(posted(&face, &mut asked, "POST").await);
    let machines = or_return!(messages(&body, "machines"));
    operate(&reign, OperatorCall::StopMaintenance { machines }).await
}

//! `/reserve`, `/unreserve`, `/create-volumes`, `/destroy-volumes`: forms of `slaveId=…&resources=<JSON list>`, whatever the header says.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_proto::mesos::offer::Operation;
use tepui_proto::mesos::{AgentId, Resource};

use super::super::Face;
use super::super::asked::{Asked, Response, form};
use super::super::operator::writes;
use super::writes::{ask, bad, or_return, posted};

type Form = BTreeMap<String, String>;

/// A parameter that holds a list of resources.
fn list(form: &Form, name: &'static str) -> Result<Vec<Resource>, Response> {
    let text = form.get(name).ok_or_else(|| {
        bad(format!(
            "Missing '{name}' query parameter in the request body"
        ))
    })?;
    tepui_proto::json::list_from_slice(text.as_bytes(), name).map_err(|error| {
        bad(format!(
            "Error in parsing '{name}' query parameter in the request body: {error}"
        ))
    })
}

async fn operation(
    face: Arc<Face>,
    mut asked: Asked,
    read: impl FnOnce(&Form) -> Result<Operation, Response>,
) -> Response {
    let (reign, body) = or_return!(posted(&face, &mut asked, "POST").await);
    let form = form(&String::from_utf8_lossy(&body));
    let Some(id) = form.get("slaveId") else {
        return bad("Missing 'slaveId' query parameter in the request body");
    };
    let operation = or_return!(read(&form));
    let id = AgentId { value: id.clone() };
    ask(&reign, writes::operate(&id, operation)).await
}

/// `/reserve`
pub(crate) async fn reserve(face: Arc<Face>, asked: Asked) -> Response {
    operation(face, asked, |form| {
        let source = if form.contains_key("source") {
            list(form, "source")?
        } else {
            Vec::new()
        };
        Ok(writes::reserve(source, list(form, "resources")?))
    })
    .await
}

/// `/unreserve`
pub(crate) async fn unreserve(face: Arc<Face>, asked: Asked) -> Response {
    operation(face, asked, |form| {
        list(form, "resources").map(writes::unreserve)
    })
    .await
}

/// `/create-volumes`
pub(crate) async fn create_volumes(face: Arc<Face>, asked: Asked) -> Response {
    operation(face, asked, |form| {
        list(form, "volumes").map(writes::create)
    })
    .await
}

/// `/destroy-volumes`
pub(crate) async fn destroy_volumes(face: Arc<Face>, asked: Asked) -> Response {
    operation(face, asked, |form| {
        list(form, "volumes").map(writes::destroy)
    })
    .await
}

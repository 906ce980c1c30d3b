//! The calls about containers that operators launch: LAUNCH, WAIT, KILL and REMOVE, of nested containers and of those that stand alone.

use std::sync::Arc;

use http::StatusCode;
use tepui_http::negotiate::Format;
use tepui_model::{ContainerId, IdError};
use tepui_proto::mesos::v1::agent::{Call, Response as Answer, call, response};
use tepui_proto::mesos::v1::{
    CommandInfo, ContainerId as Id, ContainerInfo, TaskResourceLimitation,
};

use super::Face;
use super::asked::{Response, text, typed};
use super::operator::{invalid, missing};
use crate::nested::prepare::Wanted;
use crate::nested::tree::{Class, Ended, MAX_CONTAINERS, MAX_LEVELS, Refusal, levels};

const SIGKILL: i32 = 9;

/// The answer, if it is one of these calls.
pub(super) async fn answer(face: &Arc<Face>, call: &Call, format: Format) -> Option<Response> {
    use call::Type;
    let answered = match call.r#type() {
        Type::LaunchNestedContainer | Type::LaunchContainer => launch(face, call).await,
        Type::WaitNestedContainer | Type::WaitContainer => wait(face, call, format).await,
        Type::KillNestedContainer | Type::KillContainer => kill(face, call),
        Type::RemoveNestedContainer | Type::RemoveContainer => remove(face, call).await,
        _ => return None,
    };
    Some(answered.unwrap_or_else(|refusal| refusal))
}

async fn launch(face: &Face, call: &Call) -> Result<Response, Response> {
    let wanted = match &call.launch_nested_container {
        Some(asked) if call.r#type() == call::Type::LaunchNestedContainer => wanted(
            "launch_nested_container",
            (&asked.container_id, true),
            &asked.command,
            &asked.container,
            Class::Plain,
        )?,
        _ if call.r#type() == call::Type::LaunchNestedContainer => {
            return Err(missing("launch_nested_container"));
        }
        _ => {
            let asked = call.launch_container.as_ref();
            let asked = asked.ok_or_else(|| missing("launch_container"))?;
            for resource in &asked.resources {
                check_resource(resource)?;
            }
            let limits = asked.limits.iter();
            Wanted {
                resources: asked.resources.clone(),
                limits: limits.map(|(name, limit)| (name.clone(), *limit)).collect(),
                ..wanted(
                    "launch_container",
                    (&asked.container_id, false),
                    &asked.command,
                    &asked.container,
                    Class::Plain,
                )?
            }
        }
    };
    match face.nested.launch(wanted).await {
        Ok(()) => Ok(text(StatusCode::OK, "")),
        Err(refusal) => Err(refused(refusal)),
    }
}

/// They are for isolation only: nothing that belongs to somebody.
fn check_resource(resource: &tepui_proto::mesos::v1::Resource) -> Result<(), Response> {
    let reserved = !resource.reservations.is_empty()
        || resource.reservation.is_some()
        || resource.role.as_deref().is_some_and(|role| role != "*");
    let persistent = resource
        .disk
        .as_ref()
        .is_some_and(|disk| disk.persistence.is_some());
    let problem = if reserved {
        "is reserved"
    } else if persistent {
        "is a persistent volume"
    } else if resource.revocable.is_some() {
        "is revocable"
    } else {
        return Ok(());
    };
    Err(invalid(format!(
        "'launch_container.resources' is invalid: '{}' {problem}",
        resource.name
    )))
}

/// What is to be launched; `id` comes with whether it must have a parent.
pub(super) fn wanted(
    field: &str,
    (id, nested): (&Id, bool),
    command: &Option<CommandInfo>,
    container: &Option<ContainerInfo>,
    class: Class,
) -> Result<Wanted, Response> {
    let id = container_id(field, id, nested)?;
    if let Some(command) = command {
        check_command(command)
            .map_err(|problem| invalid(format!("'{field}.command' is invalid: {problem}")))?;
    }
    Ok(Wanted {
        id,
        class,
        command: command.clone(),
        container: container.clone(),
        resources: Vec::new(),
        limits: Vec::new(),
    })
}

fn check_command(command: &CommandInfo) -> Result<(), String> {
    let Some(environment) = &command.environment else {
        return Ok(());
    };
    for variable in &environment.variables {
        let has = (variable.value.is_some(), variable.secret.is_some());
        if has == (true, true) || has == (false, false) {
            return Err(format!(
                "Environment variable '{}' must have either 'value' or 'secret'",
                variable.name
            ));
        }
    }
    Ok(())
}

/// Checks an id by Mesos' rules.
pub(super) fn container_id(field: &str, id: &Id, nested: bool) -> Result<ContainerId, Response> {
    let problem = match convert(id) {
        Ok(id) if levels(&id) > MAX_LEVELS => {
            format!("more than {MAX_LEVELS} containers inside of one another")
        }
        Ok(id) if nested && id.parent().is_none() => {
            return Err(missing(&format!("{field}.container_id.parent")));
        }
        Ok(id) => return Ok(id),
        Err(problem) => problem,
    };
    Err(invalid(format!(
        "'{field}.container_id' is invalid: {problem}"
    )))
}

fn convert(id: &Id) -> Result<ContainerId, String> {
    let words = |error| match error {
        IdError::InvalidCharacter { id } => {
            format!("'ContainerID.value' '{id}' contains invalid characters")
        }
        other => other.to_string(),
    };
    match &id.parent {
        None => ContainerId::new(&id.value).map_err(words),
        Some(parent) => {
            let parent = convert(parent)
                .map_err(|problem| format!("'ContainerID.parent' is invalid: {problem}"))?;
            parent.nested(&id.value).map_err(words)
        }
    }
}

pub(super) fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Exists => text(StatusCode::ACCEPTED, ""),
        Refusal::Failed(problem) => text(StatusCode::BAD_REQUEST, problem),
        Refusal::Unknown(problem) => text(StatusCode::NOT_FOUND, problem),
        Refusal::Conflict(problem) => text(StatusCode::CONFLICT, problem),
        Refusal::Busy(problem) => text(StatusCode::INTERNAL_SERVER_ERROR, problem),
        Refusal::Full => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "This agent keeps at most {MAX_CONTAINERS} containers that operators have launched: remove some that have ended"
            ),
        ),
    }
}

/// Which container a call is about, told by the older message, which only knows nested ones, or by the newer.
fn named(
    nested: bool,
    old: (&str, Option<&Id>),
    new: (&str, Option<&Id>),
) -> Result<ContainerId, Response> {
    let (field, id) = if nested { old } else { new };
    container_id(field, id.ok_or_else(|| missing(field))?, nested)
}

async fn wait(face: &Face, call: &Call, format: Format) -> Result<Response, Response> {
    let nested = call.r#type() == call::Type::WaitNestedContainer;
    let (old, new) = (&call.wait_nested_container, &call.wait_container);
    let id = named(
        nested,
        (
            "wait_nested_container",
            old.as_ref().map(|asked| &asked.container_id),
        ),
        (
            "wait_container",
            new.as_ref().map(|asked| &asked.container_id),
        ),
    )?;
    let ended = face.nested.wait(&id).await.ok_or_else(|| {
        text(
            StatusCode::NOT_FOUND,
            format!("Container {id} cannot be found"),
        )
    })?;
    let answer = if nested {
        of_nested(&ended)
    } else {
        of_any(&ended)
    };
    Ok(typed(
        StatusCode::OK,
        format.media_type(),
        format.to_vec(&answer),
    ))
}

fn limitation(ended: &Ended) -> Option<TaskResourceLimitation> {
    (!ended.limitation.is_empty()).then(|| TaskResourceLimitation {
        resources: ended.limitation.clone(),
    })
}

fn of_nested(ended: &Ended) -> Answer {
    Answer {
        r#type: Some(response::Type::WaitNestedContainer.into()),
        wait_nested_container: Some(response::WaitNestedContainer {
            exit_status: ended.exit_status,
            state: ended.state.map(Into::into),
            reason: ended.reason.map(Into::into),
            limitation: limitation(ended),
            message: ended.message.clone(),
        }),
        ..Answer::default()
    }
}

fn of_any(ended: &Ended) -> Answer {
    Answer {
        r#type: Some(response::Type::WaitContainer.into()),
        wait_container: Some(response::WaitContainer {
            exit_status: ended.exit_status,
            state: ended.state.map(Into::into),
            reason: ended.reason.map(Into::into),
            limitation: limitation(ended),
            message: ended.message.clone(),
        }),
        ..Answer::default()
    }
}

/// Linux's signals, those for real time included.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

fn kill(face: &Face, call: &Call) -> Result<Response, Response> {
    let nested = call.r#type() == call::Type::KillNestedContainer;
    let (field, asked) = if nested {
        let asked = call.kill_nested_container.as_ref();
        (
            "kill_nested_container",
            asked.map(|asked| (&asked.container_id, asked.signal)),
        )
    } else {
        let asked = call.kill_container.as_ref();
        (
            "kill_container",
            asked.map(|asked| (&asked.container_id, asked.signal)),
        )
    };
    let (id, signal) = asked.ok_or_else(|| missing(field))?;
    let id = container_id(field, id, nested)?;
    let signal = signal.unwrap_or(SIGKILL);
    if !SIGNALS.contains(&signal) {
        return Err(invalid(format!(
            "'{field}.signal' is invalid: there is no signal {signal}"
        )));
    }
    match face.nested.kill(&id, signal) {
        Ok(()) => Ok(text(StatusCode::OK, "")),
        Err(refusal) => Err(refused(refusal)),
    }
}

async fn remove(face: &Face, call: &Call) -> Result<Response, Response> {
    let nested = call.r#type() == call::Type::RemoveNestedContainer;
    let (old, new) = (&call.remove_nested_container, &call.remove_container);
    let id = named(
        nested,
        (
            "remove_nested_container",
            old.as_ref().map(|asked| &asked.container_id),
        ),
        (
            "remove_container",
            new.as_ref().map(|asked| &asked.container_id),
        ),
    )?;
    match face.nested.remove(&id).await {
        Ok(()) => Ok(text(StatusCode::OK, "")),
        Err(refusal) => Err(refused(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(chain: &[&str]) -> Id {
        let mut parent = None;
        for value in chain {
            parent = Some(Box::new(Id {
                value: (*value).to_owned(),
                parent: parent.take(),
            }));
        }
        *parent.unwrap()
    }

    #[test]
    fn ids_follow_the_rules_of_mesos() {
        for (chain, expected) in [
            (&["e", "a"][..], Ok(())),
            (&["e"], Ok(())),
            (
                &["e", "a.b"],
                Err("'ContainerID.value' 'a.b' contains invalid characters"),
            ),
            (
                &["e f", "a"],
                Err(
                    "'ContainerID.parent' is invalid: 'ContainerID.value' 'e f' contains invalid characters",
                ),
            ),
            (&["e", ""], Err("empty")),
            (&["e"; 33], Err("more than 32")),
        ] {
            match (convert(&id(chain)), expected) {
                (Ok(id), Ok(())) => assert_eq!(id.to_string(), chain.join(".")),
                (Ok(id), Err(_)) => assert!(levels(&id) > MAX_LEVELS),
                (Err(told), Err(part)) => assert!(told.contains(part), "{told}"),
                (found, _) => panic!("{chain:?}: {found:?}"),
            }
        }
    }
}

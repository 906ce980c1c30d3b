//! What frameworks say. `subscribe` opens the conversation; every other call passes the checks in here, which answer the caller
//! at once, and then one of the flows, whose outcome is told by events.

pub(crate) mod accept;
mod acknowledge;
mod kill;
mod messages;
pub(crate) mod offers;
pub(crate) mod overdue;
mod reconcile;
mod removal;
pub(crate) mod subscribe;
mod update_framework;

use tepui_model::FrameworkId;
use tepui_proto::mesos::allocator::inverse_offer_status::Status;
use tepui_proto::mesos::scheduler::Call;
use tepui_proto::mesos::scheduler::call::Type;

use crate::input::{CallOrigin, ReplyToken};
use crate::master::{Master, reply};
use crate::output::{Output, Reply};
use crate::state::{Connection, FrameworkIx};

/// A call that is refused: status and body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            message: message.into(),
        }
    }

    fn invalid_call(message: &str) -> Self {
        Self::bad_request(format!("Failed to validate scheduler::Call: {message}"))
    }

    fn missing(field: &str) -> Self {
        Self::invalid_call(&format!("Expecting '{field}' to be present"))
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            status: refusal.status,
            message: refusal.message,
        }
    }
}

impl Master {
    /// Any call but SUBSCRIBE: check who calls and what is missing, answer, act.
    pub(crate) fn call(
        &mut self,
        origin: &CallOrigin,
        call: Call,
        principal: Option<&str>,
        token: Option<ReplyToken>,
        out: &mut Vec<Output>,
    ) {
        let (framework, kind) = match self.check_call(origin, &call, principal) {
            Ok(checked) => checked,
            Err(refusal) => return reply(token, refusal.into(), out),
        };
        if let Some(count) = self.frameworks[framework]
            .counters
            .calls
            .get_mut(kind as usize)
        {
            *count += 1;
        }
        if kind == Type::UpdateFramework {
            let outcome = match call.update_framework {
                Some(update) => self.update_framework(framework, *update, principal, out),
                None => Err(Refusal::missing("update_framework")),
            };
            return reply(token, outcome.map_or_else(Into::into, |()| Reply::Ok), out);
        }
        reply(token, Reply::Accepted, out);
        self.carry_out(framework, kind, call, out);
    }

    /// `check_call` has seen that the union's field is there.
    fn carry_out(&mut self, framework: FrameworkIx, kind: Type, call: Call, out: &mut Vec<Output>) {
        match kind {
            Type::Teardown => {
                self.counters.messages.unregister_framework += 1;
                self.remove_framework(framework, "it was torn down", out);
            }
            Type::Accept => self.accept(framework, call.accept.unwrap_or_default(), out),
            Type::Decline => self.decline(framework, &call.decline.unwrap_or_default(), out),
            Type::Revive => self.revive(framework, &call.revive.unwrap_or_default().roles, out),
            Type::Suppress => {
                self.suppress(framework, &call.suppress.unwrap_or_default().roles, out)
            }
            Type::Kill => {
                if let Some(kill) = call.kill {
                    self.kill(framework, kill, out);
                }
            }
            Type::Shutdown => {
                if let Some(shutdown) = call.shutdown {
                    self.shutdown_executor(framework, shutdown, out);
                }
            }
            Type::Acknowledge => {
                if let Some(acknowledge) = call.acknowledge {
                    self.acknowledge(framework, acknowledge, out);
                }
            }
            Type::Reconcile => self.reconcile(framework, &call.reconcile.unwrap_or_default(), out),
            Type::Message => {
                if let Some(message) = call.message {
                    self.framework_message(framework, message, out);
                }
            }
            // REQUEST is for other allocators than this one.
            Type::Request => self.counters.messages.resource_request += 1,
            Type::AcknowledgeOperationStatus => {
                if let Some(acknowledge) = call.acknowledge_operation_status {
                    self.acknowledge_operation(framework, &acknowledge, out);
                }
            }
            Type::ReconcileOperations => {
                self.reconcile_operations(
                    framework,
                    &call.reconcile_operations.unwrap_or_default(),
                    out,
                );
            }
            Type::AcceptInverseOffers => {
                let accept = call.accept_inverse_offers.unwrap_or_default();
                let (ids, filters) = (&accept.inverse_offer_ids, accept.filters.as_ref());
                self.answer_inverse(framework, ids, filters, Status::Accept, out);
            }
            Type::DeclineInverseOffers => {
                let decline = call.decline_inverse_offers.unwrap_or_default();
                let (ids, filters) = (&decline.inverse_offer_ids, decline.filters.as_ref());
                self.answer_inverse(framework, ids, filters, Status::Decline, out);
            }
            Type::Unknown | Type::Subscribe | Type::UpdateFramework => {}
        }
    }

    /// Steps 6 to 9 of the reference's order of checks.
    fn check_call(
        &self,
        origin: &CallOrigin,
        call: &Call,
        principal: Option<&str>,
    ) -> Result<(FrameworkIx, Type), Refusal> {
        let kind = call.r#type.ok_or_else(|| Refusal::missing("type"))?;
        let kind = Type::try_from(kind).unwrap_or(Type::Unknown);
        check_fields(kind, call)?;
        if kind == Type::Subscribe {
            return Err(Refusal::bad_request(
                "SUBSCRIBE must open a stream of its own",
            ));
        }
        let id = call
            .framework_id
            .as_ref()
            .ok_or_else(|| Refusal::missing("framework_id"))?;
        let framework = self
            .framework_ids
            .get(id.value.as_str())
            .copied()
            .ok_or_else(|| Refusal::bad_request("Framework cannot be found"))?;
        let known = &self.frameworks[framework];
        check_principal(principal, known.info.principal.as_deref())?;
        let Connection::Connected {
            stream,
            http_stream_id,
        } = &known.connection
        else {
            return Err(Refusal {
                status: 403,
                message: "Framework is not subscribed".to_owned(),
            });
        };
        match origin {
            CallOrigin::Stream(caller) if caller == stream => Ok((framework, kind)),
            CallOrigin::Stream(_) => Err(Refusal {
                status: 403,
                message: "Framework is not subscribed on this stream".to_owned(),
            }),
            CallOrigin::Http { stream_id: None } => Err(Refusal::bad_request(
                "All non-subscribe calls should include the 'Mesos-Stream-Id' header",
            )),
            CallOrigin::Http {
                stream_id: Some(given),
            } if http_stream_id.as_deref() == Some(given) => Ok((framework, kind)),
            CallOrigin::Http {
                stream_id: Some(given),
            } => Err(stale_stream(given, &known.id)),
        }
    }
}

fn stale_stream(given: &str, id: &FrameworkId) -> Refusal {
    Refusal::bad_request(format!(
        "The stream ID '{given}' included in this request didn't match the stream ID currently associated with framework ID {id}"
    ))
}

/// A principal that authenticated must be the one that the framework claims.
fn check_principal(authenticated: Option<&str>, claimed: Option<&str>) -> Result<(), Refusal> {
    match (authenticated, claimed) {
        (Some(authenticated), Some(claimed)) if authenticated != claimed => {
            Err(Refusal::bad_request(format!(
                "Authenticated principal '{authenticated}' does not match principal '{claimed}' set in `FrameworkInfo`"
            )))
        }
        _ => Ok(()),
    }
}

/// The union's field must be there; what is synchronous about its content is checked too.
fn check_fields(kind: Type, call: &Call) -> Result<(), Refusal> {
    let (present, field) = match kind {
        // The sender asked for something that does not exist: as an unset type, since enum names that are not known read as unset.
        Type::Unknown => return Err(Refusal::invalid_call("Expecting a known 'type'")),
        Type::Teardown | Type::Revive | Type::Suppress => return Ok(()),
        Type::Subscribe => (call.subscribe.is_some(), "subscribe"),
        Type::Accept => (call.accept.is_some(), "accept"),
        Type::Decline => (call.decline.is_some(), "decline"),
        Type::AcceptInverseOffers => (
            call.accept_inverse_offers.is_some(),
            "accept_inverse_offers",
        ),
        Type::DeclineInverseOffers => (
            call.decline_inverse_offers.is_some(),
            "decline_inverse_offers",
        ),
        Type::Kill => (call.kill.is_some(), "kill"),
        Type::Shutdown => (call.shutdown.is_some(), "shutdown"),
        Type::Acknowledge => (call.acknowledge.is_some(), "acknowledge"),
        Type::AcknowledgeOperationStatus => (
            call.acknowledge_operation_status.is_some(),
            "acknowledge_operation_status",
        ),
        Type::Reconcile => (call.reconcile.is_some(), "reconcile"),
        Type::ReconcileOperations => (call.reconcile_operations.is_some(), "reconcile_operations"),
        Type::Message => (call.message.is_some(), "message"),
        Type::Request => (call.request.is_some(), "request"),
        Type::UpdateFramework => (call.update_framework.is_some(), "update_framework"),
    };
    if !present {
        return Err(Refusal::missing(field));
    }
    if let (Type::Acknowledge, Some(acknowledge)) = (kind, &call.acknowledge) {
        check_uuid(&acknowledge.uuid)?;
    }
    if let (Type::AcknowledgeOperationStatus, Some(acknowledge)) =
        (kind, &call.acknowledge_operation_status)
    {
        check_uuid(&acknowledge.uuid)?;
        if acknowledge.agent_id.is_none() {
            return Err(Refusal::missing("agent_id"));
        }
    }
    Ok(())
}

/// 16 bytes with the version nibble of an RFC 4122 UUID.
fn check_uuid(uuid: &[u8]) -> Result<(), Refusal> {
    let version = uuid.get(6).map(|byte| byte >> 4);
    if uuid.len() == 16 && version.is_some_and(|version| (1..=5).contains(&version)) {
        return Ok(());
    }
    Err(Refusal::invalid_call("Not a valid UUID"))
}

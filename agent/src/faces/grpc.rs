//! The executor API over gRPC: one stream of batches each way. The first call is SUBSCRIBE; the stream is the subscription.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tepui_grpc::MESSAGE_LIMIT_BYTES;
use tepui_grpc::executors_server::{Executors as Service, ExecutorsServer};
use tepui_proto::mesos::v1::executor::call;
use tepui_proto::tepui::v1::{CallRefused, ExecutorCalls, ExecutorEvents};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::Face;
use crate::executors::{Answer, Events, Executors, NotTaken};

/// Refusals that wait to be told.
const REFUSALS: usize = 64;

pub(super) fn routes(face: &Arc<Face>) -> tonic::service::Routes {
    let server = ExecutorsServer::new(Door {
        executors: face.executors.clone(),
    })
    .max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    tonic::service::Routes::new(server)
}

struct Door {
    executors: Executors,
}

fn status(refusal: &NotTaken) -> Status {
    match refusal.status {
        403 => Status::permission_denied(&refusal.message),
        503 => Status::unavailable(&refusal.message),
        _ => Status::invalid_argument(&refusal.message),
    }
}

#[tonic::async_trait]
impl Service for Door {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ExecutorEvents, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ExecutorCalls>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut calls = request.into_inner();
        let first = calls
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("the first call must be SUBSCRIBE"))?;
        let mut first = first.calls.into_iter();
        let subscribe = first
            .next()
            .filter(|call| call.r#type() == call::Type::Subscribe);
        let subscribe = subscribe
            .ok_or_else(|| Status::invalid_argument("the first call must be SUBSCRIBE"))?;
        let events = match self.executors.call(subscribe).await {
            Ok(Answer::Subscribed(events)) => events,
            Ok(Answer::Accepted) => {
                return Err(Status::internal("a subscription without a stream"));
            }
            Err(refusal) => return Err(status(&refusal)),
        };
        let (refused, refusals) = mpsc::channel(REFUSALS);
        let executors = self.executors.clone();
        let rest: Vec<_> = first.collect();
        tokio::spawn(async move {
            let mut number = 1;
            let mut batch = rest;
            loop {
                for call in batch {
                    if call.r#type() == call::Type::Subscribe {
                        let message =
                            "the stream is the subscription: open another to subscribe again"
                                .to_owned();
                        let _ = refused
                            .send(CallRefused {
                                call: number,
                                status: 400,
                                message,
                            })
                            .await;
                    } else if let Err(NotTaken { status, message }) = executors.call(call).await {
                        let _ = refused
                            .send(CallRefused {
                                call: number,
                                status: status.into(),
                                message,
                            })
                            .await;
                    }
                    number += 1;
                }
                batch = match calls.message().await {
                    Ok(Some(next)) => next.calls,
                    // The executor has ended its side; dropping `refused` ends the other.
                    Ok(None) | Err(_) => return,
                };
            }
        });
        Ok(Response::new(Box::pin(answers(events, refusals))))
    }
}

fn answers(
    events: Events,
    refusals: mpsc::Receiver<CallRefused>,
) -> impl Stream<Item = Result<ExecutorEvents, Status>> + Send + 'static {
    futures::stream::unfold(
        (events, refusals),
        |(mut events, mut refusals)| async move {
            let batch = tokio::select! {
                batch = events.next() => ExecutorEvents { events: batch?, refused: Vec::new() },
                refusal = refusals.recv() => ExecutorEvents { events: Vec::new(), refused: vec![refusal?] },
            };
            Some((Ok(batch), (events, refusals)))
        },
    )
}

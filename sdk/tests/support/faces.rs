//! The two faces of the small master.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tepui_grpc::schedulers_server::{Schedulers, SchedulersServer};
use tepui_proto::mesos::scheduler::call::Type;
use tepui_proto::mesos::scheduler::{Call, Event};
use tepui_proto::tepui::{CallRefused, SchedulerCalls, SchedulerEvents};
use tepui_proto::{json, recordio, wire};
use tokio::net::TcpListener;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Status, Streaming};

use super::{Mode, Out, Shared};

const STREAM: &str = "0b2cb4a7-2d1c-4d43-9b0a-3a7f6a1d2c11";

pub(super) async fn grpc(listener: TcpListener, shared: Shared) {
    let service = SchedulersServer::new(Grpc(shared));
    let server = tonic::transport::Server::builder().add_service(service);
    server
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .unwrap();
}

struct Grpc(Shared);

#[tonic::async_trait]
impl Schedulers for Grpc {
    type ConnectStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<SchedulerEvents, Status>> + Send>>;

    async fn connect(
        &self,
        request: tonic::Request<Streaming<SchedulerCalls>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, Status> {
        let mut incoming = request.into_inner();
        let mut first = incoming.message().await?.expect("a first frame").calls;
        let subscribe = first.remove(0);
        assert_eq!(subscribe.r#type(), Type::Subscribe);
        let events = self.0.subscribe(subscribe).map_err(|mode| match mode {
            Mode::Follow(leader) => {
                let mut status = Status::failed_precondition("another leads");
                status
                    .metadata_mut()
                    .insert("tepui-leader", leader.parse().unwrap());
                status
            }
            Mode::Refuse(403, message) => Status::permission_denied(message),
            Mode::Refuse(_, message) => Status::unavailable(message),
            Mode::Lead => unreachable!(),
        })?;
        let shared = self.0.clone();
        let stream = shared
            .state()
            .stream
            .clone()
            .expect("just made")
            .downgrade();
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok(Some(frame)) = incoming.message().await {
                for call in frame.calls {
                    number += 1;
                    if let (Some((status, message)), Some(stream)) =
                        (shared.take(call), stream.upgrade())
                    {
                        let _ = stream.send(Out::Refused {
                            call: number,
                            status,
                            message,
                        });
                    }
                }
            }
        });
        let frames = UnboundedReceiverStream::new(events).map(|out| {
            Ok(match out {
                Out::Event(event) => SchedulerEvents {
                    events: vec![*event],
                    refused: vec![],
                },
                Out::Refused {
                    call,
                    status,
                    message,
                } => SchedulerEvents {
                    events: vec![],
                    refused: vec![CallRefused {
                        call,
                        status: status.into(),
                        message,
                    }],
                },
            })
        });
        Ok(tonic::Response::new(Box::pin(frames)))
    }
}

pub(super) async fn http(listener: TcpListener, shared: Shared) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        let service = service_fn(move |request| answer(shared.clone(), request));
        tokio::spawn(async move {
            // Clients come and go; what they send may be no HTTP/1 at all.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn text(status: u16, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn answer(shared: Shared, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/api/v1/scheduler");
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let media = header(header::CONTENT_TYPE.as_str()).unwrap();
    assert_eq!(
        header(header::ACCEPT.as_str()).as_deref(),
        Some(media.as_str())
    );
    let stream = header("mesos-stream-id");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let as_json = media == "application/json";
    let call: Call = if as_json {
        json::from_slice(&body).unwrap()
    } else {
        wire::decode(&body).unwrap()
    };
    if call.r#type() != Type::Subscribe {
        assert_eq!(stream.as_deref(), Some(STREAM));
        return Ok(match shared.take(call) {
            Some((status, message)) => text(status, &message),
            None => text(202, ""),
        });
    }
    assert_eq!(stream, None);
    let events = match shared.subscribe(call) {
        Ok(events) => events,
        Err(Mode::Follow(leader)) => {
            let mut response = text(307, "");
            response.headers_mut().insert(
                header::LOCATION,
                format!("//{leader}/api/v1/scheduler").parse().unwrap(),
            );
            return Ok(response);
        }
        Err(Mode::Refuse(status, message)) => return Ok(text(status, &message)),
        Err(Mode::Lead) => unreachable!(),
    };
    let records = UnboundedReceiverStream::new(events).flat_map(move |out| {
        let Out::Event(event) = out else {
            unreachable!()
        };
        // In two pieces, as the network pleases.
        let record = record(&event, as_json);
        let (head, tail) = record.split_at(record.len() / 2);
        let pieces = [Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)];
        futures::stream::iter(pieces.map(|piece| Ok(Frame::data(piece))))
    });
    let mut response = Response::new(StreamBody::new(records).boxed_unsync());
    response
        .headers_mut()
        .insert("mesos-stream-id", STREAM.parse().unwrap());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, media.parse().unwrap());
    Ok(response)
}

fn record(event: &Event, as_json: bool) -> Vec<u8> {
    let bytes = if as_json {
        json::to_vec(event)
    } else {
        event.encode_to_vec()
    };
    let mut record = Vec::new();
    recordio::encode(&bytes, &mut record);
    record
}

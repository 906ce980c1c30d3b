//! The services on a real connection: batches both ways, frames of the permitted size, and the refusal of what is not well formed.
#![allow(missing_docs)]

use std::net::SocketAddr;

use tepui_grpc::schedulers_client::SchedulersClient;
use tepui_grpc::schedulers_server::{Schedulers, SchedulersServer};
use tepui_grpc::{FRAME_LIMIT_BYTES, MESSAGE_LIMIT_BYTES};
use tepui_proto::mesos::scheduler::{Call, Event, call, event};
use tepui_proto::tepui::{SchedulerCalls, SchedulerEvents};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

/// Answers each MESSAGE with its data.
struct Echo;

type Events = std::pin::Pin<Box<dyn Stream<Item = Result<SchedulerEvents, Status>> + Send>>;

#[tonic::async_trait]
impl Schedulers for Echo {
    type ConnectStream = Events;

    async fn connect(
        &self,
        calls: Request<Streaming<SchedulerCalls>>,
    ) -> Result<Response<Events>, Status> {
        let echo = |calls: SchedulerCalls| SchedulerEvents {
            events: calls.calls.into_iter().map(event).collect(),
            ..Default::default()
        };
        Ok(Response::new(Box::pin(
            calls.into_inner().map(move |calls| calls.map(echo)),
        )))
    }
}

fn event(call: Call) -> Event {
    let message = call.message.map(|message| event::Message {
        agent_id: message.agent_id,
        executor_id: message.executor_id,
        data: message.data,
    });
    Event {
        r#type: Some(event::Type::Message.into()),
        message,
        ..Default::default()
    }
}

async fn serve() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("it is bound");
    let service = SchedulersServer::new(Echo).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
    endpoint.connect().await.expect("the server listens")
}

fn calls(data: Vec<u8>) -> SchedulerCalls {
    let message = call::Message {
        data: data.into(),
        ..Default::default()
    };
    SchedulerCalls {
        calls: vec![Call {
            r#type: Some(call::Type::Message.into()),
            message: Some(message),
            ..Default::default()
        }],
    }
}

#[tokio::test]
async fn batches_of_any_permitted_size_go_both_ways() {
    let mut client =
        SchedulersClient::new(serve().await).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    for size in [0, 1, FRAME_LIMIT_BYTES] {
        let request = tokio_stream::iter([calls(vec![7; size]), calls(vec![8; size])]);
        let mut events = client
            .connect(request)
            .await
            .expect("the server answers")
            .into_inner();
        for byte in [7, 8] {
            let events = events.message().await.expect("no error").expect("no end");
            let data = &events.events[0]
                .message
                .as_ref()
                .expect("it is a message")
                .data;
            assert!(data.len() == size && data.iter().all(|of| *of == byte));
        }
        assert!(
            events.message().await.expect("no error").is_none(),
            "the stream ends with its calls"
        );
    }
}

/// Sends bytes in the place of calls: a list of strings is encoded as a list of messages is.
async fn refusal(call: &str) -> Status {
    let mut grpc = tonic::client::Grpc::new(serve().await);
    grpc.ready().await.expect("it is connected");
    let codec = tonic_prost::ProstCodec::<call::Revive, SchedulerEvents>::default();
    let path = PathAndQuery::from_static("/tepui.v1.Schedulers/Connect");
    let request = Request::new(tokio_stream::iter([call::Revive {
        roles: vec![call.to_owned()],
    }]));
    match grpc.streaming(request, path, codec).await {
        Err(status) => status,
        Ok(events) => events
            .into_inner()
            .message()
            .await
            .expect_err("the call is not well formed"),
    }
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_with_its_path() {
    // A KILL without a task id.
    let status = refusal("\u{10}\u{6}\u{32}\u{0}").await;
    assert_eq!(
        (status.code(), status.message()),
        (
            Code::InvalidArgument,
            "Missing required fields: calls[0].kill.task_id"
        )
    );
    let status = refusal("\u{32}").await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status
            .message()
            .starts_with("failed to parse the protobuf message: "),
        "{}",
        status.message()
    );
}

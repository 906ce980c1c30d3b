//! The two APIs that travel alike: what differs between schedulers and executors.

use bytes::Bytes;
use prost::Message;
use tepui_proto::mesos::{executor, scheduler};
use tepui_proto::{tepui, wire};
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

/// Messages in both directions, their frames, and where to send them.
pub(crate) trait Api: Sized + Send + 'static {
    type Call: Message + Default + Clone + tepui_proto::json::Json + 'static;
    type Event: wire::Checked + tepui_proto::json::Json + Send + 'static;
    /// A batch of calls as a gRPC message.
    type Calls: Message + 'static;
    /// A batch of events as a gRPC message.
    type Events: Message + Default + 'static;

    /// Path of the HTTP endpoint.
    const PATH: &'static str;

    fn calls(calls: Vec<Self::Call>) -> Self::Calls;
    fn events(events: Self::Events) -> (Vec<Self::Event>, Vec<tepui::CallRefused>);
    /// Name of the call's type.
    fn kind(call: &Self::Call) -> &'static str;
    /// Calls with the same lane are sent in their order; others may overtake.
    fn lane(call: &Self::Call, lanes: usize) -> usize;
    /// Opens the stream of the service.
    fn connect(
        channel: Channel,
        calls: Request<tokio_stream::wrappers::ReceiverStream<Self::Calls>>,
    ) -> impl Future<Output = Result<Streaming<Self::Events>, Status>> + Send;
}

/// Frameworks with the master.
#[derive(Debug)]
pub(crate) struct SchedulerApi;

impl Api for SchedulerApi {
    type Call = scheduler::Call;
    type Event = scheduler::Event;
    type Calls = tepui::SchedulerCalls;
    type Events = tepui::SchedulerEvents;

    const PATH: &'static str = "/api/v1/scheduler";

    fn calls(calls: Vec<Self::Call>) -> Self::Calls {
        tepui::SchedulerCalls { calls }
    }

    fn events(events: Self::Events) -> (Vec<Self::Event>, Vec<tepui::CallRefused>) {
        (events.events, events.refused)
    }

    fn kind(call: &Self::Call) -> &'static str {
        call.r#type().as_str_name()
    }

    /// Acknowledgements are many and only matter each to its task; all else keeps its order.
    fn lane(call: &Self::Call, lanes: usize) -> usize {
        match &call.acknowledge {
            Some(acknowledge) if lanes > 1 => {
                1 + spread(acknowledge.task_id.value.as_bytes()) % (lanes - 1)
            }
            _ => 0,
        }
    }

    async fn connect(
        channel: Channel,
        calls: Request<tokio_stream::wrappers::ReceiverStream<Self::Calls>>,
    ) -> Result<Streaming<Self::Events>, Status> {
        let client = tepui_grpc::schedulers_client::SchedulersClient::new(channel);
        let mut client = client.max_decoding_message_size(tepui_grpc::MESSAGE_LIMIT_BYTES);
        Ok(client.connect(calls).await?.into_inner())
    }
}

/// Executors with their agent.
#[derive(Debug)]
pub(crate) struct ExecutorApi;

impl Api for ExecutorApi {
    type Call = executor::Call;
    type Event = executor::Event;
    type Calls = tepui::ExecutorCalls;
    type Events = tepui::ExecutorEvents;

    const PATH: &'static str = "/api/v1/executor";

    fn calls(calls: Vec<Self::Call>) -> Self::Calls {
        tepui::ExecutorCalls { calls }
    }

    fn events(events: Self::Events) -> (Vec<Self::Event>, Vec<tepui::CallRefused>) {
        (events.events, events.refused)
    }

    fn kind(call: &Self::Call) -> &'static str {
        call.r#type().as_str_name()
    }

    /// A task's updates keep their order, and messages theirs.
    fn lane(call: &Self::Call, lanes: usize) -> usize {
        match &call.update {
            Some(update) if lanes > 1 => {
                1 + spread(update.status.task_id.value.as_bytes()) % (lanes - 1)
            }
            _ => 0,
        }
    }

    async fn connect(
        channel: Channel,
        calls: Request<tokio_stream::wrappers::ReceiverStream<Self::Calls>>,
    ) -> Result<Streaming<Self::Events>, Status> {
        let client = tepui_grpc::executors_client::ExecutorsClient::new(channel);
        let mut client = client.max_decoding_message_size(tepui_grpc::MESSAGE_LIMIT_BYTES);
        Ok(client.connect(calls).await?.into_inner())
    }
}

/// Spreads keys over lanes.
fn spread(key: &[u8]) -> usize {
    key.iter().fold(7usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(*byte))
    })
}

/// Decodes an event from a record.
pub(crate) fn decode<A: Api>(
    record: &Bytes,
    encoding: super::Encoding,
) -> Result<A::Event, String> {
    match encoding {
        super::Encoding::Protobuf => wire::decode(record).map_err(|error| error.to_string()),
        super::Encoding::Json => {
            tepui_proto::json::from_slice(record).map_err(|error| error.to_string())
        }
    }
}

/// Encodes a call for a body.
pub(crate) fn encode<A: Api>(call: &A::Call, encoding: super::Encoding) -> Bytes {
    match encoding {
        super::Encoding::Protobuf => call.encode_to_vec().into(),
        super::Encoding::Json => tepui_proto::json::to_vec(call).into(),
    }
}

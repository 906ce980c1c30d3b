//! The load over one gRPC stream, in batches.

use tepui_grpc::{MESSAGE_LIMIT_BYTES, schedulers_client::SchedulersClient};
use tepui_proto::{mesos::v1::scheduler, tepui::v1 as tepui};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Endpoint};

use crate::BenchError;

pub(super) struct Connection {
    address: String,
    calls: mpsc::Sender<tepui::SchedulerCalls>,
    events: Streaming<tepui::SchedulerEvents>,
}

impl Connection {
    pub(super) async fn open(
        address: &str,
        subscribe: scheduler::Call,
    ) -> Result<Self, BenchError> {
        let broken = |reason: String| BenchError::Broken {
            address: address.to_owned(),
            reason,
        };
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| broken(error.to_string()))?
            .tcp_nodelay(true)
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(16 << 20)
            .connect()
            .await
            .map_err(|error| broken(error.to_string()))?;
        let (calls, outgoing) = mpsc::channel(64);
        let first = tepui::SchedulerCalls {
            calls: vec![subscribe],
        };
        calls
            .send(first)
            .await
            .map_err(|_| broken("closed at once".into()))?;
        let mut client =
            SchedulersClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
        let events = client
            .connect(ReceiverStream::new(outgoing))
            .await
            .map_err(|status| broken(status.to_string()))?
            .into_inner();
        Ok(Self {
            address: address.to_owned(),
            calls,
            events,
        })
    }

    fn broken(&self, reason: &str) -> BenchError {
        BenchError::Broken {
            address: self.address.clone(),
            reason: reason.to_owned(),
        }
    }

    pub(super) async fn events(&mut self) -> Result<Vec<scheduler::Event>, BenchError> {
        match self.events.message().await {
            Ok(Some(batch)) => match batch.refused.first() {
                Some(refused) => Err(BenchError::Refused(refused.message.clone())),
                None => Ok(batch.events),
            },
            Ok(None) => Err(self.broken("the master ended the stream")),
            Err(status) => Err(self.broken(status.message())),
        }
    }

    pub(super) async fn send(&mut self, calls: Vec<scheduler::Call>) -> Result<(), BenchError> {
        self.calls
            .send(tepui::SchedulerCalls { calls })
            .await
            .map_err(|_| self.broken("the master closed the stream"))
    }
}

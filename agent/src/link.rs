//! The stream to the leading master: finding it, opening it, batching what goes out, and beginning anew.
//!
//! The first connection is immediate, and so is the next after a stream that had been answered; pauses, with jitter, come only between
//! attempts that fail, and no longer than until another master leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use prost::Message;
use tepui_agent_core::Input;
use tepui_coordination::{Detector, Leader};
use tepui_grpc::agent_link_client::AgentLinkClient;
use tepui_grpc::{FRAME_LIMIT_BYTES, MESSAGE_LIMIT_BYTES};
use tepui_proto::tepui::v1::{AgentFrame, AgentMessage};
use tokio::sync::Notify;
use tonic::transport::{Channel, Endpoint};

use crate::config::Config;
use crate::executors::Inputs;

/// Bytes that may wait for a master that does not read; beyond, the stream is closed.
const OUTBOX_BYTES: usize = 256 << 20;
/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What waits to be sent on one stream.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The stream that messages are for; those for another are dropped.
    stream: u64,
    messages: VecDeque<AgentMessage>,
    bytes: usize,
    /// Why the stream is to be closed.
    closed: Option<String>,
}

impl Outbox {
    fn open(&self, stream: u64) {
        *self.state.lock() = State {
            stream,
            ..State::default()
        };
    }

    /// Puts a message for a stream; many may be put before [`Outbox::flush`].
    pub(crate) fn put(&self, stream: u64, message: AgentMessage) {
        let mut state = self.state.lock();
        if state.stream != stream || state.closed.is_some() {
            return;
        }
        state.bytes += message.encoded_len();
        state.messages.push_back(message);
        if state.bytes > OUTBOX_BYTES {
            state.closed = Some(format!(
                "the master does not read: {} bytes wait for it",
                state.bytes
            ));
        }
    }

    pub(crate) fn close(&self, stream: u64, reason: String) {
        let mut state = self.state.lock();
        if state.stream == stream {
            state.closed.get_or_insert(reason);
        }
    }

    pub(crate) fn flush(&self) {
        self.changed.notify_waiters();
        // For whoever has looked and is about to wait.
        self.changed.notify_one();
    }

    /// What is ready, at most one frame's worth; an error ends the stream.
    fn frame(&self, stream: u64) -> Option<Result<AgentFrame, String>> {
        let mut state = self.state.lock();
        if state.stream != stream {
            return Some(Err("a newer stream has taken its place".to_owned()));
        }
        let mut frame = AgentFrame::default();
        let mut bytes = 0;
        while let Some(next) = state.messages.front() {
            let size = next.encoded_len();
            if bytes > 0 && bytes + size + 16 > FRAME_LIMIT_BYTES {
                break;
            }
            // A tag and a length precede each message.
            bytes += size + 8;
            state.bytes = state.bytes.saturating_sub(size);
            frame.messages.extend(state.messages.pop_front());
        }
        if frame.messages.is_empty() {
            state.closed.clone().map(Err)
        } else {
            Some(Ok(frame))
        }
    }

    /// The frames of one stream, until it is closed.
    fn frames(self: Arc<Self>, stream: u64) -> impl Stream<Item = AgentFrame> + Send + 'static {
        futures::stream::unfold(self, move |outbox| async move {
            loop {
                let changed = outbox.changed.notified();
                match outbox.frame(stream) {
                    Some(Ok(frame)) => {
                        drop(changed);
                        return Some((frame, outbox));
                    }
                    Some(Err(_)) => return None,
                    None => changed.await,
                }
            }
        })
    }

    /// Waits until the stream is to be closed, and tells why.
    async fn closing(&self, stream: u64) -> String {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state.lock();
                if state.stream == stream
                    && let Some(reason) = &state.closed
                {
                    return reason.clone();
                }
            }
            changed.await;
        }
    }
}

/// Keeps a stream to the leader, for ever.
pub(crate) async fn run(
    config: Arc<Config>,
    mut detector: Detector,
    inputs: Inputs,
    outbox: Arc<Outbox>,
) {
    let mut pause = FIRST_PAUSE;
    let mut stream = 0;
    loop {
        let leader = match &config.channel {
            Some(channel) => Some((channel.clone(), "the shared connection".to_owned())),
            None => {
                let leader = detector.wait().await;
                leader.info.endpoint().and_then(|endpoint| {
                    let endpoint = endpoint.to_string();
                    channel_to(&endpoint).map(|channel| (channel, endpoint))
                })
            }
        };
        let Some((channel, endpoint)) = leader else {
            tracing::warn!(
                "the leading master tells no address that can be used; waiting for another"
            );
            detector.changed().await;
            continue;
        };
        stream += 1;
        outbox.open(stream);
        if inputs.send(Input::Connected { stream }).await.is_err() {
            return;
        }
        let ended = converse(&mut detector, channel, stream, &inputs, &outbox).await;
        outbox.close(stream, "it has ended".to_owned());
        outbox.flush();
        if inputs.send(Input::Disconnected { stream }).await.is_err() {
            return;
        }
        match ended {
            Ended::Answered(why) => {
                tracing::info!("the stream to the master at {endpoint} has ended: {why}");
                pause = FIRST_PAUSE;
            }
            Ended::Failed(why) => {
                tracing::warn!("no stream to the master at {endpoint}: {why}; trying again");
                let jittered = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
                pause = tokio::select! {
                    () = tokio::time::sleep(jittered) => (pause * 2).min(config.longest_backoff),
                    _ = another(&mut detector) => FIRST_PAUSE,
                };
            }
        }
    }
}

/// Waits until another leads, or the same one anew; that nobody does is no news to act upon.
async fn another(detector: &mut Detector) -> Leader {
    loop {
        if let Some(leader) = detector.changed().await {
            return leader;
        }
    }
}

fn channel_to(endpoint: &str) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{endpoint}")).ok()?;
    Some(
        endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            // A master that vanished without closing is noticed before it has ever sent a ping, too.
            .http2_keep_alive_interval(Duration::from_secs(15))
            .keep_alive_timeout(Duration::from_secs(30))
            .keep_alive_while_idle(true)
            .connect_lazy(),
    )
}

enum Ended {
    /// The master had spoken, or another leads: the next attempt need not wait.
    Answered(String),
    /// It had not.
    Failed(String),
}

impl Ended {
    fn passed_to(leader: &Leader) -> Self {
        let name = leader
            .info
            .endpoint()
            .map_or_else(|| "nobody".to_owned(), |endpoint| endpoint.to_string());
        Self::Answered(format!("{name} leads now"))
    }
}

async fn converse(
    detector: &mut Detector,
    channel: Channel,
    stream: u64,
    inputs: &Inputs,
    outbox: &Arc<Outbox>,
) -> Ended {
    let mut client = AgentLinkClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT_BYTES);
    let connecting = client.connect(Arc::clone(outbox).frames(stream));
    let mut inbound = tokio::select! {
        answer = connecting => match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Ended::Failed(message(&status)),
        },
        reason = outbox.closing(stream) => return Ended::Failed(reason),
        leader = another(detector) => return Ended::passed_to(&leader),
    };
    let mut answered = false;
    let end = |answered: bool, why: String| {
        if answered {
            Ended::Answered(why)
        } else {
            Ended::Failed(why)
        }
    };
    loop {
        let frame = tokio::select! {
            frame = inbound.message() => frame,
            reason = outbox.closing(stream) => return Ended::Failed(reason),
            // While nobody is known to lead, the stream is the best there is.
            leader = another(detector) => return Ended::passed_to(&leader),
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return end(answered, "the master has closed it".to_owned()),
            Err(status) => return end(answered, message(&status)),
        };
        answered = true;
        for message in frame.messages {
            let input = Input::FromMaster {
                stream,
                epoch: frame.epoch,
                message: Box::new(message),
            };
            if inputs.send(input).await.is_err() {
                return end(answered, "the agent is shutting down".to_owned());
            }
        }
    }
}

fn message(status: &tonic::Status) -> String {
    use std::error::Error;
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tepui_proto::tepui::v1::{Pong, agent_message};
    use tokio::sync::watch;

    fn pong(sequence: u64) -> AgentMessage {
        AgentMessage {
            message: Some(agent_message::Message::Pong(Pong { sequence })),
        }
    }

    #[tokio::test]
    async fn another_leader_is_waited_for_and_not_nobody() {
        let at = |text: &str| Detector::fixed(&text.parse().unwrap()).leader();
        let (leads, leader) = watch::channel(at("127.0.0.1:1"));
        let mut detector = Detector::watching(leader);
        detector.wait().await;
        assert!(another(&mut detector).now_or_never().is_none());
        leads.send_replace(None);
        assert!(another(&mut detector).now_or_never().is_none());
        leads.send_replace(at("127.0.0.1:2"));
        let leader = another(&mut detector).now_or_never().unwrap();
        assert_eq!(leader.info.port, 2);
    }

    #[test]
    fn what_is_ready_leaves_together_and_only_on_its_stream() {
        let outbox = Outbox::default();
        outbox.open(2);
        outbox.put(1, pong(1));
        assert!(outbox.frame(2).is_none());
        outbox.put(2, pong(2));
        outbox.put(2, pong(3));
        assert_eq!(
            outbox.frame(2).unwrap().unwrap().messages,
            [pong(2), pong(3)]
        );
        outbox.put(2, pong(4));
        outbox.close(2, "why not".to_owned());
        outbox.put(2, pong(5));
        assert_eq!(
            outbox.frame(2).unwrap().unwrap().messages,
            [pong(4)],
            "what was there before the end still leaves"
        );
        assert_eq!(outbox.frame(2).unwrap(), Err("why not".to_owned()));
        assert!(outbox.frame(1).unwrap().is_err(), "an old stream ends");
    }

    #[test]
    fn frames_are_bounded() {
        let outbox = Outbox::default();
        outbox.open(1);
        let big = |n: u8| AgentMessage {
            message: Some(agent_message::Message::ExecutorMessage(
                tepui_proto::tepui::v1::ExecutorMessage {
                    data: vec![n; 3 << 20].into(),
                    ..Default::default()
                },
            )),
        };
        outbox.put(1, big(1));
        outbox.put(1, big(2));
        assert_eq!(outbox.frame(1).unwrap().unwrap().messages.len(), 1);
        assert_eq!(outbox.frame(1).unwrap().unwrap().messages.len(), 1);
        assert!(outbox.frame(1).is_none());
    }
}

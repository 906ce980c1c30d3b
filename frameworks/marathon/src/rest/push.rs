//! Metrics sent to who collects them: over UDP, every so often, while this instance leads.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{UdpSocket, lookup_host},
    time::MissedTickBehavior,
};

use super::serve::Face;
use crate::pushes::Push;

/// The most bytes of a datagram that no network splits.
const MAX_DATAGRAM: usize = 508;

/// Sends until the future is dropped.
pub(crate) async fn push(push: Push, face: Arc<Face>) {
    let every = Duration::from_millis(push.interval_ms.max(1));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        ticks.tick().await;
        let Some(metrics) = face.metrics_of_leader() else {
            continue;
        };
        let sent = send(&push, metrics.lines(push.form)).await;
        match &sent {
            Err(error) if !failed => {
                tracing::warn!(%error, host = %push.host, port = push.port, "metrics cannot be sent");
            }
            Ok(()) if failed => tracing::info!(host = %push.host, "metrics are sent again"),
            _ => {}
        }
        failed = sent.is_err();
    }
}

/// Sends lines to where the name leads now.
async fn send(push: &Push, lines: Vec<String>) -> io::Result<()> {
    let mut addresses = lookup_host((push.host.as_str(), push.port)).await?;
    let Some(to) = addresses.next() else {
        return Err(io::Error::other("the name has no address"));
    };
    let any: SocketAddr = if to.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    for datagram in datagrams(lines) {
        socket.send_to(datagram.as_bytes(), to).await?;
    }
    Ok(())
}

/// As many lines in each as fit.
fn datagrams(lines: Vec<String>) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + line.len() <= MAX_DATAGRAM => last.push_str(&line),
            _ => datagrams.push(line),
        }
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pushes::PushForm;

    #[tokio::test]
    async fn lines_arrive_whole_in_datagrams_that_no_network_splits() {
        let collector = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let lines: Vec<String> = (0..100).map(|at| format!("name.{at}:{at}|g\n")).collect();
        let push = Push {
            form: PushForm::Statsd,
            host: "127.0.0.1".to_owned(),
            port: collector.local_addr().expect("bound").port(),
            interval_ms: 1,
        };
        send(&push, lines.clone()).await.expect("sent");
        let (mut got, mut bytes) = (String::new(), [0; 2048]);
        while got.len() < lines.concat().len() {
            let length = collector.recv(&mut bytes).await.expect("received");
            assert!(length <= MAX_DATAGRAM, "{length}");
            assert_eq!(bytes[length - 1], b'\n');
            got.push_str(std::str::from_utf8(&bytes[..length]).expect("text"));
        }
        assert_eq!(got, lines.concat());
        let nowhere = Push {
            host: "nowhere.invalid".to_owned(),
            ..push
        };
        send(&nowhere, lines).await.expect_err("no such name");
    }
}

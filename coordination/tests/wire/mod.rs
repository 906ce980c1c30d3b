//! ZooKeeper's own protocol, as far as tests speak it: messages with their length before them.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a message may have at most.
const LIMIT: u32 = 1 << 20;

/// Sends messages in one breath.
pub(crate) async fn send(stream: &mut TcpStream, messages: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        let length = u32::try_from(message.len()).expect("a short message");
        bytes.extend(length.to_be_bytes());
        bytes.extend(message);
    }
    stream.write_all(&bytes).await
}

/// The next message.
pub(crate) async fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut message = vec![0; length.min(LIMIT) as usize];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

//! gRPC services over the messages of tepui-proto (tonic clients and servers).
//!
//! Each service is one bidirectional stream of batches: [`agent_link_client`] and [`agent_link_server`] between agents and the
//! master, [`schedulers_client`], [`schedulers_server`], [`executors_client`] and [`executors_server`] for framework authors. The messages
//! live in `tepui_proto`, once, and are checked for required fields and unknown enums as they come in ([`Checked`]). A server of very many
//! streams reads them by [`Frames`] and answers by [`outgoing`] instead of through the generated code.
//!
//! [`csi`] is what agents speak to storage plugins, on their sockets: the Container Storage Interface.
//!
//! tonic's own limit for a received message is 4 MiB; use [`MESSAGE_LIMIT_BYTES`] with `max_decoding_message_size` on both sides, so that
//! a frame of [`FRAME_LIMIT_BYTES`] always passes.

/// A sender splits what it has to say into frames of at most this many encoded bytes.
pub const FRAME_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// A receiver takes messages up to this size: room for a frame that one last message pushed over the sender's bound.
pub const MESSAGE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

mod checked;
mod frames;
mod outgoing;

pub use checked::{Checked, CheckedDecoder};
pub use frames::Frames;
pub use outgoing::outgoing;

#[allow(missing_docs, unreachable_pub, unused_qualifications)]
#[allow(clippy::all, clippy::doc_markdown)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tepui.v1.rs"));
}

pub use generated::*;

/// The part of the Container Storage Interface, version 1, by which a volume comes to a machine and leaves it: messages, clients and servers.
#[allow(missing_docs, unreachable_pub, unused_qualifications)]
#[allow(clippy::all, clippy::doc_markdown)]
pub mod csi {
    include!(concat!(env!("OUT_DIR"), "/csi.v1.rs"));
}

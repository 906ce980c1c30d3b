//! The wire: Mesos v1 and Tepui messages, the Mesos JSON mapping, RecordIO. No I/O.
//!
//! The messages are generated from the files in `proto/proto`: [`mesos`] holds what the Mesos v1 HTTP APIs speak, [`tepui`] the
//! master-agent protocol and the gRPC face for frameworks. Required fields of proto2 are plain Rust fields; optional messages are
//! `Option`s; `bytes` are [`bytes::Bytes`]; maps are `BTreeMap`s, so that equal messages have equal encodings.
//!
//! [`json`] is Mesos' JSON mapping, [`wire`] protobuf decoding that checks required fields, [`recordio`] the framing of streams,
//! [`convert`] the bridge to the types of `tepui-model` and the text forms of flags.

pub mod convert;
pub mod fuzz;
mod generated;
pub mod json;
#[cfg(test)]
mod laws;
mod path;
#[cfg(test)]
mod random;
pub mod recordio;
pub mod wire;

pub use generated::{mesos, tepui};
/// Of the well-known types only `google.protobuf.Duration` is used.
pub use prost_types::Duration;

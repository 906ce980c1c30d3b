//! How calls and events travel.

/// How to speak to the master or agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// gRPC where the master speaks it, else v1 HTTP with protobuf. Asked anew at each subscription.
    #[default]
    Auto,
    /// gRPC, which Tepui speaks.
    Grpc,
    /// The v1 HTTP API, which Tepui and Apache Mesos speak.
    Http(Encoding),
}

/// What the bodies of HTTP requests and events are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`: small and fast.
    #[default]
    Protobuf,
    /// `application/json`: readable on the wire.
    Json,
}

//! gRPC services over the messages of tepui-proto (tonic clients and servers).

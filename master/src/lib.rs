//! The master daemon: faces (HTTP, gRPC, UI) and durable state around the core.

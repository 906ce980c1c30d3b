//! The master's faces, tested on real masters on free ports: what clients send, byte by byte, and what they get.

mod bad_input;
mod conformance;
mod direct;
mod fuzz;
mod golden;
mod grpc;
mod operator;
mod operator_rules;
mod operator_writes;
mod proxy;
mod reading;
mod scheduler;
mod support;
mod visibility;

//! The REST API: from an HTTP request to a call or a query of the core, and its answer back to HTTP.
//!
//! `route` is pure (a request's parts to what is wanted); `serve` does what is wanted. Whether this instance leads is looked at first: followers
//! pass everything on to the leader.

mod config;
mod console;
mod headers;
mod info;
mod logging;
mod metrics;
mod openapi;
mod pack;
mod pods;
mod proxy;
mod push;
mod route;
mod serve;
mod v3;
mod yaml;

pub(crate) use info::Info;
pub(crate) use push::push;
pub(crate) use serve::{Face, Leading, Standing};

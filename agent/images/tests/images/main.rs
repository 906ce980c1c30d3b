//! The store against registries, layouts and archives made for each test: what is pulled, what is refused, what is kept.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets the unexpected is to fail there"
)]

mod hostile;
mod keeping;
mod kit;
mod pulls;

//! What tests against real sockets share.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test crate uses its own part of this, and fails by panicking"
)]

pub mod dns;
pub mod greeter;
#[path = "../../proto/mod.rs"]
pub mod pb;
#[cfg(feature = "dns")]
pub mod resolve;

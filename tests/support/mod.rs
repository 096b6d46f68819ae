//! What tests against real sockets share.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part of this")]

pub mod dns;
pub mod greeter;
#[path = "../../proto/mod.rs"]
pub mod pb;
#[cfg(feature = "dns")]
pub mod resolve;

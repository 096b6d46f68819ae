//! What several test crates need.

pub mod dns;
#[cfg(feature = "dns")]
pub mod resolve;

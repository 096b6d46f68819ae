//! What several test crates need.

pub mod dns;
pub mod resolve;

//! What several test crates need.

pub mod dns;

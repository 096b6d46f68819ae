//! The code that `tonic-prost-build` generates from the `.proto` files beside it, checked in so that nobody needs
//! `protoc`. `tests/generated.rs` compares it with what the generator says, and rewrites it when asked.
#![allow(
    dead_code,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    reason = "generated, and no user needs all of it"
)]

#[rustfmt::skip]
pub mod echo;
#[rustfmt::skip]
pub mod helloworld;

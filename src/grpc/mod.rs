//! gRPC's wire vocabulary: what the balancer must understand of the calls it forwards.
//!
//! Sources: [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) and
//! [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).

mod classify;
mod code;
pub mod message;
pub mod timeout;

pub use self::{
    classify::{Classify, Outcome, status_of},
    code::Code,
};

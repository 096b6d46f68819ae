//! gRPC's wire vocabulary: what the balancer must understand of the calls it forwards.
//!
//! Sources: [PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) and
//! [statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md).

mod classify;
mod code;
pub mod message;
mod status;
pub mod timeout;

pub use self::{
    classify::{Classify, Outcome},
    code::Code,
    status::{STATUS_HEADER, code_of_http, code_of_reset, is_grpc, status_of},
};

//! The percent-encoding of `grpc-message`.

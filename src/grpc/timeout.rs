//! The `grpc-timeout` header.

//! The messages of `grpc.health.v1`, as small structs of our own.
//!
//! They are those of
//! [health.proto](https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto), field by field.

#[cfg(feature = "server")]
use std::collections::BTreeMap;

/// The path of the unary check.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";
/// The path of the stream of changes.
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The path of the list of all services.
#[cfg(feature = "server")]
pub(crate) const LIST: &str = "/grpc.health.v1.Health/List";

/// Asks after one service.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct HealthCheckRequest {
    /// Its full name; empty for the server as a whole.
    #[prost(string, tag = "1")]
    pub(crate) service: String,
}

/// How one service is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct HealthCheckResponse {
    /// A [`ServingStatus`]; a newer peer may know more of them.
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub(crate) status: i32,
}

/// What a health server says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ServingStatus {
    /// It does not know yet.
    Unknown = 0,
    /// It takes calls.
    Serving = 1,
    /// It does not.
    NotServing = 2,
    /// There is no service of that name. Only Watch says so.
    ServiceUnknown = 3,
}

/// Asks after every service.
#[cfg(feature = "server")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct HealthListRequest {}

/// How every service is.
#[cfg(feature = "server")]
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct HealthListResponse {
    /// By name.
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) statuses: BTreeMap<String, HealthCheckResponse>,
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn is_on_the_wire_what_the_health_protocol_says() {
        let request = HealthCheckRequest { service: "a.B".to_owned() };
        assert_eq!(request.encode_to_vec(), b"\x0a\x03a.B");
        assert!(HealthCheckRequest::default().encode_to_vec().is_empty(), "the empty name is no byte");
        let response = HealthCheckResponse { status: ServingStatus::NotServing.into() };
        assert_eq!(response.encode_to_vec(), [0x08, 0x02]);
        let from_the_future = HealthCheckResponse::decode([0x08, 0x09].as_slice()).expect("a message");
        assert_eq!(ServingStatus::try_from(from_the_future.status).ok(), None);
        assert_eq!(from_the_future.status(), ServingStatus::Unknown, "what is not known is not serving");
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_list_is_a_map_of_entries() {
        let one = HealthCheckResponse { status: ServingStatus::Serving.into() };
        let list = HealthListResponse { statuses: BTreeMap::from([("a".to_owned(), one)]) };
        let bytes = list.encode_to_vec();
        assert_eq!(bytes, b"\x0a\x07\x0a\x01a\x12\x02\x08\x01");
        assert_eq!(HealthListResponse::decode(bytes.as_slice()).expect("a message"), list);
    }
}

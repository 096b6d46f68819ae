//! What is to be remembered of a call, and how its request becomes gRPC's.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    request,
};

use crate::web::{
    fault::Fault,
    media::{self, Encoding, MediaType},
};

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// A call in gRPC-Web, from its request to the last byte of its reply.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// How the reply is written.
    pub(super) reply: Encoding,
    pub(super) content_type: HeaderValue,
    pub(super) version: Version,
    pub(super) fault: Arc<Fault>,
}

impl Call {
    /// Turns the head of a gRPC-Web request into gRPC's, and says how its body is written. `None`, and nothing is
    /// touched, for all other requests.
    pub(super) fn begin(head: &mut request::Parts) -> Option<(Self, Encoding)> {
        if head.method != Method::POST {
            return None;
        }
        let media = MediaType::parse(head.headers.get(CONTENT_TYPE)?.to_str().ok()?)?;
        let request = media.encoding;
        let reply = media::accepted(&head.headers);
        let (grpc, content_type) = (media.as_grpc()?, media.of_reply(reply)?);

        let version = head.version;
        remove_hop_by_hop(&mut head.headers);
        head.headers.insert(CONTENT_TYPE, grpc);
        head.headers.insert(TE, HeaderValue::from_static("trailers"));
        // It speaks of gRPC-Web, and of the length in base64.
        head.headers.remove(ACCEPT);
        head.headers.remove(CONTENT_LENGTH);
        // Nothing on the way back could decompress the messages for a browser.
        head.headers.entry(GRPC_ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        // gRPC is a protocol over HTTP/2, and the inner service may refuse it over anything else.
        head.version = Version::HTTP_2;
        Some((Self { reply, content_type, version, fault: Arc::default() }, request))
    }
}

/// Removes what HTTP/1.1 says about one connection, which HTTP/2 must not carry (RFC 9113, 8.2.2).
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in &nominated {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

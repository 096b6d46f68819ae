//! gRPC's health protocol.

mod check;
mod watch;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{CONTENT_TYPE, TE, USER_AGENT},
    uri::{Authority, Scheme},
};
use prost::Message;

pub(super) use self::{check::check, watch::watch};
use crate::{
    grpc::timeout,
    health::proto::{CHECK, HealthCheckRequest, WATCH},
    probe::{Body, Probe},
};

/// Who asks, unless the metadata says.
pub(super) const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-balance/", env!("CARGO_PKG_VERSION"), " (health check)"));

/// Asks by gRPC's health protocol, `grpc.health.v1`.
///
/// A server that answers NOT_SERVING, or that does not know the service, says so itself, and that counts at once. One
/// that cannot be asked, does not answer in time or fails the call counts against the
/// [thresholds](super::Probe::thresholds). A lost connection is opened again, and a GOAWAY is no failure: the question
/// is asked again on a new connection. A server that answers HTTP 404 is no gRPC server, though gRPC reads
/// UNIMPLEMENTED into it.
///
/// When no endpoint knows the service, the name is probably wrong. That is logged once, as an error, with the name.
#[derive(Clone, Debug)]
pub struct Grpc {
    pub(super) service: Arc<str>,
    pub(super) watches: bool,
    pub(super) on_data_connection: bool,
    authority: Option<Authority>,
    metadata: HeaderMap,
}

impl Grpc {
    /// Asks again and again after this service (the unary `Check`), on a connection of its own. An empty name asks after
    /// the server as a whole.
    ///
    /// ```
    /// use grpc_balance::probe::{Grpc, Probe};
    /// use http::{HeaderName, HeaderValue};
    ///
    /// let check = Grpc::new("route.Router")
    ///     .metadata(HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer health"));
    /// let probe = Probe::from(check);
    /// # let _ = probe;
    /// ```
    #[must_use]
    pub fn new(service: impl Into<Arc<str>>) -> Self {
        Self {
            service: service.into(),
            watches: false,
            on_data_connection: false,
            authority: None,
            metadata: HeaderMap::new(),
        }
    }

    /// Asks once per connection, on the one that carries calls, and is told of every change (the streaming `Watch`,
    /// gRFC A17). An empty name asks after the server as a whole.
    ///
    /// A change shows at once, and an endpoint that is idle costs nothing. The stream takes one of those that the peer
    /// allows. Each new connection that carries calls awaits the server's first word. A server that says UNIMPLEMENTED
    /// counts as healthy, which is logged once. Any other end, OK included, is a failure, and the question is asked
    /// again: at once after a stream that brought a message, then by gRPC's backoff. A server that ends each stream
    /// after one message is asked twice a second at most.
    #[must_use]
    pub fn watch(service: impl Into<Arc<str>>) -> Self {
        Self { watches: true, on_data_connection: true, ..Self::new(service) }
    }

    /// Asks on the connection that carries calls. Default for [`watch`](Self::watch).
    ///
    /// While there is none, nothing is asked and the verdict stays: an endpoint without a connection gets no calls
    /// anyway. Where no connection carries calls, as with [`Probed`](super::Probed), a probe has its own.
    #[must_use]
    pub fn on_data_connection(mut self) -> Self {
        self.on_data_connection = true;
        self
    }

    /// Asks on a connection of its own, which is reused. Default for [`new`](Self::new).
    #[must_use]
    pub fn on_own_connection(mut self) -> Self {
        self.on_data_connection = false;
        self
    }

    /// Sets the `:authority` of the question. Default: the connection's, as for calls. (Envoy says the cluster's name.)
    #[must_use]
    pub fn authority(mut self, authority: Authority) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Adds a header to the question, for servers that ask for a token. It may replace the `user-agent`, but nothing
    /// else that makes the question one of gRPC.
    #[must_use]
    pub fn metadata(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.metadata.append(name, value);
        self
    }

    /// The question, which is the same each time.
    pub(super) fn question(&self, probe: &Probe) -> Question {
        let path = if self.watches { WATCH } else { CHECK };
        let mut headers = self.metadata.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.entry(USER_AGENT).or_insert(OUR_USER_AGENT);
        headers.remove(timeout::HEADER);
        if !self.watches {
            headers.insert(timeout::HEADER, timeout::encode(probe.timeout));
        }
        let message = HealthCheckRequest { service: String::from(&*self.service) };
        let mut bytes = BytesMut::new();
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
        bytes.extend_from_slice(&message.encode_to_vec());
        Question { uri: uri(path, self.authority.as_ref()), headers, message: bytes.freeze() }
    }
}

/// A request that is made again and again.
#[derive(Clone, Debug)]
pub(super) struct Question {
    uri: Uri,
    headers: HeaderMap,
    message: Bytes,
}

impl Question {
    pub(super) fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.message.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The connection fills in what is missing, and its own scheme.
fn uri(path: &'static str, authority: Option<&Authority>) -> Uri {
    let mut parts = Uri::from_static(path).into_parts();
    if let Some(authority) = authority {
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority.clone());
    }
    // A path alone, or all three parts, make a URI.
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static(path))
}

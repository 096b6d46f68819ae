//! What is known of a request that is over.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{HOST, USER_AGENT},
};
use tokio::time::Instant;

use crate::{
    access_log::Timestamp,
    balance::Peer,
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::{Code, STATUS_HEADER, status_of},
};

/// A request that is over, and what became of it.
#[derive(Debug)]
pub struct Record {
    started_at: Timestamp,
    started: Instant,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    status: Option<StatusCode>,
    grpc_status: Option<Code>,
    peer: Option<Peer>,
    failure: Option<Error>,
    to_headers: Option<Duration>,
    pub(super) received: u64,
    pub(super) sent: u64,
    duration: Duration,
    end: End,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The response was handed over to its last frame.
    Complete,
    /// The caller went away, or the server gave the request up, before the end.
    Cancelled,
    /// The service, or the body of its response, failed with an error.
    Failed,
}

impl Record {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let header = |name: &str| request.headers().get(name).cloned();
        Self {
            started_at: Timestamp::now(),
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: header(HOST.as_str()),
            forwarded_for: header("x-forwarded-for"),
            user_agent: header(USER_AGENT.as_str()),
            request_id: header("x-request-id"),
            status: None,
            grpc_status: None,
            peer: None,
            failure: None,
            to_headers: None,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            end: End::Cancelled,
        }
    }

    /// The headers of the response are there, and with them what the layers below tell about it.
    pub(super) fn answered<B>(&mut self, response: &Response<B>) {
        self.to_headers = Some(self.started.elapsed());
        self.status = Some(response.status());
        self.ended_with(response.headers());
        self.peer = response.extensions().get().cloned();
        self.failure = response.extensions().get().cloned();
    }

    /// Trailers, or headers that may be those of a response without any.
    pub(super) fn ended_with(&mut self, headers: &HeaderMap) {
        if headers.contains_key(STATUS_HEADER) {
            self.grpc_status = status_of(StatusCode::OK, headers);
        }
    }

    pub(super) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) {
        if let Some(error) = Error::find_in(error) {
            self.failure = Some(error.clone());
        }
    }

    pub(super) fn over(&mut self, end: End) {
        self.end = end;
        self.duration = self.started.elapsed();
    }

    /// When it came.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its path and query, as sent; empty when its target has none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("", |path| path.as_str())
    }

    /// The protocol that the caller speaks: `HTTP/1.1`, `HTTP/2`.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_11 => "HTTP/1.1",
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_3 => "HTTP/3",
            _ => "-",
        }
    }

    /// For whom it was: its target's authority, else its `Host` header.
    #[must_use]
    pub fn authority(&self) -> Option<&[u8]> {
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => self.host.as_ref().map(HeaderValue::as_bytes),
        }
    }

    /// Its `x-forwarded-for`, as the caller sent it.
    #[must_use]
    pub fn forwarded_for(&self) -> Option<&HeaderValue> {
        self.forwarded_for.as_ref()
    }

    /// Its user agent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&HeaderValue> {
        self.user_agent.as_ref()
    }

    /// Its `x-request-id`, as the caller sent it.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// The HTTP status of the response; `None` if it never began.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The gRPC status, from headers or trailers; `None` if there was none.
    #[must_use]
    pub fn grpc_status(&self) -> Option<Code> {
        self.grpc_status
    }

    /// How it ended.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// How many bytes of the request's body were read.
    #[must_use]
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// How many bytes of the response's body were handed over.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.sent
    }

    /// How long it took, to the end of the response's body.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// How long it took to the headers of a response by an endpoint; `None` if none was involved.
    #[must_use]
    pub fn upstream_duration(&self) -> Option<Duration> {
        self.endpoint().and(self.to_headers)
    }

    /// The endpoint that answered, or on which the request failed.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        let of_failure = || self.failure.as_ref().and_then(Error::endpoint);
        self.peer.as_ref().map(Peer::endpoint).or_else(of_failure)
    }

    /// How many endpoints it was sent to.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.peer.as_ref().map_or(0, Peer::attempts)
    }

    /// How far it had come when it failed; `None` if it did not, or nobody told.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.failure.as_ref().map(Error::phase)
    }

    /// Envoy's response flag; see the [module docs](crate::access_log).
    #[must_use]
    pub fn flags(&self) -> Option<&'static str> {
        if self.end == End::Cancelled {
            return Some("DC");
        }
        let failure = self.failure.as_ref()?;
        Some(match (failure.code(), failure.phase()) {
            (Code::DeadlineExceeded, _) => "UT",
            (Code::ResourceExhausted, _) => "UO",
            (_, Phase::Connect) => "UF",
            (_, Phase::Stream) => "UR",
            _ => "UH",
        })
    }
}

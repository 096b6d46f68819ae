//! Checks by HTTP.

mod http1;

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{HOST, USER_AGENT},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::BodyExt;

pub(super) use self::http1::Http1;
use crate::{
    connect::dial::{BoxDial, Dial, Sockets},
    endpoint::{Address, Endpoint},
    health::Finding,
    probe::{
        Body,
        caller::{CallError, Caller},
        grpc::OUR_USER_AGENT,
        line::{Line, Turn},
    },
};

/// What is read of a response's body before its connection is given up.
const LONGEST_BODY: usize = 64 * 1024;

/// Asks by an HTTP GET. A status that is not expected counts at once, since the server says it itself; no answer counts
/// against the [thresholds](super::Probe::thresholds). Connections are reused. Redirects are not followed.
///
/// Over HTTP/1.1 it is plaintext. Over HTTP/2 connections are made as those for calls are, TLS included.
#[derive(Clone, Debug)]
pub struct Http {
    path: PathAndQuery,
    host: Option<Authority>,
    headers: HeaderMap,
    expected: Vec<RangeInclusive<u16>>,
    pub(super) http2: bool,
    dial: BoxDial,
}

impl Http {
    /// Asks for this path by HTTP/1.1, and expects 200.
    ///
    /// ```
    /// use grpc_balance::probe::{Http, Probe};
    /// use http::uri::PathAndQuery;
    ///
    /// let probe = Probe::from(Http::new(PathAndQuery::from_static("/healthz")).expect([200..=299])).port(8080);
    /// # let _ = probe;
    /// ```
    #[must_use]
    pub fn new(path: PathAndQuery) -> Self {
        Self {
            path,
            host: None,
            headers: HeaderMap::new(),
            expected: vec![200..=200],
            http2: false,
            dial: BoxDial::new(Sockets::new()),
        }
    }

    /// Sets the `host` header, or `:authority`. Default: by HTTP/1.1 the endpoint's host name or else its first address,
    /// by HTTP/2 the same as in calls.
    #[must_use]
    pub fn host(mut self, host: Authority) -> Self {
        self.host = Some(host);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the statuses that mean health. Default 200 alone.
    #[must_use]
    pub fn expect(mut self, statuses: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.expected = statuses.into_iter().collect();
        self
    }

    /// Asks by HTTP/2, with prior knowledge or over TLS, as calls are made.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Dials HTTP/1.1 with something else than [`Sockets`] with their defaults. See [`dial`](crate::connect::dial).
    #[must_use]
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = BoxDial::new(dial);
        self
    }

    /// One check over HTTP/1.1.
    pub(super) async fn check(
        &self,
        connection: &mut Http1,
        endpoint: &Arc<Endpoint>,
        turn: &mut Turn,
    ) -> Finding {
        let request = || {
            let mut request = self.request(http_body_util::Empty::new());
            let host = match &self.host {
                Some(host) => HeaderValue::from_str(host.as_str()),
                None => HeaderValue::from_str(&host_of(endpoint)),
            };
            request.headers_mut().insert(HOST, host.unwrap_or(HeaderValue::from_static("localhost")));
            request
        };
        match connection.ask(&self.dial, endpoint, turn, request).await {
            Ok(status) => self.judge(status),
            Err(cause) => Finding::Fail(cause.into()),
        }
    }

    /// One check over HTTP/2.
    pub(super) async fn check_http2(
        &self,
        line: &mut Line,
        endpoint: &Arc<Endpoint>,
        turn: &mut Turn,
    ) -> Option<Finding> {
        let found = match line.ask(endpoint, turn, |caller| self.ask_http2(caller)).await? {
            Ok(status) => self.judge(status),
            Err(error) => Finding::Fail(error.report().to_string().into()),
        };
        Some(found)
    }

    async fn ask_http2(&self, caller: Arc<dyn Caller>) -> Result<StatusCode, CallError> {
        let mut request = self.request(Body::default());
        if let Some(host) = &self.host {
            let mut parts = request.uri().clone().into_parts();
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(host.clone());
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        let response = caller.call(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut read = 0;
        while read < LONGEST_BODY
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(CallError::Failed)?;
            read += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok(status)
    }

    fn request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().entry(USER_AGENT).or_insert(OUR_USER_AGENT);
        request
    }

    fn judge(&self, status: StatusCode) -> Finding {
        if self.expected.iter().any(|range| range.contains(&status.as_u16())) {
            Finding::Pass
        } else {
            Finding::Unwell(format!("HTTP {}", status.as_u16()).into())
        }
    }
}

fn host_of(endpoint: &Endpoint) -> String {
    match (endpoint.host_name(), endpoint.addresses().first()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(Address::Tcp(address))) => address.to_string(),
        _ => "localhost".to_owned(),
    }
}

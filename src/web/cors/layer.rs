//! The preset, and which requests it concerns.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderName, Method, Request, Response,
    header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ORIGIN, USER_AGENT},
};
use http_body_util::Empty;
use pin_project::pin_project;
use tower_http::cors as http_cors;
use tower_layer::Layer;
use tower_service::Service;

use crate::{answer, web::Origins};

/// How long a browser may remember a preflight's answer: 20 days. Browsers have caps of their own, of hours.
const MAX_AGE: Duration = Duration::from_secs(1_728_000);

const METHODS: [Method; 5] = [Method::GET, Method::PUT, Method::DELETE, Method::POST, Method::OPTIONS];

/// What gRPC-Web clients send, in the order of Envoy's example, behind who they are and how long they wait.
const REQUEST_HEADERS: [HeaderName; 13] = [
    AUTHORIZATION,
    HeaderName::from_static("deadline"),
    HeaderName::from_static("keep-alive"),
    USER_AGENT,
    CACHE_CONTROL,
    CONTENT_TYPE,
    HeaderName::from_static("content-transfer-encoding"),
    HeaderName::from_static("custom-header-1"),
    HeaderName::from_static("x-accept-content-transfer-encoding"),
    HeaderName::from_static("x-accept-response-streaming"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("grpc-timeout"),
];

/// What a page may read of an answer. Without it, a failed call is one without a reason.
const EXPOSED_HEADERS: [HeaderName; 4] = [
    HeaderName::from_static("custom-header-1"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// CORS as gRPC-Web needs it, for pages of these origins.
///
/// Methods GET, PUT, DELETE, POST and OPTIONS; the request headers that gRPC-Web clients send; remembered for
/// 1 728 000 s; the status headers exposed on every answer, errors included; the origin echoed. No credentials. All of
/// it can be changed by [`CorsLayer::configure`].
pub fn cors(origins: Origins) -> CorsLayer {
    let allowed = origins.clone();
    let policy = http_cors::CorsLayer::new()
        .allow_origin(http_cors::AllowOrigin::predicate(move |origin, _| allowed.allows(origin)))
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(EXPOSED_HEADERS)
        .max_age(MAX_AGE);
    CorsLayer { policy, origins }
}

/// Answers preflights itself, and lets pages of other origins read answers. Made by [`cors`].
///
/// It goes outside of everything that answers, or browsers hide the answer. `tower-http`'s own layer takes every
/// OPTIONS request for a preflight; this one takes those that have `access-control-request-method` and an origin that
/// is allowed, and forwards the others, as Envoy does. It answers while the inner service is not ready
/// (see [`answer`](crate::answer)).
#[derive(Clone, Debug)]
#[must_use]
pub struct CorsLayer {
    policy: http_cors::CorsLayer,
    origins: Origins,
}

impl CorsLayer {
    /// Changes what `tower-http` is told: other headers, credentials.
    ///
    /// The origins stay those given to [`cors`]. Credentials for [any](Origins::any) origin let every page act in the
    /// name of whoever looks at it.
    ///
    /// ```
    /// use grpc_balance::web::{self, Origins};
    /// use http::HeaderName;
    ///
    /// let origins = Origins::list(["https://app.example"])?;
    /// let cors = web::cors(origins).configure(|cors| {
    ///     cors.allow_credentials(true).expose_headers([
    ///         HeaderName::from_static("grpc-status"),
    ///         HeaderName::from_static("grpc-message"),
    ///         HeaderName::from_static("x-request-id"),
    ///     ])
    /// });
    /// # Ok::<(), web::OriginError>(())
    /// ```
    pub fn configure(mut self, change: impl FnOnce(http_cors::CorsLayer) -> http_cors::CorsLayer) -> Self {
        self.policy = change(self.policy);
        self
    }
}

impl<S> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    /// # Panics
    ///
    /// If [`configure`](CorsLayer::configure) allowed credentials together with a wildcard, which browsers refuse.
    fn layer(&self, inner: S) -> Cors<S> {
        Cors { answers: self.policy.layer(Inner(inner)), origins: self.origins.clone() }
    }
}

/// Answers preflights, and says in every answer who may read it.
///
/// See [`CorsLayer`].
#[derive(Clone, Debug)]
pub struct Cors<S> {
    answers: http_cors::Cors<Inner<S>>,
    origins: Origins,
}

impl<S> Cors<S> {
    /// The inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.answers.get_ref().0
    }

    /// The inner service.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.answers.get_mut().0
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.answers.into_inner().0
    }

    /// Whether a browser asks if it may send a request.
    fn is_preflight<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && headers.get(ORIGIN).is_some_and(|origin| self.origins.allows(origin))
    }
}

impl<S, B, R> Service<Request<B>> for Cors<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<CorsBody<R>>;
    type Error = S::Error;
    type Future = CorsFuture<S, B>;

    /// Always ready; see [`answer`](crate::answer).
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> CorsFuture<S, B> {
        CorsFuture(if request.method() == Method::OPTIONS && !self.is_preflight(&request) {
            State::Forwarded(self.answers.get_mut().call(request))
        } else {
            State::Concerned(self.answers.call(request))
        })
    }
}

/// The body of a response through [`Cors`]: none for a preflight, else the inner service's.
pub type CorsBody<R> = answer::Body<Empty<Bytes>, R>;

type Forwarded<S, B> =
    answer::ResponseFuture<Ready<Result<Response<Empty<Bytes>>, Infallible>>, S, Request<B>>;

/// The response of a request through [`Cors`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CorsFuture<S: Service<Request<B>>, B>(#[pin] State<S, B>);

#[pin_project(project = Projected)]
enum State<S: Service<Request<B>>, B> {
    /// An OPTIONS request that is no preflight.
    Forwarded(#[pin] Forwarded<S, B>),
    Concerned(#[pin] http_cors::ResponseFuture<Forwarded<S, B>>),
}

impl<S, B, R> Future for CorsFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Output = Result<Response<CorsBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            Projected::Forwarded(response) => response.poll(cx),
            Projected::Concerned(response) => response.poll(cx),
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for CorsFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Forwarded(_) => "CorsFuture(forwarded)",
            State::Concerned(_) => "CorsFuture(concerned)",
        })
    }
}

/// The inner service with a body that can be empty, which `tower-http` needs for preflights.
#[derive(Clone, Debug)]
struct Inner<S>(S);

impl<S, B, R> Service<Request<B>> for Inner<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<CorsBody<R>>;
    type Error = S::Error;
    type Future = Forwarded<S, B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Forwarded<S, B> {
        answer::ResponseFuture::inner(self.0.clone(), request)
    }
}

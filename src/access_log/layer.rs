//! The layer, its settings, and the service.

use std::{
    fmt, io,
    io::Write,
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    access_log::{Body, Format, Json, Line, RequestBody, ResponseFuture, entry::Entry, writer::Queue},
    error::BoxError,
};

/// Logs the requests of a service. Clones write to the same log.
///
/// See the [module docs](crate::access_log).
#[derive(Clone, Debug)]
pub struct AccessLogLayer {
    queue: Arc<Queue>,
}

impl AccessLogLayer {
    /// Lines on standard output, in the default format.
    #[must_use]
    pub fn stdout() -> Self {
        Self::builder().stdout()
    }

    /// Lines to this writer, in the default format. It may block: it is a thread's of its own.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self::builder().to(writer)
    }

    /// A log with other settings.
    pub fn builder() -> Builder {
        Builder { format: Box::new(Line), capacity: 8_192 }
    }

    /// How many lines were dropped: the queue was full, or they could not be written.
    ///
    /// The count is also told as a `tracing` event at `WARN`, target `grpc_balance::access_log`, once a second at most.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Completes when the lines of all requests that are over now are written, or are lost.
    ///
    /// A process that ends sooner ends without them. It is safe to drop.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner, queue: self.queue.clone() }
    }
}

/// Settings of a log.
#[must_use = "it writes nothing before it is told where to"]
pub struct Builder {
    format: Box<dyn Format>,
    capacity: usize,
}

impl Builder {
    /// How lines look: a [`Format`], or a closure. By default [`Line`].
    pub fn format(mut self, format: impl Format) -> Self {
        self.format = Box::new(format);
        self
    }

    /// One JSON object per line.
    pub fn json(self) -> Self {
        self.format(Json)
    }

    /// How many requests may wait to be written before lines are dropped: 8 192 by default, at least 1. That is a
    /// tenth of a second at 80 000 requests per second, and a few megabytes when it is full.
    pub fn capacity(mut self, requests: usize) -> Self {
        self.capacity = requests;
        self
    }

    /// Writes to standard output.
    #[must_use]
    pub fn stdout(self) -> AccessLogLayer {
        self.to(io::stdout())
    }

    /// Writes to this writer: a file, a pipe, a socket. It may block: it is a thread's of its own, which ends when the
    /// layer, its services and their requests are gone and everything is written.
    #[must_use]
    pub fn to(self, writer: impl Write + Send + 'static) -> AccessLogLayer {
        AccessLogLayer { queue: Arc::new(Queue::start(self.capacity, self.format, writer)) }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Logs requests, and changes nothing about them.
///
/// See the [module docs](crate::access_log).
#[derive(Clone, Debug)]
pub struct AccessLog<S> {
    inner: S,
    queue: Arc<Queue>,
}

impl<S> AccessLog<S> {
    /// The inner service.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R> Service<Request<B>> for AccessLog<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    R: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture<S::Future> {
        let received = Arc::new(AtomicU64::new(0));
        let entry = Entry::new(&request, received.clone(), self.queue.clone());
        let request = request.map(|body| RequestBody::new(body, received));
        ResponseFuture::new(self.inner.call(request), entry)
    }
}

//! A request up to its response's headers.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project::pin_project;

use crate::access_log::{Body, entry::Entry};

/// The response of a request that is logged.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    future: F,
    /// `None` once it has gone on into the response's body.
    entry: Option<Entry>,
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(future: F, entry: Entry) -> Self {
        Self { future, entry: Some(entry) }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body,
{
    type Output = Result<Response<Body<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        #[expect(
            clippy::expect_used,
            reason = "taken only here, and a future is not polled after it is ready"
        )]
        let mut entry = this.entry.take().expect("polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => {
                entry.answered(&response);
                Ok(response.map(|body| Body::new(body, entry)))
            }
            Err(error) => {
                entry.failed(None);
                Err(error)
            }
        })
    }
}

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use pin_project::pin_project;
use tower_service::Service;

use super::vitals::{Active, Vitals};
use crate::server::{
    ConnectInfo,
    body::{RequestBody, ResponseBody},
};

/// The user's service as one connection calls it.
#[derive(Clone, Debug)]
pub(super) struct Served<S> {
    inner: S,
    info: ConnectInfo,
    vitals: Arc<Vitals>,
    max_headers: usize,
    /// With HTTP/1, the head of a request ends where the service is called; with HTTP/2 the frames say it.
    is_http1: bool,
}

impl<S> Served<S> {
    pub(super) fn new(
        inner: S,
        info: ConnectInfo,
        vitals: Arc<Vitals>,
        max_headers: usize,
        is_http1: bool,
    ) -> Self {
        Self { inner, info, vitals, max_headers, is_http1 }
    }
}

impl<S, B> Service<Request<Incoming>> for Served<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = Responding<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let active = Some(Active::new(self.vitals.clone()));
        if self.is_http1 {
            self.vitals.note_paid();
        }
        // With HTTP/1, hyper has refused what has too many.
        if request.headers().len() > self.max_headers {
            return Responding { inner: None, active };
        }
        let mut request = request.map(RequestBody::new);
        request.extensions_mut().insert(self.info.clone());
        Responding { inner: Some(self.inner.call(request)), active }
    }
}

/// The response to one request.
#[pin_project]
pub(super) struct Responding<F> {
    /// `None` where the answer is our own: too many headers.
    #[pin]
    inner: Option<F>,
    active: Option<Active>,
}

impl<F, B, E> Future for Responding<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.inner.as_pin_mut() {
            Some(inner) => ready!(inner.poll(cx))?.map(Some),
            None => {
                let mut response = Response::new(None);
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                response
            }
        };
        match this.active.take() {
            Some(active) => Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, active)))),
            None => Poll::Pending, // Polled after its end.
        }
    }
}

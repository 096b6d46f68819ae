//! One request on one connection, up to the headers of its response.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
    uri::Authority,
};
use http_body::Body as _;

use super::{Body, Http1, slot::Slot};
use crate::connect::{Permit, Replay, RequestBody, SendError, hop::strip_hop_by_hop};

type Exchange<B> = Pin<Box<dyn Future<Output = Result<Response<Body>, SendError<B>>> + Send>>;

/// A request on its way. Dropping it closes the connection that carries it.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B> {
    runtime: tokio::runtime::Handle,
    exchange: Exchange<B>,
}

impl<B: RequestBody> ResponseFuture<B> {
    pub(super) fn new(pool: Arc<Http1>, request: Request<Replay<B>>, permit: Permit) -> Self {
        let runtime = pool.runtime().clone();
        Self { runtime, exchange: Box::pin(exchange(pool, request, permit)) }
    }
}

impl<B> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, SendError<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // It may have to dial.
        let this = &mut *self;
        let _guard = this.runtime.enter();
        this.exchange.as_mut().poll(cx)
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

async fn exchange<B: RequestBody>(
    pool: Arc<Http1>,
    mut request: Request<Replay<B>>,
    permit: Permit,
) -> Result<Response<Body>, SendError<B>> {
    loop {
        let (mut sender, is_new) = match pool.take_idle() {
            Some(sender) => (sender, false),
            None => match pool.open().await {
                Ok(sender) => (sender, true),
                Err(error) => return Err(SendError::Unsent(error, request)),
            },
        };
        if let Err(error) = sender.ready().await {
            if is_new {
                return Err(SendError::Unsent(pool.failed(error), request));
            }
            continue;
        }
        let mut head = outgoing(&request, pool.authority());
        let body = request.body();
        if !body.is_end_stream()
            && body.size_hint().exact().is_none()
            && !head.headers().contains_key(CONTENT_LENGTH)
        {
            // Unless it is told, hyper takes it that a GET has no body.
            head.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let (parts, body) = request.into_parts();
        let slot = Slot::new(body);
        match sender.try_send_request(head.map(|()| slot.body())).await {
            Ok(response) => {
                let body = |incoming| Body::new(incoming, sender, pool, permit, slot.upload());
                let mut response = response.map(body);
                strip_hop_by_hop(response.headers_mut());
                return Ok(response);
            }
            Err(mut failed) => {
                // The connection was closed under an idle one, and nothing was written to it.
                let unsent = failed.take_message().is_some();
                let error = pool.failed(failed.into_error());
                let Some(body) = slot.take_back().filter(|_| unsent) else {
                    return Err(SendError::Failed(error));
                };
                request = Request::from_parts(parts, body);
                if is_new {
                    return Err(SendError::Unsent(error, request));
                }
            }
        }
    }
}

/// The head to send: the path alone, the authority as `host`, and no header of the connection that it came by.
fn outgoing<B>(request: &Request<B>, authority: &Authority) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.version_mut() = Version::HTTP_11;
    let path = request.uri().path_and_query().cloned();
    *head.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    *head.headers_mut() = request.headers().clone();
    let headers = head.headers_mut();
    strip_hop_by_hop(headers);
    // It belongs to the connection here (RFC 9110, 10.1.4), and nobody has asked for it on this one.
    headers.remove(http::header::TE);
    let host = request.uri().authority().unwrap_or(authority);
    if let (false, Ok(host)) = (headers.contains_key(HOST), HeaderValue::from_str(host.as_str())) {
        headers.insert(HOST, host);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(request: http::request::Builder) -> Request<()> {
        outgoing(&request.body(()).unwrap(), &Authority::from_static("app.test:3000"))
    }

    #[test]
    fn the_authority_becomes_the_host_and_the_path_is_all_that_is_left_of_the_target() {
        let head = sent(Request::get("http://own.test/a/b?c"));
        assert_eq!(
            (head.uri().to_string(), &head.headers()["host"]),
            ("/a/b?c".into(), &"own.test".parse().unwrap())
        );
        assert_eq!(sent(Request::get("/")).headers()["host"], "app.test:3000");
        assert_eq!(head.version(), Version::HTTP_11);
    }

    #[test]
    fn a_length_that_the_encoding_overrode_is_left_out() {
        let head =
            sent(Request::post("/").header("content-length", "5").header("transfer-encoding", "chunked"));
        assert_eq!(head.headers().keys().collect::<Vec<_>>(), ["host"]);
    }

    #[test]
    fn headers_of_the_connection_it_came_by_are_left_out() {
        let head = sent(
            Request::get("/").header("te", "trailers").header("connection", "x-hop").header("x-hop", "1"),
        );
        assert_eq!(head.headers().keys().collect::<Vec<_>>(), ["host"]);
    }
}

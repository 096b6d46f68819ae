//! The response to a request through the layer.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    response,
};
use pin_project::pin_project;

use crate::{
    error::BoxError,
    grpc::{Code, STATUS_HEADER, code_of_http, is_grpc, status_of},
    reply::Caller,
    web::{
        Body, RequestError,
        call::{Call, remove_hop_by_hop},
        status,
    },
};

/// How much of a page becomes the message of a status, in bytes: a line of text that tells why, and a header that no
/// proxy on the way refuses, even percent-encoded.
const MAX_MESSAGE: usize = 1024;

/// The response of [`GrpcWeb`](crate::web::GrpcWeb), from the inner service's future `F`.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, R> {
    #[pin]
    state: State<F, R>,
    /// `None` for what is no gRPC-Web; taken when the response is there.
    call: Option<Call>,
}

#[pin_project(project = Projected)]
enum State<F, R> {
    Called(#[pin] F),
    /// A page is read, to be said as a status.
    Page {
        head: Option<(response::Parts, Call)>,
        #[pin]
        body: R,
        text: Vec<u8>,
    },
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) fn new(inner: F, call: Option<Call>) -> Self {
        Self { state: State::Called(inner), call }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let reply = match this.state.as_mut().project() {
                Projected::Called(inner) => {
                    let polled = inner.poll(cx);
                    let Some(call) = this.call.take() else {
                        return polled.map_ok(|response| response.map(Body::untouched));
                    };
                    // A broken request fails its call in some way of the inner service's own, or not at all.
                    if let Some(error) = call.fault.watch(cx) {
                        return Poll::Ready(Ok(bad_request(&call, error)));
                    }
                    let Poll::Ready(response) = polled else {
                        *this.call = Some(call);
                        return Poll::Pending;
                    };
                    translate(response?, call)
                }
                Projected::Page { head, body, text } => {
                    ready!(poll_text(body, text, cx));
                    #[expect(clippy::expect_used, reason = "taken only here, and the future ends")]
                    let (head, call) = head.take().expect("a page has a head");
                    return Poll::Ready(Ok(as_status(head, &call, text)));
                }
            };
            match reply {
                Reply::Whole(response) => return Poll::Ready(Ok(response)),
                Reply::Page { head, body, call } => {
                    this.state.set(State::Page { head: Some((head, call)), body, text: Vec::new() });
                }
            }
        }
    }
}

enum Reply<R> {
    Whole(Response<Body<R>>),
    /// Its body has to be read first.
    Page {
        head: response::Parts,
        body: R,
        call: Call,
    },
}

fn translate<R: http_body::Body>(response: Response<R>, call: Call) -> Reply<R> {
    let (mut head, body) = response.into_parts();
    let is_grpc = head.headers.get(CONTENT_TYPE).is_some_and(is_grpc);
    let said = head.headers.contains_key(STATUS_HEADER);
    let code = status_of(head.status, &head.headers);

    if said && (!is_grpc || body.is_end_stream() && code != Some(Code::Ok)) {
        return Reply::Whole(trailers_only(head, &call));
    }
    if is_grpc && code.is_none_or(|_| said) {
        // A status here is the last frame's, unless trailers come. The client takes it from there even if it is OK.
        let status = status::take(&mut head.headers);
        dress(&mut head, &call);
        return Reply::Whole(Response::from_parts(head, Body::translated(body, call, status)));
    }
    if is_grpc || head.headers.contains_key(CONTENT_ENCODING) {
        return Reply::Whole(as_status(head, &call, &[]));
    }
    Reply::Page { head, body, call }
}

/// Reads the start of a page. Whatever its end is, it is good enough for a message.
fn poll_text<R>(mut body: Pin<&mut R>, text: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<()>
where
    R: http_body::Body<Data = Bytes>,
{
    while text.len() < MAX_MESSAGE {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                text.extend(data.iter().take(MAX_MESSAGE - text.len()));
            }
            Some(Err(_)) | None => break,
        }
    }
    Poll::Ready(())
}

/// A page, or an answer in gRPC without a status, as the status that a gRPC client reads into it.
fn as_status<R>(mut head: response::Parts, call: &Call, text: &[u8]) -> Response<Body<R>> {
    let code = code_of_http(head.status);
    let text = String::from_utf8_lossy(text);
    // A character may have been cut in two.
    let text = text.trim_end_matches(char::REPLACEMENT_CHARACTER).trim();
    let status = match text {
        "" => status::trailers(code, &format!("the response was HTTP {}, not gRPC", head.status)),
        text => status::trailers(code, text),
    };
    head.headers.extend(status);
    head.headers.remove(CONTENT_ENCODING);
    trailers_only(head, call)
}

fn bad_request<R>(call: &Call, error: RequestError) -> Response<Body<R>> {
    let (head, _) = Caller::Grpc.reply(Code::Internal, &error.to_string()).into_parts();
    let mut response = trailers_only(head, call);
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A response that says all in its headers.
fn trailers_only<R>(mut head: response::Parts, call: &Call) -> Response<Body<R>> {
    dress(&mut head, call);
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Response::from_parts(head, Body::empty())
}

/// The head of a reply in gRPC-Web.
///
/// Its HTTP status is 200 whatever became of the call: browsers' clients read no gRPC status from anything else.
fn dress(head: &mut response::Parts, call: &Call) {
    remove_hop_by_hop(&mut head.headers);
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, call.content_type.clone());
    head.status = StatusCode::OK;
    head.version = call.version;
}

impl<F, R> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Called(_) => "ResponseFuture(called the inner service)",
            State::Page { .. } => "ResponseFuture(reads a page)",
        })
    }
}

//! A call up to the headers of its response.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use h2::RecvStream;
use http::{Request, Response};

use super::{
    body::Body,
    link::{Call, is_unprocessed},
    upload::{Duplex, Pump, Stopped, Upload},
};
use crate::{
    connect::{Replay, RequestBody, SendError},
    error::BoxError,
};

/// A call on its way, up to the headers of the response.
///
/// The head went out as this was made; the body follows from within [`poll`](Future::poll), in the caller's own task.
/// Only if the response's headers come while the body is unfinished does a task of its own take the body over.
/// Dropping the future resets the stream with CANCEL.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B>(State<B>);

#[expect(clippy::large_enum_variant, reason = "all calls but the failed ones are the large variant")]
enum State<B> {
    Open(Open<B>),
    Failed(SendError<B>),
    Done,
}

// In this order: the stream must be gone before its permit.
struct Open<B> {
    response: h2::client::ResponseFuture,
    upload: Option<Upload>,
    call: Call,
    request: Request<Replay<B>>,
}

/// How the wait for headers ended.
enum Ended {
    Headers(Response<RecvStream>),
    Stream(h2::Error),
    RequestBody(BoxError),
}

impl<B> ResponseFuture<B> {
    pub(super) fn open(
        response: h2::client::ResponseFuture,
        upload: Option<Upload>,
        call: Call,
        request: Request<Replay<B>>,
    ) -> Self {
        Self(State::Open(Open { response, upload, call, request }))
    }

    pub(super) fn failed(error: SendError<B>) -> Self {
        Self(State::Failed(error))
    }
}

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, SendError<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().0;
        let ended = match state {
            State::Open(open) => Some(ready!(open.poll(cx))),
            State::Failed(_) | State::Done => None,
        };
        Poll::Ready(match (mem::replace(state, State::Done), ended) {
            (State::Open(open), Some(Ended::Headers(response))) => Ok(open.answered(response)),
            (State::Open(open), Some(Ended::Stream(error))) => Err(open.failed(error)),
            (State::Open(open), Some(Ended::RequestBody(error))) => {
                Err(SendError::Failed(open.call.link.body_error(error)))
            }
            (State::Failed(error), _) => Err(error),
            // Polled after it was ready.
            (State::Open(_) | State::Done, _) => return Poll::Pending,
        })
    }
}

impl<B: RequestBody> Open<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let Some(upload) = &mut self.upload {
            match upload.poll(cx, self.request.body_mut()) {
                Poll::Ready(Err(Stopped::Body(error))) => return Poll::Ready(Ended::RequestBody(error)),
                // Why the stream stopped is what the response has to tell.
                Poll::Ready(Ok(()) | Err(Stopped::Stream)) => self.upload = None,
                Poll::Pending => {}
            }
        }
        match ready!(Pin::new(&mut self.response).poll(cx)) {
            Ok(response) => Poll::Ready(Ended::Headers(response)),
            Err(error) => Poll::Ready(Ended::Stream(error)),
        }
    }

    fn answered(self, response: Response<RecvStream>) -> Response<Body> {
        let Self { upload, call, request, response: _ } = self;
        call.link.note_progress();
        let (head, stream) = response.into_parts();
        let body = match upload {
            None => Body::new(stream, call),
            // A complete answer ends an upload that nobody waits for any more, and with it the stream.
            Some(_) if stream.is_end_stream() => Body::ended(),
            Some(upload) => {
                let mut rest = request.into_body();
                rest.commit();
                let duplex = Arc::new(Duplex { call, failure: OnceLock::new() });
                Body::duplex(stream, Pump::spawn(upload, rest, duplex.clone()), duplex)
            }
        };
        Response::from_parts(head, body)
    }

    fn failed(self, error: h2::Error) -> SendError<B> {
        let unprocessed = is_unprocessed(&error);
        let going_away = error.is_go_away();
        let error = self.call.link.stream_error(error);
        if !unprocessed {
            return SendError::Failed(error);
        }
        let mut request = self.request;
        let request = request.body_mut().rewind().then_some(request);
        SendError::Refused { error, request, going_away }
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Open(_) => "ResponseFuture(open)",
            State::Failed(_) => "ResponseFuture(failed)",
            State::Done => "ResponseFuture(done)",
        })
    }
}

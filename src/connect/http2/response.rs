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

enum State<B> {
    Open(Open<B>),
    Failed(SendError<B>),
    Done,
}

/// Its parts are taken out one by one where they are: together they are half a kilobyte, which every call would move.
// In this order: the stream must be gone before its permit.
struct Open<B> {
    response: h2::client::ResponseFuture,
    upload: Option<Upload>,
    call: Option<Call>,
    request: Option<Request<Replay<B>>>,
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
        Self(State::Open(Open { response, upload, call: Some(call), request: Some(request) }))
    }

    pub(super) fn failed(error: SendError<B>) -> Self {
        Self(State::Failed(error))
    }
}

impl<B: RequestBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, SendError<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().0;
        let open = match state {
            State::Open(open) => open,
            State::Failed(_) => {
                let State::Failed(error) = mem::replace(state, State::Done) else { return Poll::Pending };
                return Poll::Ready(Err(error));
            }
            // Polled after it was ready.
            State::Done => return Poll::Pending,
        };
        let ended = ready!(open.poll(cx));
        let Some(call) = open.call.take() else { return Poll::Pending };
        let result = match ended {
            Ended::Headers(response) => Ok(open.answered(response, call)),
            Ended::Stream(error) => Err(open.failed(error, call)),
            Ended::RequestBody(error) => Err(SendError::Failed(call.link.body_error(error))),
        };
        *state = State::Done;
        Poll::Ready(result)
    }
}

impl<B: RequestBody> Open<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if let (Some(upload), Some(request)) = (&mut self.upload, &mut self.request) {
            match upload.poll(cx, request.body_mut()) {
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

    fn answered(&mut self, response: Response<RecvStream>, call: Call) -> Response<Body> {
        call.link.note_progress();
        let Some(upload) = self.upload.take() else { return response.map(|stream| Body::new(stream, call)) };
        response.map(|stream| match self.request.take_if(|_| !stream.is_end_stream()) {
            Some(request) => {
                let mut rest = request.into_body();
                rest.commit();
                let duplex = Arc::new(Duplex { call, failure: OnceLock::new() });
                Body::duplex(stream, Pump::spawn(upload, rest, duplex.clone()), duplex)
            }
            // A complete answer ends an upload that nobody waits for any more, and with it the stream; only then is
            // the permit free.
            None => {
                drop((upload, stream));
                drop(call);
                Body::ended()
            }
        })
    }

    fn failed(&mut self, error: h2::Error, call: Call) -> SendError<B> {
        let unprocessed = is_unprocessed(&error);
        let going_away = error.is_go_away();
        let error = call.link.stream_error(error);
        if !unprocessed {
            return SendError::Failed(error);
        }
        let request =
            self.request.take().and_then(|mut request| request.body_mut().rewind().then_some(request));
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

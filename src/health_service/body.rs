//! What the service answers with.

use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    grpc::{Code, STATUS_HEADER, message},
    health::proto::{HealthCheckResponse, ServingStatus},
    health_service::frame,
    serving::{Status, Watch},
};

/// The body of a health answer. Dropping a Watch's ends it.
pub struct Body(State);

enum State {
    /// One message, then OK.
    Reply(Bytes),
    Ok,
    /// A message for each change. Boxed: there are few of them, and they live long.
    Changes(Pin<Box<dyn Stream<Item = Status> + Send>>),
    Empty,
}

impl Body {
    pub(super) fn empty() -> Self {
        Self(State::Empty)
    }

    pub(super) fn reply(message: Bytes) -> Self {
        Self(State::Reply(message))
    }

    pub(super) fn changes(watch: Watch) -> Self {
        let next = |mut watch: Watch| async move { watch.next().await.map(|status| (status, watch)) };
        Self(State::Changes(Box::pin(stream::unfold(watch, next))))
    }
}

pub(super) fn response_of(status: Status) -> HealthCheckResponse {
    let status = match status {
        Status::Serving => ServingStatus::Serving,
        Status::NotServing => ServingStatus::NotServing,
        Status::Unknown => ServingStatus::ServiceUnknown,
    };
    HealthCheckResponse { status: status.into() }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (frame, next) = match mem::replace(&mut self.0, State::Empty) {
            State::Reply(message) => (Frame::data(message), State::Ok),
            State::Ok => (Frame::trailers(trailers(Code::Ok)), State::Empty),
            State::Changes(mut changes) => match changes.as_mut().poll_next(cx) {
                Poll::Pending => {
                    self.0 = State::Changes(changes);
                    return Poll::Pending;
                }
                Poll::Ready(Some(status)) => {
                    (Frame::data(frame::encode(&response_of(status))), State::Changes(changes))
                }
                // Never OK: a Watch that succeeds would be one that will say nothing more.
                Poll::Ready(None) => {
                    let mut trailers = trailers(Code::Unavailable);
                    trailers.insert(message::HEADER, message::encode("the server closes its connections"));
                    (Frame::trailers(trailers), State::Empty)
                }
            },
            State::Empty => return Poll::Ready(None),
        };
        self.0 = next;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, State::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Empty => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

fn trailers(code: Code) -> HeaderMap {
    HeaderMap::from_iter([(STATUS_HEADER, HeaderValue::from(code.number()))])
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Reply(_) => "Body(one message)",
            State::Changes(_) => "Body(changes)",
            State::Ok => "Body(OK)",
            State::Empty => "Body(empty)",
        })
    }
}

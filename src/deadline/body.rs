//! A response's body, up to the deadline.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    answer,
    deadline::timer::Timer,
    error::BoxError,
    reply::{self, Caller},
};

/// The body of a response with a deadline.
#[pin_project]
#[derive(Debug)]
pub struct Body<B> {
    /// `None` once it has ended, or the deadline has passed.
    #[pin]
    body: Option<answer::Body<reply::Body, B>>,
    timer: Option<Timer>,
}

impl<B> Body<B> {
    pub(super) fn own(body: reply::Body) -> Self {
        Self { body: Some(answer::Body::own(body)), timer: None }
    }

    pub(super) fn inner(body: B, timer: Option<Timer>) -> Self {
        Self { body: Some(answer::Body::inner(body)), timer }
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        if body.is_end_stream() {
            return Poll::Ready(None);
        }
        // First the deadline: a body that always has something to send must not escape it.
        if let Some(timer) = this.timer
            && timer.poll(cx).is_ready()
        {
            this.body.set(None);
            return Poll::Ready(Some(match timer.caller() {
                Caller::Grpc => Ok(Frame::trailers(timer.trailers())),
                Caller::Http => Err(timer.elapsed().into()),
            }));
        }
        let frame = ready!(body.poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            // It has ended in time, and nothing may follow.
            this.body.set(None);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(body) = &self.body else { return SizeHint::with_exact(0) };
        let mut hint = body.size_hint();
        // Trailers may end a gRPC response early: it must not promise a length.
        if self.timer.as_ref().is_some_and(|timer| timer.caller() == Caller::Grpc) && !body.is_end_stream() {
            let upper = hint.upper();
            hint = SizeHint::new();
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
        }
        hint
    }
}

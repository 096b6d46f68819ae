//! Either of two bodies.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;

/// The body of an answer of our own, which cannot fail, or the inner service's.
#[pin_project]
#[derive(Debug)]
pub struct Body<A, B>(#[pin] Either<A, B>);

#[pin_project(project = Projected)]
#[derive(Debug)]
enum Either<A, B> {
    Own(#[pin] A),
    Inner(#[pin] B),
}

impl<A, B> Body<A, B> {
    pub(crate) fn own(body: A) -> Self {
        Self(Either::Own(body))
    }

    pub(crate) fn inner(body: B) -> Self {
        Self(Either::Inner(body))
    }
}

/// An answer of our own with nothing in it.
impl<A: Default, B> Default for Body<A, B> {
    fn default() -> Self {
        Self::own(A::default())
    }
}

impl<A, B> HttpBody for Body<A, B>
where
    A: HttpBody<Data = Bytes, Error = Infallible>,
    B: HttpBody<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().0.project() {
            Projected::Own(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Projected::Inner(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Either::Own(body) => body.is_end_stream(),
            Either::Inner(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Either::Own(body) => body.size_hint(),
            Either::Inner(body) => body.size_hint(),
        }
    }
}

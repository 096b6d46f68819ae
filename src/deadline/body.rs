//! A response's body, up to the deadline.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    deadline::{timer::Timer, watched::Watched},
    error::BoxError,
    reply,
};

/// The body of a response with a deadline.
#[pin_project]
#[derive(Debug)]
pub struct Body<B>(#[pin] Kind<B>);

#[pin_project(project = Projected)]
#[derive(Debug)]
enum Kind<B> {
    Own(#[pin] reply::Body),
    Unlimited(#[pin] B),
    Limited(Watched<B>),
}

impl<B> Body<B> {
    pub(super) fn own(body: reply::Body) -> Self {
        Self(Kind::Own(body))
    }
}

impl<B: http_body::Body + Send + 'static> Body<B> {
    pub(super) fn inner(body: B, timer: Option<Timer>) -> Self {
        Self(match timer {
            Some(timer) if !body.is_end_stream() => Kind::Limited(Watched::new(body, timer)),
            _ => Kind::Unlimited(body),
        })
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
        match self.project().0.project() {
            Projected::Own(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Projected::Unlimited(body) => body.poll_frame(cx).map_err(Into::into),
            Projected::Limited(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(body) => body.is_end_stream(),
            Kind::Unlimited(body) => body.is_end_stream(),
            Kind::Limited(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(body) => body.size_hint(),
            Kind::Unlimited(body) => body.size_hint(),
            Kind::Limited(body) => body.size_hint(),
        }
    }
}

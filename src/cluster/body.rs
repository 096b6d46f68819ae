//! The body of a forwarded response.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;

use super::{limits::Active, upstream};
use crate::{
    error::Error,
    grpc::{Code, STATUS_HEADER, message},
    reply::{self, Caller},
};

/// The body of a response of a [`Cluster`](super::Cluster): an endpoint's, or a local reply's.
///
/// When the stream from the endpoint breaks, gRPC callers are told by trailers with a status. Others get the error,
/// and their connection is reset.
#[pin_project]
#[derive(Debug)]
pub struct Body(#[pin] Kind);

#[pin_project(project = Projected)]
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "the large one is the usual one; how large depends on features")]
enum Kind {
    Forwarded {
        #[pin]
        body: upstream::Body,
        caller: Caller,
        /// `None` once the body has ended.
        active: Option<Active>,
    },
    Local(#[pin] reply::Body),
}

impl Body {
    pub(super) fn forwarded(body: upstream::Body, caller: Caller, active: Active) -> Self {
        let active = (!body.is_end_stream()).then_some(active);
        Self(Kind::Forwarded { body, caller, active })
    }

    pub(super) fn local(body: reply::Body) -> Self {
        Self(Kind::Local(body))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.project().0.project() {
            Projected::Local(body) => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Projected::Forwarded { body, caller, active } => {
                if active.is_none() {
                    return Poll::Ready(None);
                }
                let frame = ready!(body.poll_frame(cx));
                if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
                    *active = None;
                }
                Poll::Ready(match frame {
                    Some(Err(error)) if *caller == Caller::Grpc => Some(Ok(trailers(&error))),
                    frame => frame,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Forwarded { body, active, .. } => active.is_none() || body.is_end_stream(),
            Kind::Local(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Forwarded { active: None, .. } => SizeHint::with_exact(0),
            Kind::Forwarded { body, .. } => body.size_hint(),
            Kind::Local(body) => body.size_hint(),
        }
    }
}

/// What is left to say to a gRPC caller after the headers.
fn trailers(error: &Error) -> Frame<Bytes> {
    let mut trailers = HeaderMap::with_capacity(2);
    let code = if error.code() == Code::Ok { Code::Unknown } else { error.code() };
    trailers.insert(STATUS_HEADER, HeaderValue::from(code.number()));
    trailers.insert(message::HEADER, message::encode(&error.report().to_string()));
    Frame::trailers(trailers)
}

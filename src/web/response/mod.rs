//! The body of a response, as the caller reads it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    error::{BoxError, Error, Phase},
    grpc::{Code, STATUS_HEADER, message, status_of},
    web::{
        base64::{self, ENCODE_STEP},
        call::Call,
        frame::{self, Messages},
        media::Encoding,
        status,
    },
};

/// A response's body: in gRPC-Web for those who asked in it, else as it is.
///
/// It holds one chunk of the inner body at a time. A failure of the inner body becomes the status in the last frame,
/// unless a message was cut short: then the caller would read that frame as the rest of the message, so the body fails.
#[pin_project]
#[derive(Debug)]
pub struct Body<R>(#[pin] State<R>);

#[pin_project(project = Projected)]
#[derive(Debug)]
enum State<R> {
    Untouched(#[pin] R),
    /// All is said in the headers.
    Empty,
    Translated {
        #[pin]
        inner: R,
        /// Boxed, so that native calls do not carry the room for it.
        translation: Box<Translation>,
    },
}

#[derive(Debug)]
struct Translation {
    call: Call,
    /// The status that counts if no trailers come.
    status: HeaderMap,
    messages: Messages,
    /// What has arrived and is yet to be written.
    rest: Bytes,
    ended: bool,
}

impl<R> Body<R> {
    pub(super) fn untouched(inner: R) -> Self {
        Self(State::Untouched(inner))
    }

    pub(super) fn empty() -> Self {
        Self(State::Empty)
    }

    pub(super) fn translated(inner: R, call: Call, status: HeaderMap) -> Self {
        let messages = Messages::default();
        let translation = Translation { call, status, messages, rest: Bytes::new(), ended: false };
        Self(State::Translated { inner, translation: Box::new(translation) })
    }
}

impl<R> http_body::Body for Body<R>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (mut inner, translation) = match self.project().0.project() {
            Projected::Untouched(inner) => return inner.poll_frame(cx).map_err(Into::into),
            Projected::Empty => return Poll::Ready(None),
            Projected::Translated { inner, translation } => (inner, translation),
        };
        loop {
            if let Some(data) = translation.next() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if translation.ended {
                return Poll::Ready(None);
            }
            let last = match ready!(inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        translation.arrived(data);
                        continue;
                    }
                    Err(frame) => translation.end(frame.into_trailers().unwrap_or_default()),
                },
                Some(Err(error)) => translation.failed(error.into()),
                None => translation.end(HeaderMap::new()),
            };
            return Poll::Ready(Some(last.map(Frame::data)));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Untouched(inner) => inner.is_end_stream(),
            State::Empty => true,
            State::Translated { translation, .. } => translation.ended && translation.rest.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Untouched(inner) => inner.size_hint(),
            State::Empty => SizeHint::with_exact(0),
            State::Translated { .. } if http_body::Body::is_end_stream(self) => SizeHint::with_exact(0),
            // The trailers are not known yet.
            State::Translated { .. } => SizeHint::default(),
        }
    }
}

impl Translation {
    fn arrived(&mut self, data: Bytes) {
        // What an inner service sends is its own affair; only the ends of its messages matter here.
        let _ = self.messages.follow(&data);
        self.rest = data;
    }

    /// The next part of what has arrived, as the caller reads it. In text each part is padded by itself.
    fn next(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        Some(match self.call.reply {
            Encoding::Binary => std::mem::take(&mut self.rest),
            Encoding::Text => base64::encode(&self.rest.split_to(self.rest.len().min(ENCODE_STEP))),
        })
    }

    /// The last frame.
    fn end(&mut self, mut trailers: HeaderMap) -> Result<Bytes, BoxError> {
        self.ended = true;
        if !trailers.contains_key(STATUS_HEADER) {
            if self.status.is_empty() {
                self.status = status::trailers(Code::Unknown, "the response ended without grpc-status");
            }
            trailers.extend(std::mem::take(&mut self.status));
        }
        if !self.messages.is_between() {
            return Err(cut_short(&trailers).into());
        }
        let frame = frame::trailers(&trailers).ok_or("trailers of 4 GiB")?;
        Ok(match self.call.reply {
            Encoding::Binary => frame,
            Encoding::Text => base64::encode(&frame),
        })
    }

    fn failed(&mut self, error: BoxError) -> Result<Bytes, BoxError> {
        if !self.messages.is_between() {
            self.ended = true;
            return Err(error);
        }
        let (code, text) = match self.call.fault.found() {
            Some(fault) => (Code::Internal, fault.to_string()),
            None => status::of_error(&*error),
        };
        self.end(status::trailers(code, &text))
    }
}

fn cut_short(trailers: &HeaderMap) -> Error {
    let code = status_of(StatusCode::OK, trailers).unwrap_or(Code::Unknown);
    let text = trailers.get(message::HEADER).map(message::decode);
    let message = format!("the response ended within a message: {}", text.unwrap_or_default());
    // A call that ends so has failed, whatever its status says.
    Error::new(if code == Code::Ok { Code::Internal } else { code }, Phase::Stream, message)
}

#[cfg(test)]
mod tests;

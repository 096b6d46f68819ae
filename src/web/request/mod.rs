//! The body of a request, as the inner service reads it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    error::BoxError,
    web::{
        base64::{DECODE_STEP, Decoder},
        fault::{Fault, RequestError},
        frame::Messages,
        media::Encoding,
    },
};

/// A request's body: gRPC-Web's translated, any other as it is.
///
/// It holds one chunk of the inner body at a time. Its errors are the inner body's, or a [`RequestError`].
#[pin_project]
#[derive(Debug)]
pub struct RequestBody<B> {
    #[pin]
    inner: B,
    /// `None` for what is no gRPC-Web.
    translation: Option<Translation>,
}

#[derive(Debug)]
struct Translation {
    text: Option<Text>,
    messages: Messages,
    failed: bool,
    fault: Arc<Fault>,
}

#[derive(Debug, Default)]
struct Text {
    decoder: Decoder,
    /// What has arrived and is yet to be decoded.
    rest: Bytes,
}

impl<B> RequestBody<B> {
    pub(super) fn untouched(inner: B) -> Self {
        Self { inner, translation: None }
    }

    pub(super) fn translated(inner: B, encoding: Encoding, fault: Arc<Fault>) -> Self {
        let text = (encoding == Encoding::Text).then(Text::default);
        let translation = Translation { text, messages: Messages::default(), failed: false, fault };
        Self { inner, translation: Some(translation) }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(translation) = this.translation else {
            return this.inner.poll_frame(cx).map_err(Into::into);
        };
        loop {
            if translation.failed {
                return Poll::Ready(None);
            }
            match translation.next() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(translation.fail(error)))),
            }
            let frame = match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(translation.end().map(Err)),
            };
            match frame.into_data() {
                Ok(data) => match translation.arrived(data) {
                    Ok(None) => {}
                    Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(error) => return Poll::Ready(Some(Err(translation.fail(error)))),
                },
                Err(frame) => return Poll::Ready(Some(translation.end().map_or(Ok(frame), Err))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.translation {
            Some(translation) => translation.failed || translation.is_idle() && self.inner.is_end_stream(),
            None => self.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let Some(translation) = &self.translation else { return inner };
        match &translation.text {
            _ if translation.failed => SizeHint::with_exact(0),
            Some(text) => text.size_hint(&inner),
            None => inner,
        }
    }
}

impl Translation {
    /// Takes in a chunk of the inner body, and returns what needs no decoding.
    fn arrived(&mut self, data: Bytes) -> Result<Option<Bytes>, RequestError> {
        match &mut self.text {
            Some(text) => {
                text.rest = data;
                Ok(None)
            }
            None => self.checked(data),
        }
    }

    /// The next part of what has arrived.
    fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        while let Some(text) = &mut self.text
            && !text.rest.is_empty()
        {
            let chunk = text.rest.split_to(text.rest.len().min(DECODE_STEP));
            let data = text.decoder.decode(&chunk).map_err(|_| RequestError::INVALID)?;
            if let Some(data) = self.checked(data)? {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn checked(&mut self, data: Bytes) -> Result<Option<Bytes>, RequestError> {
        // gRPC has no place for trailers of a request, and the inner service would take the frame for a message.
        self.messages.follow(&data).map_err(|_| RequestError::TRAILERS)?;
        Ok((!data.is_empty()).then_some(data))
    }

    /// The inner body has ended; what is wrong with that.
    fn end(&mut self) -> Option<BoxError> {
        (!self.is_idle()).then(|| self.fail(RequestError::INCOMPLETE))
    }

    fn fail(&mut self, error: RequestError) -> BoxError {
        self.failed = true;
        self.fault.report(error);
        error.into()
    }

    fn is_idle(&self) -> bool {
        self.text.as_ref().is_none_or(|text| text.rest.is_empty() && text.decoder.is_between_groups())
    }
}

impl Text {
    /// A group of four characters is one byte at least, and three at most.
    fn size_hint(&self, inner: &SizeHint) -> SizeHint {
        let here = (self.rest.len() + self.decoder.held()) as u64;
        let groups = |characters: u64| characters.saturating_add(here) / 4;
        let mut hint = SizeHint::new();
        hint.set_lower(groups(inner.lower()));
        if let Some(upper) = inner.upper() {
            hint.set_upper(groups(upper).saturating_mul(3));
        }
        hint
    }
}

#[cfg(test)]
mod tests;

//! The bodies of a request and of its response, counted.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project::pin_project;

use crate::{access_log::entry::Entry, error::BoxError};

/// A request's body whose bytes are counted. Otherwise it is the one inside.
#[pin_project]
#[derive(Debug)]
pub struct RequestBody<B> {
    #[pin]
    body: B,
    received: Arc<AtomicU64>,
}

impl<B> RequestBody<B> {
    pub(super) fn new(body: B, received: Arc<AtomicU64>) -> Self {
        Self { body, received }
    }
}

impl<B: http_body::Body<Data = Bytes>> http_body::Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.received.fetch_add(data.len() as u64, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body that tells the log how it ends.
#[pin_project]
#[derive(Debug)]
pub struct Body<B> {
    #[pin]
    body: B,
    entry: Entry,
}

impl<B> Body<B> {
    pub(super) fn new(body: B, entry: Entry) -> Self {
        Self { body, entry }
    }
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BoxError>>> http_body::Body for Body<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx)).map(|frame| frame.map_err(Into::into));
        match &frame {
            None => this.entry.ended(None),
            Some(Err(error)) => this.entry.failed(Some(&**error)),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.entry.sent(data.len(), this.body.is_end_stream());
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.entry.ended(Some(trailers));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

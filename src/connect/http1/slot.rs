//! A request body that can be had back from a connection that did not take it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    connect::{Replay, RequestBody},
    error::BoxError,
};

/// Where the body is. Connections are of one type, and bodies of many.
pub(super) struct Slot<B>(Mutex<Option<Replay<B>>>);

/// The body as the connection sees it.
pub(super) struct SlotBody(Arc<dyn AnyBody>);

trait AnyBody: Send + Sync {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
    fn is_end_stream(&self) -> bool;
    fn size_hint(&self) -> SizeHint;
}

impl<B: RequestBody> Slot<B> {
    pub(super) fn new(body: Replay<B>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(body))))
    }

    pub(super) fn body(self: &Arc<Self>) -> SlotBody {
        SlotBody(self.clone())
    }

    pub(super) fn take_back(&self) -> Option<Replay<B>> {
        self.lock().take()
    }

    /// Whoever panicked with the body in hand has ended the call.
    fn lock(&self) -> MutexGuard<'_, Option<Replay<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: RequestBody> AnyBody for Slot<B> {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self.lock() {
            Some(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lock().as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Body for SlotBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

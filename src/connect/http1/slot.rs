//! A request body that can be had back from a connection that did not take it.

use std::{
    fmt,
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

/// A request body on its way, seen from the response.
pub(super) struct Upload(Arc<dyn AnyBody>);

/// The request's own body failed. It is not the endpoint's fault.
#[derive(Debug)]
pub(super) struct BodyFailed(BoxError);

trait AnyBody: Send + Sync {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
    fn is_end_stream(&self) -> bool;
    fn size_hint(&self) -> SizeHint;
    fn give_up(&self);
}

impl Upload {
    /// Whether the connection has let go of the body.
    pub(super) fn is_over(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Drop for Upload {
    /// The response is over, or nobody wants it any more: nobody waits for the rest of the request either. What is left
    /// of the body fails, and its connection with it.
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl fmt::Display for BodyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body failed")
    }
}

impl std::error::Error for BodyFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl<B: RequestBody> Slot<B> {
    pub(super) fn new(body: Replay<B>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(body))))
    }

    pub(super) fn body(self: &Arc<Self>) -> SlotBody {
        SlotBody(self.clone())
    }

    pub(super) fn upload(self: Arc<Self>) -> Upload {
        Upload(self)
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
                let failed = |cause: B::Error| BodyFailed(cause.into()).into();
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(failed)))
            }
            // An end here would make a whole request of half of one.
            None => Poll::Ready(Some(Err(BodyFailed("it was given up".into()).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }

    fn give_up(&self) {
        drop(self.lock().take());
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

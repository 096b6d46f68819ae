//! A body that its deadline ends whether somebody reads it or not.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::{deadline::timer::Timer, error::BoxError, reply::Caller};

/// What a body says when it is asked for a frame.
type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// A body and its deadline.
///
/// A server does not ask a body for more while its client takes nothing. If the timer were only asked together with
/// the body, a client that stands still would hold its call upstream for ever. So the timer wakes [`Inner`] rather
/// than the reader: it lets go of the body, and then wakes the reader, who is told when it comes.
pub(super) struct Watched<B> {
    inner: Arc<Inner<B>>,
    /// Wakes `inner`.
    waker: Waker,
    timer: Timer,
    /// Whether the reader has had the end.
    ended: bool,
}

struct Inner<B> {
    /// `None` once it has ended or the deadline has passed.
    body: Mutex<Option<Pin<Box<B>>>>,
    at: Instant,
    has_passed: AtomicBool,
    reader: AtomicWaker,
}

impl<B: Send + 'static> Watched<B> {
    pub(super) fn new(body: B, mut timer: Timer) -> Self {
        let inner = Arc::new(Inner {
            body: Mutex::new(Some(Box::pin(body))),
            at: timer.at(),
            has_passed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        let waker = Waker::from(inner.clone());
        // Perhaps nobody ever reads.
        if timer.poll(&mut Context::from_waker(&waker)).is_ready() {
            inner.let_go();
        }
        Self { inner, waker, timer, ended: false }
    }
}

impl<B> Watched<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled<BoxError> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.inner.reader.register(cx.waker());
        // First the deadline: a body that always has something to send must not escape it.
        if self.timer.poll(&mut Context::from_waker(&self.waker)).is_ready() {
            self.inner.let_go();
        }
        match self.inner.poll_body(cx) {
            Some(frame) => {
                let frame = ready!(frame);
                // After trailers, an error and the end nothing may follow.
                self.ended = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
                if self.ended {
                    self.inner.lock().take();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            None => {
                self.ended = true;
                Poll::Ready(Some(match self.timer.caller() {
                    Caller::Grpc => Ok(Frame::trailers(self.timer.trailers())),
                    Caller::Http => Err(self.timer.elapsed().into()),
                }))
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ended || self.inner.lock().as_ref().is_some_and(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        if self.ended {
            return SizeHint::with_exact(0);
        }
        let body = self.inner.lock();
        let Some(body) = &*body else { return SizeHint::new() };
        let hint = body.size_hint();
        if self.timer.caller() == Caller::Http || body.is_end_stream() {
            return hint;
        }
        // Trailers may end a gRPC response early: it must not promise a length.
        let mut open = SizeHint::new();
        if let Some(upper) = hint.upper() {
            open.set_upper(upper);
        }
        open
    }
}

impl<B> Inner<B> {
    fn lock(&self) -> MutexGuard<'_, Option<Pin<Box<B>>>> {
        // A body that panicked is not polled again by anybody; what is left to do is to drop it.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deadline has passed.
    fn let_go(&self) {
        self.has_passed.store(true, SeqCst);
        // Whoever is at the body looks at `has_passed` next. A waker must not wait for it.
        let body = match self.body.try_lock() {
            Ok(mut body) => body.take(),
            Err(TryLockError::Poisoned(body)) => body.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        // The lock is free again when this runs somebody's code.
        drop(body);
    }

    /// Asks the body, unless the deadline has passed: then there is none.
    fn poll_body(&self, cx: &mut Context<'_>) -> Option<Polled<B::Error>>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = self.lock();
        if body.as_ref().is_some_and(Body::is_end_stream) {
            return Some(Poll::Ready(None));
        }
        let frame = body.as_mut()?.as_mut().poll_frame(cx);
        drop(body);
        // The timer may have come meanwhile, and found the body in use.
        if self.has_passed.load(SeqCst) {
            self.lock().take();
        }
        Some(frame)
    }
}

impl<B: Send + 'static> Wake for Inner<B> {
    fn wake(self: Arc<Self>) {
        // A runtime that shuts down wakes everything.
        if Instant::now() >= self.at {
            self.let_go();
        }
        self.reader.wake();
    }
}

impl<B> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("timer", &self.timer)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::OnceLock};

    use futures_util::task::noop_waker;

    use super::*;

    /// A body that wakes somebody while it is polled, as a timer on another thread may.
    struct Waking(Arc<OnceLock<Waker>>);

    impl Body for Waking {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.get().unwrap().wake_by_ref();
            Poll::Pending
        }
    }

    fn inner(at: Instant) -> (Arc<Inner<Waking>>, Arc<OnceLock<Waker>>) {
        let to_wake = Arc::new(OnceLock::new());
        let inner = Arc::new(Inner {
            body: Mutex::new(Some(Box::pin(Waking(to_wake.clone())))),
            at,
            has_passed: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        to_wake.set(inner.clone().into()).unwrap();
        (inner, to_wake)
    }

    #[test]
    fn a_timer_that_comes_while_the_body_is_in_use_ends_it_right_after() {
        let (inner, to_wake) = inner(Instant::now());
        assert!(inner.poll_body(&mut Context::from_waker(&noop_waker())).unwrap().is_pending());
        assert_eq!(Arc::strong_count(&to_wake), 1, "the body is gone");
    }

    #[test]
    fn a_timer_that_wakes_before_its_time_ends_nothing() {
        let (inner, to_wake) = inner(Instant::now() + std::time::Duration::from_secs(3_600));
        Waker::from(inner.clone()).wake();
        assert!(inner.poll_body(&mut Context::from_waker(&noop_waker())).unwrap().is_pending());
        assert_eq!(Arc::strong_count(&to_wake), 2);
        // The body, through the cell, holds what holds it.
        inner.lock().take();
    }
}

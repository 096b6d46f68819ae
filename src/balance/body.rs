//! The body of a balanced response: it carries the call, its load and its deadline to the very end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    balance::{Peer, deadline::Deadline, shared::Observer},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::{Code, status_of},
    load::InFlight,
};

/// The body of a balanced response. Dropping it before its end cancels the call.
#[pin_project]
#[derive(Debug)]
pub struct Body<T> {
    /// `None` once the deadline has cut it off.
    #[pin]
    inner: Option<T>,
    http: StatusCode,
    endpoint: Arc<Endpoint>,
    deadline: Option<Deadline>,
    /// `None` once the call has ended.
    tracking: Option<Tracking>,
}

/// One call on its way, as its endpoint's load and the statistics see it.
#[derive(Debug)]
pub(crate) struct Tracking {
    in_flight: InFlight,
    observer: Arc<Observer>,
}

impl Tracking {
    pub(crate) fn new(mut in_flight: InFlight, observer: Arc<Observer>, now: Instant) -> Self {
        in_flight.headers_arrived(now);
        Self { in_flight, observer }
    }

    /// Ends the call. Without a status it is UNKNOWN to gRPC.
    fn finish(self, status: Option<Code>) {
        let code = status.unwrap_or(Code::Unknown);
        self.observer.stats.ended(code);
        self.in_flight.finish(self.observer.classify.outcome(code), Instant::now());
    }
}

impl<T: HttpBody> Body<T> {
    pub(crate) fn respond(
        response: Response<T>,
        tracking: Tracking,
        peer: Peer,
        deadline: Option<Deadline>,
    ) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let http = head.status;
        let endpoint = peer.endpoint().clone();
        head.extensions.insert(peer);
        let tracking = if inner.is_end_stream() {
            // Trailers-Only: the one header block carries the status.
            tracking.finish(status_of(http, &head.headers));
            None
        } else {
            Some(tracking)
        };
        Response::from_parts(head, Self { inner: Some(inner), http, endpoint, deadline, tracking })
    }
}

impl<T> HttpBody for Body<T>
where
    T: HttpBody<Data = Bytes, Error = Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let frame = match inner.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let expired = this.deadline.as_mut().is_some_and(|deadline| deadline.poll(cx).is_ready());
                if !expired || this.tracking.is_none() {
                    return Poll::Pending;
                }
                this.inner.set(None);
                if let Some(tracking) = this.tracking.take() {
                    tracking.observer.stats.ended(Code::DeadlineExceeded);
                }
                let error = Error::new(Code::DeadlineExceeded, Phase::Stream, "the response did not end in time");
                return Poll::Ready(Some(Err(error.at(this.endpoint.clone()))));
            }
        };
        // The status that the call ends with, if this frame is its last.
        let end = match &frame {
            Some(Ok(frame)) => frame.trailers_ref().map(|trailers| status_of(*this.http, trailers)),
            Some(Err(error)) => Some(Some(error.code())),
            None => Some(status_of(*this.http, &HeaderMap::new())),
        };
        if let Some(status) = end
            && let Some(tracking) = this.tracking.take()
        {
            tracking.finish(status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

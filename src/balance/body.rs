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
    balance::{
        Peer,
        deadline::Deadline,
        record::{Attempt, Record},
    },
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::{Code, status_of},
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
    call: Option<(Record, Attempt)>,
}

impl<T> Body<T>
where
    T: HttpBody<Data = Bytes, Error = Error>,
{
    pub(crate) fn respond(
        response: Response<T>,
        record: Record,
        mut attempt: Attempt,
        peer: Peer,
        deadline: Option<Deadline>,
    ) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let http = head.status;
        let endpoint = peer.endpoint().clone();
        head.extensions.insert(peer);
        if inner.is_end_stream() {
            // Trailers-Only: the one header block carries the status.
            end(&mut Some((record, attempt)), status_of(http, &head.headers));
            let body = Self { inner: Some(inner), http, endpoint, deadline: None, call: None };
            return Response::from_parts(head, body);
        }
        attempt.in_flight().headers_arrived(Instant::now());
        let call = Some((record, attempt));
        Response::from_parts(head, Self { inner: Some(inner), http, endpoint, deadline, call })
    }
}

/// Ends the call, unless it has ended. Without a status it is UNKNOWN to gRPC.
fn end(call: &mut Option<(Record, Attempt)>, status: Option<Code>) {
    if let Some((record, attempt)) = call.take() {
        let (code, now) = (status.unwrap_or(Code::Unknown), Instant::now());
        record.attempt_ended(attempt, code, now);
        record.ended(code, now);
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
        let polled = inner.poll_frame(cx);
        // The status that the call ends with, if this frame is its last.
        let status = match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                frame.trailers_ref().map(|trailers| status_of(*this.http, trailers))
            }
            Poll::Ready(Some(Err(error))) => Some(Some(error.code())),
            Poll::Ready(None) => Some(status_of(*this.http, &HeaderMap::new())),
            Poll::Pending => None,
        };
        if let Some(status) = status {
            end(this.call, status);
            return polled;
        }
        // An endless stream of data that is always there must not outrun the deadline either.
        let late = this.deadline.as_mut().is_some_and(|deadline| deadline.poll(cx).is_ready());
        if !late || this.call.is_none() {
            return polled;
        }
        this.inner.set(None);
        if let Some((record, _)) = this.call.take() {
            record.expired(Instant::now());
        }
        let error = Error::new(Code::DeadlineExceeded, Phase::Stream, "the response did not end in time");
        Poll::Ready(Some(Err(error.at(this.endpoint.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

//! The body of a balanced response: it carries the call, its load and its deadline to the very end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;

use crate::{
    balance::{Peer, deadline::Deadline, record::Record, shared::Observer},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::{Code, status_of},
    load::InFlight,
};

/// The body of a balanced response. Dropping it before its end cancels the call.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct Body<T: HttpBody> {
    /// `None` once the deadline has cut it off.
    #[pin]
    inner: Option<T>,
    http: Answered,
    deadline: Option<(Deadline, Arc<Endpoint>)>,
    /// `None` once the call has ended.
    call: Option<Unfinished>,
}

/// The HTTP status, and whether gRPC's status may follow.
#[derive(Clone, Copy, Debug)]
struct Answered {
    http: StatusCode,
    /// Over HTTP/1 nobody speaks gRPC, and a response that ends without its status has ended well.
    plain: bool,
}

impl Answered {
    fn status(self, headers: &HeaderMap) -> Option<Code> {
        status_of(self.http, headers).or((self.plain && self.http.is_success()).then_some(Code::Ok))
    }
}

/// A call that has headers and no end. Dropping it means that the caller gave up.
#[derive(Debug)]
struct Unfinished {
    observer: Arc<Observer>,
    parts: Option<(Record, InFlight)>,
}

impl Unfinished {
    /// The call ended with this status. Without one it is UNKNOWN to gRPC.
    fn end(mut self, status: Option<Code>) {
        if let Some((record, in_flight)) = self.parts.take() {
            end(&self.observer, record, in_flight, status);
        }
    }

    /// The stream broke.
    fn broke(mut self, error: &Error) {
        if let Some((record, in_flight)) = self.parts.take() {
            let now = Instant::now();
            record.attempt_broken(&self.observer, in_flight, error, now);
            record.ended(&self.observer, error.code(), now);
        }
    }

    fn expire(mut self, late: &Error) {
        if let Some((record, in_flight)) = self.parts.take() {
            Record::attempt_expired(&self.observer, in_flight, late);
            self.observer.stats.expired();
            record.ended(&self.observer, Code::DeadlineExceeded, Instant::now());
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some((record, in_flight)) = self.parts.take() {
            drop(in_flight);
            record.ended(&self.observer, Code::Cancelled, Instant::now());
        }
    }
}

fn end(observer: &Observer, record: Record, in_flight: InFlight, status: Option<Code>) {
    let (code, now) = (status.unwrap_or(Code::Unknown), Instant::now());
    record.attempt_ended(observer, in_flight, code, now);
    record.ended(observer, code, now);
}

impl<T> Body<T>
where
    T: HttpBody<Data = Bytes, Error = Error>,
{
    pub(crate) fn respond(
        response: Response<T>,
        observer: &Arc<Observer>,
        record: Record,
        mut in_flight: InFlight,
        peer: Peer,
        deadline: Option<Deadline>,
    ) -> Response<Self> {
        let (mut head, inner) = response.into_parts();
        let http = Answered { http: head.status, plain: head.version < Version::HTTP_2 };
        let (call, deadline) = if inner.is_end_stream() {
            // Trailers-Only: the one header block carries the status.
            end(observer, record, in_flight, http.status(&head.headers));
            (None, None)
        } else {
            in_flight.headers_arrived(Instant::now());
            let call = Unfinished { observer: observer.clone(), parts: Some((record, in_flight)) };
            (Some(call), deadline.map(|deadline| (deadline, peer.endpoint().clone())))
        };
        head.extensions.insert(peer);
        Response::from_parts(head, Self { inner: Some(inner), http, deadline, call })
    }
}

#[pinned_drop]
impl<T: HttpBody> PinnedDrop for Body<T> {
    /// Whoever goes by `is_end_stream` stops at the last data and never asks for the end that there would be.
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(call) = this.call.take()
            && this.inner.as_pin_mut().is_some_and(|inner| inner.is_end_stream())
        {
            call.end(this.http.status(&HeaderMap::new()));
        }
    }
}

fn too_late(endpoint: &Arc<Endpoint>) -> Error {
    Error::new(Code::DeadlineExceeded, Phase::Stream, "the response did not end in time").at(endpoint.clone())
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
        // A server that cancels what ran out of time says the same as the deadline.
        if let (Poll::Ready(Some(Err(error))), Some((deadline, endpoint))) = (&polled, &this.deadline)
            && deadline.is_behind(error, Instant::now())
        {
            let late = too_late(endpoint).because(error.clone());
            if let Some(call) = this.call.take() {
                call.expire(&late);
            }
            return Poll::Ready(Some(Err(late)));
        }
        let ends = match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => false,
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if ends {
            if let Some(call) = this.call.take() {
                match &polled {
                    Poll::Ready(Some(Err(error))) => call.broke(error),
                    Poll::Ready(Some(Ok(frame))) => {
                        call.end(frame.trailers_ref().and_then(|trailers| this.http.status(trailers)));
                    }
                    _ => call.end(this.http.status(&HeaderMap::new())),
                }
            }
            return polled;
        }
        // An endless stream of data that is always there must not outrun the deadline either.
        if let (Some((deadline, endpoint)), true) = (this.deadline, this.call.is_some())
            && deadline.poll(cx).is_ready()
        {
            this.inner.set(None);
            let late = too_late(endpoint);
            if let Some(call) = this.call.take() {
                call.expire(&late);
            }
            return Poll::Ready(Some(Err(late)));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

//! A record in the making.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, Method, Request, Response};

use crate::access_log::{End, Record, writer::Queue};

/// A request that is not over. When it is dropped, it is.
#[derive(Debug)]
pub(super) struct Entry {
    /// `None` once it is in the queue.
    record: Option<Box<Record>>,
    received: Arc<AtomicU64>,
    queue: Arc<Queue>,
    /// What the response's body may still be short of, if its length is known.
    length: Option<u64>,
    /// Whether all of the response has been handed over, though nobody asked for its end.
    has_all: bool,
}

impl Entry {
    pub(super) fn new<B>(request: &Request<B>, received: Arc<AtomicU64>, queue: Arc<Queue>) -> Self {
        let record = Some(Box::new(Record::of(request)));
        Self { record, received, queue, length: None, has_all: false }
    }

    pub(super) fn answered<B: http_body::Body>(&mut self, response: &Response<B>) {
        let body = response.body();
        self.length = body.size_hint().exact();
        let Some(record) = &mut self.record else { return };
        record.answered(response);
        // Nobody reads the body of a response to HEAD.
        self.has_all = body.is_end_stream() || record.method() == Method::HEAD;
    }

    pub(super) fn sent(&mut self, bytes: usize, has_all: bool) {
        let Some(record) = &mut self.record else { return };
        record.sent += bytes as u64;
        // A server that has sent a whole body of known length does not ask for its end.
        self.has_all = has_all || self.length == Some(record.sent);
    }

    pub(super) fn ended(&mut self, trailers: Option<&HeaderMap>) {
        if let (Some(record), Some(trailers)) = (&mut self.record, trailers) {
            record.ended_with(trailers);
        }
        self.finish(End::Complete);
    }

    pub(super) fn failed(&mut self, error: Option<&(dyn Error + 'static)>) {
        if let (Some(record), Some(error)) = (&mut self.record, error) {
            record.failed(error);
        }
        self.finish(End::Failed);
    }

    fn finish(&mut self, end: End) {
        let Some(mut record) = self.record.take() else { return };
        record.received = self.received.load(Relaxed);
        record.over(end);
        self.queue.push(record);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.finish(if self.has_all { End::Complete } else { End::Cancelled });
    }
}

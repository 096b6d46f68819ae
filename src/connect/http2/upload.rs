//! The request body on its way into the stream.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use tokio::task::AbortHandle;

use super::link::Call;
use crate::{
    connect::{Replay, RequestBody},
    error::{BoxError, Error},
};

/// A first frame up to this size goes out without asking for room: with the windows that HTTP/2 starts with there is
/// some, and if not, `h2` holds no more than this.
const UNRESERVED: usize = 16 * 1024;

/// What is asked for at once, so that one stream does not claim the whole connection window for a body of any size.
const RESERVE: usize = 1 << 20;

/// The sending half of a stream.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    /// Data that was pulled from the body and awaits the peer's windows.
    pending: Option<Bytes>,
    started: bool,
}

/// Why an upload stopped early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The body failed; the stream was reset.
    Body(BoxError),
    /// The stream takes no more data; its receiving half knows why.
    Stream,
}

impl Upload {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, pending: None, started: false }
    }

    /// Moves as much of the body as the peer takes. Ready when the stream's sending half is done with.
    ///
    /// The frame after a data frame is looked at before the data goes out, so that the last of them carries
    /// END_STREAM.
    pub(super) fn poll<B: RequestBody>(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Replay<B>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            let Some(data) = self.pending.take() else {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.pending = Some(data).filter(|data| !data.is_empty()),
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                return Poll::Ready(self.send_trailers(trailers));
                            }
                        }
                    },
                    Some(Err(error)) => return Poll::Ready(Err(self.reset(error))),
                    None => return Poll::Ready(self.send(Bytes::new(), true)),
                }
                continue;
            };
            let Poll::Ready(room) = self.poll_room(cx, data.len()) else {
                self.pending = Some(data);
                return Poll::Pending;
            };
            let room = room?;
            if room < data.len() {
                let mut rest = data;
                let part = rest.split_to(room);
                self.send(part, false)?;
                self.pending = Some(rest);
                continue;
            }
            if body.is_end_stream() {
                return Poll::Ready(self.send(data, true));
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(None) => return Poll::Ready(self.send(data, true)),
                Poll::Ready(Some(Ok(frame))) => {
                    self.send(data, false)?;
                    match frame.into_data() {
                        Ok(next) => self.pending = Some(next).filter(|data| !data.is_empty()),
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                return Poll::Ready(self.send_trailers(trailers));
                            }
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.reset(error))),
                Poll::Pending => {
                    self.send(data, false)?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<usize, Stopped>> {
        if !self.started && len <= UNRESERVED {
            self.started = true;
            return Poll::Ready(Ok(len));
        }
        self.started = true;
        self.stream.reserve_capacity(len.min(RESERVE));
        let mut room = self.stream.capacity();
        while room == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(more)) => room = more,
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Stream)),
            }
        }
        Poll::Ready(Ok(room))
    }

    fn send(&mut self, data: Bytes, end: bool) -> Result<(), Stopped> {
        self.stream.send_data(data, end).map_err(|_| Stopped::Stream)
    }

    fn send_trailers(&mut self, trailers: http::HeaderMap) -> Result<(), Stopped> {
        self.stream.send_trailers(trailers).map_err(|error| {
            self.stream.send_reset(Reason::CANCEL);
            Stopped::Body(error.into())
        })
    }

    fn reset(&mut self, error: impl Into<BoxError>) -> Stopped {
        self.stream.send_reset(Reason::CANCEL);
        Stopped::Body(error.into())
    }
}

/// A call both of whose halves are open after the response's headers: they share its permit.
#[derive(Debug)]
pub(super) struct Duplex {
    pub(super) call: Call,
    /// Why the upload broke off, for whoever reads the response.
    pub(super) failure: OnceLock<Error>,
}

/// Owns the task that moves the rest of a request body; dropping it ends the task.
#[derive(Debug)]
pub(super) struct Pump(AbortHandle);

// In this order: the stream must be gone before its permit.
struct Pumping<B> {
    upload: Upload,
    body: Replay<B>,
    duplex: Arc<Duplex>,
}

impl Pump {
    pub(super) fn spawn<B: RequestBody>(upload: Upload, body: Replay<B>, duplex: Arc<Duplex>) -> Self {
        let runtime = duplex.call.link.runtime.clone();
        Self(runtime.spawn(Pumping { upload, body, duplex }).abort_handle())
    }
}

impl<B: RequestBody> Future for Pumping<B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { upload, body, duplex } = self.get_mut();
        match upload.poll(cx, body) {
            // A body may be silent for as long as the call lasts: the peer's reset must end the upload then.
            Poll::Pending => return upload.stream.poll_reset(cx).map(|_| ()),
            Poll::Ready(Err(Stopped::Body(error))) => {
                let _ = duplex.failure.set(duplex.call.link.body_error(error));
            }
            Poll::Ready(Ok(()) | Err(Stopped::Stream)) => {}
        }
        Poll::Ready(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::{
    link::{Call, Link},
    upload::{Duplex, Pump},
};
use crate::error::Error;

/// The body of a response, straight from the stream.
///
/// The peer may send only as much as the stream's window holds; what is handed out is given back to the window. A
/// trailers-only response [is at its end](http_body::Body::is_end_stream) from the start. Dropping the body before its
/// end resets the stream with CANCEL, and stops an upload that goes on.
pub struct Body {
    open: Option<Open>,
}

// In this order: the stream must be gone before its permit.
struct Open {
    stream: RecvStream,
    data_done: bool,
    half: Half,
}

enum Half {
    /// The request is sent.
    Alone(Call),
    /// The request is still on its way.
    Duplex { _pump: Pump, duplex: Arc<Duplex> },
}

impl Body {
    pub(super) fn new(stream: RecvStream, call: Call) -> Self {
        Self::open(stream, Half::Alone(call))
    }

    pub(super) fn duplex(stream: RecvStream, pump: Pump, duplex: Arc<Duplex>) -> Self {
        Self::open(stream, Half::Duplex { _pump: pump, duplex })
    }

    /// The body of a trailers-only response.
    pub(super) fn ended() -> Self {
        Self { open: None }
    }

    fn open(stream: RecvStream, half: Half) -> Self {
        Self { open: Some(Open { stream, data_done: false, half }) }
    }
}

impl Open {
    fn link(&self) -> &Link {
        match &self.half {
            Half::Alone(call) => &call.link,
            Half::Duplex { duplex, .. } => &duplex.call.link,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.link().note_progress();
                    // It fails only for more than was received.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.error(error)))),
                None => self.data_done = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(self.error(error)))),
        }
    }

    fn error(&self, error: h2::Error) -> Error {
        if let Half::Duplex { duplex, .. } = &self.half
            && let Some(failure) = duplex.failure.get()
        {
            return failure.clone();
        }
        // Whatever the peer says now, its headers show that it has begun to act on the call.
        self.link().stream_error(error).safe_to_retry(false)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(open) = &mut self.open else { return Poll::Ready(None) };
        let frame = ready!(open.poll_frame(cx));
        // After trailers, an error, or the end there is nothing more: the stream and its permit are free.
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            self.open = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.stream.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::new() }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("open", &self.open.is_some()).finish()
    }
}

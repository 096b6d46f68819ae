use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{Http1, pool::Sender, slot::Upload};
use crate::{
    connect::Permit,
    error::{Error, Phase},
    grpc::Code,
};

/// The body of a response over HTTP/1.1. At its end the connection can carry the next request; dropping it before
/// closes the connection.
pub struct Body {
    incoming: Incoming,
    /// `None` once the body has ended or failed.
    carrier: Option<(Sender, Arc<Http1>, Permit, Upload)>,
}

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        sender: Sender,
        pool: Arc<Http1>,
        permit: Permit,
        upload: Upload,
    ) -> Self {
        let mut body = Self { incoming, carrier: Some((sender, pool, permit, upload)) };
        body.release_at_end();
        body
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        let Some((sender, pool, _permit, upload)) = self.carrier.take() else { return };
        // The next request would wait behind an upload that goes on.
        if upload.is_over() {
            pool.put_back(sender);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.release_at_end();
                Some(Ok(frame))
            }
            None => match self.carrier.as_ref().and_then(|(_, pool, ..)| pool.cause()) {
                // Before hyper 1.12 the end of a connection could pass for the end of the body.
                Some(cause) => {
                    let error = Error::new(Code::Unavailable, Phase::Stream, "the connection was lost");
                    let carrier = self.carrier.take();
                    let error =
                        carrier.map_or(error.clone(), |(_, pool, ..)| error.at(pool.endpoint.clone()));
                    Some(Err(error.because(cause)))
                }
                None => {
                    self.release();
                    None
                }
            },
            Some(Err(cause)) => Some(Err(match self.carrier.take() {
                Some((_, pool, ..)) => pool.failed(cause),
                None => {
                    Error::new(Code::Unavailable, Phase::Stream, "the connection was lost").because(cause)
                }
            })),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("ended", &self.carrier.is_none()).finish_non_exhaustive()
    }
}

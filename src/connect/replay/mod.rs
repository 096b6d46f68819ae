//! A request body that can be sent again from its start, as long as little of it is gone.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

/// How much of a body is kept for a second attempt, in bytes.
const KEEP_LIMIT: usize = 64 * 1024;

/// A request body that keeps what was pulled from it, up to 64 KiB, so that it can start over.
///
/// A peer may refuse a call after part of its body is gone (REFUSED_STREAM, GOAWAY). The frames are reference-counted
/// slices, so keeping them copies no data. Each kept frame is charged its length and the size of its handle, so that a
/// body of tiny frames is bounded too.
///
/// ```
/// use bytes::Bytes;
/// use grpc_balance::connect::Replay;
/// use http_body_util::{BodyExt, Full};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mut body = Replay::new(Full::new(Bytes::from("once")));
/// assert_eq!(body.frame().await.ok_or("no frame")??.into_data().ok(), Some(Bytes::from("once")));
/// assert!(body.rewind(), "little of it is gone");
/// assert_eq!(body.collect().await?.to_bytes(), "once");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Replay<B> {
    // Boxed, because the body moves between attempts, and into a pump, after it was polled.
    body: Pin<Box<B>>,
    kept: SmallVec<[Bytes; 1]>,
    trailers: Option<Box<HeaderMap>>,
    /// How many of the kept frames this attempt has handed out.
    replayed: usize,
    /// Whether this attempt has handed out the kept trailers.
    trailers_replayed: bool,
    charged: usize,
    keep: Keep,
    /// The body itself has said that it is over.
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Everything that was pulled is kept.
    All,
    /// Something is gone for good.
    Nothing,
}

impl<B> Replay<B> {
    /// Wraps a body that nothing was pulled from.
    #[must_use]
    pub fn new(body: B) -> Self {
        Self {
            body: Box::pin(body),
            kept: SmallVec::new(),
            trailers: None,
            replayed: 0,
            trailers_replayed: false,
            charged: 0,
            keep: Keep::All,
            ended: false,
        }
    }

    /// The body itself.
    #[must_use]
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// Whether [`rewind`](Self::rewind) would succeed.
    #[must_use]
    pub fn can_rewind(&self) -> bool {
        self.keep == Keep::All
    }

    /// Starts over from the first frame, and says whether that was possible. If it was not, nothing changes.
    #[must_use = "the body may be past the point of return"]
    pub fn rewind(&mut self) -> bool {
        if !self.can_rewind() {
            return false;
        }
        self.replayed = 0;
        self.trailers_replayed = false;
        true
    }

    /// Lets go of what was kept and keeps no more: the peer has answered, there will be no other attempt.
    pub fn commit(&mut self) {
        self.keep = Keep::Nothing;
        self.kept.drain(..self.replayed);
        self.replayed = 0;
        if self.trailers_replayed {
            self.trailers = None;
        }
    }

    /// The next frame that is to be handed out again.
    fn next_kept(&mut self) -> Option<Frame<Bytes>> {
        if self.keep == Keep::Nothing {
            if !self.kept.is_empty() {
                return Some(Frame::data(self.kept.remove(0)));
            }
            return self.trailers.take().map(|trailers| Frame::trailers(*trailers));
        }
        if let Some(data) = self.kept.get(self.replayed) {
            self.replayed += 1;
            return Some(Frame::data(data.clone()));
        }
        let trailers = self.trailers.as_ref().filter(|_| !self.trailers_replayed)?;
        self.trailers_replayed = true;
        Some(Frame::trailers((**trailers).clone()))
    }

    fn keep_frame(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            let charge = data.len().saturating_add(size_of::<Bytes>());
            self.charged = self.charged.saturating_add(charge);
            if self.charged > KEEP_LIMIT.saturating_add(size_of::<Bytes>()) {
                self.forget();
            } else {
                self.kept.push(data.clone());
                self.replayed = self.kept.len();
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(Box::new(trailers.clone()));
            self.trailers_replayed = true;
        }
    }

    fn forget(&mut self) {
        self.keep = Keep::Nothing;
        self.kept = SmallVec::new();
        self.replayed = 0;
    }
}

impl<B: Body<Data = Bytes>> Body for Replay<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Some(frame) = this.next_kept() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(frame)) if this.keep == Keep::All => this.keep_frame(frame),
            Some(Ok(_)) => {}
            Some(Err(_)) => {
                this.forget();
                this.ended = true;
            }
            None => this.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.replayed == self.kept.len()
            && (self.trailers.is_none() || (self.trailers_replayed && self.keep == Keep::All))
            && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let kept: u64 = self.kept.iter().skip(self.replayed).map(|data| data.len() as u64).sum();
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("kept", &self.kept.len())
            .field("can_rewind", &self.can_rewind())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

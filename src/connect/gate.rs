//! The streams of one connection, counted by ourselves.
//!
//! `h2`'s `poll_ready` does not hold clones of one `SendRequest` to the peer's SETTINGS_MAX_CONCURRENT_STREAMS, and a
//! stream that `h2` queues cannot be told from one that was sent. So a call goes out only with a permit.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::sync::Notify;

/// Hands out stream permits up to the peer's limit.
#[derive(Debug)]
pub struct Gate {
    live: AtomicUsize,
    max: AtomicUsize,
    room: Arc<Room>,
}

/// Where calls wait that found every connection full.
#[derive(Debug, Default)]
pub struct Room {
    waiting: AtomicUsize,
    notify: Arc<Notify>,
}

/// One stream of a connection; dropping it frees the stream.
#[derive(Debug)]
pub struct Permit(Arc<Gate>);

impl Gate {
    /// A gate with no permits, until [`set_max`](Self::set_max).
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self { live: AtomicUsize::new(0), max: AtomicUsize::new(0), room }
    }

    /// A gate that no peer limits.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { max: AtomicUsize::new(usize::MAX), ..Self::new(Arc::default()) }
    }

    /// Sets the limit; permits beyond it stay valid.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, SeqCst);
    }

    /// Takes a permit if there is one.
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let max = self.max.load(SeqCst);
        self.live.fetch_update(SeqCst, SeqCst, |live| (live < max).then_some(live + 1)).ok()?;
        Some(Permit(self.clone()))
    }

    /// Streams that are open now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(SeqCst)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
        if self.0.room.waiting.load(SeqCst) > 0 {
            self.0.room.notify.notify_one();
        }
    }
}

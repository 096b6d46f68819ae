//! The streams of one connection, counted by ourselves, and the queue of calls that found every connection full.
//!
//! `h2`'s `poll_ready` does not hold clones of one `SendRequest` to the peer's SETTINGS_MAX_CONCURRENT_STREAMS, and a
//! stream that `h2` queues cannot be told from one that was sent. So a call goes out only with a [`Permit`] of the
//! connection's [`Gate`].
//!
//! Connections that stand in for one another share a [`Room`]. A call that finds all of them full waits there, first
//! come, first served: a permit that is freed goes straight to the call that waited longest, and a newcomer cannot
//! snatch it. Nobody pays for the queue while it is empty, but for one atomic load as a permit is dropped.
//!
//! ```
//! use std::sync::Arc;
//!
//! use grpc_balance::connect::{Gate, Room};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let room = Arc::new(Room::new());
//! let gate = Arc::new(Gate::new(room.clone()));
//! gate.set_max(1);
//!
//! let first = gate.try_acquire().ok_or("the gate is full")?;
//! let mut waiting = room.wait(); // joins the queue, and only then looks again
//! assert!(gate.try_acquire().is_none());
//! drop(first);
//! let permit = waiting.await;
//! assert!(permit.is_of(&gate));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(all(test, model))]
mod model;
mod room;
#[cfg(all(test, not(model)))]
mod tests;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use self::sync::{AtomicUsize, Ordering::SeqCst};

pub use self::room::{Room, Waiting};

/// Hands out stream permits up to the peer's limit.
pub struct Gate {
    live: AtomicUsize,
    max: AtomicUsize,
    /// Whether those who wait are not to be given its permits. The model checker need not see it: whoever clears it
    /// wakes them by other means.
    withheld: AtomicBool,
    room: Arc<Room>,
}

/// One stream of a connection; dropping it frees the stream.
pub struct Permit {
    gate: Option<Arc<Gate>>,
}

impl Gate {
    /// A gate with no permits, until [`set_max`](Self::set_max), whose freed permits go to those who wait in `room`.
    #[must_use]
    pub fn new(room: Arc<Room>) -> Self {
        Self::with_max(0, room)
    }

    /// A gate that no peer limits.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::with_max(usize::MAX, Arc::new(Room::new()))
    }

    fn with_max(max: usize, room: Arc<Room>) -> Self {
        let (live, max) = (AtomicUsize::new(0), AtomicUsize::new(max));
        Self { live, max, withheld: AtomicBool::new(false), room }
    }

    /// Sets the limit: the peer's SETTINGS_MAX_CONCURRENT_STREAMS, or 0 once the connection takes no more calls.
    ///
    /// Permits beyond a lower limit stay valid. New room goes to those who wait.
    pub fn set_max(self: &Arc<Self>, max: usize) {
        self.max.store(max, SeqCst);
        if max > 0 {
            self.room.serve(self);
        }
    }

    /// Whether permits go to those who wait for one, as they do at first: not while calls must not go to the endpoint,
    /// or they would wait with a permit that is of no use in hand. Whoever lets them go there again wakes them.
    pub(crate) fn serve_waiting(&self, serves: bool) {
        self.withheld.store(!serves, SeqCst);
    }

    /// Takes a permit if there is one.
    #[must_use]
    pub fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let max = self.max.load(SeqCst);
        self.live
            .fetch_update(SeqCst, SeqCst, |live| if live < max { live.checked_add(1) } else { None })
            .ok()?;
        Some(Permit { gate: Some(self.clone()) })
    }

    /// Where calls wait for a permit of this gate, or of another one that shares the room.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Whether [`try_acquire`](Self::try_acquire) would find a permit now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.live.load(SeqCst) < self.max.load(SeqCst)
    }

    /// The limit.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max.load(SeqCst)
    }

    /// Streams that are open now.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(SeqCst)
    }
}

impl Permit {
    /// Whether the permit is for the connection behind this gate.
    #[must_use]
    pub fn is_of(&self, gate: &Arc<Gate>) -> bool {
        self.gate.as_ref().is_some_and(|own| Arc::ptr_eq(own, gate))
    }

    /// Frees the stream without serving those who wait: their queue was just found empty.
    fn free(mut self) {
        if let Some(gate) = self.gate.take() {
            gate.live.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            // Dekker's order: free the stream, then look for a waiter; a waiter joins the queue, then looks for a
            // stream. Both sides are SeqCst, so one of the two sees the other.
            gate.live.fetch_sub(1, SeqCst);
            gate.room.serve(&gate);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("live", &self.live()).field("max", &self.max()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// The primitives that the model checker replaces in its tests.
mod sync {
    #[cfg(not(all(test, model)))]
    pub(super) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    };

    #[cfg(all(test, model))]
    pub(super) use {
        super::model::AtomicUsize,
        loom::sync::{Mutex, MutexGuard, atomic::Ordering},
    };
}

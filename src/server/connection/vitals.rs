use std::{
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use crate::server::flood::Flood;

/// What is known of a connection from outside of hyper: its bytes pass here, and so do its requests.
#[derive(Debug)]
pub(super) struct Vitals {
    epoch: Instant,
    /// Requests whose response has not ended.
    active: AtomicUsize,
    /// When the last request ended, or when the connection began, as nanoseconds since `epoch`.
    idle_since: AtomicU64,
    /// Since when the peer owes the rest of a head, as nanoseconds since `epoch`, plus one; zero when it does not.
    owed_since: AtomicU64,
    written: AtomicU64,
    flood: AtomicU8,
    driver: AtomicWaker,
}

impl Vitals {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            active: AtomicUsize::new(0),
            idle_since: AtomicU64::new(0),
            owed_since: AtomicU64::new(0),
            written: AtomicU64::new(0),
            flood: AtomicU8::new(0),
            driver: AtomicWaker::new(),
        }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn at(&self, nanos: u64) -> Instant {
        self.epoch.checked_add(Duration::from_nanos(nanos)).unwrap_or(self.epoch)
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Acquire)
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.at(self.idle_since.load(Relaxed))
    }

    pub(super) fn owed_since(&self) -> Option<Instant> {
        self.owed_since.load(Relaxed).checked_sub(1).map(|nanos| self.at(nanos))
    }

    /// How many bytes went out.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(super) fn flood(&self) -> Option<Flood> {
        match self.flood.load(Relaxed) {
            1 => Some(Flood::Control),
            2 => Some(Flood::Resets),
            _ => None,
        }
    }

    /// Whom to wake when the last request has ended: that may happen on another task.
    pub(super) fn register(&self, driver: &Waker) {
        self.driver.register(driver);
    }

    pub(super) fn note_written(&self, bytes: usize) {
        self.written.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn note_flood(&self, flood: Flood) {
        let number = match flood {
            Flood::Control => 1,
            Flood::Resets => 2,
        };
        self.flood.store(number, Relaxed);
    }

    /// Notes that the peer owes something, if it did not already.
    pub(super) fn note_owed(&self) {
        if self.owed_since.load(Relaxed) == 0 {
            self.owed_since.store(self.nanos().saturating_add(1), Relaxed);
        }
    }

    pub(super) fn note_paid(&self) {
        self.owed_since.store(0, Relaxed);
    }
}

/// A request that is being served, to the end of its response or to the drop of either.
#[derive(Debug)]
pub(in crate::server) struct Active(Arc<Vitals>);

impl Active {
    pub(super) fn new(vitals: Arc<Vitals>) -> Self {
        vitals.active.fetch_add(1, AcqRel);
        Self(vitals)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        // Before the count, so that who sees no request sees since when.
        self.0.idle_since.store(self.0.nanos(), Release);
        if self.0.active.fetch_sub(1, AcqRel) == 1 {
            self.0.driver.wake();
        }
    }
}

//! What the control plane tells the data path: one immutable snapshot, and a wake-up when it changes.
//!
//! The order matters: the snapshot is stored before the generation is announced. A call subscribes to the generation
//! first, then reads the snapshot, and sleeps only if that one did not serve it; so it either sees the newer snapshot
//! or is woken for it. Announcing first would lose the wake-up (the model test shows it).

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

/// A value that is replaced as a whole, and the news of its replacement.
#[derive(Debug)]
pub(crate) struct Published<T> {
    current: ArcSwap<T>,
    generation: watch::Sender<u64>,
}

impl<T> Published<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { current: ArcSwap::from_pointee(first), generation: watch::Sender::new(0) }
    }

    /// The current value, for as long as the guard lives. Never hold it across an `.await`.
    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Replaces the value, wakes everyone who waits, and returns the retired value.
    pub(crate) fn publish(&self, next: Arc<T>) -> Arc<T> {
        let retired = self.current.swap(next);
        self.generation.send_modify(|generation| *generation += 1);
        retired
    }

    /// Resolves at the first publication after this call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + Send + use<T> {
        let mut generation = self.generation.subscribe();
        async move {
            // An error means that the publisher is gone, which is a change as well.
            let _ = generation.changed().await;
        }
    }
}

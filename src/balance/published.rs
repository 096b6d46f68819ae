//! What the control plane tells the data path: one immutable snapshot, and a wake-up when it changes.
//!
//! The order matters: the snapshot is stored before the generation is announced. A call subscribes to the generation
//! first, then reads the snapshot, and sleeps only if that one did not serve it; so it either sees the newer snapshot
//! or is woken for it. Announcing first would lose the wake-up, as the model test below shows when the two lines
//! in `publish` change places.

use std::sync::Arc;

use tokio::sync::watch;

use self::cell::{Cell, Guard};

/// A value that is replaced as a whole, and the news of its replacement.
#[derive(Debug)]
pub(crate) struct Published<T> {
    current: Cell<T>,
    generation: watch::Sender<u64>,
}

impl<T> Published<T> {
    pub(crate) fn new(first: T) -> Self {
        Self { current: Cell::new(first), generation: watch::Sender::new(0) }
    }

    /// The current value, for as long as the guard lives. Never hold it across an `.await`.
    pub(crate) fn load(&self) -> Guard<T> {
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

#[cfg(not(all(test, model)))]
mod cell {
    use std::sync::Arc;

    pub(super) type Guard<T> = arc_swap::Guard<Arc<T>>;

    #[derive(Debug)]
    pub(super) struct Cell<T>(arc_swap::ArcSwap<T>);

    impl<T> Cell<T> {
        pub(super) fn new(value: T) -> Self {
            Self(arc_swap::ArcSwap::from_pointee(value))
        }

        pub(super) fn load(&self) -> Guard<T> {
            self.0.load()
        }

        pub(super) fn swap(&self, value: Arc<T>) -> Arc<T> {
            self.0.swap(value)
        }
    }
}

/// The model checker does not see into `arc_swap`, so that it gets a cell of its own; what is checked is the order of
/// the snapshot and the news.
#[cfg(all(test, model))]
mod cell {
    use std::sync::Arc;

    pub(super) type Guard<T> = Arc<T>;

    #[derive(Debug)]
    pub(super) struct Cell<T>(loom::sync::Mutex<Arc<T>>);

    impl<T> Cell<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(Arc::new(value)))
        }

        pub(super) fn load(&self) -> Guard<T> {
            self.0.lock().expect("no panic").clone()
        }

        pub(super) fn swap(&self, value: Arc<T>) -> Arc<T> {
            std::mem::replace(&mut *self.0.lock().expect("no panic"), value)
        }
    }
}

/// Run with `RUSTFLAGS="--cfg model" cargo test --lib model::`.
#[cfg(all(test, model))]
mod model {
    use std::sync::Arc;

    use super::Published;

    #[test]
    fn whoever_saw_the_old_snapshot_is_told_of_the_new_one() {
        loom::model(|| {
            let published = Arc::new(Published::new(1));
            let publisher = {
                let published = published.clone();
                loom::thread::spawn(move || drop(published.publish(Arc::new(2))))
            };
            // The checker switches threads where a cell is used, and must be able to before the subscription.
            drop(published.load());
            let news = published.generation.subscribe();
            let seen = *published.load();
            publisher.join().expect("no panic");
            assert!(seen == 2 || news.has_changed().expect("the publisher lives"));
        });
    }
}

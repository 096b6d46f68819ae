//! The switch at the end of a process's life.

use std::{future::Future, sync::Arc};

use tokio::sync::watch;

/// Tells everything that speaks for this process that it stops. Cheap to clone; all clones are one switch.
///
/// It goes one way, in two steps, which is how a deploy rolls without a failed call:
///
/// ```text
///   serving ── start() ──► draining ── close() ──► closing
///              NOT_SERVING and 503       what would stay open for ever (a health Watch) ends
///              at once; calls are        by itself, so that connections can finish
///              still taken
/// ```
///
/// Between the two lies the *linger*: the time that balancers in front need to notice. A server takes
/// [`started`](Self::started) for its shutdown signal, lingers, and calls [`close`](Self::close) when it says GOAWAY.
#[derive(Clone, Debug)]
pub struct Drain(Arc<watch::Sender<Stage>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    Draining,
    Closing,
}

impl Drain {
    /// A switch that nobody has pulled.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Serving)))
    }

    /// Begins to drain: from here on everything is NOT_SERVING, and HTTP health checks get 503. There is no way back.
    pub fn start(&self) {
        self.reach(Stage::Draining);
    }

    /// The connections are about to close: answers that would go on for ever end. Also [starts](Self::start).
    pub fn close(&self) {
        self.reach(Stage::Closing);
    }

    /// Whether it drains, or is closing already.
    #[must_use]
    pub fn is_started(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    /// Completes when it [starts](Self::start), at once if it has.
    #[must_use = "futures do nothing unless polled"]
    pub fn started(&self) -> impl Future<Output = ()> + Send + use<> {
        reached(self.watch(), Stage::Draining)
    }

    /// Completes when it [closes](Self::close), at once if it has.
    #[must_use = "futures do nothing unless polled"]
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        reached(self.watch(), Stage::Closing)
    }

    pub(super) fn watch(&self) -> watch::Receiver<Stage> {
        self.0.subscribe()
    }

    fn reach(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let further = *now < stage;
            *now = stage.max(*now);
            further
        });
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// A switch whose last handle is gone will not be pulled any more.
async fn reached(mut now: watch::Receiver<Stage>, stage: Stage) {
    if now.wait_for(|now| *now >= stage).await.is_err() {
        std::future::pending().await
    }
}

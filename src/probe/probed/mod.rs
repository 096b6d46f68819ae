//! Verdicts on the endpoints of any resolver.

mod slots;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use self::slots::Slots;
use crate::{
    connect::{Connector, Worker, dial::DialLimit},
    discover::{Feedback, Resolve, Status},
    endpoint::EndpointSet,
    error::Error,
    probe::{Probe, Probing, open_with},
    random::Random,
};

/// How long verdicts are collected before they are told. Thousands of first verdicts then do not make as many sets.
const COLLECTED: Duration = Duration::from_millis(10);

/// A resolver whose endpoints carry the verdicts of a probe.
///
/// It yields the sets of the resolver beneath as they come, every endpoint of it, with the latest
/// [verdict](crate::endpoint::Endpoint::verdict) attached, and a new set whenever a verdict has changed. It removes
/// nothing and holds nothing back: what a failing endpoint means, or one without a verdict, is for its reader to say.
/// An endpoint that was removed and comes back starts from no verdict.
///
/// The probing goes on in tasks of its own, one per endpoint, which end when the endpoint is removed or this is
/// dropped. Each has its own connection.
///
/// See the [module docs](crate::probe) for an example.
#[pin_project]
pub struct Probed<R> {
    #[pin]
    resolver: Option<R>,
    slots: Slots,
    latest: Option<Arc<EndpointSet>>,
    generation: u64,
    /// Until when verdicts are collected.
    #[pin]
    collecting: Option<Sleep>,
}

impl<R: Resolve> Probed<R> {
    /// Probes the endpoints of `resolver`, with connections by `connector` where the probe speaks HTTP/2.
    ///
    /// The probing happens where the connector's connections live.
    #[must_use]
    pub fn new(resolver: R, probe: impl Into<Probe>, connector: &Connector) -> Self {
        let random = Arc::new(Random::from_os());
        let open = open_with(connector.clone());
        let probing = Probing::new(probe.into(), open, DialLimit::default(), random);
        Self::with(resolver, probing, connector.worker().clone())
    }

    pub(crate) fn with(resolver: R, probing: Arc<Probing>, worker: Worker) -> Self {
        Self {
            resolver: Some(resolver),
            slots: Slots::new(probing, worker),
            latest: None,
            generation: 0,
            collecting: None,
        }
    }
}

impl<R: Resolve> Resolve for Probed<R> {
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        let mut this = self.project();
        if let Some(resolver) = this.resolver.as_mut().as_pin_mut() {
            match resolver.poll_resolve(cx) {
                Poll::Ready(Some(Ok(set))) => {
                    this.slots.reconcile(&set);
                    *this.latest = Some(set);
                    return Poll::Ready(this.slots.yields(this.latest.as_ref(), this.generation));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => this.resolver.set(None),
                Poll::Pending => {}
            }
        }
        if this.resolver.is_none() && this.latest.as_ref().is_none_or(|set| set.is_empty()) {
            // Nothing will ever change again.
            return Poll::Ready(None);
        }
        loop {
            if let Some(collecting) = this.collecting.as_mut().as_pin_mut() {
                ready!(collecting.poll(cx));
                this.collecting.set(None);
            }
            ready!(this.slots.poll_news(cx));
            let now = Instant::now();
            match this.slots.told_at().and_then(|told| told.checked_add(COLLECTED)) {
                Some(next) if next > now => this.collecting.set(Some(sleep_until(next))),
                _ => return Poll::Ready(this.slots.yields(this.latest.as_ref(), this.generation)),
            }
        }
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        if let Some(resolver) = self.project().resolver.as_pin_mut() {
            resolver.feedback(feedback);
        }
    }

    fn status(&self) -> Option<Status> {
        self.resolver.as_ref().and_then(R::status)
    }
}

impl<R: fmt::Debug> fmt::Debug for Probed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probed")
            .field("resolver", &self.resolver)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

//! The endpoints of the latest set, each with its prober and its verdict.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::{task::AbortHandle, time::Instant};

use crate::{
    connect::Worker,
    endpoint::{Endpoint, EndpointKey, EndpointSet, Verdict},
    error::Error,
    probe::{Owner, Prober, Probing},
};

pub(super) struct Slots {
    probing: Arc<Probing>,
    worker: Worker,
    slots: HashMap<EndpointKey, Slot>,
    news: Arc<News>,
    told_at: Option<Instant>,
    round: u64,
}

/// One endpoint. Dropping it ends its probing.
struct Slot {
    state: Arc<Mutex<State>>,
    task: AbortHandle,
    seen: u64,
}

struct State {
    /// As the resolver has it.
    endpoint: Arc<Endpoint>,
    verdict: Option<Verdict>,
    /// The two together, as last yielded.
    attached: Option<Arc<Endpoint>>,
}

/// Whether a verdict has changed since the last set.
#[derive(Default)]
struct News(Mutex<(bool, Option<Waker>)>);

/// How a prober sees its slot.
struct Seat {
    state: Arc<Mutex<State>>,
    news: Arc<News>,
}

impl Slots {
    pub(super) fn new(probing: Arc<Probing>, worker: Worker) -> Self {
        Self { probing, worker, slots: HashMap::new(), news: Arc::default(), told_at: None, round: 0 }
    }

    /// Makes the slots those of `set`.
    pub(super) fn reconcile(&mut self, set: &EndpointSet) {
        self.round += 1;
        for endpoint in set.endpoints() {
            match self.slots.get_mut(endpoint.key()) {
                Some(slot) => {
                    slot.seen = self.round;
                    let mut state = lock(&slot.state);
                    if !Arc::ptr_eq(&state.endpoint, endpoint) {
                        state.attached = None;
                        state.endpoint = endpoint.clone();
                    }
                }
                None => {
                    let state = State { endpoint: endpoint.clone(), verdict: None, attached: None };
                    let state = Arc::new(Mutex::new(state));
                    let seat = Seat { state: state.clone(), news: self.news.clone() };
                    let prober = Prober::new(self.probing.clone(), seat, None);
                    let task = self.worker.spawn(prober.run()).abort_handle();
                    self.slots.insert(endpoint.key().clone(), Slot { state, task, seen: self.round });
                }
            }
        }
        if self.slots.len() != set.len() {
            self.slots.retain(|_, slot| slot.seen == self.round);
        }
    }

    /// Ready when a verdict has changed since the last set.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut news = lock(&self.news.0);
        if news.0 {
            return Poll::Ready(());
        }
        if !news.1.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            news.1 = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// When the last set was yielded.
    pub(super) fn told_at(&self) -> Option<Instant> {
        self.told_at
    }

    /// The set with the verdicts of now.
    pub(super) fn yields(
        &mut self,
        set: Option<&Arc<EndpointSet>>,
        generation: &mut u64,
    ) -> Option<Result<Arc<EndpointSet>, Error>> {
        // First, so that what changes meanwhile is told next.
        lock(&self.news.0).0 = false;
        self.told_at = Some(Instant::now());
        *generation += 1;
        let set = set?;
        let attached = set.endpoints().iter().map(|endpoint| match self.slots.get(endpoint.key()) {
            Some(slot) => lock(&slot.state).attached(),
            None => endpoint.clone(),
        });
        Some(Ok(Arc::new(set.with_attributes(attached.collect(), *generation))))
    }
}

impl State {
    fn attached(&mut self) -> Arc<Endpoint> {
        let Self { endpoint, verdict, attached } = self;
        let attach = || match verdict {
            // What another resolver beneath says stays until this one knows better.
            None => endpoint.clone(),
            Some(verdict) => Arc::new(Endpoint::clone(endpoint).with_verdict(verdict.clone())),
        };
        attached.get_or_insert_with(attach).clone()
    }
}

impl Owner for Seat {
    fn endpoint(&self) -> Arc<Endpoint> {
        lock(&self.state).endpoint.clone()
    }

    /// A resolver does not see calls.
    fn has_traffic(&self) -> bool {
        true
    }

    fn report(&self, verdict: Option<Verdict>) {
        let mut state = lock(&self.state);
        state.verdict = verdict;
        state.attached = None;
        drop(state);
        let mut news = lock(&self.news.0);
        news.0 = true;
        let waker = news.1.take();
        drop(news);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("endpoints", &self.slots.len()).finish_non_exhaustive()
    }
}

/// Nothing under these locks panics, hence a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

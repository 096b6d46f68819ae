//! The resolver itself: asks when it is time, and yields what changed.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    discover::{
        Feedback, Resolve, Status,
        dns::{
            DnsConfig,
            candidates::candidates,
            hosts::Hosts,
            known::{Emptied, Known, Part},
            lookup::Lookup,
            order::preference,
            round::{Found, Report, Round, settled},
            schedule::{Schedule, later},
        },
    },
    endpoint::{Endpoint, EndpointSet},
    error::Error,
};

/// Where to ask, as it is at the moment.
#[derive(Debug)]
pub(super) struct Place<L> {
    pub(super) hosts: Hosts,
    pub(super) lookup: Arc<L>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
}

/// Finds out where to ask; it is asked anew after a failure, since a network may have changed under the program.
pub(super) type Locate<L> = Box<dyn FnMut() -> Result<Place<L>, Error> + Send>;

/// Polls a name. It is driven by [`Resolve::poll_resolve`] alone: no task, and nothing outlives it.
pub(super) struct Poller<L> {
    name: Box<str>,
    port: u16,
    config: DnsConfig,
    locate: Locate<L>,
    place: Option<Place<L>>,
    found: Option<Found>,
    known: Known,
    published: Vec<Arc<Endpoint>>,
    generation: u64,
    schedule: Option<Schedule>,
    round: Option<Open>,
    timer: Option<Pin<Box<Sleep>>>,
    ready: VecDeque<Result<Arc<EndpointSet>, Error>>,
    status: Status,
    waker: Option<Waker>,
}

/// A resolution in progress.
struct Open {
    report: Pin<Box<dyn Future<Output = Report> + Send>>,
    early: UnboundedReceiver<Report>,
}

impl<L: Lookup> Poller<L> {
    pub(super) fn new(name: &str, port: u16, config: DnsConfig, locate: Locate<L>) -> Self {
        let confirm_after = config.confirm_removals.then_some(config.min_interval);
        Self {
            name: name.into(),
            port,
            known: Known::new(confirm_after, config.empty_grace),
            config,
            locate,
            place: None,
            found: None,
            published: Vec::new(),
            generation: 0,
            schedule: None,
            round: None,
            timer: None,
            ready: VecDeque::new(),
            status: Status::default(),
            waker: None,
        }
    }

    fn schedule(&mut self) -> &mut Schedule {
        // Made at the first poll: time begins then, and not when the resolver was built.
        self.schedule.get_or_insert_with(|| Schedule::new(&self.config, Instant::now()))
    }

    /// Starts a resolution.
    fn start(&mut self, now: Instant) {
        self.schedule().started(now);
        let place = match self.place.take().map_or_else(|| (self.locate)(), Ok) {
            Ok(place) => place,
            Err(error) => return self.failed(now, error),
        };
        if let Some(ips) = place.hosts.get(&self.name).filter(|_| !self.config.srv) {
            let report = settled(&self.name, self.port, ips, self.config.max_interval);
            // The place is not kept, so that the file is read again.
            return self.finished(now, report);
        }
        let (early, receiver) = unbounded_channel();
        let round = Round {
            lookup: place.lookup.clone(),
            candidates: candidates(&self.name, &place.search, place.ndots),
            found: self.found.clone(),
            port: self.port,
            srv: self.config.srv,
            srv_host_names: self.config.srv_host_names,
            deadline: later(now, self.config.deadline),
            family_delay: self.config.family_delay,
            early,
        };
        self.place = Some(place);
        self.round = Some(Open { report: Box::pin(round.run()), early: receiver });
    }

    /// Takes in a resolution that is done.
    fn finished(&mut self, now: Instant, report: Report) {
        match report {
            Report::Answered { parts, ttl, error, found } => {
                let ask_again = self.answered(now, &parts, found);
                match (&error, self.status.last_error()) {
                    (None, None) => {}
                    (None, Some(_)) => tracing::info!(name = %self.name, "DNS answers again"),
                    (Some(error), None) => {
                        tracing::warn!(name = %self.name, %error, "DNS answers only in part")
                    }
                    (Some(error), Some(_)) => {
                        tracing::debug!(name = %self.name, %error, "DNS answers only in part")
                    }
                }
                match &error {
                    None => self.schedule().succeeded(now, ttl),
                    Some(_) => self.schedule().partly_failed(now, ttl),
                }
                if let Some(at) = ask_again {
                    self.schedule().no_later_than(at);
                }
                self.status.succeeded(now, error);
            }
            Report::Empty { error, ttl } => {
                let emptied = self.known.empty(now);
                self.schedule().failed(now);
                match emptied {
                    Emptied::Held { until } => self.schedule().no_later_than(until),
                    Emptied::Honoured => {
                        tracing::warn!(name = %self.name, %error, "DNS has had no endpoints for too long");
                        self.publish();
                    }
                    Emptied::NothingKnown => {}
                }
                // The zone says how soon it may have changed its mind, and that may be sooner than the backoff.
                if let Some(ttl) = ttl {
                    let again = later(now, ttl.max(self.config.min_interval));
                    self.schedule().no_later_than(again);
                }
                self.complain(error);
            }
            Report::Failed(error) => self.failed(now, error),
        }
    }

    fn failed(&mut self, now: Instant, error: Error) {
        self.schedule().failed(now);
        self.place = None;
        self.complain(error);
    }

    /// Yields an error, and logs it the more loudly if all was well before.
    fn complain(&mut self, error: Error) {
        match self.status.last_error() {
            None => tracing::warn!(name = %self.name, %error, "DNS has no answer; what is known stays"),
            Some(_) => tracing::debug!(name = %self.name, %error, "DNS still has no answer"),
        }
        self.status.failed(error.clone());
        self.ready.push_back(Err(error));
    }

    fn answered(&mut self, now: Instant, parts: &[Part], found: Found) -> Option<Instant> {
        let has_route = |address| self.place.as_ref().is_none_or(|place| place.lookup.has_route(address));
        let ask_again = self.known.answered(now, parts, preference(parts, &has_route));
        self.found = Some(found);
        self.publish();
        ask_again
    }

    /// Yields the known endpoints if they differ from those that were yielded last.
    fn publish(&mut self) {
        let same = self.generation > 0
            && self.known.endpoints().count() == self.published.len()
            && self.known.endpoints().zip(&self.published).all(|(new, old)| Arc::ptr_eq(new, old));
        if same {
            return;
        }
        self.published = self.known.endpoints().cloned().collect();
        self.generation += 1;
        let set = EndpointSet::from_distinct(Arc::new(self.published.clone()), self.generation);
        tracing::debug!(name = %self.name, endpoints = set.len(), generation = set.generation(), "resolved");
        self.ready.push_back(Ok(Arc::new(set)));
    }

    /// Drives the resolution in progress, if there is one. Whether there is something to look at.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(open) = &mut self.round else { return Poll::Ready(()) };
        if let Poll::Ready(report) = open.report.as_mut().poll(cx) {
            self.round = None;
            self.finished(Instant::now(), report);
            return Poll::Ready(());
        }
        match open.early.try_recv() {
            Ok(Report::Answered { parts, found, .. }) => {
                self.answered(Instant::now(), &parts, found);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

impl<L: Lookup> Resolve for Poller<L> {
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(ready) = this.ready.pop_front() {
                return Poll::Ready(Some(ready));
            }
            let pending = if this.round.is_some() {
                this.poll_round(cx).is_pending()
            } else {
                let due = this.schedule().due();
                if Instant::now() >= due {
                    this.start(Instant::now());
                    continue;
                }
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                timer.as_mut().poll(cx).is_pending()
            };
            if pending {
                if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    this.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        let this = self.get_mut();
        let (key, bad) = match &feedback {
            Feedback::Failed(key) | Feedback::GoingAway(key) => (key, true),
            Feedback::Connected(key) => (key, false),
        };
        if this.known.suspect(key, bad) && bad {
            this.schedule().refresh();
            if let Some(waker) = &this.waker {
                waker.wake_by_ref();
            }
        }
    }

    fn status(&self) -> Option<Status> {
        Some(self.status.clone())
    }
}

impl<L: Lookup> fmt::Debug for Poller<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("name", &self.name)
            .field("port", &self.port)
            .field("place", &self.place)
            .field("endpoints", &self.published.len())
            .field("generation", &self.generation)
            .field("resolving", &self.round.is_some())
            .field("schedule", &self.schedule)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

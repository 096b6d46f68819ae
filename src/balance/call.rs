//! One call: pick, send, and pick again where that is safe.
//!
//! ```text
//!           ┌───────────── a change, or a free stream ─────────────┐
//!           ▼                                                      │
//!         Pick ── nothing suits ──► Wait (in the caller's own task)┘
//!           │ ▲
//!           │ └── never sent, or provably not processed
//!           ▼
//!         Send ── headers ──► the response, whose body carries the call to its end
//! ```

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;

use crate::{
    balance::{
        Peer, WaitForReady,
        body::Body,
        choose::{Next, Reserved, Wait, choose, redeem},
        deadline::Deadline,
        detour::{Detour, News},
        record::Record,
        shared::Core,
    },
    connect::{Connect, Connection, Replay, SendError},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    load::InFlight,
};

/// The response of a balanced call. Dropping it cancels the call.
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    #[pin]
    state: State<<C::Connection as Connection<B>>::Future>,
    call: Call<C, B>,
}

#[pin_project(project = StateProjection)]
enum State<F> {
    Pick,
    Wait(News),
    Send {
        #[pin]
        response: F,
        in_flight: Option<InFlight>,
        /// `None` once the response has it.
        endpoint: Option<Arc<Endpoint>>,
    },
}

/// What a call brings to each of its attempts.
struct Call<C: Connect, B> {
    core: Arc<Core<C>>,
    /// Here while the call is not on its way.
    request: Option<Request<Replay<B>>>,
    /// Here from the first poll to the end.
    record: Option<Record>,
    deadline: Option<Deadline>,
    /// The generation of the snapshot that the latest pick was made from.
    picked_from: u64,
    /// Boxed, because most calls never need it.
    detour: Option<Box<Detour>>,
}

impl<C, B> ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    pub(crate) fn new(core: Arc<Core<C>>, request: Request<B>) -> Self {
        let request = Some(request.map(Replay::new));
        Self {
            state: State::Pick,
            call: Call { core, request, record: None, deadline: None, picked_from: 0, detour: None },
        }
    }
}

impl<C, B> Future for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    type Output = Result<Response<Body<<C::Connection as Connection<B>>::Body>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        loop {
            let error = match this.state.as_mut().project() {
                StateProjection::Pick => match call.pick(this.state.as_mut()) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                StateProjection::Wait(news) => match news.as_mut().poll(cx) {
                    Poll::Ready(came) => {
                        call.detour().news_came(came);
                        this.state.set(State::Pick);
                        continue;
                    }
                    Poll::Pending if call.is_late(cx) => call.detour().too_late(),
                    Poll::Pending => return Poll::Pending,
                },
                StateProjection::Send { response, in_flight, endpoint } => match response.poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        let (Some(in_flight), Some(endpoint), Some(record)) =
                            (in_flight.take(), endpoint.take(), call.record.take())
                        else {
                            return Poll::Ready(Err(done_already()));
                        };
                        let peer = Peer::new(endpoint, record.attempts());
                        let observer = &call.core.observer;
                        let deadline = call.deadline.take();
                        return Poll::Ready(Ok(Body::respond(
                            response, observer, record, in_flight, peer, deadline,
                        )));
                    }
                    Poll::Ready(Err(failed)) => match call.failed(failed, in_flight.take()) {
                        Some(error) => error,
                        None => {
                            this.state.set(State::Pick);
                            continue;
                        }
                    },
                    Poll::Pending if call.is_late(cx) => {
                        let late = no_response_in_time(endpoint.as_ref());
                        if let Some(in_flight) = in_flight.take() {
                            Record::attempt_expired(&call.core.observer, in_flight, &late);
                        }
                        late
                    }
                    Poll::Pending => return Poll::Pending,
                },
            };
            // Cancels an attempt that is still under way.
            this.state.set(State::Pick);
            call.ended(error.code());
            return Poll::Ready(Err(error));
        }
    }
}

impl<C: Connect, B> Call<C, B>
where
    C::Connection: Connection<B>,
{
    /// Sends the call, or finds out what to wait for.
    fn pick(
        &mut self,
        mut state: Pin<&mut State<<C::Connection as Connection<B>>::Future>>,
    ) -> Result<(), Error> {
        loop {
            let now = Instant::now();
            let Some(request) = &mut self.request else { return Err(done_already()) };
            let Core { shared, observer } = &*self.core;
            let record = match &mut self.record {
                Some(record) => record,
                none => {
                    // The call's time runs from its first poll.
                    let record = none.insert(Record::new(observer, request.uri().path(), now));
                    self.deadline = Deadline::of(request.headers(), shared.deadline, now, &shared.runtime)?;
                    record
                }
            };
            if self.deadline.as_ref().is_some_and(|deadline| deadline.has_passed(now)) {
                return Err(self.detour().too_late());
            }
            let wait_for_ready =
                request.extensions().get::<WaitForReady>().map_or(shared.wait_for_ready, |wait| wait.0);
            let snapshot = shared.published.load();
            self.picked_from = snapshot.generation;
            let next = match &mut self.detour {
                None => choose(shared, &snapshot, request, &mut Default::default(), wait_for_ready, now),
                Some(detour) => {
                    let permit = detour.permit.take();
                    let may_wait = !detour.waited_for_connection;
                    permit.and_then(|permit| redeem(&snapshot, permit, may_wait)).unwrap_or_else(|| {
                        choose(shared, &snapshot, request, &mut detour.excluded, wait_for_ready, now)
                    })
                }
            };
            match next {
                Next::Send(Reserved { ready, lane, permit, trial }) => {
                    if let Some(detour) = &mut self.detour {
                        detour.goes();
                    }
                    if let Some(deadline) = &self.deadline {
                        deadline.forward(now, request.headers_mut());
                    }
                    let Some(request) = self.request.take() else { return Err(done_already()) };
                    record.goes();
                    let in_flight = Some(InFlight::start(ready.load().clone(), now).on_trial(trial));
                    let endpoint = Some(ready.endpoint().clone());
                    let response = lane.connection.send(request, permit);
                    state.set(State::Send { response, in_flight, endpoint });
                    return Ok(());
                }
                Next::Wait(Wait::Respite) => {
                    let respite = self.detour.get_or_insert_default().respite(&shared.runtime);
                    state.set(State::Wait(respite));
                    return Ok(());
                }
                Next::Wait(wait) => {
                    let detour = self.detour.get_or_insert_default();
                    if let Some(news) = detour.wait(shared, observer, wait) {
                        state.set(State::Wait(news));
                        return Ok(());
                    }
                }
                Next::Fail(error) => return Err(error),
            }
        }
    }

    /// Decides what follows an attempt that got no response: another pick (`None`), or the end.
    fn failed(&mut self, failed: SendError<B>, in_flight: Option<InFlight>) -> Option<Error> {
        let (Some(in_flight), Some(record)) = (in_flight, &mut self.record) else {
            return Some(done_already());
        };
        let (observer, detour) = (&self.core.observer, self.detour.get_or_insert_default());
        let (id, now) = (in_flight.load().id(), Instant::now());
        match failed {
            SendError::Unsent(error, request) => {
                record.unsent(observer, in_flight);
                detour.was_dead(id, self.picked_from, error);
                self.request = Some(request);
                None
            }
            SendError::Refused { error, request, going_away } => {
                record.refused(observer, in_flight, error.code(), going_away, now);
                let another = detour.was_refused(id, going_away, error.clone());
                self.request = request.filter(|_| another);
                if self.request.is_none() {
                    return Some(error);
                }
                observer.stats.retried();
                None
            }
            SendError::Failed(error) => {
                record.attempt_broken(observer, in_flight, &error, now);
                // A server that cancels what ran out of time says the same as the deadline.
                let late = self.deadline.as_ref().is_some_and(|deadline| deadline.is_behind(&error, now));
                Some(if late { no_response_in_time(error.endpoint()).because(error) } else { error })
            }
        }
    }
}

impl<C: Connect, B> Call<C, B> {
    fn detour(&mut self) -> &mut Detour {
        self.detour.get_or_insert_default()
    }

    /// Whether the deadline has passed; wakes the task when it does.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.poll(cx).is_ready())
    }

    fn ended(&mut self, code: Code) {
        // A stream that it was given goes to the next.
        self.detour = None;
        if let Some(record) = self.record.take() {
            let observer = &self.core.observer;
            if code == Code::DeadlineExceeded {
                observer.stats.expired();
            }
            record.ended(observer, code, Instant::now());
        }
    }
}

fn no_response_in_time(endpoint: Option<&Arc<Endpoint>>) -> Error {
    let error = Error::new(Code::DeadlineExceeded, Phase::Stream, "no response in time");
    match endpoint {
        Some(endpoint) => error.at(endpoint.clone()),
        None => error,
    }
}

fn done_already() -> Error {
    Error::new(Code::Internal, Phase::Pick, "the future was polled after it was done")
}

#[pinned_drop]
impl<C, B> PinnedDrop for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    fn drop(self: Pin<&mut Self>) {
        self.project().call.ended(Code::Cancelled);
    }
}

impl<C, B> fmt::Debug for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.call.record.as_ref().map(Record::attempts))
            .field("deadline", &self.call.deadline)
            .finish_non_exhaustive()
    }
}

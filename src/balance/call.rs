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
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    balance::{
        Peer, WaitForReady,
        body::{Body, Tracking},
        deadline::Deadline,
        exclusions::Exclusions,
        shared::Core,
        snapshot::{Choice, Snapshot},
    },
    connect::{Connect, Connection, Permit, Replay, SendError, subchannel::Lanes},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    load::InFlight,
    policy::{Pick, PickContext},
};

/// How often a call that peers provably refused goes elsewhere.
const MAX_REFUSALS: u32 = 3;

/// How many full endpoints a call lets its policy find one by one before it looks for any endpoint with room.
const MAX_FULL: usize = 8;

/// The response of a balanced call. Dropping it cancels the call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    core: Arc<Core<C>>,
    deadline: Option<Deadline>,
    /// Here while the call is not on its way.
    request: Option<Request<Replay<B>>>,
    #[pin]
    state: State<<C::Connection as Connection<B>>::Future>,
    /// The news to wait for, subscribed to before the last pick.
    news: Option<News>,
    excluded: Exclusions,
    refusals: u32,
    attempts: u32,
    wait_for_ready: bool,
    /// Why the call is still waiting.
    cause: Option<Error>,
}

type News = Pin<Box<dyn Future<Output = ()> + Send>>;

#[pin_project(project = StateProjection)]
enum State<F> {
    Refuse(Option<Error>),
    Pick,
    Wait(News),
    Send {
        #[pin]
        response: F,
        in_flight: Option<InFlight>,
        endpoint: Arc<Endpoint>,
    },
}

impl<C, B> ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    pub(crate) fn new(core: Arc<Core<C>>, request: Request<B>) -> Self {
        let wait_for_ready =
            request.extensions().get::<WaitForReady>().map_or(core.shared.wait_for_ready, |wait| wait.0);
        let (deadline, state) = match Deadline::of(request.headers(), core.shared.deadline) {
            Ok(deadline) => (deadline, State::Pick),
            Err(error) => (None, State::Refuse(Some(error))),
        };
        Self {
            core,
            deadline,
            request: Some(request.map(Replay::new)),
            state,
            news: None,
            excluded: Exclusions::default(),
            refusals: 0,
            attempts: 0,
            wait_for_ready,
            cause: None,
        }
    }
}

/// Where a call goes next.
enum Next<C> {
    Send { connection: Arc<C>, permit: Permit, in_flight: InFlight, endpoint: Arc<Endpoint> },
    Wait(Option<Error>),
    Fail(Error),
}

/// Chooses a connection for the call, from one snapshot.
fn choose<C: Connect, B>(
    core: &Core<C>,
    request: &Request<Replay<B>>,
    excluded: &mut Exclusions,
    wait_for_ready: bool,
    now: Instant,
) -> Next<C::Connection> {
    let snapshot = core.shared.published.load();
    let picker = match &snapshot.choice {
        Choice::Pick(picker) => picker,
        Choice::Wait => return Next::Wait(None),
        Choice::Fail(error) if wait_for_ready => return Next::Wait(Some(error.clone())),
        Choice::Fail(error) | Choice::Closed(error) => return Next::Fail(error.clone()),
    };
    excluded.begin(snapshot.generation);
    loop {
        let context = PickContext::new(
            request.uri().path(),
            request.headers(),
            request.extensions(),
            &core.shared.random,
            now,
        )
        .excluding(excluded.as_slice());
        let index = match picker.pick(&context) {
            Pick::Endpoint(index) => index,
            Pick::Queue => break,
            Pick::Fail(error) if wait_for_ready => return Next::Wait(Some(error)),
            Pick::Fail(error) | Pick::Drop(error) => return Next::Fail(error),
        };
        let Some(id) = snapshot.ready.endpoints().get(index).map(|ready| ready.load().id()) else {
            let message = format!("the policy picked number {index} of {}", snapshot.ready.len());
            return Next::Fail(Error::new(Code::Internal, Phase::Pick, message));
        };
        if let Some(next) = reserve(&snapshot, index, now) {
            return next;
        }
        if !excluded.full(id) || excluded.full_count() == MAX_FULL {
            let start = core.shared.random.below(snapshot.ready.len());
            let everywhere = (start..snapshot.ready.len()).chain(0..start);
            let found = everywhere
                .filter(|&i| !excluded.as_slice().contains(&snapshot.ready.endpoints()[i].load().id()))
                .find_map(|i| reserve(&snapshot, i, now));
            match found {
                Some(next) => return next,
                None => break,
            }
        }
    }
    if excluded.full_count() > 0 {
        core.shared.demand.notify_one();
    }
    Next::Wait(None)
}

/// A stream to the endpoint with this index, on its oldest connection that has one to spare (gRFC A105).
fn reserve<C>(snapshot: &Snapshot<C>, index: usize, now: Instant) -> Option<Next<C>> {
    let ready = snapshot.ready.endpoints().get(index)?;
    let lanes = snapshot.lanes.get(index)?;
    lanes.iter().find_map(|lane| {
        let permit = lane.gate.try_acquire()?;
        Some(Next::Send {
            connection: lane.connection.clone(),
            permit,
            in_flight: InFlight::start(ready.load().clone(), now),
            endpoint: ready.endpoint().clone(),
        })
    })
}

/// Whether every ready endpoint has refused the call.
fn refused_everywhere<C>(snapshot: &Snapshot<C>, excluded: &Exclusions) -> bool {
    let endpoints = snapshot.ready.endpoints();
    !endpoints.is_empty() && endpoints.iter().all(|ready| excluded.has_refused(ready.load().id()))
}

impl<C, B> Future for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    type Output = Result<Response<Body<<C::Connection as Connection<B>>::Body>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Refuse(error) => {
                    let gone = || Error::new(Code::Internal, Phase::Pick, "polled after it was done");
                    return Poll::Ready(Err(error.take().unwrap_or_else(gone)));
                }
                StateProjection::Pick => {
                    let now = Instant::now();
                    if this.deadline.as_ref().is_some_and(|deadline| deadline.has_passed(now)) {
                        return Poll::Ready(Err(too_late_to_pick(this.cause.take())));
                    }
                    let Some(request) = this.request.as_mut() else {
                        this.state.set(State::Refuse(None));
                        continue;
                    };
                    match choose(this.core, request, this.excluded, *this.wait_for_ready, now) {
                        Next::Send { connection, permit, in_flight, endpoint } => {
                            *this.news = None;
                            *this.attempts += 1;
                            if let Some(deadline) = &this.deadline {
                                deadline.forward(now, request.headers_mut());
                            }
                            let Some(request) = this.request.take() else { continue };
                            let response = connection.send(request, permit);
                            this.state.set(State::Send { response, in_flight: Some(in_flight), endpoint });
                        }
                        Next::Wait(cause) => {
                            if cause.is_some() {
                                *this.cause = cause;
                            }
                            match this.news.take() {
                                Some(news) => this.state.set(State::Wait(news)),
                                None => *this.news = Some(news(this.core)),
                            }
                        }
                        Next::Fail(error) => return Poll::Ready(Err(error)),
                    }
                }
                StateProjection::Wait(news) => {
                    if news.as_mut().poll(cx).is_pending() {
                        let Some(deadline) = this.deadline else { return Poll::Pending };
                        ready!(deadline.poll(cx));
                        return Poll::Ready(Err(too_late_to_pick(this.cause.take())));
                    }
                    this.state.set(State::Pick);
                }
                StateProjection::Send { response, in_flight, endpoint } => {
                    let Poll::Ready(result) = response.poll(cx) else {
                        let Some(deadline) = this.deadline else { return Poll::Pending };
                        ready!(deadline.poll(cx));
                        let error = Error::new(Code::DeadlineExceeded, Phase::Stream, "no response in time")
                            .at(endpoint.clone());
                        return Poll::Ready(Err(error));
                    };
                    let now = Instant::now();
                    let Some(in_flight) = in_flight.take() else {
                        this.state.set(State::Refuse(None));
                        continue;
                    };
                    let (error, request) = match result {
                        Ok(response) => {
                            let peer = Peer::new(endpoint.clone(), *this.attempts);
                            let tracking = Tracking::new(in_flight, this.core.observer.clone(), now);
                            return Poll::Ready(Ok(Body::respond(
                                response,
                                tracking,
                                peer,
                                this.deadline.take(),
                            )));
                        }
                        Err(SendError::Unsent(error, request)) => {
                            this.excluded.dead(in_flight.load().id());
                            (error, Some(request))
                        }
                        Err(SendError::Refused { error, request, going_away }) => {
                            *this.refusals += 1;
                            let load = in_flight.load().id();
                            in_flight.finish(this.core.observer.classify.outcome(error.code()), now);
                            if !going_away {
                                this.excluded.refused(load);
                            }
                            let everywhere = refused_everywhere(&this.core.shared.published.load(), this.excluded);
                            let give_up = *this.refusals > MAX_REFUSALS || everywhere;
                            (error, request.filter(|_| !give_up))
                        }
                        Err(SendError::Failed(error)) => {
                            in_flight.finish(this.core.observer.classify.outcome(error.code()), now);
                            (error, None)
                        }
                    };
                    let Some(request) = request else { return Poll::Ready(Err(error)) };
                    *this.cause = Some(error);
                    *this.request = Some(request);
                    this.state.set(State::Pick);
                }
            }
        }
    }
}

/// Resolves when there are other endpoints to choose from, or a stream has come free.
fn news<C: Connect>(core: &Core<C>) -> News {
    let changed = core.shared.published.changed();
    let room = core.shared.room.wait();
    Box::pin(async move {
        tokio::select! {
            () = changed => {}
            () = room => {}
        }
    })
}

fn too_late_to_pick(cause: Option<Error>) -> Error {
    match cause {
        Some(cause) => {
            let message = format!("no endpoint took the call in time; the latest obstacle: {cause}");
            Error::new(Code::DeadlineExceeded, Phase::Pick, message).because(cause)
        }
        None => Error::new(Code::DeadlineExceeded, Phase::Pick, "no endpoint took the call in time"),
    }
}

impl<C, B> fmt::Debug for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.attempts)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

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
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    balance::{
        Peer, WaitForReady,
        body::Body,
        choose::{Next, Reserved, Wait, choose, redeem, refused_everywhere},
        deadline::Deadline,
        exclusions::Exclusions,
        record::{Attempt, Record},
        shared::Core,
    },
    connect::{Connect, Connection, Permit, Replay, SendError},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
};

/// How often a call that peers provably refused goes elsewhere.
const MAX_REFUSALS: u32 = 3;

/// The response of a balanced call. Dropping it cancels the call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    #[pin]
    state: State<<C::Connection as Connection<B>>::Future>,
    /// `None` once the call has its response.
    call: Option<Call<C, B>>,
}

#[pin_project(project = StateProjection)]
enum State<F> {
    Pick,
    Wait(News),
    Send {
        #[pin]
        response: F,
        attempt: Option<Attempt>,
        endpoint: Arc<Endpoint>,
    },
}

/// What a call brings to each of its attempts.
struct Call<C: Connect, B> {
    core: Arc<Core<C>>,
    /// Here while the call is not on its way.
    request: Option<Request<Replay<B>>>,
    record: Record,
    deadline: Option<Deadline>,
    started: bool,
    wait_for_ready: bool,
    /// Subscribed to before the last look at the endpoints.
    news: Option<News>,
    /// A stream that came free while the call waited for one.
    permit: Option<Permit>,
    excluded: Exclusions,
    refusals: u32,
    /// Why the call is still waiting.
    obstacle: Option<Error>,
}

/// Resolves when it is worth looking again, with a permit if a stream came free.
type News = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

impl<C, B> ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    pub(crate) fn new(core: Arc<Core<C>>, request: Request<B>) -> Self {
        let wait_for_ready =
            request.extensions().get::<WaitForReady>().map_or(core.shared.wait_for_ready, |wait| wait.0);
        let record = Record::new(core.observer.clone(), request.uri().path());
        let call = Call {
            core,
            request: Some(request.map(Replay::new)),
            record,
            deadline: None,
            started: false,
            wait_for_ready,
            news: None,
            permit: None,
            excluded: Exclusions::default(),
            refusals: 0,
            obstacle: None,
        };
        Self { state: State::Pick, call: Some(call) }
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
        loop {
            let Some(call) = this.call.as_mut() else {
                let message = "the future was polled after it was ready";
                return Poll::Ready(Err(Error::new(Code::Internal, Phase::Pick, message)));
            };
            let error = match this.state.as_mut().project() {
                StateProjection::Pick => match call.pick() {
                    Step::Send { request, reserved } => {
                        let Reserved { connection, permit, in_flight, endpoint, stats } = reserved;
                        let attempt = Some(call.record.goes(in_flight, stats));
                        let response = connection.send(request, permit);
                        this.state.set(State::Send { response, attempt, endpoint });
                        continue;
                    }
                    Step::Wait(news) => {
                        this.state.set(State::Wait(news));
                        continue;
                    }
                    Step::Fail(error) => error,
                },
                StateProjection::Wait(news) => match news.as_mut().poll(cx) {
                    Poll::Ready(permit) => {
                        call.permit = permit.or(call.permit.take());
                        this.state.set(State::Pick);
                        continue;
                    }
                    Poll::Pending if call.is_late(cx) => call.too_late_to_pick(),
                    Poll::Pending => return Poll::Pending,
                },
                StateProjection::Send { response, attempt, endpoint } => match response.poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        let (Some(attempt), Some(Call { record, deadline, .. })) =
                            (attempt.take(), this.call.take())
                        else {
                            continue;
                        };
                        let peer = Peer::new(endpoint.clone(), record.attempts());
                        return Poll::Ready(Ok(Body::respond(response, record, attempt, peer, deadline)));
                    }
                    Poll::Ready(Err(failed)) => match call.failed(failed, attempt.take()) {
                        Some(error) => error,
                        None => {
                            this.state.set(State::Pick);
                            continue;
                        }
                    },
                    Poll::Pending if call.is_late(cx) => {
                        Error::new(Code::DeadlineExceeded, Phase::Stream, "no response in time")
                            .at(endpoint.clone())
                    }
                    Poll::Pending => return Poll::Pending,
                },
            };
            // Cancels an attempt that is still under way.
            this.state.set(State::Pick);
            if let Some(Call { record, .. }) = this.call.take() {
                let now = Instant::now();
                match error.code() {
                    Code::DeadlineExceeded => record.expired(now),
                    code => record.ended(code, now),
                }
            }
            return Poll::Ready(Err(error));
        }
    }
}

/// What a pick leads to.
enum Step<C, B> {
    Send { request: Request<Replay<B>>, reserved: Reserved<C> },
    Wait(News),
    Fail(Error),
}

impl<C: Connect, B> Call<C, B> {
    fn pick(&mut self) -> Step<C::Connection, B> {
        loop {
            let now = Instant::now();
            if let Err(error) = self.start(now) {
                return Step::Fail(error);
            }
            if self.deadline.as_ref().is_some_and(|deadline| deadline.has_passed(now)) {
                return Step::Fail(self.too_late_to_pick());
            }
            let Some(mut request) = self.request.take() else {
                return Step::Fail(Error::new(Code::Internal, Phase::Pick, "the request is gone"));
            };
            let shared = &self.core.shared;
            // A first look may come too early for a permit's connection to show; the second waited for a change.
            let fresh = self.news.is_none();
            let redeemed =
                self.permit.take().and_then(|permit| redeem(shared, permit, &mut self.excluded, fresh, now));
            let next = redeemed
                .unwrap_or_else(|| choose(shared, &request, &mut self.excluded, self.wait_for_ready, now));
            let wait = match next {
                Next::Send(reserved) => {
                    self.news = None;
                    if let Some(deadline) = &self.deadline {
                        deadline.forward(now, request.headers_mut());
                    }
                    return Step::Send { request, reserved };
                }
                Next::Fail(error) => return Step::Fail(error),
                Next::Wait(wait) => wait,
            };
            self.request = Some(request);
            self.record.waits();
            // Subscribe, look again, and only then wait: what changes in between is not missed.
            if let Some(news) = self.news.take() {
                if let Wait::Connection(permit) = wait {
                    self.permit = Some(permit);
                }
                return Step::Wait(news);
            }
            let changed = shared.published.changed();
            self.news = Some(match wait {
                Wait::Change(obstacle) => {
                    self.obstacle = obstacle.or(self.obstacle.take());
                    Box::pin(async move {
                        changed.await;
                        None
                    })
                }
                Wait::Connection(permit) => {
                    self.permit = Some(permit);
                    Box::pin(async move {
                        changed.await;
                        None
                    })
                }
                Wait::Room => {
                    let room = shared.room.wait();
                    Box::pin(async move {
                        tokio::select! {
                            () = changed => None,
                            permit = room => Some(permit),
                        }
                    })
                }
            });
        }
    }

    /// The call's time runs from its first poll.
    fn start(&mut self, now: Instant) -> Result<(), Error> {
        if let (false, Some(request)) = (self.started, &self.request) {
            self.started = true;
            self.record.starts(now);
            self.deadline = Deadline::of(request.headers(), self.core.shared.deadline, now)?;
        }
        Ok(())
    }

    /// Whether the deadline has passed; wakes the task when it does.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.poll(cx).is_ready())
    }

    /// Decides what follows an attempt that got no response: another pick (`None`), or the end.
    fn failed(&mut self, failed: SendError<B>, attempt: Option<Attempt>) -> Option<Error> {
        let Some(mut attempt) = attempt else {
            return Some(Error::new(Code::Internal, Phase::Stream, "the attempt is gone"));
        };
        let id = attempt.in_flight().load().id();
        let (error, request) = match failed {
            SendError::Unsent(error, request) => {
                // The snapshot still shows the dead connection; the call must not spin on it until the next one.
                self.record.unsent(attempt);
                self.excluded.dead(id);
                (error, Some(request))
            }
            SendError::Refused { error, request, going_away } => {
                self.record.refused(attempt, error.code(), Instant::now());
                self.refusals += 1;
                // A connection that goes away takes its endpoint out of the ready set by itself.
                if !going_away {
                    self.excluded.refused(id);
                }
                let another =
                    self.refusals <= MAX_REFUSALS && !refused_everywhere(&self.core.shared, &self.excluded);
                (error, request.filter(|_| another))
            }
            SendError::Failed(error) => {
                self.record.attempt_ended(attempt, error.code(), Instant::now());
                (error, None)
            }
        };
        match request {
            Some(request) => {
                self.obstacle = Some(error);
                self.request = Some(request);
                None
            }
            None => Some(error),
        }
    }

    fn too_late_to_pick(&mut self) -> Error {
        let message = "no endpoint took the call in time";
        match self.obstacle.take() {
            Some(cause) => {
                let message = format!("{message}; the latest obstacle: {}", cause.report());
                Error::new(Code::DeadlineExceeded, Phase::Pick, message).because(cause)
            }
            None => Error::new(Code::DeadlineExceeded, Phase::Pick, message),
        }
    }
}

impl<C, B> fmt::Debug for ResponseFuture<C, B>
where
    C: Connect,
    C::Connection: Connection<B>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.call.as_ref();
        f.debug_struct("ResponseFuture")
            .field("attempts", &call.map(|call| call.record.attempts()))
            .field("deadline", &call.and_then(|call| call.deadline.as_ref()))
            .finish_non_exhaustive()
    }
}

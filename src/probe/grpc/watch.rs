//! The stream of changes (gRFC A17).

use std::{convert::Infallible, future::pending, sync::Arc};

use prost::Message;
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    Question,
    check::{failed, found},
};
use crate::{
    backoff::{Backoff, Delays},
    grpc::Code,
    health::{
        Finding,
        proto::{HealthCheckResponse, ServingStatus},
    },
    probe::{
        caller::{CallError, Caller},
        line::{Line, Turn},
        messages::{Messages, Next},
        names::Acquaintance,
        prober::{Owner, Probing, Record},
    },
    random::Random,
};

/// Follows what the endpoint says of itself, connection by connection. Never ends.
pub(in crate::probe) async fn watch<O: Owner>(
    question: &Question,
    probing: &Probing,
    line: &mut Line,
    mut turn: Turn,
    record: &mut Record<O>,
    acquaintance: &mut Acquaintance,
) -> Infallible {
    let mut retries = Retries::new(&probing.random);
    loop {
        line.ready().await;
        let started = Instant::now();
        let endpoint = record.endpoint(probing.port());
        match timeout(probing.timeout(), line.get(&endpoint, &mut turn)).await {
            Ok(Ok(caller)) => {
                retries.delays.reset();
                let mut stream = Stream { question, probing, record, acquaintance, retries: &mut retries };
                let refuses = tokio::select! {
                    biased;
                    () = line.gone() => false,
                    () = stream.follow(&*caller) => true,
                };
                drop(caller);
                if refuses {
                    line.leave();
                }
                if line.is_own() {
                    // At once, but not in a circle with a peer that ends each connection as soon as it is made.
                    retries.pause_after(started, true).await;
                } else {
                    // Calls go to a new connection only after a word on it.
                    record.forget();
                }
            }
            Ok(Err(error)) => {
                record.hear(failed(&error));
                retries.pause_after(started, false).await;
            }
            Err(_) => {
                record.hear(Finding::Fail(format!("not connected within {:?}", probing.timeout()).into()));
                retries.pause_after(started, false).await;
            }
        }
    }
}

/// The streams on one connection.
struct Stream<'a, O> {
    question: &'a Question,
    probing: &'a Probing,
    record: &'a mut Record<O>,
    acquaintance: &'a mut Acquaintance,
    retries: &'a mut Retries,
}

impl<O: Owner> Stream<'_, O> {
    /// Asks, and asks again whenever the stream has ended. Returns when the connection takes no more streams.
    async fn follow(&mut self, caller: &dyn Caller) {
        loop {
            let started = Instant::now();
            let mut spoke = false;
            match self.listen(caller, &mut spoke).await {
                Ended::Gone => return,
                Ended::Unimplemented => {
                    self.acquaintance.unimplemented();
                    self.record.hear(Finding::Pass);
                    return pending().await;
                }
                Ended::Because(finding) => self.record.hear(finding),
            }
            self.retries.pause_after(started, spoke).await;
        }
    }

    /// Listens to one stream. `spoke`: a message has come.
    async fn listen(&mut self, caller: &dyn Caller, spoke: &mut bool) -> Ended {
        let patience = self.probing.timeout();
        let silence = tokio::time::sleep(patience);
        let mut silence = std::pin::pin!(silence);
        let mut silent = true;
        let mut call = std::pin::pin!(caller.call(self.question.request()));
        let mut messages: Option<Messages> = None;
        loop {
            let next = async {
                if messages.is_none() {
                    messages = Some(Messages::new(call.as_mut().await?));
                }
                match &mut messages {
                    Some(messages) => messages.next().await.map_err(CallError::Failed),
                    None => pending().await,
                }
            };
            let next = tokio::select! {
                biased;
                next = next => next,
                () = &mut silence, if silent => {
                    // The stream stays: a word that comes late still counts.
                    silent = false;
                    self.record.hear(Finding::Fail(format!("it says nothing within {patience:?}").into()));
                    continue;
                }
            };
            silent = false;
            match next {
                Ok(Next::Message(message)) => match HealthCheckResponse::decode(message) {
                    Ok(response) => {
                        *spoke = true;
                        if response.status() == ServingStatus::ServiceUnknown {
                            self.acquaintance.unknown();
                        } else {
                            self.acquaintance.known();
                        }
                        self.record.hear(found(response));
                    }
                    Err(error) => {
                        let cause = format!("the answer is no health message: {error}");
                        return Ended::Because(Finding::Fail(cause.into()));
                    }
                },
                Ok(Next::End(end)) if end.code == Code::Unimplemented && end.said => {
                    return Ended::Unimplemented;
                }
                Ok(Next::End(end)) => {
                    if end.code == Code::NotFound && end.said {
                        self.acquaintance.unknown();
                    }
                    return Ended::Because(Finding::Fail(format!("Watch ended: {end}").into()));
                }
                Err(CallError::Gone(_)) => return Ended::Gone,
                Err(CallError::Failed(error)) => return Ended::Because(failed(&error)),
            }
        }
    }
}

/// How a stream ended.
enum Ended {
    /// Its connection takes no more streams.
    Gone,
    Unimplemented,
    Because(Finding),
}

/// When to ask again.
struct Retries {
    random: Arc<Random>,
    delays: Delays,
    /// When a stream was last opened without a delay after another one.
    last_immediate: Option<Instant>,
}

impl Retries {
    fn new(random: &Arc<Random>) -> Self {
        Self { random: random.clone(), delays: Backoff::default().delays(), last_immediate: None }
    }

    /// Waits after a try that began then. `spoke`: it brought a message.
    async fn pause_after(&mut self, started: Instant, spoke: bool) {
        let now = Instant::now();
        if spoke {
            self.delays.reset();
            let initial = Backoff::default().initial();
            // A server that tells the status and ends the stream must not have us ask as fast as we can.
            if self.last_immediate.is_none_or(|last| now.duration_since(last) >= initial) {
                self.last_immediate = Some(now);
                return;
            }
        }
        sleep_until(self.delays.next_attempt_after(started, &self.random)).await;
    }
}

//! One endpoint's connections.

use std::{
    collections::VecDeque,
    fmt, iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, uri::Authority};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    connector::DIAL_TIMEOUT,
    exchange::ResponseFuture,
    slot::{BodyFailed, SlotBody},
};
use crate::{
    connect::{
        Connection, ConnectionState, Permit, Replay, RequestBody,
        connector::failure,
        dial::{AttemptDelay, BoxDial, race},
    },
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    stats::Disconnect,
};

/// How long a connection may be idle and still be used. Servers close theirs, Node.js after 5 s, and a request that
/// meets the closing is lost.
const FRESH: Duration = Duration::from_secs(4);
/// How many idle connections are kept.
const KEPT: usize = 64;

pub(super) type Sender = SendRequest<SlotBody>;

/// Opens connections.
#[derive(Clone, Debug)]
pub(super) struct Dialler {
    pub(super) authority: Authority,
    pub(super) dial: BoxDial,
    pub(super) delay: AttemptDelay,
    pub(super) runtime: Handle,
}

impl Dialler {
    /// `end`: what ends the connection, with the request on it, when it comes.
    pub(super) async fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        end: &watch::Receiver<Option<Error>>,
    ) -> Result<Sender, Error> {
        let attempt = |address| {
            Box::pin(async move {
                let io = self.dial.dial(address).await.map_err(failure::of_dial)?;
                let (sender, connection) =
                    handshake(TokioIo::new(io)).await.map_err(|error| failure::of(error.into()))?;
                let mut end = end.clone();
                self.runtime.spawn(async move {
                    tokio::select! {
                        // It ends with the sender, or with the peer.
                        _ = connection => {}
                        true = async { end.wait_for(Option::is_some).await.is_ok() } => {}
                    }
                });
                Ok(sender)
            })
        };
        race(endpoint.addresses(), self.delay, attempt)
            .await
            .map_err(|failures| failure::of_all(endpoint, failures))
    }
}

/// An endpoint that speaks HTTP/1.1, and the connections to it. They close when this is dropped.
pub struct Http1 {
    pub(super) endpoint: Arc<Endpoint>,
    dialler: Dialler,
    state: watch::Sender<ConnectionState>,
    /// Why all connections were ended, with the requests on them.
    ended: watch::Sender<Option<Error>>,
    idle: Mutex<VecDeque<(Sender, Instant)>>,
}

impl Http1 {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        dialler: Dialler,
        state: watch::Sender<ConnectionState>,
        ended: watch::Sender<Option<Error>>,
        first: Sender,
    ) -> Self {
        Self { endpoint, dialler, state, ended, idle: Mutex::new([(first, Instant::now())].into()) }
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.dialler.authority
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.dialler.runtime
    }

    /// The connection that was idle for the shortest time, if it is fresh.
    pub(super) fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle();
        while let Some((sender, since)) = idle.pop_back() {
            if since.elapsed() >= FRESH {
                // The others are older.
                idle.clear();
                return None;
            }
            if !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// A connection has carried its response to the end.
    pub(super) fn put_back(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle();
        while idle.len() >= KEPT || idle.front().is_some_and(|(_, since)| since.elapsed() >= FRESH) {
            idle.pop_front();
        }
        idle.push_back((sender, Instant::now()));
    }

    /// Another connection. When there is none to be had, the endpoint is lost.
    pub(super) async fn open(&self) -> Result<Sender, Error> {
        let end = self.ended.subscribe();
        let opened = match timeout(DIAL_TIMEOUT, self.dialler.open(&self.endpoint, &end)).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::new(Code::Unavailable, Phase::Connect, "no connection within 5 s")
                .at(self.endpoint.clone())),
        };
        opened.inspect_err(|cause| self.close(cause.clone()))
    }

    /// Ends all connections and the requests on them.
    pub(super) fn cut(&self, cause: Error) {
        self.ended.send_replace(Some(cause.clone()));
        self.close(cause);
    }

    /// Why all connections were ended, if they were.
    pub(super) fn cause(&self) -> Option<Error> {
        self.ended.borrow().clone()
    }

    /// What went wrong with a request.
    pub(super) fn failed(&self, error: hyper::Error) -> Error {
        let source: &(dyn std::error::Error + 'static) = &error;
        let chain = || iter::successors(Some(source), |error| error.source());
        let (code, message) =
            if self.ended.borrow().is_none() && chain().any(|error| error.is::<BodyFailed>()) {
                let ours = chain().find_map(|error| error.downcast_ref::<Error>());
                (ours.map_or(Code::Cancelled, Error::code), "the request body failed")
            } else if self.ended.borrow().is_none() && error.is_user() {
                (Code::Unavailable, "the request is not valid in HTTP/1.1")
            } else {
                (Code::Unavailable, "the connection was lost")
            };
        let failed = Error::new(code, Phase::Stream, message).at(self.endpoint.clone());
        match self.cause() {
            Some(cause) => failed.because(cause),
            None => failed.because(error),
        }
    }

    /// Takes no more requests; those under way go on.
    fn close(&self, cause: Error) {
        self.idle().clear();
        self.state.send_replace(ConnectionState::Closed {
            reason: Disconnect::Closed,
            too_many_pings: false,
            cause,
        });
    }

    /// Nothing under this lock panics, hence a poisoned one is as good as any.
    fn idle(&self) -> MutexGuard<'_, VecDeque<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: RequestBody> Connection<B> for Http1 {
    type Body = super::Body;
    type Future = ResponseFuture<B>;

    fn send(self: &Arc<Self>, request: Request<Replay<B>>, permit: Permit) -> ResponseFuture<B> {
        ResponseFuture::new(self.clone(), request, permit)
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1")
            .field("endpoint", &self.endpoint)
            .field("idle", &self.idle().len())
            .finish_non_exhaustive()
    }
}

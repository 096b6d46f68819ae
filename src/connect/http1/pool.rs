//! One endpoint's connections.

use std::{
    collections::VecDeque,
    fmt,
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

use super::{connector::DIAL_TIMEOUT, exchange::ResponseFuture, slot::SlotBody};
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
    pub(super) async fn open(&self, endpoint: &Arc<Endpoint>) -> Result<Sender, Error> {
        let attempt = |address| {
            Box::pin(async move {
                let io = self.dial.dial(address).await.map_err(failure::of_dial)?;
                let (sender, connection) =
                    handshake(TokioIo::new(io)).await.map_err(|error| failure::of(error.into()))?;
                // It ends with the sender, or with the peer.
                self.runtime.spawn(connection);
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
    idle: Mutex<VecDeque<(Sender, Instant)>>,
}

impl Http1 {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        dialler: Dialler,
        state: watch::Sender<ConnectionState>,
        first: Sender,
    ) -> Self {
        Self { endpoint, dialler, state, idle: Mutex::new([(first, Instant::now())].into()) }
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
        let opened = match timeout(DIAL_TIMEOUT, self.dialler.open(&self.endpoint)).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::new(Code::Unavailable, Phase::Connect, "no connection within 5 s")
                .at(self.endpoint.clone())),
        };
        opened.inspect_err(|cause| self.cut(cause.clone()))
    }

    pub(super) fn cut(&self, cause: Error) {
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

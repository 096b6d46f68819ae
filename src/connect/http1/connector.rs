use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::uri::Authority;
use tokio::sync::watch;

use super::{Http1, pool::Dialler};
use crate::{
    connect::{
        Connect, ConnectionState, ConnectorBuilder, Established, Worker,
        dial::{AttemptDelay, BoxDial},
    },
    endpoint::Endpoint,
    error::Error,
};

/// Makes pools of HTTP/1.1 connections to endpoints, in plaintext. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http1Connector {
    dialler: Dialler,
    worker: Worker,
}

impl Http1Connector {
    /// Starts a connector to the endpoints of a target with this authority, which is the `host` of requests that
    /// bring none. [`ConnectorBuilder::build_http1`] ends it.
    #[must_use]
    pub fn builder(authority: Authority) -> ConnectorBuilder {
        ConnectorBuilder::new(authority)
    }

    pub(crate) fn new(authority: Authority, dial: BoxDial, delay: AttemptDelay, worker: Worker) -> Self {
        Self { dialler: Dialler { authority, dial, delay, runtime: worker.runtime().clone() }, worker }
    }

    /// The same connector, whose connections live on another worker.
    #[must_use]
    pub fn on(&self, worker: Worker) -> Self {
        let dialler = Dialler { runtime: worker.runtime().clone(), ..self.dialler.clone() };
        Self { dialler, worker }
    }

    /// Where its connections live.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl Connect for Http1Connector {
    type Connection = Http1;
    type Future = Connecting;

    fn connect(&self, endpoint: &Arc<Endpoint>) -> Connecting {
        let (dialler, endpoint) = (self.dialler.clone(), endpoint.clone());
        let attempt = async move {
            let (ended, end) = watch::channel(None);
            let first = dialler.open(&endpoint, &end).await?;
            let (state, watch) = watch::channel(ConnectionState::Open { max_streams: usize::MAX });
            let pool = Arc::new(Http1::new(endpoint, dialler, state, ended, first));
            let weak = Arc::downgrade(&pool);
            Ok(Established::new(pool, watch).cut_by(move |cause| {
                if let Some(pool) = weak.upgrade() {
                    pool.cut(cause);
                }
            }))
        };
        Connecting { runtime: self.worker.runtime().clone(), attempt: Box::pin(attempt) }
    }
}

/// An attempt of an [`Http1Connector`].
#[must_use = "futures do nothing unless polled"]
pub struct Connecting {
    runtime: tokio::runtime::Handle,
    attempt: Pin<Box<dyn Future<Output = Result<Established<Http1>, Error>> + Send>>,
}

impl Future for Connecting {
    type Output = Result<Established<Http1>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        // Sockets and timers belong to the runtime in which they are made: the worker's, whoever polls.
        let this = &mut *self;
        let _guard = this.runtime.enter();
        this.attempt.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// How long a request waits for a further connection.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

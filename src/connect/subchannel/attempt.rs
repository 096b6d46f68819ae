//! One attempt to connect: its turn among all that dial, then the connection.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
};

use tokio::time::{Instant, timeout};

use super::Shared;
use crate::{
    connect::{
        Connect, Established,
        dial::{DialLimit, DialPermit},
    },
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
};

/// An attempt, if there is one, and how far it has come.
pub(super) enum Attempt<C> {
    None,
    /// It waits for its turn.
    Queued(Pin<Box<dyn Future<Output = DialPermit> + Send>>),
    /// It goes on, and counts among those that do.
    Started {
        _permit: DialPermit,
        connecting: Pin<Box<dyn Future<Output = Result<Established<C>, Error>> + Send>>,
        at: Instant,
    },
}

/// What an attempt has come to.
pub(super) enum Progress<C> {
    /// It may start.
    Turn(DialPermit),
    /// It is over, having started at this time.
    Over(Result<Established<C>, Error>, Instant),
}

impl<C> Attempt<C> {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Joins those that wait for their turn.
    pub(super) fn queue(limit: DialLimit) -> Self {
        Self::Queued(Box::pin(async move { limit.acquire().await }))
    }

    /// Starts to connect.
    pub(super) fn start<D>(
        permit: DialPermit,
        shared: &Shared<D>,
        endpoint: Arc<Endpoint>,
        at: Instant,
    ) -> Self
    where
        D: Connect<Connection = C>,
    {
        let limit = shared.settings.connect_timeout;
        let connecting = shared.connector.connect(&endpoint);
        let connecting = Box::pin(async move {
            timeout(limit, connecting).await.unwrap_or_else(|_| {
                let message = format!("not connected within {limit:?}");
                Err(Error::new(Code::Unavailable, Phase::Connect, message).at(endpoint))
            })
        });
        Self::Started { _permit: permit, connecting, at }
    }

    /// Waits for the next step; for ever if there is no attempt. Cancel-safe: all progress is kept here.
    pub(super) async fn progress(&mut self) -> Progress<C> {
        match self {
            Self::None => pending().await,
            Self::Queued(turn) => Progress::Turn(turn.await),
            Self::Started { connecting, at, .. } => Progress::Over(connecting.await, *at),
        }
    }
}

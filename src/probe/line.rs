//! The connection that a probe's calls go out on.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::caller::{CallError, Caller, Open, Opened};
use crate::{
    connect::{ConnectionState, dial::DialPermit},
    endpoint::Endpoint,
    error::Error,
    stats::Disconnect,
};

/// The connection that carries an endpoint's calls, whenever there is one.
pub(crate) type DataConnection = watch::Receiver<Option<Arc<dyn Caller>>>;

/// Where a probe's calls go out.
pub(super) enum Line {
    /// A connection of its own.
    Own { open: Open, opened: Option<Opened> },
    /// The one that carries calls. `stale`: it takes no more, and its successor has not come.
    Data { connection: DataConnection, stale: bool },
}

impl Line {
    pub(super) fn own(open: Open) -> Self {
        Self::Own { open, opened: None }
    }

    pub(super) fn data(connection: DataConnection) -> Self {
        Self::Data { connection, stale: false }
    }

    /// Whether it opens connections.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// Waits until there is a connection, where it is others who make it.
    pub(super) async fn ready(&mut self) {
        let Self::Data { connection, stale } = self else { return };
        while *stale || connection.borrow_and_update().is_none() {
            if connection.changed().await.is_err() {
                // Its owner is gone, and this with it.
                return pending().await;
            }
            *stale = false;
        }
    }

    /// A connection that takes calls, as far as is known.
    pub(super) async fn get(
        &mut self,
        endpoint: &Arc<Endpoint>,
        turn: &mut Turn,
    ) -> Result<Arc<dyn Caller>, Error> {
        match self {
            Self::Own { open, opened } => {
                if let Some(Opened { caller, state }) = opened
                    && matches!(&*state.borrow(), ConnectionState::Open { .. })
                {
                    return Ok(caller.clone());
                }
                // It was lost or went away while nothing was asked of it, which says nothing about the endpoint.
                *opened = None;
                let new = turn.hold(open(endpoint)).await?;
                Ok(opened.insert(new).caller.clone())
            }
            Self::Data { .. } => loop {
                self.ready().await;
                if let Self::Data { connection, .. } = self
                    && let Some(caller) = &*connection.borrow()
                {
                    return Ok(caller.clone());
                }
            },
        }
    }

    /// Asks on a connection, and again on another while those there are take no more calls: that is no answer. `None`:
    /// the next one is for others to make.
    pub(super) async fn ask<T, F>(
        &mut self,
        endpoint: &Arc<Endpoint>,
        turn: &mut Turn,
        ask: impl Fn(Arc<dyn Caller>) -> F,
    ) -> Option<Result<T, Error>>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut asked = 0;
        loop {
            let caller = match self.get(endpoint, turn).await {
                Ok(caller) => caller,
                Err(error) => return Some(Err(error)),
            };
            asked += 1;
            match ask(caller).await {
                Ok(answer) => return Some(Ok(answer)),
                Err(CallError::Failed(error)) => return Some(Err(error)),
                Err(CallError::Gone(error)) => {
                    self.leave();
                    if !self.is_own() {
                        return None;
                    }
                    if asked == CONNECTIONS {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// Uses this connection no more.
    pub(super) fn leave(&mut self) {
        match self {
            Self::Own { opened, .. } => *opened = None,
            Self::Data { stale, connection } => *stale = !connection.has_changed().unwrap_or(false),
        }
    }

    /// Waits until a connection of its own is lost, rather than going away.
    pub(super) async fn lost(&mut self) {
        let Self::Own { opened: Some(Opened { state, .. }), .. } = self else { return pending().await };
        loop {
            match &*state.borrow_and_update() {
                ConnectionState::Open { .. } => {}
                ConnectionState::Closed { reason, .. } if *reason != Disconnect::GoAway => return,
                _ => break,
            }
            if state.changed().await.is_err() {
                return;
            }
        }
        pending().await
    }

    /// Waits until the connection takes no more calls.
    pub(super) async fn gone(&mut self) {
        match self {
            Self::Own { opened: Some(Opened { state, .. }), .. } => {
                while matches!(&*state.borrow_and_update(), ConnectionState::Open { .. }) {
                    if state.changed().await.is_err() {
                        break;
                    }
                }
            }
            Self::Own { opened: None, .. } => {}
            Self::Data { connection, .. } => {
                if connection.changed().await.is_err() {
                    pending().await
                }
            }
        }
    }
}

/// A peer that ends one connection after the other as soon as it is asked is not well.
const CONNECTIONS: usize = 3;

/// The right to a first dial: when thousands of endpoints appear at once, their connections are opened by and by.
#[derive(Debug, Default)]
pub(super) struct Turn(pub(super) Option<DialPermit>);

/// How long a dial counts. An endpoint that swallows packets costs no more than one that answers, and those behind it
/// need not wait for it.
const COUNTED: Duration = Duration::from_millis(250);

impl Turn {
    pub(super) async fn hold<F: Future>(&mut self, dialling: F) -> F::Output {
        let Some(permit) = self.0.take() else { return dialling.await };
        let mut dialling = std::pin::pin!(dialling);
        match timeout(COUNTED, &mut dialling).await {
            Ok(output) => output,
            Err(_) => {
                drop(permit);
                dialling.await
            }
        }
    }
}

//! Established connections, as their task sees them.

use std::{future::pending, sync::Arc};

use futures_util::future::select_all;
use tokio::{sync::watch, time::Instant};

use crate::{
    connect::{ConnectionState, Established, Gate},
    error::{Error, Phase},
    grpc::Code,
    stats::Disconnect,
};

/// A connection that the task watches.
pub(super) struct Watched<C> {
    pub(super) established: Established<C>,
    pub(super) gate: Arc<Gate>,
    pub(super) attempt_started: Instant,
    /// The endpoint's successful calls when the connection was made.
    pub(super) succeeded_before: u64,
}
pub(super) async fn closed(health: &mut watch::Receiver<ConnectionState>) {
    while health.changed().await.is_ok() {}
}

/// The next change of any connection. A connection whose sender is gone has closed.
pub(super) async fn next_change<C>(open: &mut [Watched<C>]) -> (usize, ConnectionState) {
    if open.is_empty() {
        return pending().await;
    }
    let changes = open.iter_mut().map(|watched| {
        let health = &mut watched.established.health;
        Box::pin(async move {
            let alive = health.changed().await.is_ok();
            let state = health.borrow_and_update().clone();
            match state {
                ConnectionState::Open { .. } if !alive => ConnectionState::Closed {
                    reason: Disconnect::Closed,
                    too_many_pings: false,
                    cause: Error::new(Code::Unavailable, Phase::Stream, "the connection was closed"),
                },
                state => state,
            }
        })
    });
    let (state, index, _) = select_all(changes).await;
    (index, state)
}

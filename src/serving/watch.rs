//! The status of a service as it changes.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
};

use futures_util::future::select_all;
use tokio::sync::watch;

use crate::serving::{Registry, Status, drain::Stage, registry::Entries};

/// Follows the status of one service.
///
/// It keeps no history: who asks seldom gets the latest status, and nothing when it is again what it was.
#[derive(Debug)]
pub struct Watch {
    registry: Registry,
    service: Arc<str>,
    entries: watch::Receiver<Entries>,
    stage: watch::Receiver<Stage>,
    told: Option<Status>,
}

impl Watch {
    pub(super) fn new(registry: Registry, service: Arc<str>) -> Self {
        let (entries, stage) = (registry.entries(), registry.drain().watch());
        Self { registry, service, entries, stage, told: None }
    }

    /// The status at once, the first time; then the next that differs from the one before. `None` once the registry's
    /// [`Drain`](crate::serving::Drain) has closed, after a last NOT_SERVING.
    ///
    /// It is cancel safe: a status that was not returned is not lost.
    pub async fn next(&mut self) -> Option<Status> {
        loop {
            // What is marked as seen before it is looked at cannot change unnoticed.
            let closing = *self.stage.borrow_and_update() == Stage::Closing;
            self.entries.mark_unchanged();
            let clusters = self.registry.clusters(&self.service);
            let healths: Vec<_> = clusters.iter().flat_map(|clusters| clusters.watch()).collect();

            let status = self.registry.status(&self.service);
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(status);
            }
            if closing {
                return None;
            }
            let (entries, stage) = (changed(&mut self.entries), changed(&mut self.stage));
            let health = |mut health| -> Changed<'_> { Box::pin(async move { changed(&mut health).await }) };
            select_all([entries, stage].into_iter().chain(healths.into_iter().map(health))).await;
        }
    }
}

type Changed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What is gone changes no more.
fn changed<T: Send + Sync>(receiver: &mut watch::Receiver<T>) -> Changed<'_> {
    Box::pin(async move {
        if receiver.changed().await.is_err() {
            pending().await
        }
    })
}

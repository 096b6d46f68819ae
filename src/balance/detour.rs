//! What only a call needs that could not go out at once: what it waits for, and where it has been.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::runtime::Handle;

use crate::{
    balance::{
        choose::Wait,
        exclusions::Exclusions,
        shared::{Observer, Shared},
    },
    connect::{self, Connect, Permit},
    error::{Error, Phase},
    grpc::Code,
    load::LoadId,
    stats::Waiting,
};

/// How often a call that peers provably refused is sent again.
const MAX_REFUSALS: u32 = 3;

/// How long a call that every ready endpoint has refused stays away from them; four times that after one more refusal.
/// gRPC-core counts a stream until its own last write is done, some milliseconds longer than its client does, and
/// refuses what comes in between.
const RESPITE: Duration = Duration::from_millis(5);

/// Resolves when it is worth looking again.
pub(crate) type News = Pin<Box<dyn Future<Output = Came> + Send>>;

/// What the news are: a stream that came free, or else the call's place among those that wait for one.
#[derive(Default)]
pub(crate) struct Came {
    permit: Option<Permit>,
    place: Option<connect::Waiting>,
}

/// The state of a call that waits, or that goes to its second endpoint.
#[derive(Default)]
pub(crate) struct Detour {
    /// Subscribed to before the last look at the endpoints.
    pub(crate) news: Option<News>,
    /// Whether the news tell of streams that come free, too.
    news_of_room: bool,
    /// A stream that came free while the call waited for one.
    pub(crate) permit: Option<Permit>,
    /// The call's place among those that wait for a stream, while it looks again.
    place: Option<connect::Waiting>,
    /// The call has waited for a snapshot that shows the permit's connection.
    pub(crate) waited_for_connection: bool,
    pub(crate) excluded: Exclusions,
    refusals: u32,
    /// Why the call is still here.
    obstacle: Option<Error>,
    waiting: Option<Waiting>,
}

impl Detour {
    /// Prepares to wait. `None` the first time: what has changed before the call subscribed to the news is found by
    /// looking again, and only then is it safe to sleep.
    pub(crate) fn wait<C: Connect>(
        &mut self,
        shared: &Shared<C>,
        observer: &Observer,
        wait: Wait,
    ) -> Option<News> {
        if self.waiting.is_none() {
            self.waiting = Some(observer.stats.wait());
        }
        // The connection of a permit may be gone rather than new: another stream is as welcome as the next snapshot.
        let wants_room = matches!(wait, Wait::Room | Wait::Connection(_));
        match wait {
            Wait::Change(Some(obstacle)) => self.obstacle = Some(obstacle),
            Wait::Connection(permit) => self.permit = Some(permit),
            Wait::Change(None) | Wait::Room | Wait::Respite => {}
        }
        // News of changes alone do not tell of streams that come free: the endpoints may have come between the first
        // look and the subscription, and be full by the second.
        match self.news.take() {
            Some(news) if self.news_of_room || !wants_room => return Some(news),
            _ => self.news_of_room = wants_room,
        }
        let changed = shared.published.changed();
        // Whoever waited already keeps the place.
        let place = wants_room.then(|| self.place.take().unwrap_or_else(|| shared.room.wait()));
        self.news = Some(Box::pin(async move {
            let Some(mut place) = place else {
                changed.await;
                return Came::default();
            };
            tokio::select! {
                () = changed => Came { permit: None, place: Some(place) },
                permit = &mut place => Came { permit: Some(permit), place: None },
            }
        }));
        None
    }

    /// What the call waited for has come.
    pub(crate) fn news_came(&mut self, Came { permit, place }: Came) {
        self.waited_for_connection = permit.is_none();
        self.permit = permit.or(self.permit.take());
        self.place = place;
    }

    /// The call is on its way again.
    pub(crate) fn goes(&mut self) {
        self.news = None;
        self.place = None;
        self.waiting = None;
    }

    /// The connection to this endpoint was dead. The snapshot still shows it; the call must not spin on it until the
    /// next one.
    pub(crate) fn was_dead(&mut self, id: LoadId, generation: u64, cause: Error) {
        self.excluded.dead(id, generation);
        self.obstacle = Some(cause);
    }

    /// The endpoint refused the call. Whether it may be sent again: elsewhere, and when every endpoint that the policy
    /// would pick has refused it, anywhere after a [`respite`](Self::respite).
    pub(crate) fn was_refused(&mut self, id: LoadId, going_away: bool, cause: Error) -> bool {
        self.refusals += 1;
        self.obstacle = Some(cause);
        // A connection that goes away takes its endpoint out of the ready set by itself.
        if !going_away {
            self.excluded.refused(id);
        }
        self.refusals <= MAX_REFUSALS
    }

    /// Forgives those that refused the call, and says what to wait for before it goes to them again.
    pub(crate) fn respite(&mut self, runtime: &Handle) -> News {
        self.excluded.forgive();
        let respite = RESPITE * 4_u32.saturating_pow(self.refusals.saturating_sub(1));
        // The caller's runtime may be another, or none.
        let _guard = runtime.enter();
        let over = tokio::time::sleep(respite);
        Box::pin(async move {
            over.await;
            Came::default()
        })
    }

    /// The deadline passed while the call was looking for an endpoint.
    pub(crate) fn too_late(&mut self) -> Error {
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

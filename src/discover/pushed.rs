//! Endpoints that the program tells of.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    discover::{Resolve, roster::Roster},
    endpoint::{Endpoint, EndpointKey, EndpointSet},
    error::Error,
};

/// A resolver of the endpoints that its [`PushedHandle`] was told of.
///
/// Changes are coalesced: however many are made between two polls, they are one set. Until the first change the
/// target counts as unresolved; [`PushedHandle::replace`] with nothing resolves it to nothing.
#[derive(Debug)]
pub struct Pushed(Arc<Shared>);

/// Changes what a [`Pushed`] resolves to, from any thread.
///
/// May be cloned. When the last clone is dropped, the set stays as it is and is final.
#[derive(Debug)]
pub struct PushedHandle(Arc<Shared>);

struct Shared(Mutex<State>);

struct State {
    roster: Roster<EndpointKey>,
    changed: bool,
    generation: u64,
    handles: usize,
    waker: Option<Waker>,
}

impl Pushed {
    /// A resolver and the handle that feeds it.
    #[must_use]
    pub fn new() -> (PushedHandle, Self) {
        let shared = Arc::new(Shared(Mutex::new(State {
            roster: Roster::new(),
            changed: false,
            generation: 0,
            handles: 1,
            waker: None,
        })));
        (PushedHandle(shared.clone()), Self(shared))
    }
}

impl PushedHandle {
    /// Adds an endpoint, or replaces the one with the same identity: its attributes change, its connections stay.
    ///
    /// Whether that made a difference.
    pub fn insert(&self, endpoint: impl Into<Arc<Endpoint>>) -> bool {
        let endpoint = endpoint.into();
        self.change(|state| state.roster.insert(endpoint.key().clone(), endpoint))
    }

    /// Removes the endpoint with this identity. Whether it was there.
    #[expect(clippy::must_use_candidate, reason = "it is called for its effect")]
    pub fn remove(&self, key: &EndpointKey) -> bool {
        self.change(|state| state.roster.remove(key))
    }

    /// Replaces the whole set, in order of preference. Of endpoints with the same identity only the first is kept.
    ///
    /// Endpoints that stay keep their connections.
    pub fn replace<E: Into<Arc<Endpoint>>>(&self, endpoints: impl IntoIterator<Item = E>) {
        // Collected first: the caller's iterator must not run under the lock.
        let endpoints: Vec<Arc<Endpoint>> = endpoints.into_iter().map(Into::into).collect();
        self.change(|state| {
            let mut roster = Roster::new();
            for endpoint in endpoints {
                let key = endpoint.key().clone();
                if roster.get(&key).is_some() {
                    continue;
                }
                // Whoever compares two sets is spared work where the pointer is the same.
                let endpoint = match state.roster.get(&key) {
                    Some(old) if **old == *endpoint => old.clone(),
                    _ => endpoint,
                };
                roster.insert(key, endpoint);
            }
            let same = state.generation > 0
                && state.roster.endpoints().len() == roster.endpoints().len()
                && state
                    .roster
                    .endpoints()
                    .iter()
                    .zip(roster.endpoints().iter())
                    .all(|(old, new)| Arc::ptr_eq(old, new));
            state.roster = roster;
            !same
        });
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) -> bool {
        let mut state = self.0.lock();
        let made = change(&mut state);
        if made {
            state.changed = true;
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        made
    }
}

impl Clone for PushedHandle {
    fn clone(&self) -> Self {
        self.0.lock().handles += 1;
        Self(self.0.clone())
    }
}

impl Drop for PushedHandle {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.handles -= 1;
        if state.handles == 0 {
            let waker = state.waker.take();
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Resolve for Pushed {
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        let mut state = self.0.lock();
        // A target whose owner left without a word resolves to nothing, rather than never.
        let abandoned = state.handles == 0 && state.generation == 0;
        if state.changed || abandoned {
            state.changed = false;
            state.generation += 1;
            let set = EndpointSet::from_distinct(state.roster.endpoints().clone(), state.generation);
            return Poll::Ready(Some(Ok(Arc::new(set))));
        }
        if state.handles == 0 {
            return Poll::Ready(None);
        }
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Shared {
    /// Nothing under this lock panics, hence a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Shared")
            .field("endpoints", &state.roster.endpoints().len())
            .field("generation", &state.generation)
            .field("handles", &state.handles)
            .finish_non_exhaustive()
    }
}

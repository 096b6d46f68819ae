//! What a picker may know about the call.

use http::{Extensions, HeaderMap};
use tokio::time::Instant;

use crate::{load::LoadId, policy::ReadyEndpoint, random::Random};

/// One call, as a picker sees it.
#[derive(Debug)]
pub struct PickContext<'a> {
    path: &'a str,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    excluded: &'a [LoadId],
    random: &'a Random,
    now: Instant,
}

impl<'a> PickContext<'a> {
    /// The context of a call that has not been anywhere yet.
    pub fn new(
        path: &'a str,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
        random: &'a Random,
        now: Instant,
    ) -> Self {
        Self { path, headers, extensions, excluded: &[], random, now }
    }

    /// Excludes endpoints: the call was there already, or they have no stream to spare.
    #[must_use]
    pub fn excluding(mut self, excluded: &'a [LoadId]) -> Self {
        self.excluded = excluded;
        self
    }

    /// The method as it stands in the request: `/package.Service/Method`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.path
    }

    /// The request's headers, the call's metadata among them.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The request's extensions, which layers and interceptors may have filled.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// Whether this endpoint must not be picked.
    #[must_use]
    pub fn excludes(&self, endpoint: &ReadyEndpoint) -> bool {
        !self.excluded.is_empty() && self.excluded.contains(&endpoint.id())
    }

    /// Whether there is any endpoint that must not be picked; the common case is that there is none.
    #[must_use]
    pub fn has_exclusions(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// The balancer's random source.
    #[must_use]
    pub fn random(&self) -> &'a Random {
        self.random
    }

    /// The time of the pick.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }
}

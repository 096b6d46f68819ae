//! The layer and its settings.

use std::sync::Arc;

use http::Request;
use tower_layer::Layer;

use crate::{
    serving::Drain,
    shim::{HealthShim, Match, Source},
};

/// Answers HTTP health checks in front of a service.
///
/// See the [module docs](crate::shim).
#[derive(Clone, Debug)]
pub struct HealthShimLayer {
    config: Arc<Config>,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    source: Source,
    matches: Vec<Match>,
    drain: Option<Drain>,
    json: bool,
}

impl HealthShimLayer {
    /// Answers from this source: a cluster's [`Health`](crate::health::Health), several
    /// [`Clusters`](crate::serving::Clusters), a [`Registry`](crate::serving::Registry), or any [`Source`].
    ///
    /// It answers on `/healthz`, unless [`path`](Self::path) or [`matching`](Self::matching) say where.
    #[must_use]
    pub fn new(source: impl Into<Source>) -> Self {
        let config = Config { source: source.into(), matches: Vec::new(), drain: None, json: true };
        Self { config: Arc::new(config) }
    }

    /// Answers requests for this path. May be called several times.
    #[must_use]
    pub fn path(self, path: impl AsRef<str>) -> Self {
        self.matching(Match::path(path))
    }

    /// Answers these requests. May be called several times.
    #[must_use]
    pub fn matching(self, requests: Match) -> Self {
        self.with(|config| config.matches.push(requests))
    }

    /// Says 503 once this switch has started. By default only a [`Registry`](crate::serving::Registry) brings a
    /// switch along.
    #[must_use]
    pub fn draining(self, drain: Drain) -> Self {
        self.with(|config| config.drain = Some(drain))
    }

    /// Whether those who accept JSON get the counts, names and causes behind the answer. `true` by default.
    ///
    /// They name endpoints and what is wrong with them. Say `false` where strangers can ask.
    #[must_use]
    pub fn json(self, json: bool) -> Self {
        self.with(|config| config.json = json)
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.config));
        self
    }
}

impl<S> Layer<S> for HealthShimLayer {
    type Service = HealthShim<S>;

    fn layer(&self, inner: S) -> HealthShim<S> {
        let mut config = self.config.clone();
        if config.matches.is_empty() {
            Arc::make_mut(&mut config).matches.push(Match::path("/healthz"));
        }
        HealthShim::new(inner, config)
    }
}

impl Config {
    pub(super) fn matches<B>(&self, request: &Request<B>) -> bool {
        self.matches.iter().any(|requests| requests.matches(request))
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.as_ref().is_some_and(Drain::is_started)
    }

    pub(super) fn tells_json(&self) -> bool {
        self.json
    }
}

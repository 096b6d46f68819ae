//! What the shim answers from.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{
    health::Health,
    serving::{Clusters, Look, Registry, Status},
};

/// What the shim answers from.
///
/// A [`Health`] (at least one endpoint is healthy), [`Clusters`] and a [`Registry`] (its `""`) are sources, and
/// become one wherever one is asked for.
#[derive(Clone, Debug)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Clusters(Clusters),
    Service(Registry, Arc<str>),
    Ask(Arc<dyn Fn() -> bool + Send + Sync>),
}

/// What a source says, and why.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) serving: bool,
    pub(super) cause: Option<Cow<'static, str>>,
    pub(super) clusters: Vec<Look>,
}

impl Source {
    /// The status of one service: 200 while it is SERVING.
    #[must_use]
    pub fn service(registry: Registry, service: impl Into<Arc<str>>) -> Self {
        Self(Kind::Service(registry, service.into()))
    }

    /// Whatever else knows, tonic-health's reporter for example: 200 while this says `true`.
    ///
    /// It is called once for each check, on the runtime: it must not block.
    #[must_use]
    pub fn ask(serves: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Kind::Ask(Arc::new(serves)))
    }

    pub(super) fn is_serving(&self) -> bool {
        match &self.0 {
            Kind::Clusters(clusters) => clusters.is_met(),
            Kind::Service(registry, service) => registry.status(service) == Status::Serving,
            Kind::Ask(serves) => serves(),
        }
    }

    pub(super) fn report(&self) -> Report {
        match &self.0 {
            Kind::Clusters(clusters) => {
                let (serving, clusters) = clusters.look();
                Report { serving, cause: None, clusters }
            }
            Kind::Service(registry, service) => {
                let clusters = registry.clusters(service).map(|clusters| clusters.look().1);
                let status = registry.status(service);
                let cause = match status {
                    Status::Serving => None,
                    Status::Unknown => Some(format!("there is no service `{service}`").into()),
                    Status::NotServing if registry.drain().is_started() => Some("draining".into()),
                    Status::NotServing => Some("NOT_SERVING".into()),
                };
                let serving = status == Status::Serving;
                Report { serving, cause, clusters: clusters.unwrap_or_default() }
            }
            Kind::Ask(serves) => Report { serving: serves(), cause: None, clusters: Vec::new() },
        }
    }
}

impl From<Health> for Source {
    fn from(health: Health) -> Self {
        Self(Kind::Clusters(health.into()))
    }
}

impl From<Clusters> for Source {
    fn from(clusters: Clusters) -> Self {
        Self(Kind::Clusters(clusters))
    }
}

impl From<Registry> for Source {
    fn from(registry: Registry) -> Self {
        Self::service(registry, "")
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clusters(clusters) => clusters.fmt(f),
            Self::Service(registry, service) => {
                f.debug_tuple("Service").field(service).field(registry).finish()
            }
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}

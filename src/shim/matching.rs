//! Which requests are health checks.

use http::{HeaderName, HeaderValue, Method, Request, header::USER_AGENT};

/// Which requests are health checks: `GET` and `HEAD` of some paths, perhaps with a certain header.
///
/// Paths are compared as they are written, without the query. One that does not begin with `/` is taken to.
#[derive(Clone, Debug)]
pub struct Match {
    paths: Vec<Box<str>>,
    header: Option<(HeaderName, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Is(HeaderValue),
    BeginsWith(Box<str>),
}

impl Match {
    /// Requests for one of these paths.
    #[must_use]
    pub fn paths<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self { paths: paths.into_iter().map(|path| normal(path.as_ref())).collect(), header: None }
    }

    /// Requests for this path.
    #[must_use]
    pub fn path(path: impl AsRef<str>) -> Self {
        Self::paths([path])
    }

    /// Google Cloud's load balancers: `/` from `GoogleHC/`, as GKE Ingress asks by default.
    #[must_use]
    pub fn gke() -> Self {
        Self::path("/").user_agent("GoogleHC/")
    }

    /// AWS's Application Load Balancers: `/` from `ELB-HealthChecker/`.
    #[must_use]
    pub fn alb() -> Self {
        Self::path("/").user_agent("ELB-HealthChecker/")
    }

    /// A kubelet's HTTP probes: `/`, `/healthz` and `/readyz` from `kube-probe/`.
    #[must_use]
    pub fn kubelet() -> Self {
        Self::paths(["/", "/healthz", "/readyz"]).user_agent("kube-probe/")
    }

    /// Only those with this header, whose value is exactly this. Replaces what was asked of headers before; by default
    /// nothing is.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, Value::Is(value)));
        self
    }

    /// Only those whose user agent begins with this. Replaces what was asked of headers before; by default nothing is.
    #[must_use]
    pub fn user_agent(mut self, begin: impl Into<Box<str>>) -> Self {
        self.header = Some((USER_AGENT, Value::BeginsWith(begin.into())));
        self
    }

    pub(super) fn matches<B>(&self, request: &Request<B>) -> bool {
        matches!(*request.method(), Method::GET | Method::HEAD)
            && self.paths.iter().any(|path| **path == *request.uri().path())
            && self.header.as_ref().is_none_or(|(name, wanted)| {
                request.headers().get_all(name).iter().any(|value| wanted.matches(value))
            })
    }
}

impl Value {
    fn matches(&self, value: &HeaderValue) -> bool {
        match self {
            Self::Is(wanted) => value == wanted,
            Self::BeginsWith(wanted) => value.as_bytes().starts_with(wanted.as_bytes()),
        }
    }
}

fn normal(path: &str) -> Box<str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.starts_with('/') { path.into() } else { format!("/{path}").into() }
}

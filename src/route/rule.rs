//! One route: which requests it takes, and how long they may take.

use std::{cmp::Reverse, fmt, time::Duration};

use http::{HeaderName, HeaderValue, Request, uri::Authority};

use crate::route::{
    host::{self, Host},
    path::{self, Path},
};

/// Which requests a route takes, and how long they may take.
///
/// By default any host, any headers, and no limit of its own. What is written wrong is told by
/// [`Builder::build`](crate::route::Builder::build).
#[derive(Clone, Debug)]
pub struct Route {
    path: Path,
    host: Host,
    /// In a fixed order, and each once.
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Option<Duration>,
    /// As it was written, for messages.
    written: String,
    mistake: Option<&'static str>,
}

impl Route {
    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::over(Ok(Path::Any), "any path".to_owned())
    }

    /// A path and all below it: `/a` takes `/a` and `/a/b`, and not `/ab`. `/a/` takes only what is below.
    #[must_use]
    pub fn prefix(path: &str) -> Self {
        Self::over(Path::prefix(path), format!("prefix `{path}`"))
    }

    /// Paths that begin with this text: `/a` takes `/ab` too (Envoy's `prefix`).
    #[must_use]
    pub fn text_prefix(path: &str) -> Self {
        Self::over(Path::text_prefix(path), format!("textual prefix `{path}`"))
    }

    /// This path and no other. `*` stands for `OPTIONS *`.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        Self::over(Path::exact(path), format!("path `{path}`"))
    }

    /// All methods of a gRPC service, written as `package.Service`.
    #[must_use]
    pub fn service(name: &str) -> Self {
        Self::over(Path::service(name), format!("service `{name}`"))
    }

    /// One gRPC method, written as `package.Service/Method`.
    #[must_use]
    pub fn method(name: &str) -> Self {
        Self::over(Path::method(name), format!("method `{name}`"))
    }

    /// Only requests for this host, whatever their port: `shop.example`, or `*.example` for all below `example`.
    /// Replaces the host that was set before.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.written += &format!(" on host `{host}`");
        match Host::parse(host) {
            Ok(host) => self.host = host,
            Err(mistake) => self.mistake = self.mistake.or(Some(mistake)),
        }
        self
    }

    /// Only requests with this header, one of whose values is exactly this. May be called several times: all must be
    /// there.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.written += &format!(" with `{name}: {}`", value.as_bytes().escape_ascii());
        self.headers.push((name, value));
        self.headers.sort_by(|(a, x), (b, y)| (a.as_str(), x.as_bytes()).cmp(&(b.as_str(), y.as_bytes())));
        self.headers.dedup();
        self
    }

    /// How long a request may take from the [`DeadlineLayer`](crate::deadline::DeadlineLayer) below the router to the
    /// end of its response, if its caller does not ask for less. No limit by default; a limit also ends streams.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if timeout.is_zero() {
            self.mistake =
                self.mistake.or(Some("a timeout of 0 lets nothing through: expected more, or none"));
        }
        self.timeout = Some(timeout);
        self
    }

    fn over(path: Result<Path, &'static str>, written: String) -> Self {
        let (path, mistake) = match path {
            Ok(path) => (path, None),
            Err(mistake) => (Path::Any, Some(mistake)),
        };
        Self { path, host: Host::Any, headers: Vec::new(), timeout: None, written, mistake }
    }

    pub(super) fn mistake(&self) -> Option<&'static str> {
        self.mistake
    }

    pub(super) fn limit(&self) -> Option<Duration> {
        self.timeout
    }

    pub(super) fn asks_for_host(&self) -> bool {
        self.host != Host::Any
    }

    /// Less is tried first.
    pub(super) fn order(&self) -> Reverse<(host::Rank, path::Rank, usize)> {
        Reverse((self.host.rank(), self.path.rank(), self.headers.len()))
    }

    /// Equal for routes that take the same requests.
    pub(super) fn taken(&self) -> impl Eq + std::hash::Hash + '_ {
        (&self.host, &self.path, &self.headers)
    }

    /// The two of these routes that take all that this one would, each its half, and come before it.
    pub(super) fn halved_by<'a>(
        &self,
        routes: impl Iterator<Item = &'a Self> + Clone,
    ) -> Option<[&'a Self; 2]> {
        let takes = |route: &Self, half: &Path| {
            route.path == *half
                && route.host == self.host
                && route.headers.iter().all(|header| self.headers.contains(header))
        };
        let [first, second] = self.path.halves()?;
        Some([
            routes.clone().find(|route| takes(route, &first))?,
            routes.clone().find(|route| takes(route, &second))?,
        ])
    }

    pub(super) fn matches<B>(&self, request: &Request<B>, authority: Option<&Authority>) -> bool {
        self.path.matches(request.uri().path())
            && self.host.matches(authority)
            && self
                .headers
                .iter()
                .all(|(name, wanted)| request.headers().get_all(name).iter().any(|v| v == wanted))
    }
}

/// The route as it was written.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

//! The service that routes.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use crate::{
    answer,
    deadline::Cap,
    grpc::Code,
    random::Random,
    reply::{self, Caller},
    route::{Builder, Route, host, weighted::Choice},
};

/// The body of a response through the router: its own, which is empty, or the service's.
pub type Body<B> = answer::Body<reply::Body, B>;

/// The response of a request through the router.
pub type ResponseFuture<S, B> =
    answer::ResponseFuture<Ready<Result<Response<reply::Body>, Infallible>>, S, Request<B>>;

/// Hands each request to the service of the first route that takes it. Cheap to clone.
///
/// See the [module docs](crate::route).
pub struct Router<S>(Arc<Table<S>>);

struct Table<S> {
    routes: Vec<(Route, Choice<S>)>,
    random: Random,
    /// Whether any route asks for a host: else nobody looks.
    by_host: bool,
}

impl<S> Router<S> {
    /// A table without routes.
    pub fn builder() -> Builder<S> {
        Builder::new()
    }

    pub(super) fn new(routes: Vec<(Route, Choice<S>)>, random: Random) -> Self {
        let by_host = routes.iter().any(|(route, _)| route.asks_for_host());
        Self(Arc::new(Table { routes, random, by_host }))
    }

    /// The routes in the order in which they are tried.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.0.routes.iter().map(|(route, _)| route)
    }

    /// The same routes to other services: those of another core, for one.
    #[must_use]
    pub fn map<T>(&self, mut map: impl FnMut(&S) -> T) -> Router<T> {
        let routes = self.0.routes.iter().map(|(route, choice)| (route.clone(), choice.map(&mut map)));
        Router::new(routes.collect(), Random::from_os())
    }

    /// The route that takes this request.
    #[must_use]
    pub fn matching<B>(&self, request: &Request<B>) -> Option<&Route> {
        self.find(request).map(|(route, _)| route)
    }

    fn find<B>(&self, request: &Request<B>) -> Option<&(Route, Choice<S>)> {
        let authority = if self.0.by_host { host::authority(request) } else { None };
        self.0.routes.iter().find(|(route, _)| route.matches(request, authority.as_ref()))
    }
}

impl<S, B, R> Service<Request<B>> for Router<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B>;

    /// Always ready; see [`answer`](crate::answer).
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<S, B> {
        let found =
            self.find(&request).and_then(|(route, choice)| Some((route, choice.pick(&self.0.random)?)));
        let Some((route, service)) = found else {
            return ResponseFuture::own(ready(Ok(Caller::of(&request).reply(Code::Unimplemented, ""))));
        };
        if let Some(timeout) = route.limit() {
            Cap::tighten(request.extensions_mut(), timeout);
        }
        ResponseFuture::inner(service.clone(), request)
    }
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.routes().map(|route| format_args!("{route}").to_string())).finish()
    }
}

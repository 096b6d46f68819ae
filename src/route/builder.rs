//! Putting the table together.

use std::collections::{HashMap, hash_map::Entry};

use tower_layer::Layer;

use crate::{
    random::Random,
    route::{BuildError, Route, Router, Weighted},
};

/// Collects routes.
///
/// See the [module docs](crate::route).
#[derive(Debug)]
#[must_use = "it is no router before `build`"]
pub struct Builder<S> {
    routes: Vec<(Route, Weighted<S>)>,
    random: Random,
}

impl<S> Builder<S> {
    pub(super) fn new() -> Self {
        Self { routes: Vec::new(), random: Random::from_os() }
    }

    /// Sends what a route takes to a service.
    pub fn route(self, route: Route, service: S) -> Self {
        self.split(route, Weighted::only(service))
    }

    /// Sends what a route takes to one of several services, by weight.
    pub fn split(mut self, route: Route, services: Weighted<S>) -> Self {
        self.routes.push((route, services));
        self
    }

    /// [`Route::prefix`]: a path and all below it.
    pub fn prefix(self, path: &str, service: S) -> Self {
        self.route(Route::prefix(path), service)
    }

    /// [`Route::text_prefix`]: paths that begin with this text.
    pub fn text_prefix(self, path: &str, service: S) -> Self {
        self.route(Route::text_prefix(path), service)
    }

    /// [`Route::exact`]: this path.
    pub fn exact(self, path: &str, service: S) -> Self {
        self.route(Route::exact(path), service)
    }

    /// [`Route::service`]: all methods of a gRPC service.
    pub fn service(self, name: &str, service: S) -> Self {
        self.route(Route::service(name), service)
    }

    /// [`Route::method`]: one gRPC method.
    pub fn method(self, name: &str, service: S) -> Self {
        self.route(Route::method(name), service)
    }

    /// [`Route::any`]: what no other route takes.
    pub fn otherwise(self, service: S) -> Self {
        self.route(Route::any(), service)
    }

    /// Wraps every service that was added so far.
    pub fn layer<L: Layer<S>>(self, layer: L) -> Builder<L::Service> {
        let wrap = |service| layer.layer(service);
        Builder {
            routes: self.routes.into_iter().map(|(route, services)| (route, services.map(wrap))).collect(),
            random: self.random,
        }
    }

    /// Fixes the sequence in which weighted services are drawn, for tests. By default the operating system seeds it.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Checks the routes and puts them in order.
    ///
    /// # Errors
    ///
    /// If there is no route, if a path, host, timeout or weights are wrong, or if a route is hidden by an earlier one.
    pub fn build(self) -> Result<Router<S>, BuildError> {
        if self.routes.is_empty() {
            return Err(BuildError::empty());
        }
        if let Some((route, mistake)) = self.routes.iter().find_map(|(r, _)| Some((r, r.mistake()?))) {
            return Err(BuildError::invalid(route, mistake));
        }
        let mut taken = HashMap::new();
        for (route, _) in &self.routes {
            match taken.entry(route.taken()) {
                Entry::Occupied(earlier) => return Err(BuildError::hidden(route, earlier.get())),
                Entry::Vacant(free) => free.insert(route),
            };
        }
        drop(taken);
        let routes = self.routes.iter().map(|(route, _)| route);
        if let Some((route, by)) = routes.clone().find_map(|r| Some((r, r.halved_by(routes.clone())?))) {
            return Err(BuildError::halved(route, by));
        }
        let mut table = Vec::with_capacity(self.routes.len());
        for (route, services) in self.routes {
            match services.checked() {
                Ok(choice) => table.push((route, choice)),
                Err(mistake) => return Err(BuildError::invalid(route, mistake)),
            }
        }
        // The sort is stable: the order of declaration breaks ties.
        table.sort_by_key(|(route, _)| route.order());
        Ok(Router::new(table, self.random))
    }
}

//! What is wrong with a table of routes.

use std::{error::Error, fmt};

/// A table of routes that cannot work as it was meant. It names the routes.
#[derive(Clone, Debug)]
pub struct BuildError {
    route: Box<str>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Empty,
    Invalid(&'static str),
    Duplicate,
    /// By whom, up to the verb.
    Shadowed(Box<str>),
}

impl BuildError {
    pub(super) fn empty() -> Self {
        Self { route: "".into(), kind: Kind::Empty }
    }

    pub(super) fn invalid(route: impl fmt::Display, mistake: &'static str) -> Self {
        Self { route: route.to_string().into(), kind: Kind::Invalid(mistake) }
    }

    /// `earlier` takes everything that `route` would.
    pub(super) fn hidden(route: impl fmt::Display, earlier: impl fmt::Display) -> Self {
        let (route, earlier) = (route.to_string(), earlier.to_string());
        let kind = if route == earlier {
            Kind::Duplicate
        } else {
            Kind::Shadowed(format!("the route by {earlier}, declared before, takes").into())
        };
        Self { route: route.into(), kind }
    }

    /// These two together take everything that `route` would.
    pub(super) fn halved(route: impl fmt::Display, by: [impl fmt::Display; 2]) -> Self {
        let [first, second] = by;
        let kind = Kind::Shadowed(format!("the routes by {first} and by {second} take").into());
        Self { route: route.to_string().into(), kind }
    }

    /// Whether there is no route at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Empty)
    }

    /// Whether one route by itself is wrong: its path, its host, its weights, its timeout.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.kind, Kind::Invalid(_))
    }

    /// Whether the same route is there twice.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self.kind, Kind::Duplicate)
    }

    /// Whether a route gets no request because others, written differently, take them all.
    #[must_use]
    pub fn is_shadowed(&self) -> bool {
        matches!(self.kind, Kind::Shadowed(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = &self.route;
        match &self.kind {
            Kind::Empty => f.write_str("no route: every request would be refused"),
            Kind::Invalid(mistake) => write!(f, "route by {route}: {mistake}"),
            Kind::Duplicate => write!(f, "route by {route}: declared twice"),
            Kind::Shadowed(by) => {
                write!(f, "route by {route}: never reached, because {by} the same requests")
            }
        }
    }
}

impl Error for BuildError {}

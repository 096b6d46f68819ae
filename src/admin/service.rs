//! The service that answers.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN},
};
use tower_service::Service;

use crate::{
    admin::{
        Builder,
        builder::{LIVE, Parts},
        clusters, json, prometheus,
    },
    reply::{self, Body},
    serving::Drain,
};

const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers operators. Cheap to clone.
///
/// See the [module docs](crate::admin).
#[derive(Clone, Debug)]
pub struct Admin(Arc<Parts>);

impl Admin {
    /// An admin service of a process that this switch drains.
    pub fn builder(drain: Drain) -> Builder {
        Builder::new(drain)
    }

    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/ready" | "/clusters" | "/stats/prometheus" if !reads => not_allowed("GET, HEAD"),
            "/ready" => match self.0.state() {
                LIVE => reply::text(StatusCode::OK, "LIVE\n"),
                state => reply::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{state}\n")),
            },
            "/clusters" if wants_json(request) => typed(JSON, &json::render(&self.0.read())),
            "/clusters" => reply::text(StatusCode::OK, &clusters::render(&self.0.read())),
            "/stats/prometheus" => {
                let live = self.0.state() == LIVE;
                typed(PROMETHEUS, &prometheus::render(live, &self.0.read(), &self.0.listeners()))
            }
            "/drain" if *request.method() != Method::POST => not_allowed("POST"),
            // A browser says for which page it sends a POST; operators' tools are no pages.
            "/drain" if request.headers().contains_key(ORIGIN) => {
                reply::text(StatusCode::FORBIDDEN, "not for pages of a browser\n")
            }
            "/drain" => {
                self.0.drain.start();
                reply::text(StatusCode::OK, "OK\n")
            }
            _ => reply::text(
                StatusCode::NOT_FOUND,
                "expected GET /ready, GET /clusters, GET /clusters?format=json, GET /stats/prometheus or POST /drain\n",
            ),
        }
    }
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut response = self.answer(&request);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *request.method() == Method::HEAD {
            // A HEAD is told what a GET would get, and gets nothing of it.
            *response.body_mut() = Body::default();
        }
        ready(Ok(response))
    }
}

fn wants_json<B>(request: &Request<B>) -> bool {
    request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == "format=json"))
}

fn typed(content_type: &'static str, text: &str) -> Response<Body> {
    let mut response = reply::text(StatusCode::OK, text);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = reply::text(StatusCode::METHOD_NOT_ALLOWED, &format!("expected {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

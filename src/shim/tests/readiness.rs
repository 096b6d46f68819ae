//! What the inner service's readiness has to do with it.

use std::{
    convert::Infallible,
    future::{Pending, pending},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::poll;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_service::Service;

use super::{healthy, request};
use crate::shim::HealthShim;

/// Never ready.
#[derive(Clone, Debug)]
struct Stuck;

impl Service<Request<()>> for Stuck {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        pending()
    }
}

#[tokio::test]
async fn it_answers_while_the_inner_service_is_not_ready() {
    let mut shim = HealthShim::around(Stuck, healthy());
    let mut call = shim.ready().await.unwrap().call(request(Method::GET, "/"));
    assert!(poll!(&mut call).is_pending(), "this one is the inner service's");
    let response = shim.ready().await.unwrap().call(request(Method::GET, "/healthz")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_health_check_takes_no_permit_and_what_needs_one_waits_for_it() {
    let calls = Arc::new(AtomicUsize::new(0));
    let slow = service_fn({
        let calls = calls.clone();
        move |_: Request<()>| {
            calls.fetch_add(1, SeqCst);
            pending::<Result<Response<Full<Bytes>>, Infallible>>()
        }
    });
    let mut shim = HealthShim::around(ConcurrencyLimit::new(slow, 1), healthy());
    let mut ask = async |path| shim.ready().await.unwrap().call(request(Method::GET, path));
    let (mut first, mut second) = (ask("/a").await, ask("/b").await);
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    assert_eq!(calls.load(SeqCst), 1, "there is one permit");
    ask("/healthz").await.await.unwrap();
    drop(first);
    assert!(poll!(&mut second).is_pending());
    assert_eq!(calls.load(SeqCst), 2, "the permit went to the one that waited");
}

#[tokio::test]
async fn errors_of_the_inner_service_and_of_its_readiness_pass_through() {
    #[derive(Clone)]
    struct Broken;

    impl Service<Request<()>> for Broken {
        type Response = Response<Full<Bytes>>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Self::Response, &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(Err("not ready"))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Err("called"))
        }
    }

    let mut shim = HealthShim::around(Broken, healthy());
    assert_eq!(shim.call(request(Method::GET, "/")).await.unwrap_err(), "not ready");
    assert!(shim.call(request(Method::GET, "/healthz")).await.is_ok(), "they are no health check's");

    let failing = service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, _>("called") });
    let error = HealthShim::around(failing, healthy()).oneshot(request(Method::GET, "/")).await.unwrap_err();
    assert_eq!(error, "called");
}

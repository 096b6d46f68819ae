mod readiness;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::{
    endpoint::Endpoint,
    health::{Health, Summary},
    serving::{Clusters, Drain, Registry, Status},
};

/// An inner service that says what it got.
async fn inner(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    let told = format!("inner: {} {}", request.method(), request.uri());
    Ok(Response::new(Full::new(told.into())))
}

fn healthy() -> Health {
    let (reporter, health) = Health::new("service");
    reporter.report(Summary::of(1).healthy(1));
    // A reporter that is gone would be one of an ended cluster.
    std::mem::forget(reporter);
    health
}

fn request(method: Method, uri: &str) -> Request<()> {
    Request::builder().method(method).uri(uri).body(()).unwrap()
}

async fn ask(layer: &HealthShimLayer, request: Request<()>) -> Response<Bytes> {
    let response = layer.layer(service_fn(inner)).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

async fn status(layer: &HealthShimLayer) -> u16 {
    let response = ask(layer, request(Method::GET, "/healthz")).await;
    let text = match response.status() {
        StatusCode::OK => "ok",
        _ => "unavailable",
    };
    assert_eq!(response.body(), text);
    response.status().as_u16()
}

/// Whether the shim answers it.
async fn answers(layer: &HealthShimLayer, request: Request<()>) -> bool {
    !ask(layer, request).await.body().starts_with(b"inner: ")
}

#[tokio::test]
async fn a_get_gets_the_word_and_a_head_its_headers_only() {
    let layer = HealthShimLayer::new(healthy()).path("/");
    let get = ask(&layer, request(Method::GET, "/")).await;
    assert_eq!((get.status(), get.body().as_ref()), (StatusCode::OK, b"ok".as_slice()));
    assert_eq!(get.headers()[header::CONTENT_TYPE], "text/plain");
    assert_eq!(get.headers()[header::CONTENT_LENGTH], "2");
    assert_eq!(get.headers()[header::CACHE_CONTROL], "no-store");

    let head = layer.layer(service_fn(inner)).oneshot(request(Method::HEAD, "/")).await.unwrap();
    assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
    assert!(head.body().is_end_stream());
}

#[tokio::test]
async fn the_path_is_compared_without_the_query_and_whole() {
    let layer = HealthShimLayer::new(healthy()).path("/").path("ready?x");
    for (uri, expected) in [
        ("/", true),
        ("/?x=1", true),
        ("http://10.0.0.1:8080/?x=1", true),
        ("/ready", true),
        ("/ready?y", true),
        ("/ready/", false),
        ("/Ready", false),
        ("/healthz", false),
        ("//", false),
        ("/router.Router/Route", false),
    ] {
        assert_eq!(answers(&layer, request(Method::GET, uri)).await, expected, "{uri}");
    }
    let default = HealthShimLayer::new(healthy());
    assert!(answers(&default, request(Method::GET, "/healthz")).await);
    assert!(!answers(&default, request(Method::GET, "/")).await);
}

#[tokio::test]
async fn only_get_and_head_are_health_checks() {
    let layer = HealthShimLayer::new(healthy()).path("/");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH, Method::TRACE] {
        let response = ask(&layer, request(method.clone(), "/")).await;
        assert_eq!(response.body(), &format!("inner: {method} /"));
    }
    let connect = request(Method::CONNECT, "example.test:443");
    assert!(!answers(&layer, connect).await);
}

#[tokio::test]
async fn a_header_or_a_user_agent_may_be_asked_for() {
    let from = |agent: &'static str, path| {
        let mut request = request(Method::GET, path);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
        request
    };
    for (preset, agent, path, expected) in [
        (Match::gke(), "GoogleHC/1.0", "/", true),
        (Match::gke(), "GoogleHC/1.0", "/index.html", false),
        (Match::gke(), "Mozilla/5.0 GoogleHC/1.0", "/", false),
        (Match::alb(), "ELB-HealthChecker/2.0", "/", true),
        (Match::alb(), "GoogleHC/1.0", "/", false),
        (Match::kubelet(), "kube-probe/1.31", "/", true),
        (Match::kubelet(), "kube-probe/1.31", "/readyz", true),
        (Match::kubelet(), "kube-probe/1.31", "/healthz", true),
        (Match::kubelet(), "curl/8.0", "/readyz", false),
    ] {
        let layer = HealthShimLayer::new(healthy()).matching(preset);
        assert_eq!(answers(&layer, from(agent, path)).await, expected, "{agent} {path}");
    }

    let name = header::HeaderName::from_static("x-envoy-livenessprobe");
    let layer = HealthShimLayer::new(healthy())
        .matching(Match::path("/").header(name.clone(), HeaderValue::from_static("yes")));
    assert!(!answers(&layer, request(Method::GET, "/")).await);
    for (values, expected) in
        [(&["no"][..], false), (&["yes"], true), (&["no", "yes"], true), (&["yes!"], false)]
    {
        let mut request = request(Method::GET, "/");
        for value in values {
            request.headers_mut().append(&name, HeaderValue::from_static(value));
        }
        assert_eq!(answers(&layer, request).await, expected, "{values:?}");
    }
}

#[tokio::test]
async fn every_source_is_followed() {
    let (reporter, health) = Health::new("a");
    let (by_health, by_clusters) =
        (HealthShimLayer::new(health.clone()), HealthShimLayer::new(Clusters::all([health]).at_least(2)));
    assert_eq!(
        (status(&by_health).await, status(&by_clusters).await),
        (503, 503),
        "before the first resolution"
    );
    reporter.report(Summary::of(2).healthy(1));
    assert_eq!((status(&by_health).await, status(&by_clusters).await), (200, 503));
    reporter.report(Summary::of(2).healthy(2));
    assert_eq!((status(&by_health).await, status(&by_clusters).await), (200, 200));
    reporter.report(Summary::of(2).ready(2).in_panic(true));
    assert_eq!(status(&by_health).await, 503, "in panic with none healthy");

    let registry = Registry::new();
    let (whole, service) = (
        HealthShimLayer::new(registry.clone()),
        HealthShimLayer::new(Source::service(registry.clone(), "a.B")),
    );
    assert_eq!((status(&whole).await, status(&service).await), (200, 503));
    registry.set("a.B", Status::Serving);
    registry.set("", Status::NotServing);
    assert_eq!((status(&whole).await, status(&service).await), (503, 200));
    registry.drain().start();
    assert_eq!((status(&whole).await, status(&service).await), (503, 503));

    let serves = Arc::new(AtomicBool::new(false));
    let asked = HealthShimLayer::new(Source::ask({
        let serves = serves.clone();
        move || serves.load(SeqCst)
    }));
    assert_eq!(status(&asked).await, 503);
    serves.store(true, SeqCst);
    assert_eq!(status(&asked).await, 200);
}

#[tokio::test]
async fn draining_says_no_whatever_the_source_says() {
    let drain = Drain::new();
    let layer = HealthShimLayer::new(healthy()).draining(drain.clone());
    let service = layer.layer(service_fn(inner));
    assert_eq!(status(&layer).await, 200);
    drain.start();
    assert_eq!(status(&layer).await, 503);
    let response = service.oneshot(request(Method::GET, "/healthz")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "what is in use follows, too");
}

async fn json_of(layer: &HealthShimLayer) -> (StatusCode, Value) {
    let mut request = request(Method::GET, "/healthz");
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let response = ask(layer, request).await;
    let is_json = response.headers()[header::CONTENT_TYPE] == "application/json";
    assert_eq!(response.headers()[header::CONTENT_LENGTH], response.body().len().to_string());
    let value = if is_json { serde_json::from_slice(response.body()).unwrap() } else { Value::Null };
    (response.status(), value)
}

#[tokio::test]
async fn json_tells_counts_and_causes() {
    let (reporter, health) = Health::new("the \"user\" cluster");
    let drain = Drain::new();
    let layer = HealthShimLayer::new(Clusters::any([health]).at_least(2)).draining(drain.clone());
    let endpoint: Endpoint = "10.0.0.1:50051".parse().unwrap();
    let summary = Summary::of(4).awaiting(1).healthy(1).ready(2).ejected(1).draining(3).in_panic(true);
    reporter.report(summary.unfit(endpoint.into(), "it said \"no\\\n"));
    let (status, value) = json_of(&layer).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let mut expected = json!({"status": "unavailable", "clusters": [{
        "name": "the \"user\" cluster", "cause": "has 1 of 4 endpoints healthy, wants 2",
        "resolved": true, "panic": true,
        "total": 4, "awaiting": 1, "healthy": 1, "ready": 2, "ejected": 1, "draining": 3,
        "unfit": [{"endpoint": "10.0.0.1:50051", "cause": "it said \"no\\\n"}],
    }]});
    assert_eq!(value, expected);

    drain.start();
    expected["cause"] = "draining".into();
    assert_eq!(json_of(&layer).await.1, expected);
    assert_eq!(json_of(&layer.json(false)).await.1, Value::Null, "not for strangers");
}

#[tokio::test]
async fn json_tells_why_a_registered_service_is_not_serving() {
    let registry = Registry::new();
    let layer = HealthShimLayer::new(Source::service(registry.clone(), "a.B"));
    let unavailable = |cause: &str| json!({"status": "unavailable", "cause": cause, "clusters": []});
    assert_eq!(json_of(&layer).await.1, unavailable("there is no service `a.B`"));
    registry.set("a.B", Status::NotServing);
    assert_eq!(json_of(&layer).await.1, unavailable("NOT_SERVING"));
    registry.set("a.B", Status::Serving);
    assert_eq!(json_of(&layer).await, (StatusCode::OK, json!({"status": "ok", "clusters": []})));
    registry.follow("a.B", Health::new("b").1);
    assert_eq!(json_of(&layer).await.1["clusters"][0]["cause"], "has ended");
    registry.drain().start();
    assert_eq!(json_of(&layer).await.1["cause"], "draining");
}

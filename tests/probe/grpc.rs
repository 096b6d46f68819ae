//! gRPC's health protocol against tonic's health server, and against servers that have none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use grpc_balance::probe::{Grpc, Http, Probe};
use http::{HeaderName, HeaderValue, Response, StatusCode, uri::PathAndQuery};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::peers::{Probing, Server, nobody, until};

/// A tonic server with a health service, and what else was seen of its requests.
async fn healthy() -> (Server, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    (serving(Routes::new(service)).await, reporter)
}

async fn serving(routes: Routes) -> Server {
    let routes = routes.prepare();
    Server::start(move |socket| {
        let service = TowerToHyperService::new(routes.clone());
        async move {
            let server = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        }
    })
    .await
}

#[tokio::test]
async fn check_follows_a_tonic_health_server() {
    let (server, mut reporter) = healthy().await;
    reporter.set_service_status("route.Router", ServingStatus::NotServing).await;
    let mut probing = Probing::of(server.address, Grpc::new("route.Router"));
    assert!(probing.next().await.is_none());
    probing.says("failing: NOT_SERVING").await;
    reporter.set_service_status("route.Router", ServingStatus::Serving).await;
    probing.says("passing").await;
    reporter.clear_service_status("route.Router").await;
    probing.says("failing: no service `route.Router`: NOT_FOUND").await;
    assert_eq!(server.accepted(), 1, "one connection for all checks");
}

#[tokio::test]
async fn watch_follows_a_tonic_health_server() {
    let (server, reporter) = healthy().await;
    reporter.set_service_status("route.Router", ServingStatus::NotServing).await;
    let mut probing = Probing::of(server.address, Grpc::watch("route.Router"));
    assert!(probing.next().await.is_none());
    for _ in 0..3 {
        probing.says("failing: NOT_SERVING").await;
        reporter.set_service_status("route.Router", ServingStatus::Serving).await;
        probing.says("passing").await;
        reporter.set_service_status("route.Router", ServingStatus::NotServing).await;
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn the_empty_name_is_the_server_as_a_whole() {
    let (server, _reporter) = healthy().await;
    for probe in [Grpc::new(""), Grpc::watch("")] {
        Probing::of(server.address, probe).says("passing").await;
    }
}

#[tokio::test]
async fn a_name_that_the_server_does_not_know_is_its_own_word() {
    let (server, _reporter) = healthy().await;
    Probing::of(server.address, Grpc::new("route.Router"))
        .says("failing: no service `route.Router`: NOT_FOUND")
        .await;
    Probing::of(server.address, Grpc::watch("route.Router")).says("failing: Watch ended: NOT_FOUND").await;
}

#[tokio::test]
async fn a_server_without_a_health_service_fails_checks_and_passes_watch() {
    let server = serving(Routes::default()).await;
    Probing::of(server.address, Grpc::new("")).says("failing: UNIMPLEMENTED").await;
    Probing::of(server.address, Grpc::watch("")).says("passing").await;
}

#[tokio::test]
async fn a_server_that_is_gone_fails_and_passes_when_it_is_back() {
    Probing::of(nobody().await, Grpc::new("")).says("failing: connect 127.0.0.1").await;

    let (server, _reporter) = healthy().await;
    for probe in [Grpc::new(""), Grpc::watch("")] {
        let address = server.address;
        let mut probing = Probing::of(address, probe);
        probing.says("passing").await;
    }
    let mut probing = Probing::of(server.address, Grpc::new(""));
    probing.says("passing").await;
    drop(server);
    probing.says("failing: ").await;
}

/// What such a server saw of each request.
type Seen = Arc<Mutex<Vec<http::request::Parts>>>;

/// An HTTP/2 server that answers with this status and these headers, and after `per_connection` answers says GOAWAY.
async fn answering(
    status: StatusCode,
    headers: &[(&'static str, &'static str)],
    per_connection: usize,
    seen: Seen,
) -> Server {
    let mut response = Response::new(());
    *response.status_mut() = status;
    for &(name, value) in headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Server::start(move |socket| {
        let (response, seen) = (response.clone(), seen.clone());
        async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            let mut answered = 0;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                seen.lock().unwrap().push(request.into_parts().0);
                if response.headers().contains_key("grpc-status") {
                    let _ = respond.send_response(response.clone(), true);
                } else if let Ok(mut body) = respond.send_response(response.clone(), false) {
                    let _ = body.send_data("<h1>sorry</h1>".into(), true);
                }
                answered += 1;
                if answered == per_connection {
                    connection.graceful_shutdown();
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_web_server_that_answers_404_is_no_healthy_grpc_server() {
    let headers = [("content-type", "text/html")];
    let server = answering(StatusCode::NOT_FOUND, &headers, usize::MAX, Seen::default()).await;
    let expected = "it answers HTTP 404, and is no gRPC server";
    Probing::of(server.address, Grpc::new("")).says(&format!("failing: {expected}")).await;
    Probing::of(server.address, Grpc::watch("")).says(&format!("failing: Watch ended: {expected}")).await;
}

#[tokio::test]
async fn a_server_that_ends_its_connections_gracefully_stays_healthy() {
    let seen = Seen::default();
    let server = answering(StatusCode::OK, &[], 2, seen.clone()).await;
    let mut probing = Probing::of(server.address, Http::new(PathAndQuery::from_static("/healthz")).http2());
    probing.says("passing").await;
    probing.quiet_until(until(|| server.accepted() >= 10)).await;
    assert!(seen.lock().unwrap().len() >= 18, "two checks per connection");
}

#[tokio::test]
async fn a_request_is_as_grpc_wants_it() {
    let seen = Seen::default();
    let headers = [("content-type", "application/grpc"), ("grpc-status", "0")];
    let server = answering(StatusCode::OK, &headers, usize::MAX, seen.clone()).await;
    let metadata = (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer x"));
    let probe =
        Probe::from(Grpc::new("a.B").metadata(metadata.0, metadata.1)).timeout(Duration::from_secs(2));
    Probing::of(server.address, probe).says("failing: the answer has no message").await;
    let seen = seen.lock().unwrap();
    let request = &seen[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.uri.to_string(), "http://greeter.test/grpc.health.v1.Health/Check");
    assert_eq!(request.headers["content-type"], "application/grpc");
    assert_eq!(request.headers["te"], "trailers");
    assert_eq!(request.headers["grpc-timeout"], "2000000u");
    assert_eq!(request.headers["authorization"], "Bearer x");
    assert!(request.headers["user-agent"].to_str().unwrap().starts_with("grpc-balance/"));
}

/// A peer that accepts, says its SETTINGS and never answers a call.
#[tokio::test]
async fn a_server_that_hangs_fails_after_the_timeout() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let server = Server::start(move |socket| {
        let count = count.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            let mut held = Vec::new();
            while let Some(Ok(call)) = connection.accept().await {
                count.fetch_add(1, SeqCst);
                held.push(call);
            }
        }
    })
    .await;
    let begun = tokio::time::Instant::now();
    let timeout = Duration::from_millis(200);
    let mut probing = Probing::of(server.address, Probe::from(Grpc::new("")).timeout(timeout));
    probing.says("failing: no answer within 200ms").await;
    assert!(begun.elapsed() >= timeout);
    probing.quiet_until(until(|| calls.load(SeqCst) >= 3)).await;
}

//! Checks by HTTP/1.1 and HTTP/2.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
};

use ::http::{
    Request, Response,
    header::HOST,
    uri::{Authority, PathAndQuery},
};
use bytes::Bytes;
use grpc_balance::probe::Http;
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::peers::{Probing, Server, nobody, until};

fn healthz() -> Http {
    Http::new(PathAndQuery::from_static("/healthz?deep=1"))
}

/// A web server that answers with this status, and closes each connection after an answer unless `keep`.
async fn web(status: Arc<AtomicU16>, asked: Arc<AtomicUsize>, keep: bool) -> Server {
    Server::start(move |socket| {
        let (status, asked) = (status.clone(), asked.clone());
        async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                asked.fetch_add(1, SeqCst);
                let right = request.method() == "GET"
                    && request.uri() == "/healthz?deep=1"
                    && request.headers().get(HOST).is_some_and(|host| {
                        host == "pod.test" || host.to_str().is_ok_and(|host| host.starts_with("127.0.0.1:"))
                    })
                    && request.headers().contains_key("user-agent");
                let status = if right { status.load(SeqCst) } else { 400 };
                let response = Response::builder().status(status).body(Full::new(Bytes::from("hello")));
                async move { response }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            let _ = server.keep_alive(keep).serve_connection(TokioIo::new(socket), answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn the_status_is_the_verdict_and_the_connection_is_reused() {
    let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let server = web(status.clone(), asked.clone(), true).await;
    let mut probing = Probing::of(server.address, healthz());
    probing.says("passing").await;
    status.store(503, SeqCst);
    probing.says("failing: HTTP 503").await;
    status.store(404, SeqCst);
    probing.says("failing: HTTP 404").await;
    status.store(200, SeqCst);
    probing.says("passing").await;
    probing.quiet_until(until(|| asked.load(SeqCst) >= 10)).await;
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_server_that_closes_after_each_answer_is_connected_to_again() {
    let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
    let server = web(status, asked.clone(), false).await;
    let mut probing = Probing::of(server.address, healthz());
    probing.says("passing").await;
    probing.quiet_until(until(|| asked.load(SeqCst) >= 5)).await;
    assert!(server.accepted() >= 5);
}

#[tokio::test]
async fn other_statuses_and_another_host_can_be_asked_for() {
    let (status, asked) = (Arc::new(AtomicU16::new(302)), Arc::new(AtomicUsize::new(0)));
    let server = web(status, asked, true).await;
    let http = healthz().host(Authority::from_static("pod.test"));
    Probing::of(server.address, http.clone()).says("failing: HTTP 302").await;
    Probing::of(server.address, http.expect([200..=299, 301..=302])).says("passing").await;
}

#[tokio::test]
async fn another_port_can_be_asked() {
    let server = web(Arc::new(AtomicU16::new(200)), Arc::default(), true).await;
    let probe = grpc_balance::probe::Probe::from(healthz()).port(server.address.port());
    Probing::of(nobody().await, probe).says("passing").await;
}

#[tokio::test]
async fn what_is_no_http_is_a_failure_that_says_so() {
    Probing::of(nobody().await, healthz()).says("failing: connect 127.0.0.1").await;
    let server = Server::start(|mut socket| async move {
        let _ = socket.write_all(b"220 mail.test ESMTP\r\n").await;
    })
    .await;
    Probing::of(server.address, healthz()).says("failing: ").await;
}

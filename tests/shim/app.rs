//! A tonic server with health checks beside it, through a rolling deploy.

use std::{future::pending, net::SocketAddr, time::Duration};

use grpc_balance::{
    app::serve_app,
    server::{Phase, Server},
    serving::{Registry, Status},
};
use tokio::{sync::oneshot, time::timeout};
use tonic::{
    Code,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
    support::{exchange, greeter},
};

const SOON: Duration = Duration::from_secs(10);

async fn get(address: SocketAddr, path: &str, agent: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nuser-agent: {agent}\r\nconnection: close\r\n\r\n");
    exchange(address, &request).await.lines().next().expect("a status line").to_owned()
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap()
}

#[tokio::test]
async fn an_app_answers_every_usual_health_check_beside_its_own_calls() {
    let registry = Registry::new();
    let listening = Server::bind("127.0.0.1:0").listen().unwrap();
    let address = listening.local_addrs().next().unwrap();
    let app = serve_app(listening, Routes::new(greeter()), registry.clone(), pending());
    let app = tokio::spawn(app);

    let channel = channel(address).await;
    let mut health = HealthClient::new(channel.clone());
    let mut greeter = GreeterClient::new(channel);
    for (status, line) in
        [(Status::Serving, "HTTP/1.1 200 OK"), (Status::NotServing, "HTTP/1.1 503 Service Unavailable")]
    {
        registry.set("", status);
        for (path, agent) in [
            ("/healthz", "curl/8.0"),
            ("/readyz", "kube-probe/1.31"),
            ("/", "GoogleHC/1.0"),
            ("/?x=1", "ELB-HealthChecker/2.0"),
        ] {
            assert_eq!(get(address, path, agent).await, line, "{path} {agent}");
        }
        assert_eq!(get(address, "/livez", "kube-probe/1.31").await, "HTTP/1.1 200 OK");
        assert!(!get(address, "/", "curl/8.0").await.starts_with("HTTP/1.1 503"), "`/` is the service's");
        let check = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        assert_eq!(check.status() == ServingStatus::Serving, status == Status::Serving);
        greeter.say_hello(HelloRequest::default()).await.unwrap();
    }
    app.abort();
}

#[tokio::test]
async fn a_drain_says_no_at_once_serves_while_it_lingers_and_waits_for_no_watch() {
    let registry = Registry::new();
    // After its linger it would wait for ever for a stream that does not end.
    let listening = Server::bind("127.0.0.1:0").linger(Duration::from_secs(2)).grace(None).listen().unwrap();
    let (address, handle) = (listening.local_addrs().next().unwrap(), listening.handle());
    let (terminate, terminated) = oneshot::channel::<()>();
    let shutdown = async move { terminated.await.unwrap() };
    let app = tokio::spawn(serve_app(listening, Routes::new(greeter()), registry.clone(), shutdown));

    let channel = channel(address).await;
    let mut health = HealthClient::new(channel.clone());
    let mut changes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    terminate.send(()).unwrap();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(handle.phase(), Phase::Lingering);
    assert_eq!(get(address, "/healthz", "curl/8.0").await, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(get(address, "/livez", "curl/8.0").await, "HTTP/1.1 200 OK");
    GreeterClient::new(channel).say_hello(HelloRequest::default()).await.unwrap();

    let end = timeout(SOON, changes.message()).await.unwrap().unwrap_err();
    assert_eq!(end.code(), Code::Unavailable);
    timeout(SOON, app).await.unwrap().unwrap();
    assert_eq!(handle.phase(), Phase::Ended);
}

#[tokio::test]
async fn the_servers_own_handle_and_the_switch_drain_each_other() {
    for by_handle in [true, false] {
        let registry = Registry::new();
        let listening = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().unwrap();
        let handle = listening.handle();
        let app = tokio::spawn(serve_app(listening, Routes::new(greeter()), registry.clone(), pending()));
        if by_handle {
            handle.drain();
        } else {
            registry.drain().start();
        }
        timeout(SOON, registry.drain().closing()).await.unwrap();
        timeout(SOON, app).await.unwrap().unwrap();
    }
}

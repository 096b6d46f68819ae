//! Health checks by `GET /`, answered from the health of the pods.

use std::net::SocketAddr;

use grpc_balance::server::{Handle, Server};
use http::{Method, Request};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use crate::{
    program::Program,
    support::{
        dns::DnsServer,
        pb::helloworld::{
            HelloReply, HelloRequest,
            greeter_server::{Greeter, GreeterServer},
        },
    },
    tls_edge::dial,
    until,
    wire::{self, Http2},
};

const SERVICE: &str = "route.Router";

/// A gRPC server with its own word on its health.
struct Pod {
    address: SocketAddr,
    health: HealthReporter,
    handle: Handle,
    serving: JoinHandle<()>,
}

struct Named(SocketAddr);

#[tonic::async_trait]
impl Greeter for Named {
    async fn say_hello(
        &self,
        _: tonic::Request<HelloRequest>,
    ) -> Result<tonic::Response<HelloReply>, tonic::Status> {
        Ok(tonic::Response::new(HelloReply { message: self.0.to_string() }))
    }
}

impl Pod {
    async fn start(at: SocketAddr) -> Self {
        let (health, service) = tonic_health::server::health_reporter();
        health.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
        let bound = Server::bind(at).listen().expect("a free port");
        let (address, handle) = (bound.local_addrs().next().expect("it listens"), bound.handle());
        let routes = Routes::new(service).add_service(GreeterServer::new(Named(address)));
        let serving = tokio::spawn(bound.serve(routes, std::future::pending()));
        Self { address, health, handle, serving }
    }

    async fn says(&self, status: tonic_health::ServingStatus) {
        self.health.set_service_status(SERVICE, status).await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.handle.abort();
        self.serving.abort();
    }
}

async fn start(target: &str, dns: &DnsServer, more: &[&str]) -> Program {
    let dns = dns.address().to_string();
    let args = ["--upstream", target, "--dns-server", &dns, "--route", "/helloworld.Greeter/"];
    Program::start("gke_ingress", &[&args, more].concat()).await
}

async fn http2(proxy: &Program) -> Http2 {
    let stream = dial(proxy, &["h2"], rustls::ALL_VERSIONS).await.expect("TLS");
    Http2::over(stream).await.expect("HTTP/2")
}

async fn check(proxy: &Program) -> (u16, String) {
    let seen = http2(proxy).await.ask(Method::GET, "/").await;
    (seen.status(), seen.text)
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn unavailable() -> (u16, String) {
    (503, "unavailable".to_owned())
}

#[tokio::test]
async fn the_check_of_a_balancer_is_answered_over_http1_and_http2_and_all_else_is_routed() {
    let (pod, dns) = (Pod::start("127.0.0.1:0".parse().unwrap()).await, DnsServer::start().await);
    let proxy = start(&pod.address.to_string(), &dns, &[]).await;
    until("the pod is healthy", async || check(&proxy).await == ok()).await;
    let client = http2(&proxy).await;
    for (what, method, path, status, text) in [
        ("the check", Method::GET, "/", 200, "ok"),
        ("its query is not looked at", Method::GET, "/?x=1", 200, "ok"),
        ("without a body", Method::HEAD, "/", 200, ""),
        ("another path", Method::GET, "/healthz", 404, ""),
        ("another method", Method::PUT, "/", 404, ""),
    ] {
        let seen = client.ask(method.clone(), path).await;
        assert_eq!((seen.status(), &*seen.text), (status, text), "{what}: {seen:?}");
        let stream = dial(&proxy, &["http/1.1"], rustls::ALL_VERSIONS).await.expect("TLS");
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = wire::text(stream, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(text),
            "{what}: {answer}"
        );
    }
    for (name, value) in [
        ("x-envoy-livenessprobe", "healthz"),
        ("user-agent", "GoogleHC/1.0"),
        ("user-agent", "ELB-HealthChecker/2.0"),
    ] {
        let request = Request::get("http://proxy.test/").header(name, value).body(()).expect("a request");
        let seen = client.send(request).await.expect("it is answered");
        assert_eq!((seen.status(), &*seen.text), (200, "ok"), "{value}");
    }
    for path in ["/", "/other.Service/X", "/grpc.health.v1.Health/Check"] {
        let seen = client.call(path).await;
        assert_eq!((seen.header("grpc-status"), seen.ended), (Some("12"), true), "{path}: {seen:?}");
        assert_eq!(seen.header("grpc-message"), None, "{path}");
    }
    let seen = client.call("/helloworld.Greeter/SayHello").await;
    assert!(seen.header("content-type").is_some_and(|text| text.starts_with("application/grpc")), "{seen:?}");
    // HTTP/2 by its preface alone.
    let stream = dial(&proxy, &[], rustls::ALL_VERSIONS).await.expect("TLS");
    assert_eq!(Http2::over(stream).await.expect("HTTP/2").ask(Method::GET, "/").await.status(), 200);
}

#[tokio::test]
async fn it_is_503_before_the_first_resolution_with_none_healthy_and_from_sigterm_on() {
    let (pod, dns) = (Pod::start("127.0.0.1:0".parse().unwrap()).await, DnsServer::start().await);
    dns.fail_with(crate::support::dns::Reply::Drop);
    let target = format!("dns:///server1.test:{}", pod.address.port());
    let mut proxy = start(&target, &dns, &["--linger", "2s"]).await;
    assert_eq!(check(&proxy).await, unavailable(), "it listens at once, and is not ready");

    dns.set("server1.test", 1, [pod.address.ip()]);
    dns.mend();
    until("the pod is found", async || check(&proxy).await == ok()).await;

    // A word of the server's own counts at once, whatever the threshold; calls go on in panic, and `/` says no.
    pod.says(tonic_health::ServingStatus::NotServing).await;
    until("the probe hears it", async || check(&proxy).await == unavailable()).await;
    let client = http2(&proxy).await;
    assert_eq!(client.call("/helloworld.Greeter/SayHello").await.status(), 200);

    pod.says(tonic_health::ServingStatus::Serving).await;
    until("it has passed three times", async || check(&proxy).await == ok()).await;
    proxy.terminate().await;
    until("it is no longer ready", async || client.ask(Method::GET, "/").await.status() == 503).await;
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_pod_that_says_not_serving_gets_no_calls_while_half_or_more_are_healthy() {
    let port = crate::free_port(&["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().unwrap())).await;
    let addresses: [SocketAddr; 2] =
        ["127.0.0.1", "127.0.0.2"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
    let pods = [Pod::start(addresses[0]).await, Pod::start(addresses[1]).await];
    let dns = DnsServer::start().await;
    dns.set("server1.test", 1, addresses.map(|address| address.ip()));
    let proxy = start(&format!("dns:///server1.test:{port}"), &dns, &[]).await;
    pods[0].says(tonic_health::ServingStatus::NotServing).await;
    let client = http2(&proxy).await;
    let mut in_a_row = 0;
    until("the first is left out", async || {
        let by_second = client.hello().await == Ok(addresses[1].to_string());
        in_a_row = if by_second { in_a_row + 1 } else { 0 };
        in_a_row >= 10
    })
    .await;
    assert_eq!(check(&proxy).await, ok());
}

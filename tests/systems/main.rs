//! The programs in `examples/` that take the place of an Envoy, run as programs: one module per system, with what
//! callers do to it and what they see as tables.
#![cfg(all(
    feature = "admin",
    feature = "dns",
    feature = "probe",
    feature = "proxy",
    feature = "tls",
    feature = "web"
))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod drain;
mod gke_ingress;
mod grpc_web;
mod kubernetes;
mod load_balancer;
mod mesh;
mod mistakes;
mod program;
mod replies;
mod sidecar;
mod tls_edge;
mod wire;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use grpc_balance::Channel;

use self::support::{
    dns::DnsServer,
    greeter::Greeter,
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const HELLO: &str = "/helloworld.Greeter/SayHello";

/// A name for some servers, which share a port, as a headless service has it.
struct Pods {
    dns: DnsServer,
    pods: Vec<Greeter>,
}

impl Pods {
    async fn start(name: &str, n: u8) -> Self {
        let pods = Greeter::pods(n).await;
        let dns = DnsServer::start().await;
        dns.set(name, 1, pods.iter().map(|pod| pod.address().ip()));
        Self { dns, pods }
    }

    fn port(&self) -> u16 {
        self.pods[0].address().port()
    }

    fn calls(&self) -> Vec<u64> {
        self.pods.iter().map(Greeter::calls).collect()
    }
}

/// A channel to a program alone.
fn channel(to: SocketAddr) -> Channel {
    Channel::builder(format!("ipv4:{to}")).build().expect("a valid channel")
}

/// Waits until something is so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

/// Waits until a program answers calls with every one of so many servers.
async fn warm(to: SocketAddr, servers: usize) -> GreeterClient<Channel> {
    let client = GreeterClient::new(channel(to));
    until("every server answers", async || {
        let mut seen = BTreeMap::<String, u32>::new();
        for _ in 0..servers {
            if let Ok(reply) = client.clone().say_hello(HelloRequest::default()).await {
                *seen.entry(reply.into_inner().message).or_default() += 1;
            }
        }
        seen.len() == servers
    })
    .await;
    client
}

/// A port that is free on these addresses, for a moment at least.
async fn free_port(ips: &[IpAddr]) -> u16 {
    'port: loop {
        let first = tokio::net::TcpListener::bind((ips[0], 0)).await.expect("a free port");
        let port = first.local_addr().expect("bound").port();
        for ip in &ips[1..] {
            if tokio::net::TcpListener::bind((*ip, port)).await.is_err() {
                continue 'port;
            }
        }
        return port;
    }
}

/// An address of which nobody else can be, and where nobody listens.
struct Nobody(tokio::net::TcpSocket);

impl Nobody {
    fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }
}

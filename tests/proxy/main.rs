//! A proxy of our own parts - server, cluster - between real clients and real backends.
#![cfg(feature = "proxy")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod forwarding;
mod http1;
mod per_core;
mod raw;
mod replies;

use std::{net::SocketAddr, time::Duration};

use grpc_balance::{
    Channel,
    cluster::{Builder, Cluster},
    discover::Fixed,
    endpoint::Endpoint,
    server::{Handle, Server},
};
use tokio::task::JoinHandle;

/// A proxy in front of some backends.
struct Proxy {
    address: SocketAddr,
    handle: Handle,
    serving: JoinHandle<()>,
    cluster: Cluster,
}

impl Proxy {
    fn to(backends: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::configured(backends, |builder| builder)
    }

    fn configured(
        backends: impl IntoIterator<Item = SocketAddr>,
        configure: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let endpoints = Fixed::new(backends.into_iter().map(Endpoint::new));
        let builder = Cluster::builder("test", "backends.test:80").resolver(endpoints);
        let cluster = configure(builder).build().expect("a valid cluster");
        let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().expect("a free port");
        let address = bound.local_addrs().next().expect("it listens");
        let handle = bound.handle();
        let serving = tokio::spawn(bound.serve(cluster.clone(), std::future::pending()));
        Self { address, handle, serving, cluster }
    }

    /// A client's channel to the proxy alone.
    fn channel(&self) -> Channel {
        Channel::builder(format!("ipv4:{}", self.address)).build().expect("a valid channel")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.abort();
        self.serving.abort();
    }
}

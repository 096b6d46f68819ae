//! A resolver by hand: what a balancer's control task does with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support")]

use std::{future::poll_fn, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use grpc_balance::{
    Error,
    discover::{DnsConfig, Resolve},
    endpoint::EndpointSet,
};

use super::dns::DnsServer;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Short times, as far as a busy machine can tell them from nothing.
pub fn quick(server: &DnsServer) -> DnsConfig {
    DnsConfig::new()
        .servers([server.address()])
        .min_interval(Duration::from_millis(50))
        .backoff(Duration::from_millis(50), Duration::from_millis(200))
        .attempt_timeout(Duration::from_secs(5))
        .family_delay(Duration::from_secs(5))
        .attempts(1)
}

pub fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub async fn next<R: Resolve + Unpin>(resolver: &mut R) -> Result<Arc<EndpointSet>, Error> {
    let next = poll_fn(|cx| Pin::new(&mut *resolver).poll_resolve(cx));
    tokio::time::timeout(PATIENCE, next).await.expect("the resolver is silent").expect("the resolver ended")
}

/// The next set, whatever fails before it.
pub async fn next_set<R: Resolve + Unpin>(resolver: &mut R) -> Arc<EndpointSet> {
    let mut last = None;
    let set = async {
        loop {
            match next(resolver).await {
                Ok(set) => return set,
                Err(error) => last = Some(error),
            }
        }
    };
    let set = tokio::time::timeout(PATIENCE, set).await;
    set.unwrap_or_else(|_| panic!("there are but errors, such as {last:?}"))
}

/// Drives the resolver until something has happened elsewhere; it must not yield anything meanwhile.
pub async fn quiet_until<R: Resolve + Unpin>(resolver: &mut R, event: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        item = next(resolver) => panic!("unexpected: {item:?}"),
        () = event => {}
    }
}

pub fn addresses(set: &Arc<EndpointSet>) -> Vec<String> {
    let mut all: Vec<_> = set.endpoints().iter().map(|endpoint| endpoint.to_string()).collect();
    all.sort();
    all
}

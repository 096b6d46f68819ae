//! What probing costs.

use std::{fs, future::poll_fn, pin::pin, time::Duration};

use grpc_balance::{
    connect::Connector,
    discover::{Fixed, Resolve},
    probe::{Grpc, Http, Probe, Probed, Tcp},
};
use http::uri::{Authority, PathAndQuery};
use tokio::time::{Instant, timeout};

use crate::{process, servers::Servers};

const ENDPOINTS: u32 = 10_000;
/// Long enough for three checks of each endpoint.
const MEASURED: Duration = Duration::from_secs(16);

pub(crate) fn measure(servers: &Servers) {
    // Both processes have the same limit, and need some files for themselves.
    let files = open_files().saturating_sub(100);
    let endpoints = ENDPOINTS.min(files);
    for (name, probe) in [
        ("grpc check", Probe::from(Grpc::new(""))),
        ("grpc watch", Probe::from(Grpc::watch(""))),
        ("http/1.1", Probe::from(Http::new(PathAndQuery::from_static("/")))),
        ("tcp", Probe::from(Tcp::new())),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(one(name, probe, servers, endpoints));
        runtime.shutdown_timeout(Duration::from_secs(5));
    }
}

async fn one(name: &str, probe: Probe, servers: &Servers, endpoints: u32) {
    let memory = resident();
    let (begun, cpu) = (Instant::now(), process::time());
    let connector = Connector::builder(Authority::from_static("bench.test")).build().unwrap();
    let resolver = Fixed::new((0..endpoints).map(|number| servers.address(number)));
    let mut probed = pin!(Probed::new(resolver, probe, &connector));
    loop {
        let set = poll_fn(|cx| probed.as_mut().poll_resolve(cx)).await.unwrap().unwrap();
        let passing = |set: &grpc_balance::endpoint::EndpointSet| {
            set.endpoints().iter().filter(|e| e.verdict().is_some_and(|v| v.is_passing())).count()
        };
        if passing(&set) == set.len() {
            break;
        }
    }
    let (first, start) = (begun.elapsed(), process::time() - cpu);
    println!("RESULT {name}, {endpoints} endpoints: all passing after {first:.2?}, {start:.2?} of CPU");
    // The second checks are spread over the first interval; what is measured is what follows.
    let mut changes = 0;
    let mut wait = async |time| {
        let end = Instant::now() + time;
        while let Ok(Some(Ok(_))) =
            timeout(end - Instant::now(), poll_fn(|cx| probed.as_mut().poll_resolve(cx))).await
        {
            changes += 1;
        }
    };
    wait(Duration::from_secs(6)).await;
    let (begun, cpu) = (Instant::now(), process::time());
    wait(MEASURED).await;
    let share = (process::time() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let grown = resident().saturating_sub(memory) / u64::from(endpoints);
    println!(
        "RESULT {name}, {endpoints} endpoints: {:.1} % of one core, {grown} bytes resident each, {changes} changes",
        share * 100.0
    );
}

/// How many files this process may open.
fn open_files() -> u32 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).unwrap_or(1_024)
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

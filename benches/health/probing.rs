//! Ten thousand endpoints, each asked every five seconds on a connection of its own.

use std::{fs, net::Ipv4Addr, pin::Pin, time::Duration};

use grpc_balance::{
    connect::Connector,
    discover::{Pushed, Resolve},
    endpoint::{Endpoint, EndpointSet},
    probe::{Grpc, Probe, Probed},
};
use http::uri::Authority;
use std::{future::poll_fn, sync::Arc};
use tokio::time::{Instant, sleep, timeout};

use crate::server::Server;

const ENDPOINTS: u32 = 10_000;
/// Files that something else may need.
const SPARE: u32 = 500;
const INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn report() {
    let server = Server::start();
    let limit = u32::try_from(open_files()).unwrap_or(u32::MAX);
    let endpoints = ENDPOINTS.min(limit - SPARE);
    if endpoints < ENDPOINTS {
        println!("only {limit} files may be open: {endpoints} endpoints are probed");
    }
    let before = resident();
    let (handle, pushed) = Pushed::new();
    handle.replace((0..endpoints).map(|number| {
        let address = Ipv4Addr::from_bits(0x7f01_0000 + number + 1);
        Endpoint::new(std::net::SocketAddr::from((address, server.port())))
    }));
    let connector = Connector::builder(Authority::from_static("bench")).build().expect("a valid connector");
    let probe =
        Probe::from(Grpc::new("bench.Service")).timeout(INTERVAL).interval(INTERVAL).jitter(Duration::ZERO);
    let mut probed = Box::pin(Probed::new(pushed, probe, &connector));
    let started = Instant::now();
    let all_pass = async { while count(&*next(probed.as_mut()).await) < endpoints as usize {} };
    timeout(Duration::from_secs(120), all_pass).await.expect("all pass within two minutes");
    println!("RESULT health.probes.first_round {:.1} s", started.elapsed().as_secs_f64());
    // The second round has begun everywhere.
    sleep(INTERVAL * 2).await;
    let (served, start, cpu) = (server.checks(), Instant::now(), cpu_time());
    sleep(INTERVAL * 4).await;
    let (rate, share) = (
        (server.checks() - served) as f64 / start.elapsed().as_secs_f64(),
        (cpu_time() - cpu).as_secs_f64() / start.elapsed().as_secs_f64(),
    );
    println!("RESULT health.probes.rate {rate:.0} checks_per_s");
    println!("RESULT health.probes.cpu {:.1} percent_of_a_core", share * 100.0);
    println!(
        "RESULT health.probes.memory {:.0} bytes_per_endpoint",
        (resident() - before) as f64 / f64::from(endpoints)
    );
}

async fn next(mut probed: Pin<&mut Probed<Pushed>>) -> Arc<EndpointSet> {
    let set = poll_fn(|cx| probed.as_mut().poll_resolve(cx)).await;
    set.expect("it goes on").expect("nothing fails")
}

fn count(set: &EndpointSet) -> usize {
    set.endpoints()
        .iter()
        .filter(|endpoint| endpoint.verdict().is_some_and(|verdict| verdict.is_passing()))
        .count()
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Raises the limit of open files as far as it goes, and tells it.
pub(crate) fn open_files() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the answer, and then a valid argument.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
    }
    limit.rlim_cur
}

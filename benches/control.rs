//! What the control plane costs with ten thousand endpoints: CPU time of one removal and of one insertion, connections
//! touched by them, and memory of an endpoint that is not connected.
//!
//! `cargo bench --bench control` prints one `RESULT` line per figure.

#![allow(
    unsafe_code,
    reason = "a global allocator that counts and the thread's CPU clock cannot be had without"
)]
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::{Pending, Ready, pending, ready},
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use grpc_balance::{
    Balance, Error,
    balance::Connectivity,
    connect::{Connect, ConnectionState, Established, dial::DialLimit},
    discover::Pushed,
    endpoint::Endpoint,
    policy::{P2c, Policy, RoundRobin},
};
use tokio::sync::watch;

const ENDPOINTS: u32 = 10_000;
const ROUNDS: u32 = 101;

/// Counts live bytes, and otherwise leaves them to the system.
struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to `System` as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "Linux has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Connects at once, and counts how often.
#[derive(Clone, Default)]
struct AtOnce(Arc<AtomicU64>);

struct Line {
    _health: watch::Sender<ConnectionState>,
}

impl Connect for AtOnce {
    type Connection = Line;
    type Future = Ready<Result<Established<Line>, Error>>;

    fn connect(&self, _endpoint: &Arc<Endpoint>) -> Self::Future {
        self.0.fetch_add(1, Relaxed);
        let (health, watch) = watch::channel(ConnectionState::Open { max_streams: 100 });
        ready(Ok(Established::new(Arc::new(Line { _health: health }), watch)))
    }
}

/// Never connects.
struct Never;

impl Connect for Never {
    type Connection = Line;
    type Future = Pending<Result<Established<Line>, Error>>;

    fn connect(&self, _endpoint: &Arc<Endpoint>) -> Self::Future {
        pending()
    }
}

fn endpoint(number: u32) -> Endpoint {
    Endpoint::new(std::net::SocketAddr::from((Ipv4Addr::from_bits(0x0a00_0000 + number), 50_051)))
}

async fn until(watch: &mut watch::Receiver<Connectivity>, condition: impl FnMut(&Connectivity) -> bool) {
    watch.wait_for(condition).await.expect("the balancer lives");
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("RESULT control.{name} {:.1} us", times[times.len() / 2].as_secs_f64() * 1e6);
    println!("RESULT control.{name}.p90 {:.1} us", times[times.len() * 9 / 10].as_secs_f64() * 1e6);
}

/// Removes and inserts one endpoint among all, again and again.
async fn churn(name: &str, policy: impl Policy) {
    let connector = AtOnce::default();
    let (handle, pushed) = Pushed::new();
    let balance = Balance::builder(pushed, connector.clone()).policy(policy).build().expect("in a runtime");
    let mut watch = balance.watch();
    handle.replace((0..ENDPOINTS).map(endpoint));
    until(&mut watch, |now| now.ready() == ENDPOINTS as usize).await;
    let connects = connector.0.load(Relaxed);
    let (mut removals, mut insertions) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Let what the last round left behind be freed, so that this one does not pay for it.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let one = endpoint(round * 97 % ENDPOINTS);
        let start = cpu();
        assert!(handle.remove(one.key()), "it was there");
        until(&mut watch, |now| now.ready() < ENDPOINTS as usize).await;
        // The retired snapshot is part of the price.
        tokio::time::sleep(Duration::from_millis(30)).await;
        removals.push(cpu() - start);
        let start = cpu();
        assert!(handle.insert(one), "it was gone");
        until(&mut watch, |now| now.ready() == ENDPOINTS as usize).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        insertions.push(cpu() - start);
    }
    let touched = connector.0.load(Relaxed) - connects - u64::from(ROUNDS);
    report(&format!("{name}.removal"), removals);
    report(&format!("{name}.insertion"), insertions);
    println!("RESULT control.{name}.connections_touched {touched} connections");
}

/// Bytes that an endpoint takes which waits for its turn to be dialled.
async fn memory() {
    let endpoints: Vec<Endpoint> = (0..ENDPOINTS).map(endpoint).collect();
    let (handle, pushed) = Pushed::new();
    let balance = Balance::builder(pushed, Never)
        .policy(P2c::least_pending())
        .connect_timeout(Duration::from_secs(3600))
        .dial_limit(DialLimit::default())
        .build()
        .expect("in a runtime");
    let mut watch = balance.watch();
    let before = LIVE.load(Relaxed);
    handle.replace(endpoints.iter().cloned());
    until(&mut watch, |now| now.endpoints() == ENDPOINTS as usize).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let taken = LIVE.load(Relaxed) - before;
    println!("RESULT control.unconnected_endpoint {:.0} bytes", taken as f64 / f64::from(ENDPOINTS));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        memory().await;
        churn("p2c_least_pending", P2c::least_pending()).await;
        churn("round_robin", RoundRobin::new()).await;
    });
}

//! What a pick costs: nanoseconds and allocations, by policy and by the number of ready endpoints.
//!
//! And what a whole call through the balancer costs over a connection that answers at once, beside tower's balancer in
//! its buffer.
//!
//! `cargo bench --bench pick` prints one `RESULT` line per figure. Times are medians over rounds in which the cases
//! take turns, so that a noisy moment does not fall on one of them.

#![allow(unsafe_code, reason = "a global allocator that counts cannot be written without")]
#![allow(clippy::print_stdout, reason = "the figures are the program's output")]

#[path = "../support/at_once.rs"]
mod at_once;
mod overhead;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use grpc_balance::{
    endpoint::{Address, Endpoint},
    grpc::Outcome,
    load::{InFlight, Load, SetLoad},
    policy::{self, PickContext, Picker, Policy, ReadyEndpoint, ReadySet},
    random::Random,
};
use http::{Extensions, HeaderMap};
use tokio::time::Instant;

const ENDPOINTS: [usize; 3] = [3, 100, 10_000];
const ROUNDS: usize = 301;
/// Few enough that a round ends before its time slice does, many enough that reading the clock does not count.
const PICKS: u32 = 5_000;

/// Counts allocations, and otherwise leaves them to the system.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to `System` as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract, and the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One policy over one number of endpoints.
struct Case {
    name: String,
    picker: Arc<dyn Picker>,
    rounds: Vec<f64>,
    allocations: u64,
}

impl Case {
    fn new(policy: &dyn Policy, endpoints: usize, weight: fn(u32) -> u32) -> Self {
        let picker = policy.build(&ready(endpoints, weight));
        let even = weight(0) == weight(1);
        let name = format!("pick.{}{}.{endpoints}", policy.name(), if even { "" } else { "_weighted" });
        Self { name, picker, rounds: Vec::with_capacity(ROUNDS), allocations: 0 }
    }

    fn round(&mut self) {
        let (headers, extensions, random) = (HeaderMap::new(), Extensions::new(), Random::from_os());
        let context =
            PickContext::new("/greeter.Greeter/SayHello", &headers, &extensions, &random, Instant::now());
        let (allocations, start) = (ALLOCATIONS.load(Relaxed), Instant::now());
        for _ in 0..PICKS {
            black_box(self.picker.pick(black_box(&context)));
        }
        self.rounds.push(start.elapsed().as_nanos() as f64 / f64::from(PICKS));
        self.allocations += ALLOCATIONS.load(Relaxed) - allocations;
    }

    fn report(mut self) {
        self.rounds.sort_by(f64::total_cmp);
        let (median, picks) = (self.rounds[ROUNDS / 2], f64::from(PICKS) * ROUNDS as f64);
        println!("RESULT {} {median:.1} ns", self.name);
        println!("RESULT {}.allocs {} per_pick", self.name, self.allocations as f64 / picks);
    }
}

/// Endpoints that have been in use: each has answered a call, every third one is busy.
fn ready(endpoints: usize, weight: fn(u32) -> u32) -> ReadySet {
    let (set, now) = (Arc::new(SetLoad::new()), Instant::now());
    let endpoint = |number: u32| {
        let address = Address::Tcp((Ipv4Addr::from_bits(0x0a00_0000 + number), 50_051).into());
        let load = Arc::new(Load::new(set.clone()));
        let mut call = InFlight::start(load.clone(), now);
        let answered = now + Duration::from_millis(10);
        call.headers_arrived(answered);
        call.finish(Outcome::Success, answered);
        if number.is_multiple_of(3) {
            // A call that never ends.
            std::mem::forget(InFlight::start(load.clone(), now));
        }
        ReadyEndpoint::new(Arc::new(Endpoint::new(address).with_weight(weight(number))), load)
    };
    (0..endpoints as u32).map(endpoint).collect()
}

fn main() {
    let policies: [Arc<dyn Policy>; 4] = [
        Arc::new(policy::RoundRobin::new()),
        Arc::new(policy::P2c::least_pending()),
        Arc::new(policy::P2c::peak_ewma()),
        Arc::new(policy::Random::new()),
    ];
    let mut cases = Vec::new();
    for policy in &policies {
        for endpoints in ENDPOINTS {
            cases.push(Case::new(policy, endpoints, |_| 1));
            cases.push(Case::new(policy, endpoints, |number| number % 5 + 1));
        }
    }
    cases.iter_mut().for_each(Case::round);
    cases.iter_mut().for_each(|case| case.rounds.clear());
    for _ in 0..ROUNDS {
        cases.iter_mut().for_each(Case::round);
    }
    cases.into_iter().for_each(Case::report);
    overhead::report();
}

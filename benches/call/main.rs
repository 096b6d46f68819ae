//! The client's CPU time per unary call, over three local backends in another process.
//!
//! ```text
//! cargo bench --bench call
//! ```
//!
//! Contenders, in interleaved rounds: bare `h2` with requests encoded beforehand (the floor), a single tonic `Channel`
//! to one backend, tonic's `Channel::balance_list`, `ginepro`, and this crate's `Channel`. Each figure is the median
//! over the rounds: `RESULT call.<contender>.<callers>.<runtime threads> <us> us`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench ends at the first thing that goes wrong"
)]

mod backends;
mod contenders;
mod cpu;
#[path = "../../proto/mod.rs"]
mod pb;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use self::contenders::{Caller, Contenders};

const ROUNDS: usize = 9;
const WARM_UP: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_millis(500);

/// Lets `callers` tasks call for a while, and says how much CPU time one call cost.
async fn round<C: Caller>(contender: &C, callers: usize, duration: Duration) -> Duration {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let before = cpu::time();
    for _ in 0..callers {
        let (mut caller, stop) = (contender.clone(), stop.clone());
        tasks.spawn(async move {
            let mut calls = 0_u32;
            while !stop.load(Relaxed) {
                caller.call().await.unwrap();
                calls += 1;
            }
            calls
        });
    }
    tokio::time::sleep(duration).await;
    stop.store(true, Relaxed);
    let calls: u32 = tasks.join_all().await.into_iter().sum();
    (cpu::time() - before) / calls
}

fn main() {
    if backends::is_child() {
        return backends::run();
    }
    let backends = backends::Backends::start();
    let mut took: BTreeMap<(usize, usize), BTreeMap<&str, Vec<Duration>>> = BTreeMap::new();
    for threads in [1, 2] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
        let contenders = runtime.block_on(Contenders::connect(backends.addresses()));
        for callers in [1, 200] {
            let figures = took.entry((callers, threads)).or_default();
            for i in 0..=ROUNDS {
                let duration = if i == 0 { WARM_UP } else { ROUND };
                macro_rules! contend {
                    ($($name:ident),*) => {$(
                        let contender = contenders.$name.clone();
                        let task = async move { round(&contender, callers, duration).await };
                        let cost = runtime.block_on(runtime.spawn(task)).unwrap();
                        if i > 0 {
                            figures.entry(stringify!($name)).or_default().push(cost);
                        }
                    )*};
                }
                contend!(h2, tonic, balance_list, ginepro, grpc_balance);
            }
        }
    }
    for ((callers, threads), figures) in took {
        for (name, mut costs) in figures {
            costs.sort_unstable();
            let median = costs[costs.len() / 2].as_secs_f64() * 1e6;
            println!("RESULT call.{name}.{callers}.{threads} {median:.2} us");
        }
    }
}

//! Attacks, each beside a client that behaves well.
//!
//! The server runs in a process of its own, so that its memory is known: whatever the flood, it takes less than
//! [`FLOOD`] more than before, and a connection that does nothing less than [`HELD`]. `ABUSE_SECONDS` says how long
//! each attack lasts; the default is one second.

mod attacks;
mod child;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    task::JoinSet,
    time::{Instant, timeout},
};

use self::{
    attacks::{
        Attack, continuation_flood, idle, many_headers, patient_reset, ping_flood, rapid_reset,
        settings_flood, slowloris,
    },
    child::Child,
};
use crate::support::{Client, SOON, http1_works};

/// How much more memory than before a flood on four connections a server may ever have had, in KiB. It is 0.5 to
/// 3.5 MiB, also after ten seconds.
const FLOOD: u64 = 8 << 10;

/// How much memory each connection may take that is open and does nothing good, in KiB, without the kernel's share.
/// In a debug build it is 21 for a slow head, and 20 for each of 10 000 idle HTTP/2 connections.
const HELD: u64 = 40;

/// A call of the well-behaved client takes a fraction of a millisecond without an attack. Both processes and the
/// attackers share the machine's cores.
const SLOWEST: Duration = Duration::from_secs(5);

fn lasting() -> Duration {
    let seconds = std::env::var("ABUSE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

/// One attack at a time: they take what there is of the machine.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Attacks on several connections at once, each replaced when the server closes it, while both kinds of clients
/// make their calls. Returns how many connections the server closed.
async fn withstands(attack: Attack, connections: usize, bound: u64) -> u64 {
    let _turn = TURN.lock().await;
    let server = Child::start().await;
    // What a server allocates for its first clients is no growth.
    Client::new(server.dial().await).await.works().await;
    let before = server.memory().most;

    let address = server.address;
    let closed = Arc::new(AtomicU64::new(0));
    let mut attackers = JoinSet::new();
    for _ in 0..connections {
        let closed = closed.clone();
        attackers.spawn(async move {
            loop {
                attack(address).await;
                closed.fetch_add(1, Relaxed);
            }
        });
    }

    let end = Instant::now() + lasting();
    let client = Client::new(server.dial().await).await;
    let mut http1 = server.dial().await;
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < end {
        let begun = Instant::now();
        timeout(SOON, client.works()).await.expect("an answer over HTTP/2");
        timeout(SOON, http1_works(&mut http1)).await.expect("an answer over HTTP/1");
        // And one that comes new.
        timeout(SOON, async { http1_works(&mut server.dial().await).await })
            .await
            .expect("an answer to a newcomer");
        slowest = slowest.max(begun.elapsed());
        calls += 3;
    }
    let closed = closed.load(Relaxed);
    let memory = server.memory();
    attackers.shutdown().await;
    eprintln!(
        "{calls} calls, the slowest three {slowest:?}; {closed} connections closed; memory {before} to {} KiB",
        memory.most
    );
    assert!(calls >= 10, "only {calls} calls");
    assert!(slowest < SLOWEST, "{slowest:?}");
    assert!(memory.most.saturating_sub(before) < bound, "{before} to {} KiB", memory.most);
    closed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_are_cut_off_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(rapid_reset(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_of_calls_that_have_begun_are_cut_off_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(patient_reset(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation_floods_are_cut_off_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(continuation_flood(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_floods_are_cut_off_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(ping_flood(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_floods_are_cut_off_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(settings_flood(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_headers_are_refused_beside_a_client_whose_calls_succeed() {
    assert!(withstands(|address| Box::pin(many_headers(address)), 4, FLOOD).await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_heads_are_held_beside_a_client_whose_calls_succeed() {
    withstands(|address| Box::pin(slowloris(address)), 1_000, 1_000 * HELD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_are_held_beside_a_client_whose_calls_succeed() {
    withstands(|address| Box::pin(idle(address)), 1_000, 1_000 * HELD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_a_server_waits_and_recovers() {
    let _turn = TURN.lock().await;
    let server = Child::with_descriptors(48).await;
    // The kernel completes the handshakes of those whom the server cannot accept.
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(server.dial().await);
    }
    http1_works(&mut held[0]).await;
    let before = server.cpu();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let spent = server.cpu() - before;
    assert!(spent <= Duration::from_millis(100), "it spun: {spent:?} of 500 ms");
    drop(held);
    timeout(SOON, async { http1_works(&mut server.dial().await).await }).await.expect("it recovers");
}

/// The server of the other tests, in a process of its own: see [`child`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_until_its_input_ends() {
    if std::env::var_os(child::MARK).is_none() {
        return;
    }
    let server = crate::support::Running::new(|server| server);
    println!("\n{}{}", child::LISTENING, server.address);
    let _ = tokio::io::stdin().read_u8().await;
}

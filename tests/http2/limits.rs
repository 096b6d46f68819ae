//! The peer's SETTINGS_MAX_CONCURRENT_STREAMS.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use grpc_balance::connect::{Connection, ConnectionState, Gate, Replay, Room, http2::Http2Config};
use http::Response;
use http_body_util::Empty;

use crate::support::{Client, permit, post, raw::Peer, serve, sockets, until};

fn max_streams(state: &ConnectionState) -> Option<usize> {
    match state {
        ConnectionState::Open { max_streams } => Some(*max_streams),
        _ => None,
    }
}

#[tokio::test]
async fn the_limit_is_known_as_the_connection_is_established_and_follows_the_peer() {
    let (near, mut peer) = Peer::new();
    let (mut client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(Some(5)));
    assert_eq!(max_streams(&client.health.borrow()), Some(5));
    for limit in [2, 0, 7] {
        peer.settings(Some(limit)).await;
        until(&mut client.health, |state| max_streams(state) == Some(limit as usize)).await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_say_has_no_limit() {
    let (near, mut peer) = Peer::new();
    let (client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    assert_eq!(max_streams(&client.health.borrow()), Some(usize::MAX));
}

/// As `Balance` does it: a permit from the gate, or a place in the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_refused_and_none_starves_from_the_first_call_on() {
    const CALLERS: usize = 10;
    const CALLS: usize = 50;
    let (near, far) = sockets().await;
    let open = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let counters = (open.clone(), peak.clone());
    serve(far, h2::server::Builder::new().max_concurrent_streams(1), move |_, mut respond| {
        let (open, peak) = counters.clone();
        peak.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
        async move {
            tokio::task::yield_now().await;
            open.fetch_sub(1, SeqCst);
            let _ = respond.send_response(Response::new(()), true);
        }
    });
    let client = Client::over(near, Http2Config::new()).await;
    let room = Arc::new(Room::new());
    let gate = Arc::new(Gate::new(room.clone()));
    gate.set_max(max_streams(&client.health.borrow()).unwrap());

    let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (gate, connection) = (gate.clone(), client.connection.clone());
            let turns = turns.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    let permit = permit(&gate).await;
                    turns.lock().unwrap().push(caller);
                    let request = post(Replay::new(Empty::<Bytes>::new()));
                    connection.send(request, permit).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(peak.load(SeqCst), 1);
    assert_eq!((gate.live(), room.waiting()), (0, 0));
    // A closed loop of callers takes turns: while all of them want a stream, nobody is overtaken for long.
    let turns = turns.lock().unwrap();
    let contended = &turns[2 * CALLERS..(CALLERS * CALLS) / 2];
    for window in contended.chunks_exact(5 * CALLERS) {
        for caller in 0..CALLERS {
            assert!(window.contains(&caller), "{caller} had no turn in {window:?}");
        }
    }
}

//! Keepalive on suspicion, under a paused clock.

use bytes::Bytes;
use grpc_balance::{
    connect::{ConnectionState, Keepalive, SendError, http2::Http2Config},
    grpc::Code,
};
use http_body_util::Empty;
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep},
};

use crate::support::{
    Client, is_closed, post,
    raw::{ACK, END_HEADERS, END_STREAM, HEADERS, PING, Peer, STATUS_200},
    until,
};

/// A peer that answers pings and tells when they came; `respond` says how long it takes to answer a call.
fn answer_pings(mut peer: Peer, respond: Option<Duration>) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        peer.greet(None).await;
        while let Some(frame) = peer.read().await {
            if frame.is(PING) && frame.flags & ACK == 0 {
                let _ = tell.send(Instant::now());
                peer.write(PING, ACK, 0, &frame.payload).await;
            } else if frame.is(HEADERS)
                && let Some(delay) = respond
            {
                sleep(delay).await;
                peer.write(HEADERS, END_HEADERS | END_STREAM, frame.stream, STATUS_200).await;
            }
        }
    });
    told
}

fn seconds(told: &mut mpsc::UnboundedReceiver<Instant>, since: Instant) -> Vec<u64> {
    let mut times = Vec::new();
    while let Ok(time) = told.try_recv() {
        times.push(time.duration_since(since).as_secs());
    }
    times
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_fell_silent_during_a_call_is_given_up_after_15_seconds() {
    let (near, mut peer) = Peer::new();
    let (mut client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    let started = Instant::now();
    let result = client.call(Empty::<Bytes>::new()).await;
    let waited = started.elapsed();
    assert!((14.9..15.2).contains(&waited.as_secs_f64()), "{waited:?}");
    let Err(SendError::Failed(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(format!("{error:?}").contains("keepalive"), "{error:?}");
    let ConnectionState::Closed { cause, .. } = until(&mut client.health, is_closed).await else {
        unreachable!()
    };
    assert!(cause.to_string().contains("keepalive"), "{cause}");
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_even_read_is_given_up_too() {
    let (near, far) = tokio::io::duplex(256);
    let mut peer = Peer { io: far };
    let (client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    let started = Instant::now();
    let body = http_body_util::Full::new(Bytes::from(vec![7; 1 << 16]));
    let result = client.call(body).await;
    assert!(matches!(result, Err(SendError::Failed(_))));
    assert!((14.9..15.2).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_thinks_for_an_hour_is_pinged_twice_and_then_every_five_minutes() {
    let (near, peer) = Peer::new();
    let mut told = answer_pings(peer, None);
    let client = Client::over(near, Http2Config::new()).await;
    let started = Instant::now();
    let call = tokio::spawn(client.send(post(Empty::<Bytes>::new())));
    sleep(Duration::from_secs(3600)).await;
    assert!(!call.is_finished());
    let pings = seconds(&mut told, started);
    assert_eq!(pings[..2], [10, 20]);
    for pair in pings[1..].windows(2) {
        assert!((300..=330).contains(&(pair[1] - pair[0])), "{pings:?}");
    }
    assert!(pings.len() >= 12, "{pings:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_left_alone_and_pinged_beside_its_next_call() {
    let (near, peer) = Peer::new();
    let mut told = answer_pings(peer, Some(Duration::from_millis(1)));
    let client = Client::over(near, Http2Config::new()).await;
    client.call(Empty::<Bytes>::new()).await.unwrap();

    sleep(Duration::from_secs(59)).await;
    client.call(Empty::<Bytes>::new()).await.unwrap();
    assert_eq!(told.try_recv().ok(), None, "59 s of silence are nothing unusual");

    sleep(Duration::from_secs(3600)).await;
    assert_eq!(told.try_recv().ok(), None, "nobody waits for anything");
    let reused = Instant::now();
    client.call(Empty::<Bytes>::new()).await.unwrap();
    assert_eq!(reused.elapsed(), Duration::from_millis(1), "the call did not wait for the ping");
    assert_eq!(told.recv().await, Some(reused + Duration::from_millis(1)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_died_while_idle_is_found_5_seconds_after_its_next_call_starts() {
    let (near, mut peer) = Peer::new();
    let (client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    sleep(Duration::from_secs(3600)).await;
    let started = Instant::now();
    let result = client.call(Empty::<Bytes>::new()).await;
    assert!(matches!(result, Err(SendError::Failed(_))));
    assert!((4.9..5.2).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_pinged_when_it_is_off() {
    let (near, peer) = Peer::new();
    let mut told = answer_pings(peer, None);
    let client = Client::over(near, Http2Config::new().keepalive(Keepalive::off())).await;
    let call = tokio::spawn(client.send(post(Empty::<Bytes>::new())));
    sleep(Duration::from_secs(3600)).await;
    assert!(!call.is_finished());
    assert_eq!(told.try_recv().ok(), None);
}

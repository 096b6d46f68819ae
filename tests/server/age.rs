//! Connections that become old.

use std::{sync::Arc, time::Duration};

use grpc_balance::random::Random;
use tokio::time::Instant;

use crate::support::{
    Running, http1_works,
    raw::{self, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Peer, frame},
    to_end,
};

const AGE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_finishes_its_requests() {
    let server = Running::new(|server| server.max_connection_age(AGE));
    let client = server.http2().await;
    let stream = client.get("/forever").await.unwrap();
    server.counts(|stats| stats.aged == 1).await;
    // The client has said END_STREAM, and the response goes on without a grace.
    tokio::time::sleep(AGE).await;
    assert!(!client.connection.is_finished());
    drop(stream);
    client.closed().await.unwrap();

    let mut http1 = server.dial().await;
    http1_works(&mut http1).await;
    assert_eq!(to_end(http1).await, "");
    server.counts(|stats| stats.aged == 2 && stats.cut == 0 && stats.active == 0).await;
}

#[tokio::test]
async fn the_grace_of_an_old_connection_ends() {
    let server = Running::new(|server| server.max_connection_age(AGE).max_connection_age_grace(AGE));
    let client = server.http2().await;
    let mut stream = client.get("/forever").await.unwrap().into_body();
    assert!(stream.data().await.unwrap().is_err());
    server.counts(|stats| stats.aged == 1 && stats.cut == 1 && stats.active == 0).await;
}

#[tokio::test]
async fn a_peer_that_does_not_acknowledge_the_goaway_is_closed_when_it_has_no_request() {
    let server = Running::new(|server| server.max_connection_age(AGE));
    let mut peer = Peer::greet(server.dial().await).await;
    peer.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &raw::get("/"))).await.unwrap();
    let goaway = peer.expect(GOAWAY).await;
    assert_eq!(goaway.payload[..4], [0x7f, 0xff, 0xff, 0xff], "nothing is cut off by it");
    peer.expect(raw::PING).await;
    // And never an answer to it.
    peer.closed().await;
    server.counts(|stats| stats.active == 0 && stats.cut == 0).await;
}

#[tokio::test]
async fn ages_differ_by_up_to_a_tenth_each_way() {
    let age = Duration::from_millis(1_000);
    let server = Running::new(|server| server.max_connection_age(age).random(Arc::new(Random::seeded(7))));
    let mut ages = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let mut io = server.dial().await;
        http1_works(&mut io).await;
        let begun = Instant::now();
        ages.spawn(async move {
            to_end(io).await;
            begun.elapsed()
        });
    }
    let ages = ages.join_all().await;
    let (least, most) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*least >= age.mul_f64(0.85), "{least:?}");
    // The greatest jitter is 1.1; how long a loaded machine takes to notice is not our business.
    assert!(*most >= age.mul_f64(1.02) && *most - *least >= age.mul_f64(0.08), "{least:?} to {most:?}");
}

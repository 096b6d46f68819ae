//! The end of connections, and of the calls on them.

use std::error::Error as _;

use bytes::Bytes;
use grpc_balance::{
    Error,
    connect::{Connection, ConnectionState, SendError, http2::Http2Config},
    error::Phase,
    grpc::Code,
};
use h2::Reason;
use http::Response;
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::{Duration, Instant};

use crate::support::{
    Client, client_of, drain, is_closed, is_going_away, post,
    raw::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Peer, STATUS_200},
    until,
};

const NOT_YET: u32 = (1 << 31) - 1;

#[tokio::test]
async fn a_graceful_goaway_lets_calls_finish_and_takes_no_new_ones() {
    let (near, mut peer) = Peer::new();
    let (resume, resumed) = tokio::sync::oneshot::channel();
    let script = tokio::spawn(async move {
        peer.greet(None).await;
        peer.expect(HEADERS).await;
        peer.go_away(NOT_YET, 0, b"max_age").await;
        resumed.await.unwrap();
        peer.go_away(1, 0, b"max_age").await;
        peer.write(HEADERS, END_HEADERS, 1, STATUS_200).await;
        peer.write(DATA, END_STREAM, 1, b"finished").await;
        while peer.read().await.is_some() {}
    });
    let mut client = Client::over(near, Http2Config::new()).await;
    let call = tokio::spawn(client.send(post(Empty::<Bytes>::new())));
    let state = until(&mut client.health, is_going_away).await;
    let ConnectionState::GoingAway { too_many_pings, cause } = state else { unreachable!() };
    assert!(!too_many_pings);
    assert!(format!("{cause:?}").contains("max_age"), "{cause:?}");

    let Err(SendError::Unsent(error, request)) = client.call(Full::new(Bytes::from("b"))).await else {
        panic!("a call went out after GOAWAY")
    };
    assert!(error.is_safe_to_retry());
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "b");

    resume.send(()).unwrap();
    let response = call.await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "finished");
    // It closes by itself, though the client still holds it.
    until(&mut client.health, is_closed).await;
    script.await.unwrap();
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn calls_above_a_goaways_last_id_come_back_whole() {
    let (near, mut peer) = Peer::new();
    tokio::spawn(async move {
        peer.greet(None).await;
        peer.read_stream(1).await;
        peer.read_stream(3).await;
        peer.go_away(1, 0, b"").await;
        peer.write(HEADERS, END_HEADERS | END_STREAM, 1, STATUS_200).await;
        std::future::pending::<()>().await;
    });
    let client = Client::over(near, Http2Config::new()).await;
    let body = || Full::new(Bytes::from("hello"));
    let (first, second) = tokio::join!(client.call(body()), client.call(body()));
    first.unwrap();
    let Err(SendError::Refused { error, request: Some(request), going_away: true }) = second else {
        panic!("{second:?}")
    };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.is_safe_to_retry());

    // It is as good as new.
    let other = client_of(async |mut request, mut respond| {
        assert_eq!(request.uri().path(), "/pkg.Service/Method");
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(drain(request.body_mut()).await, 5);
        respond.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
    })
    .await;
    let response = other.connection.send(request, other.gate.try_acquire().unwrap()).await.unwrap();
    assert_eq!(response.status(), 204);
}

#[tokio::test]
async fn a_refused_stream_comes_back_and_the_connection_stays() {
    let client = client_of(async |mut request, mut respond| {
        if drain(request.body_mut()).await == 5 {
            respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            respond.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    let result = client.call(Full::new(Bytes::from("hello"))).await;
    let Err(SendError::Refused { request: Some(request), going_away: false, .. }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert!(matches!(*client.health.borrow(), ConnectionState::Open { .. }));
    client.call(Full::new(Bytes::from("other"[1..].to_owned()))).await.unwrap();
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn a_refused_call_whose_body_is_gone_is_safe_to_retry_but_does_not_come_back() {
    let client = client_of(async |mut request, mut respond| {
        drain(request.body_mut()).await;
        respond.send_reset(Reason::REFUSED_STREAM);
    })
    .await;
    let result = client.call(Full::new(Bytes::from(vec![7; 65_537]))).await;
    let Err(SendError::Refused { error, request: None, .. }) = result else { panic!("{result:?}") };
    assert!(error.is_safe_to_retry());
}

#[tokio::test]
async fn a_broken_pipe_proves_nothing() {
    let (near, mut peer) = Peer::new();
    tokio::spawn(async move {
        peer.greet(None).await;
        peer.read_stream(1).await;
    });
    let mut client = Client::over(near, Http2Config::new()).await;
    let result = client.call(Full::new(Bytes::from("hello"))).await;
    let Err(SendError::Failed(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!error.is_safe_to_retry());
    until(&mut client.health, is_closed).await;
    let result = client.call(Empty::<Bytes>::new()).await;
    assert!(matches!(result, Err(SendError::Unsent(..))), "nothing goes out on a dead connection");
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn aborting_a_connection_fails_its_calls_with_the_cause() {
    let (near, mut peer) = Peer::new();
    let (mut client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    let call = tokio::spawn(client.send(post(Empty::<Bytes>::new())));
    peer.expect(HEADERS).await;
    client.connection.abort(Error::new(Code::Unavailable, Phase::Connect, "the drain took too long"));
    let Err(SendError::Failed(error)) = call.await.unwrap() else { panic!("the call lives on") };
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.source().unwrap().to_string().contains("the drain took too long"));
    until(&mut client.health, is_closed).await;
    while peer.read().await.is_some() {}
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn too_many_pings_is_heard_even_if_the_connection_closes_at_once() {
    let (near, mut peer) = Peer::new();
    let (mut client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    peer.go_away(0, 0xb, b"too_many_pings").await;
    let state = until(&mut client.health, is_closed).await;
    assert!(matches!(state, ConnectionState::Closed { too_many_pings: true, .. }), "{state:?}");
}

#[tokio::test]
async fn a_connection_closes_with_its_last_holder() {
    let (near, mut peer) = Peer::new();
    let script = tokio::spawn(async move {
        peer.greet(None).await;
        peer.expect(GOAWAY).await;
        while peer.read().await.is_some() {}
    });
    let client = Client::over(near, Http2Config::new()).await;
    let mut health = client.health.clone();
    drop(client);
    until(&mut health, is_closed).await;
    script.await.unwrap();
}

#[tokio::test]
async fn a_response_that_is_still_read_keeps_its_connection() {
    let (near, mut peer) = Peer::new();
    let (resume, resumed) = tokio::sync::oneshot::channel();
    let script = tokio::spawn(async move {
        peer.greet(None).await;
        peer.read_stream(1).await;
        peer.write(HEADERS, END_HEADERS, 1, STATUS_200).await;
        resumed.await.unwrap();
        peer.write(DATA, END_STREAM, 1, b"finished").await;
        while peer.read().await.is_some() {}
    });
    let client = Client::over(near, Http2Config::new()).await;
    let mut health = client.health.clone();
    let response = client.call(Empty::<Bytes>::new()).await.unwrap();
    drop(client);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(*health.borrow(), ConnectionState::Open { .. }));
    resume.send(()).unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "finished");
    until(&mut health, is_closed).await;
    script.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_cannot_keep_an_unused_connection_open() {
    let (near, far) = tokio::io::duplex(4096);
    let mut peer = Peer { io: far };
    let (client, ()) = tokio::join!(Client::over(near, Http2Config::new()), peer.greet(None));
    let mut health = client.health.clone();
    // Fill the pipe, so that not even a GOAWAY fits.
    let call = tokio::spawn(client.send(post(Full::new(Bytes::from(vec![7; 1 << 20])))));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    call.abort();
    let _ = call.await;
    let dropped = Instant::now();
    drop(client);
    until(&mut health, is_closed).await;
    assert!(dropped.elapsed() <= Duration::from_secs(1), "{:?}", dropped.elapsed());
}

/// Review: whoever has answered has processed the call, whatever the reset says.
#[tokio::test]
async fn a_call_that_was_refused_after_its_headers_is_not_safe_to_retry() {
    let (near, mut peer) = Peer::new();
    tokio::spawn(async move {
        peer.greet(None).await;
        peer.read_stream(1).await;
        peer.write(HEADERS, END_HEADERS, 1, STATUS_200).await;
        peer.write(DATA, 0, 1, b"half an answer").await;
        peer.write(3, 0, 1, &[0, 0, 0, 7]).await;
        std::future::pending::<()>().await;
    });
    let client = Client::over(near, Http2Config::new()).await;
    let mut body = client.call(Full::new(Bytes::from("hello"))).await.unwrap().into_body();
    let error = loop {
        match body.frame().await.expect("an end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(!error.is_safe_to_retry(), "{error}");
}

//! An orderly end.

use std::time::Duration;

use grpc_balance::server::{Phase, Server};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::support::{
    Running, SOON, app, http1_works,
    raw::{self, ACK, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, Peer, frame},
    to_end,
};

const SHORT: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_drain_lingers_with_everything_open_and_then_closes() {
    let mut server = Running::new(|server| server.linger(SHORT * 5));
    let mut phases = server.handle.watch();
    let mut old = server.dial().await;
    http1_works(&mut old).await;
    let client = server.http2().await;

    server.handle.drain();
    assert_eq!(*phases.borrow_and_update(), Phase::Lingering, "at once");
    http1_works(&mut old).await;
    http1_works(&mut server.dial().await).await;
    client.works().await;

    server.handle.reached(Phase::Closing).await;
    assert_eq!(to_end(old).await, "");
    client.closed().await.unwrap();
    server.ended().await;
    assert_eq!(server.handle.phase(), Phase::Ended);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn the_shutdown_future_drains() {
    let (stop, told) = tokio::sync::oneshot::channel::<()>();
    let server = Server::bind("127.0.0.1:0").linger(Duration::ZERO);
    let handle = server.handle();
    let serving = tokio::spawn(server.serve(app(), async move {
        let _ = told.await;
    }));
    tokio::task::yield_now().await;
    assert!(!handle.is_draining());
    stop.send(()).unwrap();
    timeout(SOON, serving).await.unwrap().unwrap().unwrap();
    assert_eq!(handle.phase(), Phase::Ended);
}

#[tokio::test]
async fn streams_in_flight_finish_and_new_ones_are_refused() {
    let mut server = Running::new(|server| server);
    let mut peer = Peer::greet(server.dial().await).await;
    peer.write(&frame(HEADERS, END_HEADERS, 1, &raw::get("/echo"))).await.unwrap();
    peer.expect(HEADERS).await;
    server.handle.drain();
    assert_eq!(peer.expect(GOAWAY).await.payload[..4], [0x7f, 0xff, 0xff, 0xff]);
    let ping = peer.expect(PING).await;
    peer.write(&frame(PING, ACK, 0, &ping.payload)).await.unwrap();
    assert_eq!(peer.expect(GOAWAY).await.payload[..4], [0, 0, 0, 1], "the last stream");
    peer.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &raw::get("/"))).await.unwrap();
    assert!(!server.task.is_finished());
    peer.write(&frame(raw::DATA, END_STREAM, 1, b"late")).await.unwrap();
    let data = peer.expect(raw::DATA).await;
    assert_eq!((data.stream, &data.payload[..]), (1, &b"late"[..]));
    while let Some(frame) = peer.read().await {
        assert_ne!(frame.stream, 3, "{}: flags {}", frame.kind, frame.flags);
    }
    server.ended().await;
    assert_eq!(server.handle.stats().cut, 0);
}

#[tokio::test]
async fn a_request_in_flight_on_http_1_finishes_and_the_connection_is_closed() {
    let mut server = Running::new(|server| server);
    let mut io = server.dial().await;
    io.write_all(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nla").await.unwrap();
    crate::support::until(&mut io, "la\r\n").await;
    server.handle.drain();
    server.handle.reached(Phase::Closing).await;
    io.write_all(b"te").await.unwrap();
    assert!(to_end(io).await.contains("te"));
    server.ended().await;
    assert_eq!(server.handle.stats().cut, 0);
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_off_after_the_grace() {
    let mut server = Running::new(|server| server.grace(SHORT));
    let client = server.http2().await;
    let mut stream = client.get("/forever").await.unwrap().into_body();
    server.handle.drain();
    assert!(timeout(SOON, stream.data()).await.unwrap().unwrap().is_err());
    server.ended().await;
    assert_eq!((server.handle.stats().cut, server.handle.stats().active), (1, 0));
}

#[tokio::test]
async fn a_peer_that_never_acknowledges_the_goaways_ping_does_not_hold_up_the_end() {
    let mut server = Running::new(|server| server.grace(SHORT));
    let mut peer = Peer::greet(server.dial().await).await;
    peer.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &raw::get("/"))).await.unwrap();
    peer.expect(raw::DATA).await;
    server.handle.drain();
    peer.expect(PING).await;
    server.ended().await;
    peer.closed().await;
}

#[tokio::test]
async fn peers_that_have_not_said_anything_do_not_hold_up_the_end() {
    let mut server = Running::new(|server| server.preface_timeout(None).grace(None));
    let silent = server.dial().await;
    server.counts(|stats| stats.active == 1).await;
    server.handle.drain();
    assert_eq!(to_end(silent).await, "");
    server.ended().await;
}

#[tokio::test]
async fn a_second_drain_and_an_abort_end_at_once() {
    for second in [grpc_balance::server::Handle::drain, grpc_balance::server::Handle::abort] {
        for linger in [Duration::ZERO, SOON * 10] {
            let mut server = Running::new(|server| server.linger(linger).grace(None));
            let client = server.http2().await;
            let mut stream = client.get("/forever").await.unwrap().into_body();
            server.handle.drain();
            if linger.is_zero() {
                server.handle.reached(Phase::Closing).await;
            }
            client_is_open(&server).await;
            second(&server.handle);
            server.ended().await;
            assert!(stream.data().await.unwrap().is_err());
        }
    }
}

async fn client_is_open(server: &Running) {
    server.counts(|stats| stats.active == 1).await;
    assert!(!server.task.is_finished());
}

#[tokio::test]
async fn a_drain_before_serving_is_not_lost() {
    let server = Server::bind("127.0.0.1:0").linger(Duration::ZERO);
    server.handle().drain();
    timeout(SOON, server.serve(app(), std::future::pending())).await.unwrap().unwrap();
}

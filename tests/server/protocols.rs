//! One port for every protocol.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use grpc_balance::server::{Phase, Server};
use http::{Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Client, Running, http1_works, raw, say, until};

#[tokio::test]
async fn http_1_and_http_2_work_on_one_port() {
    let server = Running::new(|server| server);
    http1_works(&mut server.dial().await).await;
    server.http2().await.works().await;
    server.counts(|stats| stats.http1 == 1 && stats.http2 == 1 && stats.accepted == 2).await;
    server.counts(|stats| stats.active == 0).await;
}

#[tokio::test]
async fn a_preface_that_comes_byte_by_byte_is_http_2() {
    let server = Running::new(|server| server);
    let mut io = server.dial().await;
    io.set_nodelay(true).unwrap();
    for byte in raw::PREFACE {
        io.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    io.write_all(&raw::frame(raw::SETTINGS, 0, 0, &[])).await.unwrap();
    let mut peer = raw::Peer(io);
    peer.write(&raw::frame(raw::HEADERS, raw::END_HEADERS | raw::END_STREAM, 1, raw::GET)).await.unwrap();
    assert_eq!(peer.expect(raw::DATA).await.payload, b"ok");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = Running::new(|server| server);
    let mut io = server.dial().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let requests =
        [get("/"), get("/what"), "HEAD / HTTP/1.1\r\nhost: test\r\n\r\n".into(), get("/")].concat();
    io.write_all(requests.as_bytes()).await.unwrap();
    let first = until(&mut io, "\r\n\r\nok").await;
    let second = until(&mut io, "\r\n\r\nwhat?").await;
    let head_and_last = until(&mut io, "\r\n\r\nok").await;
    assert!(first.contains(" 200 OK") && second.contains(" 200 OK"));
    assert_eq!(head_and_last.matches("HTTP/1.1 200 OK").count(), 2, "{head_and_last}");
    assert_eq!(
        head_and_last.matches("content-length: 2").count(),
        2,
        "a HEAD without a body: {head_and_last}"
    );
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed_unless_it_asks_to_stay() {
    let server = Running::new(|server| server);
    let answer = say(server.dial().await, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");

    let mut stays = server.dial().await;
    for _ in 0..2 {
        stays.write_all(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
        let answer = until(&mut stays, "\r\n\r\nok").await;
        assert!(answer.contains("connection: keep-alive"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways() {
    let server = Running::new(|server| server);
    let (send, connection) = h2::client::handshake(server.dial().await).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = Request::post("http://test/echo").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"one"), false).unwrap();
    let mut echo = response.await.unwrap().into_body();
    assert_eq!(echo.data().await.unwrap().unwrap(), "one", "before the request has ended");
    body.send_data(Bytes::from_static(b"two"), false).unwrap();
    assert_eq!(echo.data().await.unwrap().unwrap(), "two");
    let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    body.send_trailers(trailers.clone()).unwrap();
    assert!(echo.data().await.is_none());
    assert_eq!(echo.trailers().await.unwrap(), Some(trailers));
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = Running::new(|server| server);
    let answer = say(server.dial().await, "\x16\x03\x01\x02\x00 looks like TLS\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request"), "{answer}");
}

#[tokio::test]
async fn requests_say_where_they_came_from() {
    let server = Running::new(|server| server);
    let io = server.dial().await;
    let peer = io.local_addr().unwrap();
    let (status, text) = Client::new(io).await.text("/info").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    for part in [format!("peer: Some({peer})"), format!("local: Some({})", server.address), peer.to_string()]
    {
        assert!(text.contains(&part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_service_that_panics_loses_its_request_alone_on_http_2() {
    let server = Running::new(|server| server);
    let client = server.http2().await;
    let never = client.send("/never").await.unwrap();
    assert!(client.get("/panic").await.unwrap_err().is_reset());
    client.works().await;
    drop(never);
    assert_eq!(say(server.dial().await, "GET /panic HTTP/1.1\r\nhost: test\r\n\r\n").await, "");
    http1_works(&mut server.dial().await).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_requests() {
    let server = Running::new(|server| server);
    for path in ["/never", "/forever"] {
        let client = server.http2().await;
        let response = client.send(path).await.unwrap();
        server.counts(|stats| stats.active == 1).await;
        client.connection.abort();
        server.counts(|stats| stats.active == 0).await;
        drop(response);
    }
}

#[tokio::test]
async fn much_data_each_way_is_no_flood() {
    const LENGTH: usize = 8 << 20;

    let server = Running::new(|server| server);
    // With windows of 64 KiB, there is a WINDOW_UPDATE for every second frame.
    let (send, connection) = h2::client::handshake(server.dial().await).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let request = Request::post("http://test/echo").body(()).unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    let upload = tokio::spawn(async move {
        let mut left = LENGTH;
        while left > 0 {
            body.reserve_capacity(left.min(16 << 10));
            let capacity = poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            left -= capacity;
            body.send_data(vec![7; capacity].into(), left == 0).unwrap();
        }
    });
    let mut echo = response.await.unwrap().into_body();
    let mut received = 0;
    while let Some(data) = echo.data().await {
        received += data.as_ref().unwrap().len();
        echo.flow_control().release_capacity(data.unwrap().len()).unwrap();
    }
    upload.await.unwrap();
    assert_eq!((received, server.handle.stats().floods), (LENGTH, 0));
}

#[tokio::test]
async fn a_tonic_server_and_its_clients_work_over_it() {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("greeter", tonic_health::ServingStatus::NotServing).await;
    let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().unwrap();
    let (address, handle) = (bound.local_addrs().next().unwrap(), bound.handle());
    let serving = tokio::spawn(bound.serve(tonic::service::Routes::new(health), std::future::pending()));

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
    assert_eq!(client.check(check("")).await.unwrap().into_inner().status, 1);
    assert_eq!(client.check(check("greeter")).await.unwrap().into_inner().status, 2);
    assert_eq!(client.check(check("nobody")).await.unwrap_err().code(), tonic::Code::NotFound);
    let mut watch = client.watch(check("greeter")).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status, 2);
    reporter.set_service_status("greeter", tonic_health::ServingStatus::Serving).await;
    assert_eq!(watch.message().await.unwrap().unwrap().status, 1);
    handle.drain();
    handle.reached(Phase::Closing).await;
    drop((watch, client));
    serving.await.unwrap();
    assert_eq!(handle.stats().cut, 0);
}

//! How much a request may have.

use http::{Request, StatusCode};

use crate::support::{Running, http1_works, say};
use grpc_balance::server::Http2Config;

fn http1(headers: usize, value: usize) -> String {
    let mut request = "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_owned();
    for i in 2..headers {
        request += &format!("x-{i}: {}\r\n", "v".repeat(value));
    }
    request + "\r\n"
}

fn http2(headers: usize, value: usize) -> Request<()> {
    let mut request = Request::get("http://test/");
    for i in 0..headers {
        request = request.header(format!("x-{i}"), "v".repeat(value));
    }
    request.body(()).unwrap()
}

#[tokio::test]
async fn a_hundred_headers_are_served_and_one_more_is_refused() {
    let server = Running::new(|server| server);
    for (headers, status) in [(100, "200 OK"), (101, "431 Request Header Fields Too Large")] {
        let answer = say(server.dial().await, &http1(headers, 1)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
    }
    let client = server.http2().await;
    for (headers, status) in [(100, StatusCode::OK), (101, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let response = client.request(http2(headers, 1)).await.unwrap().await.unwrap();
        assert_eq!(response.status(), status, "{headers}");
    }
    client.works().await;
}

#[tokio::test]
async fn headers_of_58_kib_are_served_and_62_are_refused() {
    let server = Running::new(|server| server);
    for (kib, status) in [(58, "200 OK"), (62, "431 Request Header Fields Too Large")] {
        let answer = say(server.dial().await, &http1(60, kib * 1024 / 60)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{kib}: {answer}");
    }
    let client = server.http2().await;
    for (kib, status) in [(54, StatusCode::OK), (62, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)] {
        let response = client.request(http2(60, kib * 1024 / 60)).await.unwrap().await.unwrap();
        assert_eq!(response.status(), status, "{kib}");
    }
    client.works().await;
    http1_works(&mut server.dial().await).await;
}

#[tokio::test]
async fn the_stream_limit_is_said_and_what_exceeds_it_is_refused() {
    let server = Running::new(|server| server.http2(Http2Config::new().max_concurrent_streams(2)));
    let mut io = crate::support::raw::Peer::greet(server.dial().await).await;
    let settings = io.expect(crate::support::raw::SETTINGS).await;
    assert!(
        settings.payload.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 2]),
        "{:?}",
        settings.payload
    );
    for stream in [1, 3, 5] {
        let headers = crate::support::raw::get("/never");
        io.write(&crate::support::raw::frame(1, 5, stream, &headers)).await.unwrap();
    }
    let reset = io.expect(crate::support::raw::RST_STREAM).await;
    assert_eq!((reset.stream, &reset.payload[..]), (5, &[0, 0, 0, 7][..]), "REFUSED_STREAM");
}

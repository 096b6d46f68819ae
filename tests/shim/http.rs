//! What balancers and kubelets see.

use grpc_balance::serving::{Registry, Status};
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::Gateway;

/// The head in small letters and without its date, and the body.
fn parts(answer: &str) -> (Vec<String>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let lines = head.lines().map(str::to_lowercase).filter(|line| !line.starts_with("date:"));
    let mut lines: Vec<_> = lines.collect();
    lines[1..].sort();
    (lines, body)
}

const HEADERS: [&str; 3] = ["cache-control: no-store", "content-length: 2", "content-type: text/plain"];

#[tokio::test]
async fn http_1_1_gets_the_word_and_503_without_it() {
    let registry = Registry::new();
    let gateway = Gateway::start(&registry).await;
    let get = "GET /?x=1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = gateway.exchange(get).await;
    let (head, body) = parts(&answer);
    assert_eq!((head[0].as_str(), body), ("http/1.1 200 ok", "ok"));
    for header in HEADERS {
        assert!(head.iter().any(|line| line == header), "{header} in {head:?}");
    }

    registry.set("", Status::NotServing);
    let answer = gateway.exchange(get).await;
    let (head, body) = parts(&answer);
    assert_eq!((head[0].as_str(), body), ("http/1.1 503 service unavailable", "unavailable"));
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let gateway = Gateway::start(&Registry::new()).await;
    let answer = gateway.exchange("GET /healthz HTTP/1.0\r\n\r\n").await;
    let (head, body) = parts(&answer);
    assert_eq!((head[0].as_str(), body), ("http/1.0 200 ok", "ok"));
}

#[tokio::test]
async fn pipelined_checks_are_answered_in_order_and_a_head_has_no_body_between_them() {
    let gateway = Gateway::start(&Registry::new()).await;
    let answer = gateway
        .exchange(
            "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n\
             GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n\
             GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n\
             POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\
             GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        )
        .await;
    let mut rest = answer.as_str();
    let mut told = Vec::new();
    for has_body in [false, true, true, true, true] {
        let (head, after) = rest.split_once("\r\n\r\n").expect("a head");
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().unwrap();
        let (body, after) = after.split_at(if has_body { length } else { 0 });
        told.push((head.lines().next().unwrap().to_owned(), length, body.to_owned()));
        rest = after;
    }
    let lines: Vec<_> = told.iter().map(|(line, _, body)| (&line[9..12], body.as_str())).collect();
    assert_eq!((lines[0], told[0].1), (("200", ""), 2));
    assert_eq!(lines[1], ("200", "ok"));
    assert_ne!(lines[2], ("200", "ok"), "it went on to the routes");
    assert_ne!(lines[3], ("200", "ok"), "a POST is not a health check");
    assert_eq!((lines[4], rest), (("200", "ok"), ""));
}

#[tokio::test]
async fn http_2_gets_the_same() {
    let registry = Registry::new();
    let gateway = Gateway::start(&registry).await;
    let io = TokioIo::new(TcpStream::connect(gateway.address).await.unwrap());
    let (mut client, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake::<_, Empty<Bytes>>(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let ask =
        |method| Request::builder().method(method).uri(gateway.url() + "/?x=1").body(Empty::new()).unwrap();

    for (method, body) in [(Method::GET, "ok"), (Method::HEAD, "")] {
        let response = client.send_request(ask(method)).await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
        for header in HEADERS {
            let (name, value) = header.split_once(": ").unwrap();
            assert_eq!(response.headers()[name], value);
        }
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
    // No new connection is needed for the shim to follow.
    registry.drain().start();
    let response = client.send_request(ask(Method::GET)).await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "unavailable");
    drop(client);
    connection.await.unwrap().unwrap();
}

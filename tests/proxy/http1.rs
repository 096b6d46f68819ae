//! An application that speaks HTTP/1.1 behind the proxy.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    Balance,
    connect::http1::Http1Connector,
    discover::{Fixed, Pushed},
    endpoint::Endpoint,
    grpc::Code,
    server::{Handle, RequestBody, Server},
};
use http::{Request, Response, Version, uri::Authority};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower_service::Service as _;

use crate::{
    Proxy,
    raw::{Client, http1},
};

/// Answers with what it was asked, and counts.
struct App {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    handle: Handle,
    serving: JoinHandle<()>,
}

impl App {
    async fn start(at: &str) -> Self {
        let requests = Arc::<AtomicU64>::default();
        let counted = requests.clone();
        let service = tower::service_fn(move |request: Request<RequestBody>| {
            counted.fetch_add(1, SeqCst);
            async move {
                let (head, body) = request.into_parts();
                assert_eq!(head.version, Version::HTTP_11);
                if head.uri.path() == "/hang" {
                    std::future::pending::<()>().await;
                }
                let body = body.collect().await.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
                let headers: String =
                    head.headers.iter().map(|(k, v)| format!("{k}: {}\n", v.to_str().unwrap())).collect();
                let text = format!("{} {}\n{headers}\n", head.method, head.uri);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from([text.as_bytes(), &body].concat()))))
            }
        });
        let bound = Server::bind(at).linger(Duration::ZERO).listen().expect("a free port");
        let (address, handle) = (bound.local_addrs().next().expect("it listens"), bound.handle());
        let serving = tokio::spawn(bound.serve(service, std::future::pending()));
        Self { address, requests, handle, serving }
    }

    fn connections(&self) -> u64 {
        self.handle.stats().accepted
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.handle.abort();
        self.serving.abort();
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://rest.test{path}")).body(()).expect("a request")
}

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).expect("text")
}

#[tokio::test]
async fn requests_of_http1_and_http2_callers_reach_an_http1_application() {
    let app = App::start("127.0.0.1:0").await;
    let proxy = Proxy::configured([app.address], |builder| builder.http1());
    let seen = Client::connect(proxy.address).await.send(get("/users/1?full")).await.expect("it is answered");
    assert_eq!(seen.head.status(), 200);
    let said = text(&seen.data);
    assert!(said.starts_with("GET /users/1?full\n") && said.contains("host: rest.test\n"), "{said}");
    assert!(said.contains("x-forwarded-proto: http\n") && said.contains("x-request-id: "), "{said}");
    for hop in ["keep-alive", "transfer-encoding", "connection"] {
        assert!(!seen.head.headers().contains_key(hop));
    }
    let answer = http1(
        proxy.address,
        "POST /users HTTP/1.1\r\nhost: rest.test\r\ncontent-length: 4\r\nte: trailers\r\nconnection: close\r\n\r\nbody",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\n\nbody"), "{answer}");
    assert!(!answer.contains("te: trailers"), "{answer}");
}

#[tokio::test]
async fn connections_are_used_again_and_as_many_are_made_as_requests_need() {
    let app = App::start("127.0.0.1:0").await;
    let proxy = Proxy::configured([app.address], |builder| builder.http1());
    let client = Client::connect(proxy.address).await;
    for _ in 0..20 {
        assert_eq!(client.send(get("/")).await.expect("it is answered").head.status(), 200);
    }
    assert_eq!((app.requests.load(SeqCst), app.connections()), (20, 1));
    let hanging: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.send(get("/hang")).await.map(drop) })
        })
        .collect();
    while app.requests.load(SeqCst) < 23 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.send(get("/")).await.expect("it is answered").head.status(), 200);
    assert_eq!(app.connections(), 4);
    // What callers give up is given up upstream: HTTP/1 can only close the connection.
    hanging.iter().for_each(JoinHandle::abort);
    while proxy.cluster.active_requests() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stats = proxy.cluster.stats();
    assert_eq!(stats.outcomes.get(grpc_balance::grpc::Code::Ok), 21, "{stats}");
}

#[tokio::test]
async fn an_application_that_is_gone_is_503_and_one_that_comes_back_is_found() {
    let app = App::start("127.0.0.1:0").await;
    let address = app.address;
    let proxy = Proxy::configured([address], |builder| {
        builder.http1().backoff(
            grpc_balance::backoff::Backoff::builder()
                .initial(Duration::from_millis(20))
                .build()
                .expect("valid"),
        )
    });
    let client = Client::connect(proxy.address).await;
    assert_eq!(client.send(get("/")).await.expect("it is answered").head.status(), 200);
    drop(app);
    let refused = async {
        loop {
            let seen = client.send(get("/")).await.expect("it is answered");
            if seen.head.status() == 503 {
                return text(&seen.data).to_owned();
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(10), refused).await.expect("it is noticed");
    assert!(said.contains(&address.to_string()), "{said}");
    let app = loop {
        // The old listener may linger for a moment.
        if tokio::net::TcpListener::bind(address).await.is_ok() {
            break App::start(&address.to_string()).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let back = async {
        while client.send(get("/")).await.expect("it is answered").head.status() != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("it is found");
    assert!(app.requests.load(SeqCst) > 0);
}

#[tokio::test]
async fn the_body_of_a_get_is_sent_on_too() {
    let app = App::start("127.0.0.1:0").await;
    let proxy = Proxy::configured([app.address], |builder| builder.http1());
    let request = "GET /search HTTP/1.1\r\nhost: rest.test\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   4\r\nbody\r\n0\r\n\r\n";
    let answer = http1(proxy.address, request).await;
    assert!(answer.ends_with("\n\nbody"), "{answer}");
}

#[tokio::test]
async fn a_request_does_not_wait_behind_an_upload_that_was_answered_before_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let app = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            open.push(tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("it reads");
                while socket.read_buf(&mut head).await.unwrap_or(0) > 0 {}
            }));
        }
    });
    let proxy = Proxy::configured([address], |builder| builder.http1());
    let mut uploading = TcpStream::connect(proxy.address).await.expect("it listens");
    let begins = b"POST / HTTP/1.1\r\nhost: rest.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
    uploading.write_all(begins).await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        assert!(uploading.read_buf(&mut answer).await.expect("it answers") > 0, "{answer:?}");
    }
    let next = http1(proxy.address, "GET / HTTP/1.1\r\nhost: rest.test\r\nconnection: close\r\n\r\n");
    let next = tokio::time::timeout(Duration::from_secs(3), next).await.expect("it is not held up");
    assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{next}");
    app.abort();
}

#[tokio::test]
async fn a_request_that_outlives_the_drain_limit_is_ended() {
    let app = App::start("127.0.0.1:0").await;
    let (handle, pushed) = Pushed::new();
    let endpoint = Endpoint::new(app.address);
    handle.insert(endpoint.clone());
    let proxy = Proxy::configured([], |builder| {
        builder.resolver(pushed).http1().drain_limit(Duration::from_millis(50))
    });
    let client = Client::connect(proxy.address).await;
    let hanging = tokio::spawn(async move { client.send(get("/hang")).await });
    while app.requests.load(SeqCst) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    handle.remove(endpoint.key());
    let ended = tokio::time::timeout(Duration::from_secs(3), hanging).await.expect("it is cut short");
    let seen = ended.expect("no panic").expect("it is answered");
    assert_eq!(seen.head.status(), 503);
    assert!(text(&seen.data).contains("removed"), "{}", text(&seen.data));
}

#[tokio::test]
async fn a_request_body_that_fails_is_not_held_against_the_endpoint() {
    let app = App::start("127.0.0.1:0").await;
    let connector = Http1Connector::builder(Authority::from_static("app.test")).build_http1().expect("valid");
    let endpoints = Fixed::new([Endpoint::new(app.address)]);
    let mut balance = Balance::builder(endpoints, connector).build().expect("in a runtime");
    let frames = [Ok(Frame::data(Bytes::from("half"))), Err(std::io::Error::other("the caller went away"))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("/users").body(body).expect("a request");
    let error = balance.call(request).await.map(drop).expect_err("it is not whole");
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    assert_eq!(balance.stats().endpoints[0].failed, 0);
}

//! Access log, router and deadlines around a channel, served: what a real server makes of their bodies.
#![cfg(all(feature = "proxy", feature = "tonic"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    Channel,
    access_log::AccessLogLayer,
    deadline::DeadlineLayer,
    route::{Route, Router},
    server::{Handle, Server},
};
use support::{
    greeter::Greeter,
    pb::echo::{EchoRequest, echo_client::EchoClient},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, transport::Endpoint};
use tower::{Layer, ServiceBuilder};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The first line, once it is there.
    async fn first(&self) -> String {
        timeout(PATIENCE, async {
            loop {
                let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                if let Some((line, _)) = text.split_once('\n') {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("a line is written")
    }
}

/// A proxy in front of a backend, as a user would put it together.
struct Proxy {
    backend: Greeter,
    address: SocketAddr,
    lines: Lines,
    handle: Handle,
}

impl Proxy {
    async fn start() -> Self {
        let backend = Greeter::start("a").await;
        let channel = Channel::builder(format!("ipv4:{}", backend.address())).build().unwrap();
        let lines = Lines::default();
        let router = Router::builder()
            .service("echo.Echo", channel.clone())
            .route(Route::method("echo.Echo/Download").timeout(Duration::from_millis(400)), channel)
            .layer(DeadlineLayer::new())
            .build()
            .unwrap();
        let service = ServiceBuilder::new().layer(AccessLogLayer::to(lines.clone())).service(router);
        let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().unwrap();
        let (address, handle) = (bound.local_addrs().next().unwrap(), bound.handle());
        tokio::spawn(bound.serve(service, std::future::pending()));
        Self { backend, address, lines, handle }
    }

    async fn client(&self) -> EchoClient<tonic::transport::Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        EchoClient::new(endpoint.connect().await.unwrap())
    }

    /// What a bare HTTP/1.1 client gets.
    async fn http1(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn until_the_backend_is_idle(&self) {
        timeout(PATIENCE, async {
            while self.backend.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the call upstream is cancelled");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn download(replies: u32) -> EchoRequest {
    EchoRequest { replies, pause_ms: 20, payload: b"x".into(), ..EchoRequest::default() }
}

#[tokio::test]
async fn a_call_through_all_parts_is_complete_in_the_log_with_its_status_and_its_endpoint() {
    let proxy = Proxy::start().await;
    let request = EchoRequest { payload: b"hello".into(), ..EchoRequest::default() };
    let reply = proxy.client().await.unary(request).await.unwrap();
    assert_eq!(reply.into_inner().payload, b"hello");
    let line = proxy.lines.first().await;
    assert!(line.contains("] \"POST /echo.Echo/Unary HTTP/2\" 200 - 12 "), "{line}");
    let end = format!(" \"{}\" \"{}\" grpc=0 attempts=1 phase=-", proxy.address, proxy.backend.address());
    assert!(line.ends_with(&end), "{line}");
}

#[tokio::test]
async fn a_routes_timeout_ends_a_stream_with_status_4_and_cancels_it_upstream() {
    let proxy = Proxy::start().await;
    let mut stream = proxy.client().await.download(download(10_000)).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().payload, b"x");
    let status = timeout(PATIENCE, async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    });
    let status = status.await.unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    proxy.until_the_backend_is_idle().await;
    let line = proxy.lines.first().await;
    assert!(line.contains("\" 200 - ") && line.ends_with(" grpc=4 attempts=1 phase=-"), "{line}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_a_call_beyond_its_routes_timeout() {
    let proxy = Proxy::start().await;
    let socket = TcpStream::connect(proxy.address).await.unwrap();
    // It has no room for a single byte of a body.
    let handshake = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(socket);
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}/echo.Echo/Download", proxy.address));
    let request =
        request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
    let (response, mut body) = sender.send_request(request, false).unwrap();
    let message = prost::Message::encode_to_vec(&download(10_000));
    let frame = [&[0][..], &u32::to_be_bytes(message.len() as u32), &message].concat();
    body.send_data(frame.into(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(proxy.backend.in_flight(), 1);
    proxy.until_the_backend_is_idle().await;
    assert!(!response.body().is_end_stream());
    connection.abort();
}

#[tokio::test]
async fn a_client_that_cancels_a_stream_is_logged_as_gone_and_the_call_upstream_ends() {
    let proxy = Proxy::start().await;
    let mut stream = proxy.client().await.download(download(10_000)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    let line = proxy.lines.first().await;
    assert!(line.contains("\" 200 DC ") && line.ends_with(" grpc=- attempts=1 phase=-"), "{line}");
    proxy.until_the_backend_is_idle().await;
}

#[tokio::test]
async fn what_no_route_takes_is_answered_and_logged_over_both_protocols() {
    let proxy = Proxy::start().await;
    let answer =
        proxy.http1("GET http://a.example/page?x HTTP/1.1\r\nhost: b.example\r\nconnection: close\r\n\r\n");
    assert!(answer.await.starts_with("HTTP/1.1 404 "));
    let line = proxy.lines.first().await;
    assert!(line.contains("] \"GET /page?x HTTP/1.1\" 404 - 0 0 "), "{line}");
    assert!(line.ends_with(" \"a.example\" \"-\" grpc=- attempts=0 phase=-"), "{line}");

    let proxy = Proxy::start().await;
    let answer = proxy.http1("OPTIONS * HTTP/1.1\r\nhost: b.example\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(proxy.lines.first().await.contains("] \"OPTIONS * HTTP/1.1\" 404 - "));

    let proxy = Proxy::start().await;
    let mut stranger = support::pb::helloworld::greeter_client::GreeterClient::new(
        Endpoint::from_shared(format!("http://{}", proxy.address)).unwrap().connect().await.unwrap(),
    );
    let status = stranger.say_hello(support::pb::helloworld::HelloRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, ""));
    let line = proxy.lines.first().await;
    assert!(line.contains("\" 200 - ") && line.ends_with(" grpc=12 attempts=0 phase=-"), "{line}");
}

#[test]
fn all_parts_are_services_that_workers_can_share() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let channel = Channel::builder("ipv4:127.0.0.1:1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let router =
        Router::builder().otherwise(channel.build().unwrap()).layer(DeadlineLayer::new()).build().unwrap();
    shared(&router);
    shared(&AccessLogLayer::to(io::sink()).layer(router));
}

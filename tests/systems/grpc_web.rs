//! gRPC for browsers, and CORS.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    HELLO, Pods, channel,
    program::Program,
    support::{
        greeter::{Action, Greeter},
        pb::{
            echo::EchoRequest,
            helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient},
        },
    },
    until, wire,
};

const ORIGIN: &str = "https://app.example";

/// An answer over HTTP/1.1.
#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn is(&self, status: u16) -> bool {
        self.head.starts_with(&format!("HTTP/1.1 {status} "))
    }

    /// The messages, and the lines of the last frame.
    fn frames(&self) -> (Vec<Vec<u8>>, String) {
        let (mut rest, mut messages, mut trailers) = (&*self.body, Vec::new(), String::new());
        while let Some((header, after)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
            let (data, after) = after.split_at(length);
            match header[0] {
                0 => messages.push(data.to_vec()),
                _ => trailers += std::str::from_utf8(data).expect("text"),
            }
            rest = after;
        }
        (messages, trailers)
    }
}

/// A framed message.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let data = message.encode_to_vec();
    [&[0][..], &u32::try_from(data.len()).unwrap().to_be_bytes(), &data].concat()
}

async fn ask(to: SocketAddr, request: &str, headers: &str, body: &[u8]) -> Answer {
    let socket = TcpStream::connect(to).await.expect("it listens");
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: api.example\r\norigin: {ORIGIN}\r\nconnection: close\r\n\
         content-length: {length}\r\n{headers}\r\n"
    );
    let answer = wire::bytes(socket, &[head.as_bytes(), body].concat()).await;
    let end = answer.windows(4).position(|at| at == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let mut answer = Answer { head, body: answer[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body);
    }
    answer
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(line) = rest.windows(2).position(|at| at == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).expect("a size");
        let start = line + 2;
        all.extend_from_slice(&rest[start..start + size]);
        rest = &rest[start + size + 2..];
        if size == 0 {
            break;
        }
    }
    all
}

#[tokio::test]
async fn calls_and_streams_work_in_binary_and_in_text_and_native_grpc_beside_them() {
    let backend = Greeter::start("a").await;
    let proxy = Program::start("grpc_web", &["--upstream", &backend.address().to_string()]).await;
    let to = proxy.address();
    let request = framed(&HelloRequest::default());
    let text = STANDARD.encode(&request);
    for (content, accept, body, reply) in [
        ("application/grpc-web+proto", "*/*", &*request, "application/grpc-web+proto"),
        (
            "application/grpc-web-text",
            "application/grpc-web-text",
            text.as_bytes(),
            "application/grpc-web-text",
        ),
        ("application/grpc-web-text", "*/*", text.as_bytes(), "application/grpc-web"),
    ] {
        let headers = format!("content-type: {content}\r\naccept: {accept}\r\nx-grpc-web: 1\r\n");
        let mut answer = ask(to, &format!("POST {HELLO}"), &headers, body).await;
        assert!(answer.is(200), "{content}: {answer:?}");
        assert!(
            answer.header("content-type").is_some_and(|text| text.starts_with(reply)),
            "{content}: {answer:?}"
        );
        if reply.contains("text") {
            answer.body = decoded(&answer.body);
        }
        let (messages, trailers) = answer.frames();
        assert_eq!(HelloReply::decode(&*messages[0]).expect("a reply").message, "a", "{content}");
        assert!(trailers.contains("grpc-status:0\r\n"), "{content}: {trailers:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{content}");
    }
    let stream = EchoRequest { replies: 100, ..Default::default() };
    let headers = "content-type: application/grpc-web+proto\r\n";
    let (messages, trailers) = ask(to, "POST /echo.Echo/Download", headers, &framed(&stream)).await.frames();
    assert_eq!(messages.len(), 100);
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");

    let reply =
        GreeterClient::new(channel(to)).say_hello(HelloRequest::default()).await.expect("native gRPC");
    assert_eq!(reply.into_inner().message, "a");
}

/// Base64 with padding anywhere.
fn decoded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).expect("base64")).collect()
}

#[tokio::test]
async fn errors_can_be_read_across_origins_whoever_they_are_from() {
    let failing = Greeter::builder("a")
        .hook(|_: &http::request::Parts| Action::Fail(tonic::Status::permission_denied("not yours")))
        .start()
        .await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    for (what, upstream, status, message) in
        [("the server's", failing.address(), "7", "not yours"), ("the proxy's", nobody, "14", "connect")]
    {
        let proxy = Program::start("grpc_web", &["--upstream", &upstream.to_string()]).await;
        let headers = "content-type: application/grpc-web+proto\r\n";
        let request = framed(&HelloRequest::default());
        let answer = ask(proxy.address(), &format!("POST {HELLO}"), headers, &request).await;
        assert!(answer.is(200), "{what}: {answer:?}");
        assert_eq!(answer.header("grpc-status"), Some(status), "{what}: {answer:?}");
        let told = answer.header("grpc-message").expect("a message").replace("%20", " ");
        assert!(told.contains(message), "{what}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{what}");
        let exposed = answer.header("access-control-expose-headers").expect("some are exposed");
        for name in ["custom-header-1", "grpc-status", "grpc-message", "grpc-status-details-bin"] {
            assert!(exposed.contains(name), "{what}: {exposed}");
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_within_a_call_can_be_read_too() {
    let backend = Greeter::start("a").await;
    let proxy = Program::start("grpc_web", &["--upstream", &backend.address().to_string()]).await;
    let headers = "content-type: application/grpc-web-text\r\naccept: application/grpc-web-text\r\n";
    let answer = ask(proxy.address(), &format!("POST {HELLO}"), headers, b"no base64!").await;
    assert!(answer.is(400), "{answer:?}");
    assert_eq!(answer.header("grpc-status"), Some("13"), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));

    let calls = backend.calls();
    let answer = ask(proxy.address(), &format!("OPTIONS {HELLO}"), "", b"").await;
    assert!(backend.calls() > calls, "no preflight, and so it is forwarded: {answer:?}");

    // A server that dies between messages: the status of it is in the last frame.
    let stream = framed(&EchoRequest { replies: 10_000, pause_ms: 20, ..Default::default() });
    let headers = "content-type: application/grpc-web+proto\r\n";
    let asking = ask(proxy.address(), "POST /echo.Echo/Download", headers, &stream);
    let dying = async {
        until("it streams", async || backend.in_flight() > 0).await;
        // A few messages later.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        backend.kill();
    };
    let (answer, ()) = tokio::join!(asking, dying);
    let (messages, trailers) = answer.frames();
    assert!(!messages.is_empty() && trailers.contains("grpc-status:14"), "{trailers:?}");
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_proxy_for_the_origins_that_may_call() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let preflight = "access-control-request-method: POST\r\n\
                     access-control-request-headers: content-type,x-grpc-web,x-user-agent,grpc-timeout\r\n";
    for (what, origins, allowed) in [
        ("any", &[][..], true),
        ("listed", &["--cors-origin", "https://other.example", "--cors-origin", ORIGIN], true),
        ("not listed", &["--cors-origin", "https://other.example"], false),
    ] {
        let proxy =
            Program::start("grpc_web", &[&["--upstream", &nobody.to_string()], origins].concat()).await;
        let answer = ask(proxy.address(), &format!("OPTIONS {HELLO}"), preflight, b"").await;
        let may = answer.header("access-control-allow-origin") == Some(ORIGIN);
        assert_eq!(may, allowed, "{what}: {answer:?}");
        if allowed {
            assert!(answer.is(200), "{what}: {answer:?}");
            assert_eq!(answer.header("access-control-max-age"), Some("1728000"), "{what}");
            let methods = answer.header("access-control-allow-methods").expect("methods");
            assert!(
                ["GET", "PUT", "DELETE", "POST", "OPTIONS"].iter().all(|name| methods.contains(name)),
                "{methods}"
            );
            let headers =
                answer.header("access-control-allow-headers").expect("headers").to_ascii_lowercase();
            for name in
                ["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout", "authorization", "deadline"]
            {
                assert!(headers.contains(name), "{name} in {headers}");
            }
        }
    }
}

#[tokio::test]
async fn a_deadline_of_the_callers_is_kept_however_long_the_server_takes() {
    let backend = Greeter::builder("a").hook(|_: &http::request::Parts| Action::Hang).start().await;
    let proxy = Program::start("grpc_web", &["--upstream", &backend.address().to_string()]).await;
    let headers = "content-type: application/grpc-web+proto\r\ngrpc-timeout: 200m\r\n";
    let request = framed(&HelloRequest::default());
    let answer = ask(proxy.address(), &format!("POST {HELLO}"), headers, &request).await;
    assert!(answer.is(200), "{answer:?}");
    assert_eq!(answer.header("grpc-status"), Some("4"), "{answer:?}");
}

#[tokio::test]
async fn in_front_of_many_pods_their_ports_are_probed_and_their_name_is_followed() {
    let pods = Pods::start("user-service", 2).await;
    let target = format!("dns:///user-service:{}", pods.port());
    let dns = pods.dns.address().to_string();
    let args = ["--mode", "lb", "--upstream", &target, "--dns-server", &dns];
    let proxy = Program::start("grpc_web", &args).await;
    until("both answer", async || {
        let headers = "content-type: application/grpc-web+proto\r\n";
        let request = framed(&HelloRequest::default());
        ask(proxy.address(), &format!("POST {HELLO}"), headers, &request).await;
        pods.calls().iter().all(|calls| *calls > 0)
    })
    .await;
}

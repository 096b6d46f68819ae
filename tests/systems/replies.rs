//! What a proxy answers itself is the same in all of them: a table of what callers do and see.

use std::net::SocketAddr;

use grpc_balance::grpc::Code;
use http::Method;
use tokio::net::TcpStream;

use crate::{
    HELLO, Nobody, Pods,
    program::Program,
    support::{
        dns::DnsServer,
        greeter::{Action, Greeter},
    },
    until,
    wire::{self, Http2},
};

/// How the one upstream is.
#[derive(Clone, Copy, Debug)]
enum Upstream {
    NameThatDoesNotExist,
    PortWhereNobodyListens,
    ResetsStreams,
    DiesBeforeItsAnswer,
    SaysPermissionDenied,
}

/// What a gRPC caller is told meanwhile, and the status that an HTTP caller gets.
const ROWS: [(Upstream, Code, &str, u16); 5] = [
    (Upstream::NameThatDoesNotExist, Code::Unavailable, "nowhere.test", 503),
    (Upstream::PortWhereNobodyListens, Code::Unavailable, "connect", 503),
    (Upstream::ResetsStreams, Code::Internal, "127.0.0.1:", 502),
    (Upstream::DiesBeforeItsAnswer, Code::Unavailable, "127.0.0.1:", 503),
    (Upstream::SaysPermissionDenied, Code::PermissionDenied, "no", 200),
];

impl Upstream {
    async fn start(self) -> Option<Greeter> {
        let action = move || match self {
            Self::ResetsStreams => Some(Action::Reset(h2::Reason::INTERNAL_ERROR)),
            Self::DiesBeforeItsAnswer => Some(Action::Hang),
            Self::SaysPermissionDenied => Some(Action::Fail(tonic::Status::permission_denied("no"))),
            Self::NameThatDoesNotExist | Self::PortWhereNobodyListens => None,
        };
        action()?;
        let hook = move |_: &http::request::Parts| action().expect("it is a server");
        Some(Greeter::builder("a").hook(hook).start().await)
    }
}

#[tokio::test]
async fn failures_are_told_to_grpc_callers_in_one_header_block_and_to_others_by_status() {
    let (dns, nobody) = (DnsServer::start().await, Nobody::new());
    let server = dns.address().to_string();
    for (what, code, says, http) in ROWS {
        let backend = what.start().await;
        let target = match (&backend, what) {
            (Some(backend), _) => backend.address().to_string(),
            (None, Upstream::PortWhereNobodyListens) => nobody.address().to_string(),
            (None, _) => "dns:///nowhere.test:80".to_owned(),
        };
        let proxy = Program::start("load_balancer", &["--upstream", &target, "--dns-server", &server]).await;
        let client = Http2::connect(proxy.address()).await;
        let dying = async |backend: Greeter| {
            until("the call is there", async || backend.in_flight() == 1).await;
            backend.kill();
        };
        let still;
        let seen = match (backend, what) {
            (Some(backend), Upstream::DiesBeforeItsAnswer) => {
                still = None;
                tokio::join!(client.call(HELLO), dying(backend)).0
            }
            (alive, _) => {
                still = alive;
                client.call(HELLO).await
            }
        };
        assert_eq!((seen.status(), seen.ended), (200, true), "{what:?}: trailers-only");
        let code = (code as u8).to_string();
        assert_eq!(seen.header("grpc-status"), Some(&*code), "{what:?}: {seen:?}");
        assert!(seen.header("grpc-message").is_some_and(|text| text.contains(says)), "{what:?}: {seen:?}");
        if http != 200 {
            let seen = client.ask(Method::GET, "/").await;
            assert_eq!(seen.status(), http, "{what:?}: {seen:?}");
        }
        drop(still);
    }
}

#[tokio::test]
async fn what_is_no_good_http_is_refused_before_it_gets_anywhere() {
    let pods = Pods::start("pods.test", 1).await;
    let upstream = pods.pods[0].address().to_string();
    let proxy = Program::start("load_balancer", &["--upstream", &upstream]).await;
    let big = format!("GET / HTTP/1.1\r\nhost: a\r\nbig: {}\r\n\r\n", "x".repeat(62_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(110));
    let grpc = "POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\nconnection: close\r\n\
                content-length: 0\r\n\r\n";
    for (what, request, status) in [
        ("malformed", "GET\r\n\r\n", "400"),
        ("headers of 62 000 bytes", &big, "431"),
        ("110 headers", &many, "431"),
        ("gRPC over HTTP/1.1, whose trailers would be lost", grpc, "505"),
    ] {
        let socket = TcpStream::connect(proxy.address()).await.expect("it listens");
        let answer = wire::text(socket, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
    assert_eq!(pods.calls(), [0]);
}

#[tokio::test]
async fn routes_are_by_whole_segments_or_by_text_and_what_none_takes_is_refused() {
    let (alive, user) = (Greeter::start("alive").await, Greeter::start("user").await);
    let clusters = [("alive", &alive), ("user", &user)].map(|(name, at)| format!("{name}={}", at.address()));
    let proxy = Program::start(
        "load_balancer",
        &[
            "--cluster",
            &clusters[0],
            "--cluster",
            &clusters[1],
            "--route",
            "/gateway.AliveService=alive",
            "--route",
            "/gateway.User*=user",
        ],
    )
    .await;
    let client = Http2::connect(proxy.address()).await;
    for (path, to) in [
        ("/gateway.AliveService/GetStatus", Some(&alive)),
        ("/gateway.AliveService", Some(&alive)),
        ("/gateway.AliveServiceV2/X", None),
        ("/gateway.UserService/Get", Some(&user)),
        ("/gateway.UserServiceV2/Get", Some(&user)),
        ("/other.Service/X", None),
    ] {
        let before = [alive.calls(), user.calls()];
        let seen = client.call(path).await;
        // The servers know no such methods either, but say so with a message of their own or none.
        assert_eq!(seen.header("grpc-status"), Some("12"), "{path}: {seen:?}");
        let wanted = [&alive, &user].map(|server| u64::from(to.is_some_and(|to| to.name() == server.name())));
        assert_eq!([alive.calls() - before[0], user.calls() - before[1]], wanted, "{path}");
        if to.is_none() {
            assert_eq!(seen.header("grpc-message"), None, "{path}");
            let seen = client.ask(Method::GET, path).await;
            assert_eq!((seen.status(), &*seen.text), (404, ""), "{path}");
        }
    }
}

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_at_once() {
    let backend = Greeter::start("a").await;
    let upstream = backend.address().to_string();
    let proxy = Program::start("load_balancer", &["--upstream", &upstream, "--connection-limit", "2"]).await;
    let open = [Http2::connect(proxy.address()).await, Http2::connect(proxy.address()).await];
    for client in &open {
        client.call(HELLO).await;
    }
    let one_more = TcpStream::connect(proxy.address()).await.expect("it is accepted");
    assert_eq!(wire::text(one_more, "").await, "");
    let stats = wire::http1(proxy.at("admin"), Method::GET, "/stats/prometheus").await;
    let counted = stats.lines().find(|line| line.starts_with("envoy_listener_downstream_cx_overflow"));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
    assert!(open[0].call(HELLO).await.header("content-type").is_some(), "the others go on");
    drop(open);
    until("there is room again", async || {
        let socket = TcpStream::connect(proxy.address()).await.expect("it is accepted");
        match Http2::over(socket).await {
            Ok(client) => client.send(wire::grpc(HELLO)).await.is_ok(),
            Err(_) => false,
        }
    })
    .await;
}

#[tokio::test]
async fn one_port_speaks_http1_and_http2_with_prior_knowledge() {
    let backend = Greeter::start("a").await;
    let proxy = Program::start("load_balancer", &["--upstream", &backend.address().to_string()]).await;
    let to: SocketAddr = proxy.address();
    assert!(wire::http1(to, Method::GET, "/").await.starts_with("HTTP/1.1 "));
    assert_eq!(Http2::connect(to).await.call(HELLO).await.status(), 200);
    assert_eq!(backend.calls(), 2);
}

//! SIGTERM: every program says that it is going, lingers, and finishes what it has.

use std::{net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::Instant};
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    HELLO, channel,
    program::Program,
    support::{
        greeter::Greeter,
        pb::echo::{EchoRequest, echo_client::EchoClient},
    },
    until,
    wire::Http2,
};

/// The programs that speak plaintext here, and the flag that names what is behind them.
const PLAINTEXT: [(&str, &str); 3] =
    [("load_balancer", "--upstream"), ("grpc_web", "--upstream"), ("sidecar", "--app")];

/// What the program says of itself as a whole.
async fn health(to: SocketAddr) -> Option<ServingStatus> {
    let mut client = HealthClient::new(channel(to));
    let answer = client.check(HealthCheckRequest::default()).await.ok()?;
    Some(answer.into_inner().status())
}

#[tokio::test]
async fn a_stream_finishes_after_sigterm_and_the_program_ends_with_0() {
    for (name, upstream) in PLAINTEXT {
        let backend = Greeter::start("a").await;
        let to = backend.address().to_string();
        let mut proxy =
            Program::start(name, &[upstream, &to, "--linger", "1s", "--drain-timeout", "30s"]).await;
        let client = Http2::connect(proxy.address()).await;
        until("it serves", async || health(proxy.address()).await == Some(ServingStatus::Serving)).await;

        let mut echo = EchoClient::new(channel(proxy.address()));
        let request = EchoRequest { replies: 30, pause_ms: 100, ..Default::default() };
        let mut replies = echo.download(request).await.expect("it starts").into_inner();
        replies.message().await.expect("no error").expect("a reply");

        proxy.terminate().await;
        let told = Instant::now();
        until("health checks say no", async || {
            health(proxy.address()).await == Some(ServingStatus::NotServing)
        })
        .await;
        assert!(told.elapsed() < Duration::from_secs(1) || !proxy.runs(), "while it lingers");
        // Calls are still taken, on old connections and on new ones.
        assert_eq!(client.call(HELLO).await.status(), 200, "{name}");
        Http2::connect(proxy.address()).await.call(HELLO).await;
        until("the listener closes", async || TcpStream::connect(proxy.address()).await.is_err()).await;
        assert!(told.elapsed() >= Duration::from_secs(1), "{name} lingers");

        let mut count = 1;
        while let Some(_reply) = replies.message().await.unwrap_or_else(|status| panic!("{name}: {status}")) {
            count += 1;
        }
        assert_eq!(count, 30, "{name}");
        assert_eq!(proxy.ended().await.code(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_off_when_the_drain_timeout_is_over() {
    let backend = Greeter::start("a").await;
    let to = backend.address().to_string();
    let args = ["--upstream", &to, "--linger", "0s", "--drain-timeout", "500ms"];
    let mut proxy = Program::start("load_balancer", &args).await;
    let mut echo = EchoClient::new(channel(proxy.address()));
    let request = EchoRequest { replies: 100_000, pause_ms: 50, ..Default::default() };
    let mut replies = echo.download(request).await.expect("it starts").into_inner();
    replies.message().await.expect("no error").expect("a reply");
    proxy.terminate().await;
    let code = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it did not end well"),
            Err(status) => break status.code(),
        }
    };
    assert_eq!(code, Code::Unavailable);
    assert_eq!(proxy.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let backend = Greeter::start("a").await;
    let to = backend.address().to_string();
    let mut proxy = Program::start("load_balancer", &["--upstream", &to, "--linger", "10m"]).await;
    until("it serves", async || health(proxy.address()).await == Some(ServingStatus::Serving)).await;
    proxy.terminate().await;
    until("the first is heard", async || health(proxy.address()).await == Some(ServingStatus::NotServing))
        .await;
    proxy.terminate().await;
    proxy.ended().await;
}

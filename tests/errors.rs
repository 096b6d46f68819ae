//! What `docs/errors.md` says of failed calls: code, phase, and whether a retry is safe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use grpc_balance::{
    Channel, Error, WaitForReady,
    connect::RequestBody,
    discover::Pushed,
    endpoint::{Address, Endpoint},
    error::Phase,
    grpc::Code,
};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use support::greeter::{Action, Greeter};
use tokio::{net::TcpListener, time::timeout};
use tower::ServiceExt;

const PATIENCE: Duration = Duration::from_secs(30);

fn channel(to: SocketAddr) -> Channel {
    Channel::builder(format!("ipv4:{to}")).build().expect("a good target")
}

/// A message without content.
fn request() -> Request<Full<Bytes>> {
    let request = Request::post("/helloworld.Greeter/SayHello").header("content-type", "application/grpc");
    request.body(Full::new(Bytes::from_static(&[0; 5]))).expect("a good request")
}

async fn failure<B: RequestBody>(channel: &Channel, request: Request<B>) -> Error {
    let call = async {
        let response = channel.clone().oneshot(request).await?;
        response.into_body().collect().await.map(|body| body.trailers().cloned())
    };
    timeout(PATIENCE, call).await.expect("the call is stuck").expect_err("the call succeeded")
}

/// Code, phase, and whether a retry is safe.
fn answers(error: &Error) -> (Code, Phase, bool) {
    (error.code(), error.phase(), error.is_safe_to_retry())
}

async fn misbehaving(action: fn() -> Action) -> Greeter {
    Greeter::builder("a").hook(move |_| action()).start().await
}

async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    listener.local_addr().expect("bound")
}

#[tokio::test]
async fn there_are_no_endpoints() {
    let (handle, pushed) = Pushed::new();
    handle.replace(Vec::<Endpoint>::new());
    let channel = Channel::builder("nowhere").resolver(pushed).build().expect("a valid channel");
    let error = failure(&channel, request()).await;
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Resolve, true), "{error}");

    let mut patient = request();
    patient.extensions_mut().insert(WaitForReady(true));
    patient.headers_mut().insert("grpc-timeout", "50m".parse().expect("a header value"));
    let error = failure(&channel, patient).await;
    assert_eq!(answers(&error), (Code::DeadlineExceeded, Phase::Pick, true), "{error}");
    let told =
        "pick: no endpoint took the call in time; the latest obstacle: resolve: `nowhere` has no endpoints";
    assert_eq!(error.report().to_string(), told);
}

#[tokio::test]
async fn no_endpoint_can_be_connected_to() {
    let to = closed_port().await;
    let error = failure(&channel(to), request()).await;
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Connect, true), "{error}");
    let told = format!("connect: no connection to the only endpoint: connect {to}: Connection refused");
    assert!(error.report().to_string().starts_with(&told), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn a_connection_attempt_takes_too_long() {
    let black_hole =
        tower::service_fn(|_: Address| std::future::pending::<io::Result<tokio::io::DuplexStream>>());
    let channel = Channel::builder("ipv4:127.0.0.1:1").dial(black_hole).build().expect("a good target");
    let error = failure(&channel, request()).await;
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Connect, true), "{error}");
    assert!(error.to_string().contains("not connected within 5s"), "{error}");
}

#[tokio::test]
async fn the_timeout_is_malformed() {
    let server = Greeter::start("a").await;
    let mut malformed = request();
    malformed.headers_mut().insert("grpc-timeout", "soon".parse().expect("a header value"));
    let error = failure(&channel(server.address()), malformed).await;
    assert_eq!(answers(&error), (Code::InvalidArgument, Phase::Pick, true), "{error}");
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn the_deadline_passes_after_the_call_was_sent() {
    let server = misbehaving(|| Action::Hang).await;
    let mut hasty = request();
    hasty.headers_mut().insert("grpc-timeout", "200m".parse().expect("a header value"));
    let error = failure(&channel(server.address()), hasty).await;
    assert_eq!(answers(&error), (Code::DeadlineExceeded, Phase::Stream, false), "{error}");
}

#[tokio::test]
async fn the_server_refuses_again_and_again() {
    let server = misbehaving(|| Action::Reset(h2::Reason::REFUSED_STREAM)).await;
    let error = failure(&channel(server.address()), request()).await;
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Stream, true), "{error}");
    assert_eq!(server.calls(), 4, "the first time, and three repeats");
}

#[tokio::test]
async fn the_server_resets_the_stream() {
    let server = misbehaving(|| Action::Reset(h2::Reason::ENHANCE_YOUR_CALM)).await;
    let error = failure(&channel(server.address()), request()).await;
    assert_eq!(answers(&error), (Code::ResourceExhausted, Phase::Stream, false), "{error}");
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn the_connection_is_lost_under_the_call() {
    let server = misbehaving(|| Action::Hang).await;
    let channel = channel(server.address());
    let lost = async {
        while server.calls() == 0 {
            tokio::task::yield_now().await;
        }
        server.reset_connections();
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        error = failure(&channel, request()) => error,
        () = lost => unreachable!(),
    };
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Stream, false), "{error}");
    let told = format!("stream {}: the connection was lost: ", server.address());
    assert!(error.report().to_string().starts_with(&told), "{}", error.report());
}

#[tokio::test]
async fn the_requests_own_body_fails() {
    let server = Greeter::start("a").await;
    let torn = stream::iter([Ok(Frame::data(Bytes::from_static(&[0; 3]))), Err(io::Error::other("torn"))]);
    let error = failure(&channel(server.address()), request().map(|_| StreamBody::new(torn))).await;
    assert_eq!(answers(&error), (Code::Cancelled, Phase::Stream, false), "{error}");
    assert!(error.report().to_string().ends_with("torn"), "{}", error.report());
}

#[test]
fn the_runtime_of_the_channel_has_shut_down() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (_handle, pushed) = Pushed::new();
    let builder = Channel::builder("nowhere").resolver(pushed).runtime(runtime.handle().clone());
    let channel = builder.build().expect("a valid channel");
    runtime.shutdown_background();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = here.block_on(failure(&channel, request()));
    assert_eq!(answers(&error), (Code::Unavailable, Phase::Pick, true), "{error}");
}

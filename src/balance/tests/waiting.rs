//! Who waits, who fails, and with what.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, poll};
use tokio::time::Instant;
use tower_service::Service as _;

use super::scripted::{Call, Scripted, endpoint, over, pushed, request, settle};
use crate::{
    WaitForReady,
    balance::Balance,
    discover::Resolve,
    endpoint::EndpointSet,
    error::{Error, Phase},
    grpc::Code,
    stats::ChannelState,
};

fn call(balance: &Balance<Scripted>) -> Call {
    balance.clone().call(request())
}

fn waiting_call(balance: &Balance<Scripted>) -> Call {
    let mut request = request();
    request.extensions_mut().insert(WaitForReady(true));
    balance.clone().call(request)
}

fn call_with_timeout(balance: &Balance<Scripted>, timeout: &'static str) -> Call {
    let mut request = request();
    request.headers_mut().insert("grpc-timeout", timeout.parse().expect("a header value"));
    balance.clone().call(request)
}

/// A resolver of channel messages.
struct Answers(tokio::sync::mpsc::UnboundedReceiver<Result<Arc<EndpointSet>, Error>>);

impl Resolve for Answers {
    fn poll_resolve(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        self.0.poll_recv(cx)
    }
}

fn no_such_host() -> Error {
    Error::new(Code::Unavailable, Phase::Resolve, "NXDOMAIN")
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_first_resolution_and_the_first_connection() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    let mut call = pin!(call(&balance));
    settle().await;
    assert!(poll!(&mut call).is_pending(), "nothing is resolved");
    handle.insert(endpoint(1));
    settle().await;
    assert!(poll!(&mut call).is_pending(), "nothing is connected");
    let mut peer = dialled.accept().await;
    assert!(poll!(&mut call).is_pending());
    peer.received().expect("the call was sent").status(Code::Ok);
    let response = call.await.expect("the call is answered");
    let peer = response.extensions().get::<crate::Peer>().expect("the chosen endpoint");
    assert_eq!((peer.endpoint().to_string().as_str(), peer.attempts()), ("127.0.0.1:1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_first_resolution_fails_calls_but_not_those_that_wait_for_ready() {
    let (answers, resolver) = tokio::sync::mpsc::unbounded_channel();
    let (builder, mut dialled) = over(Answers(resolver));
    let balance = builder.build().expect("in a runtime");
    let mut early = pin!(call(&balance));
    let mut patient = pin!(waiting_call(&balance));
    assert!(poll!(&mut early).is_pending() && poll!(&mut patient).is_pending());
    answers.send(Err(no_such_host())).expect("the balancer lives");
    settle().await;
    let error = early.now_or_never().expect("at once").expect_err("resolution failed");
    assert_eq!(
        (error.code(), error.phase(), error.message()),
        (Code::Unavailable, Phase::Resolve, "NXDOMAIN")
    );
    assert!(error.is_safe_to_retry());
    assert!(call(&balance).now_or_never().expect("at once").is_err());
    assert!(poll!(&mut patient).is_pending());

    answers.send(Ok(Arc::new(EndpointSet::new([endpoint(1)], 1)))).expect("the balancer lives");
    let mut peer = dialled.accept().await;
    assert!(poll!(&mut patient).is_pending());
    peer.received().expect("the patient call was sent").status(Code::Ok);
    patient.await.expect("it is answered");
}

#[tokio::test(start_paused = true)]
async fn a_failed_later_resolution_keeps_the_last_good_set() {
    let (answers, resolver) = tokio::sync::mpsc::unbounded_channel();
    let (builder, mut dialled) = over(Answers(resolver));
    let balance = builder.build().expect("in a runtime");
    answers.send(Ok(Arc::new(EndpointSet::new([endpoint(1)], 1)))).expect("the balancer lives");
    let mut peer = dialled.accept().await;
    answers.send(Err(no_such_host())).expect("the balancer lives");
    drop(answers);
    settle().await;
    let mut call = pin!(call(&balance));
    assert!(poll!(&mut call).is_pending());
    peer.received().expect("the call was sent").status(Code::Ok);
    call.await.expect("it is answered");
}

#[tokio::test(start_paused = true)]
async fn discovery_that_ends_without_an_answer_fails_calls() {
    let (answers, resolver) = tokio::sync::mpsc::unbounded_channel();
    let (builder, _dialled) = over(Answers(resolver));
    let balance = builder.build().expect("in a runtime");
    drop(answers);
    let error = call(&balance).await.expect_err("there will never be an endpoint");
    assert_eq!(error.phase(), Phase::Resolve);
    assert!(error.to_string().contains("`test`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_becomes_empty_fails_waiting_calls_at_once() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    let endpoint = endpoint(1);
    handle.insert(endpoint.clone());
    let attempt = dialled.next().await;
    let mut waiting = pin!(call(&balance));
    let mut patient = pin!(waiting_call(&balance));
    assert!(poll!(&mut waiting).is_pending() && poll!(&mut patient).is_pending());
    handle.remove(endpoint.key());
    settle().await;
    let error = waiting.now_or_never().expect("at once").expect_err("no endpoints");
    assert_eq!((error.code(), error.phase()), (Code::Unavailable, Phase::Resolve));
    assert!(poll!(&mut patient).is_pending());
    assert!(attempt.is_given_up(), "nobody dials a removed endpoint");
}

#[tokio::test(start_paused = true)]
async fn calls_fail_with_the_cause_once_every_first_attempt_failed_and_work_again_after() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    let (first, second) = (dialled.next().await, dialled.next().await);
    let mut waiting = pin!(call(&balance));
    assert!(poll!(&mut waiting).is_pending());
    first.fail("connection refused");
    settle().await;
    assert!(poll!(&mut waiting).is_pending(), "one endpoint is still on its first attempt");
    second.fail("connection refused");
    settle().await;
    let error = waiting.now_or_never().expect("at once").expect_err("every attempt failed");
    assert_eq!((error.code(), error.phase()), (Code::Unavailable, Phase::Connect));
    assert!(error.to_string().contains("connection refused"), "{error}");
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");
    assert_eq!(balance.watch().borrow().state(), ChannelState::TransientFailure);

    // The next attempts are under way, but "every endpoint's latest attempt failed" still holds.
    let (third, _fourth) = (dialled.next().await, dialled.next().await);
    assert!(call(&balance).now_or_never().expect("at once").is_err());
    let mut peer = third.succeed(usize::MAX);
    settle().await;
    let mut call = pin!(call(&balance));
    assert!(poll!(&mut call).is_pending());
    peer.received().expect("the call was sent").status(Code::Ok);
    call.await.expect("it is answered");
}

#[tokio::test(start_paused = true)]
async fn calls_wait_while_the_only_endpoint_reconnects_after_a_loss() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let peer = dialled.accept().await;
    tokio::time::advance(Duration::from_secs(2)).await;
    peer.break_off().await;
    let mut waiting = pin!(call(&balance));
    assert!(poll!(&mut waiting).is_pending());
    dialled.next().await.fail("connection refused");
    settle().await;
    assert!(waiting.now_or_never().expect("at once").is_err(), "the reconnect failed");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_names_the_obstacle() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.wait_for_ready(true).build().expect("in a runtime");
    handle.insert(endpoint(1));
    dialled.next().await.fail("connection refused");
    settle().await;
    let started = Instant::now();
    let error = call_with_timeout(&balance, "2S").await.expect_err("the deadline passes");
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(error.is_deadline_exceeded());
    assert_eq!(error.phase(), Phase::Pick);
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let error = call_with_timeout(&balance, "0n").await.expect_err("it is too late");
    assert!(error.is_deadline_exceeded());
    assert!(peer.received().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_malformed_timeout_is_named_and_sends_nothing() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let error = call_with_timeout(&balance, "5s").await.expect_err("there is no unit `s`");
    assert!(error.to_string().contains("5s"), "{error}");
    assert!(peer.received().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_the_time_that_is_left() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.deadline(Duration::from_secs(60)).build().expect("in a runtime");
    let mut call = pin!(call_with_timeout(&balance, "1S"));
    assert!(poll!(&mut call).is_pending());
    tokio::time::advance(Duration::from_millis(300)).await;
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    assert!(poll!(&mut call).is_pending());
    let received = peer.received().expect("the call was sent");
    assert_eq!(received.request.headers()["grpc-timeout"], "700000u");
}

#[tokio::test(start_paused = true)]
async fn a_call_outlives_the_handle_it_was_made_on() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    let mut call = Box::pin(call(&balance));
    assert!(poll!(&mut call).is_pending());
    drop(balance);
    settle().await;
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    assert!(poll!(&mut call).is_pending());
    peer.received().expect("the call was sent").status(Code::Ok);
    call.await.expect("it is answered");
    assert!(dialled.is_over().await, "nothing is left after the last call");
}

#[test]
fn a_runtime_that_shuts_down_fails_waiting_calls() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (_handle, builder, _dialled) = pushed();
    let balance = builder
        .worker(crate::connect::Worker::new(runtime.handle().clone()))
        .build()
        .expect("it has a worker");
    runtime.shutdown_timeout(Duration::from_secs(5));
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = other.block_on(waiting_call(&balance)).expect_err("nobody will serve it");
    assert!(error.to_string().contains("shut down"), "{error}");
}

#[test]
fn building_outside_a_runtime_is_an_error_that_says_what_to_do() {
    let (_handle, builder, _dialled) = pushed();
    let error = builder.build().expect_err("there is no runtime");
    assert!(error.to_string().contains("runtime"), "{error}");
}

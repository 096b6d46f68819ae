//! Streams through a channel, from a generated client to a real server.
#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod cancel;
mod flow;
#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use grpc_balance::{Channel, channel, error::Phase};
use support::{
    greeter::{Action, Greeter},
    pb::echo::{EchoRequest, Status as AskedStatus, echo_client::EchoClient},
};
use tokio::{
    task::{JoinSet, yield_now},
    time::timeout,
};
use tonic::Code;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const MEGA: usize = 1 << 20;

fn builder(to: &Greeter) -> channel::Builder {
    Channel::builder(format!("ipv4:{}", to.address()))
}

async fn channel(to: &Greeter) -> Channel {
    ready(builder(to)).await
}

async fn ready(builder: channel::Builder) -> Channel {
    let channel = builder.build().expect("a good target");
    channel.ready(1, PATIENCE).await.expect("the server is up");
    channel
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

async fn until(happened: impl Fn() -> bool) {
    patiently(async {
        while !happened() {
            yield_now().await
        }
    })
    .await;
}

fn of(payload: &[u8]) -> EchoRequest {
    EchoRequest { payload: payload.to_vec(), ..EchoRequest::default() }
}

fn replies(replies: u32, reply_bytes: u32) -> EchoRequest {
    EchoRequest { replies, reply_bytes, ..EchoRequest::default() }
}

/// Messages without end, and how many were taken.
fn endless(bytes: usize) -> (Arc<AtomicU64>, impl Stream<Item = EchoRequest> + Send + 'static) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let messages = stream::repeat_with(move || {
        counter.fetch_add(1, SeqCst);
        of(&vec![b'x'; bytes])
    });
    (taken, messages)
}

/// Waits until the counter stands still although everybody had a hundred turns at a time to move it.
async fn standstill(counter: &AtomicU64) -> u64 {
    patiently(async {
        loop {
            let before = counter.load(SeqCst);
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if before > 0 && before == counter.load(SeqCst) {
                return before;
            }
        }
    })
    .await
}

/// Nothing is in flight any more, and the channel still works.
async fn assert_clean(channel: &Channel, server: &Greeter) {
    let in_flight = || channel.stats().endpoints.iter().map(|endpoint| endpoint.in_flight).sum::<u64>();
    assert_eq!(in_flight(), 0, "calls in flight");
    assert_eq!(channel.stats().waiting, 0, "calls that wait");
    until(|| server.in_flight() == 0).await;
    let reply =
        patiently(EchoClient::new(channel.clone()).unary(of(b"still here"))).await.expect("it serves");
    assert_eq!(reply.into_inner().payload, b"still here");
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn requests_stream_up_and_arrive_in_order() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let requests = stream::iter((0..1000_u32).map(|i| of(&i.to_be_bytes())));
    let reply = patiently(EchoClient::new(channel.clone()).upload(requests)).await.expect("it is served");
    let expected: Vec<u8> = (0..1000_u32).flat_map(u32::to_be_bytes).collect();
    assert_eq!(reply.into_inner().payload, expected);
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn replies_stream_down_and_end_with_their_status() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let status = AskedStatus { code: 9, message: "enough".into(), details: b"why".to_vec() };
    let request = EchoRequest { status: Some(status), ..replies(1000, 100) };
    let mut stream = EchoClient::new(channel.clone()).download(request).await.expect("headers").into_inner();
    for _ in 0..1000 {
        assert_eq!(patiently(stream.message()).await.expect("a reply").expect("a reply").payload.len(), 100);
    }
    let status = patiently(stream.message()).await.expect_err("a status");
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "enough"));
    assert_eq!(status.details(), b"why");
    assert!(grpc_balance::tonic::error_of(&status).is_none(), "it is the server's own answer");
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn a_conversation_goes_message_by_message() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    say.send(of(b"0")).await.expect("somebody listens");
    let mut replies =
        patiently(EchoClient::new(channel.clone()).chat(said)).await.expect("headers").into_inner();
    for i in 1..=200 {
        let reply = patiently(replies.message()).await.expect("a reply").expect("a reply");
        assert_eq!(reply.payload, (i - 1).to_string().into_bytes());
        say.send(of(i.to_string().as_bytes())).await.expect("somebody listens");
    }
    drop(say);
    assert_eq!(patiently(replies.message()).await.expect("a reply").expect("a reply").payload, b"200");
    assert!(patiently(replies.message()).await.expect("a good end").is_none());
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn trailers_only_answers_come_through_whole_for_every_kind_of_call() {
    let server = Greeter::builder("a")
        .hook(|_| {
            Action::Fail(tonic::Status::with_details(Code::NotFound, "no such thing", b"why"[..].into()))
        })
        .start()
        .await;
    let channel = channel(&server).await;
    let mut client = EchoClient::new(channel.clone());
    let statuses = [
        patiently(client.unary(of(b""))).await.expect_err("a status"),
        patiently(client.upload(endless(MEGA).1)).await.expect_err("a status"),
        patiently(client.download(replies(1, 1))).await.expect_err("a status"),
        patiently(client.chat(endless(MEGA).1)).await.expect_err("a status"),
        patiently(client.chat(stream::pending())).await.expect_err("a status"),
    ];
    for status in &statuses {
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing"));
        assert_eq!(status.details(), b"why");
    }
    let stats = channel.stats();
    assert_eq!(stats.outcomes.get(grpc_balance::grpc::Code::NotFound), 5, "{stats}");
    assert_eq!(stats.endpoints[0].in_flight, 0);
    until(|| server.in_flight() == 0).await;
}

#[tokio::test]
async fn a_response_that_ends_before_the_request_does_stops_the_request() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let status = AskedStatus { code: 11, message: "no more".into(), details: Vec::new() };
    let last = EchoRequest { status: Some(status), ..EchoRequest::default() };
    let (taken, rest) = endless(1000);
    let requests = stream::iter([of(b"first"), last]).chain(rest);
    let mut replies =
        patiently(EchoClient::new(channel.clone()).chat(requests)).await.expect("headers").into_inner();
    assert_eq!(patiently(replies.message()).await.expect("a reply").expect("a reply").payload, b"first");
    let status = patiently(replies.message()).await.expect_err("a status");
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "no more"));
    let sent = standstill(&taken).await;
    assert!(sent < 10_000, "{sent} messages for nobody");
    assert_clean(&channel, &server).await;
    // The same for a call without replies.
    let status = AskedStatus { code: 11, message: "no more".into(), details: Vec::new() };
    let last = EchoRequest { status: Some(status), ..EchoRequest::default() };
    let requests = stream::iter([last]).chain(endless(1000).1);
    let status = patiently(EchoClient::new(channel.clone()).upload(requests)).await.expect_err("a status");
    assert_eq!((status.code(), status.message()), (Code::OutOfRange, "no more"));
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn a_stream_outlives_its_client_and_its_channel() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let mut client = EchoClient::new(channel.clone());
    let (say, said) = tokio::sync::mpsc::channel(1);
    say.send(of(b"before")).await.expect("somebody listens");
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut talk = patiently(client.chat(said)).await.expect("headers").into_inner();
    let mut down = patiently(client.download(replies(5000, 1000))).await.expect("headers").into_inner();
    drop(client);
    drop(channel);
    for _ in 0..5000 {
        patiently(down.message()).await.expect("a reply").expect("a reply");
    }
    assert!(patiently(down.message()).await.expect("a good end").is_none());
    assert_eq!(patiently(talk.message()).await.expect("a reply").expect("a reply").payload, b"before");
    say.send(of(b"after")).await.expect("somebody listens");
    assert_eq!(patiently(talk.message()).await.expect("a reply").expect("a reply").payload, b"after");
    drop(say);
    assert!(patiently(talk.message()).await.expect("a good end").is_none());
    drop((talk, down));
    until(|| server.open_connections() == 0).await;
}

#[tokio::test]
async fn a_deadline_cuts_a_stream_and_says_so() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let mut client = EchoClient::new(channel.clone());
    // Replies come for ever, one every 10 ms.
    let mut request = tonic::Request::new(EchoRequest { pause_ms: 10, ..replies(u32::MAX, 10) });
    request.set_timeout(Duration::from_millis(300));
    let mut stream = patiently(client.download(request)).await.expect("headers").into_inner();
    let mut read = 0;
    let status = patiently(async {
        loop {
            match stream.message().await {
                Ok(reply) => assert!(reply.is_some(), "no good end"),
                Err(status) => return status,
            }
            read += 1;
        }
    })
    .await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(read > 0, "it flowed until then");
    let error = grpc_balance::tonic::error_of(&status).expect("our own deadline");
    assert_eq!((error.phase(), error.is_safe_to_retry()), (Phase::Stream, false));
    assert_eq!(channel.stats().expired, 1);
    // The same of an upload that nobody answers.
    let mut request = tonic::Request::new(endless(10).1);
    request.set_timeout(Duration::from_millis(300));
    let status = patiently(client.upload(request)).await.expect_err("no answer in time");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    drop(stream);
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn streams_that_find_no_room_get_a_second_connection_and_no_third() {
    let server = Greeter::builder("a").max_concurrent_streams(1).start().await;
    let channel = ready(builder(&server).max_connections_per_endpoint(2)).await;
    let talk = |channel: Channel| async move {
        EchoClient::new(channel).chat(stream::iter([of(b"hi")]).chain(stream::pending())).await
    };
    let first = patiently(talk(channel.clone())).await.expect("headers");
    assert_eq!(server.accepted(), 1);
    let second = patiently(talk(channel.clone())).await.expect("headers");
    assert_eq!(server.accepted(), 2);
    // A third waits until one of the two ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(talk(channel.clone()));
    until(|| channel.stats().waiting == 1).await;
    assert_eq!((server.in_flight(), channel.stats().endpoints[0].in_flight), (2, 2));
    drop(first);
    let third = patiently(tasks.join_next()).await.expect("a task").expect("no panic").expect("headers");
    assert_eq!((server.accepted(), server.peak_in_flight()), (2, 2));
    drop((second, third));
    assert_clean(&channel, &server).await;
}

//! Streams through a channel, from a generated client to a real server.
#![cfg(feature = "tonic")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use grpc_balance::{Channel, channel, connect::http2::Http2Config, error::Phase};
use support::{
    greeter::{Action, Greeter},
    pb::echo::{EchoReply, EchoRequest, Status as AskedStatus, echo_client::EchoClient},
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

/// A caller that does not read stops the server, which stops the caller's sending: 16 KiB messages, and windows of
/// 64 KiB down and the server's own up.
#[tokio::test]
async fn a_conversation_pushes_back_both_ways() {
    let server = Greeter::start("a").await;
    let windows = Http2Config::new().stream_window(65_535).connection_window(MEGA as u32);
    let channel = ready(builder(&server).http2(windows)).await;
    let (taken, requests) = endless(16 * 1024);
    let mut replies =
        patiently(EchoClient::new(channel.clone()).chat(requests)).await.expect("headers").into_inner();
    let ahead = standstill(&taken).await;
    assert!(ahead * 16 * 1024 < 8 * MEGA as u64, "{ahead} messages ahead of a reader that reads none");
    for _ in 0..2 * ahead {
        patiently(replies.message()).await.expect("a reply").expect("a reply");
    }
    assert!(taken.load(SeqCst) > ahead, "reading lets the sender go on");
    drop(replies);
    assert_clean(&channel, &server).await;
}

/// Streams that nobody reads, each with more to say than its window holds, beside a thousand busy calls.
async fn a_reader_that_never_reads(message: u32) {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let mut client = EchoClient::new(channel.clone());
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(patiently(client.download(replies(u32::MAX, message))).await.expect("headers"));
    }
    for _ in 0..20 {
        let mut busy = patiently(client.download(replies(500, message))).await.expect("headers").into_inner();
        for _ in 0..500 {
            patiently(busy.message()).await.expect("a reply").expect("a reply");
        }
        assert!(patiently(busy.message()).await.expect("a good end").is_none());
    }
    for _ in 0..300 {
        patiently(client.unary(of(b"unary"))).await.expect("it is served");
    }
    assert_eq!((server.accepted(), server.open_connections()), (1, 1), "all on one connection");
    assert_eq!(channel.stats().endpoints[0].in_flight, 4, "the unread streams are still open");
    drop(unread);
    assert_clean(&channel, &server).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_large_messages_holds_nobody_up() {
    a_reader_that_never_reads(16 * 1024).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_ten_byte_messages_holds_nobody_up() {
    a_reader_that_never_reads(10).await;
}

/// 100 messages of 1 MiB up and down at once, the sender never more than 24 of them ahead: our windows (1 MiB a
/// stream), the server's (1 MiB), the buffers of both, and the sockets'.
#[tokio::test]
async fn a_hundred_megabytes_pass_in_bounded_memory() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    let (taken, requests) = endless(MEGA);
    let mut replies = patiently(EchoClient::new(channel.clone()).chat(requests.take(100)))
        .await
        .expect("headers")
        .into_inner();
    let (mut read, mut furthest) = (0, 0);
    while let Some(EchoReply { payload, .. }) = patiently(replies.message()).await.expect("a reply") {
        assert_eq!(payload.len(), MEGA);
        read += 1;
        furthest = furthest.max(taken.load(SeqCst) - read);
        // The sender gets every chance to run ahead.
        if read % 10 == 0 {
            standstill(&taken).await;
            furthest = furthest.max(taken.load(SeqCst) - read);
        }
    }
    assert_eq!(read, 100);
    assert!(furthest <= 24, "the sender was {furthest} MiB ahead");
    println!("the sender was at most {furthest} MiB ahead");
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
async fn thousands_of_calls_cancelled_before_their_headers_leave_nothing_behind() {
    let server = Greeter::builder("a").hook(|parts| hang_on_download(parts)).start().await;
    let channel = channel(&server).await;
    for round in 0..3000_u32 {
        let mut client = EchoClient::new(channel.clone());
        let mut call = Box::pin(client.download(replies(1, 1)));
        // Some are dropped before their first poll, some as they were sent, some as they hang at the server.
        for _ in 0..round % 4 {
            assert!(futures_util::poll!(&mut call).is_pending());
            yield_now().await;
        }
        drop(call);
    }
    let cancelled = channel.stats().outcomes.get(grpc_balance::grpc::Code::Cancelled);
    assert_eq!(cancelled, 2250, "all that were ever polled");
    assert_clean(&channel, &server).await;
}

fn hang_on_download(parts: &http::request::Parts) -> Action {
    if parts.uri.path().ends_with("Download") { Action::Hang } else { Action::Serve }
}

#[tokio::test]
async fn thousands_of_bodies_dropped_half_read_leave_nothing_behind() {
    let server = Greeter::start("a").await;
    let channel = channel(&server).await;
    for round in 0..1000_u32 {
        let mut client = EchoClient::new(channel.clone());
        let mut down = patiently(client.download(replies(1000, 100))).await.expect("headers").into_inner();
        let mut talk = patiently(client.chat(endless(100).1)).await.expect("headers").into_inner();
        for _ in 0..round % 3 {
            patiently(down.message()).await.expect("a reply").expect("a reply");
            patiently(talk.message()).await.expect("a reply").expect("a reply");
        }
        drop((down, talk));
    }
    assert_eq!(channel.stats().outcomes.get(grpc_balance::grpc::Code::Cancelled), 2000);
    assert_clean(&channel, &server).await;
    assert_eq!(server.accepted(), 1, "and the connection is the same");
}

#[tokio::test]
async fn thousands_of_resets_before_the_headers_leave_nothing_behind() {
    let turn = AtomicU32::new(0);
    let server = Greeter::builder("a")
        .hook(move |parts| match parts.uri.path().ends_with("Unary") {
            true => Action::Serve,
            false if turn.fetch_add(1, SeqCst) % 2 == 0 => Action::Reset(h2::Reason::CANCEL),
            false => Action::Reset(h2::Reason::INTERNAL_ERROR),
        })
        .start()
        .await;
    let channel = channel(&server).await;
    let mut codes = [0, 0];
    // A unary call between them: servers take too many resets in a row for an attack.
    for _ in 0..2000 {
        let mut client = EchoClient::new(channel.clone());
        let status = patiently(client.download(replies(1, 1))).await.expect_err("a reset");
        match status.code() {
            Code::Cancelled => codes[0] += 1,
            Code::Internal => codes[1] += 1,
            _ => panic!("{status}"),
        }
        patiently(client.unary(of(b""))).await.expect("it is served");
    }
    assert_eq!(codes, [1000, 1000]);
    assert_clean(&channel, &server).await;
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

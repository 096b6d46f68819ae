//! One scenario against gRPC backends that speak `echo.Echo`, in whatever language they are written.
//!
//! `tests/e2e/scenarios.py` runs it. Exits with 0 if everything was as it must be; otherwise says what was not.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

#[path = "../../proto/mod.rs"]
mod pb;

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use futures_util::stream;
use grpc_balance::{
    Channel,
    connect::{Keepalive, http2::Http2Config},
    error::BoxError,
    policy,
};
use pb::echo::{self, EchoReply, EchoRequest, echo_client::EchoClient};
use tokio::{task::JoinSet, time::Instant};
use tonic::{Code, Request, Status, metadata::MetadataValue};

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    target: String,
    /// For how long the scenarios that take their time go on.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Ping after so much silence, without the restraint that servers demand.
    #[arg(long)]
    ping_after_ms: Option<u64>,
    #[arg(value_enum)]
    scenario: Scenario,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// Calls without pause; none may fail.
    Load,
    /// As `Load`, and both backends must have been kept busy.
    Share,
    Shapes,
    Metadata,
    Statuses,
    Large,
    Deadlines,
    /// A call, a long silence, a call.
    Idle,
    /// A stream with a message every 12 s, and one with a message at its end only.
    SlowStreams,
}

type Client = EchoClient<Channel>;
type Outcome = Result<(), BoxError>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}

fn with_payload(payload: impl Into<Vec<u8>>) -> EchoRequest {
    EchoRequest { payload: payload.into(), ..EchoRequest::default() }
}

async fn load(client: &Client, seconds: u64) -> Result<Vec<String>, BoxError> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let mut client = client.clone();
        callers.spawn(async move {
            let mut servers = Vec::new();
            while Instant::now() < end {
                let request = EchoRequest { delay_ms: caller, ..EchoRequest::default() };
                servers.push(client.unary(request).await?.into_inner().server);
            }
            Ok::<_, Status>(servers)
        });
    }
    let mut servers = Vec::new();
    while let Some(served) = callers.join_next().await {
        servers.extend(served??);
    }
    println!("{} calls", servers.len());
    Ok(servers)
}

async fn share(client: &Client, seconds: u64) -> Outcome {
    let mut servers = load(client, seconds).await?;
    let calls = servers.len();
    servers.sort();
    for of_one in servers.chunk_by(|a, b| a == b) {
        println!("{} {}", of_one[0], of_one.len());
        // A single stream that is always in use carries about 64 calls of 0 to 31 ms a second.
        let busy = of_one.len() as u64 >= 32 * seconds;
        ensure!(busy, "{} served only {} of {calls} calls", of_one[0], of_one.len());
    }
    servers.dedup();
    ensure!(servers.len() == 2, "only {servers:?} served");
    Ok(())
}

async fn shapes(client: &mut Client) -> Outcome {
    let reply = client.unary(with_payload("one")).await?.into_inner();
    ensure!(reply.payload == b"one", "unary: {reply:?}");

    let requests = stream::iter((0..100).map(|i| with_payload(vec![i; 1000])));
    let reply = client.upload(requests).await?.into_inner();
    ensure!(reply.payload.chunks(1000).map(|chunk| chunk[0]).eq(0..100), "upload: wrong payload");

    let request = EchoRequest { replies: 100, ..with_payload("again") };
    let mut replies = client.download(request).await?.into_inner();
    let mut count = 0;
    while let Some(EchoReply { payload, .. }) = replies.message().await? {
        ensure!(payload == b"again", "download: {payload:?}");
        count += 1;
    }
    ensure!(count == 100, "download: {count} replies");

    let (send, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut replies = client.chat(requests).await?.into_inner();
    for i in 0..100_u8 {
        send.send(with_payload([i])).await?;
        let reply = replies.message().await?;
        ensure!(reply.as_ref().is_some_and(|reply| reply.payload == [i]), "chat: {reply:?} to {i}");
    }
    drop(send);
    ensure!(replies.message().await?.is_none(), "chat: a reply too many");
    Ok(())
}

async fn metadata(client: &mut Client) -> Outcome {
    let bytes: Vec<u8> = (0..=255).collect();
    let mut request = Request::new(EchoRequest::default());
    let metadata = request.metadata_mut();
    metadata.append("order", "first".parse()?);
    metadata.append("order", "second".parse()?);
    metadata.append_bin("all-bytes-bin", MetadataValue::from_bytes(&bytes));
    metadata.append_bin("order-bin", MetadataValue::from_bytes(b"first"));
    metadata.append_bin("order-bin", MetadataValue::from_bytes(b"second"));
    let response = client.unary(request).await?;

    let seen = &response.get_ref().metadata;
    let of = |key| seen.iter().filter(move |entry| entry.key == key).map(|entry| entry.value.as_slice());
    ensure!(of("order").eq([b"first".as_slice(), b"second"]), "the server saw {seen:?}");
    ensure!(of("order-bin").eq([b"first".as_slice(), b"second"]), "the server saw {seen:?}");
    ensure!(of("all-bytes-bin").eq([bytes.as_slice()]), "the server saw {seen:?}");

    let back = response.metadata();
    let texts: Vec<_> = back.get_all("echo-order").iter().collect();
    ensure!(texts == ["first", "second"], "the server sent {back:?}");
    let all = back.get_bin("echo-all-bytes-bin").and_then(|value| value.to_bytes().ok());
    ensure!(all.is_some_and(|all| *all == bytes), "the server sent {back:?}");
    Ok(())
}

async fn statuses(client: &mut Client) -> Outcome {
    for code in 1..=16 {
        let details: Vec<u8> = (0..code).collect();
        let message = format!("{code}: 100 % \u{fc}ber\nfl\u{fc}ssig");
        let status = echo::Status { code: code.into(), message: message.clone(), details: details.clone() };
        for replies in [0, 1] {
            let request = EchoRequest { replies, status: Some(status.clone()), ..EchoRequest::default() };
            let result = if replies == 0 {
                client.unary(request).await.map(drop)
            } else {
                let mut stream = client.download(request).await?.into_inner();
                ensure!(stream.message().await?.is_some(), "code {code}: no reply before the status");
                stream.message().await.map(drop)
            };
            let Err(status) = result else { return Err(format!("code {code}: the call succeeded").into()) };
            let same = status.code() == Code::from(i32::from(code))
                && status.message() == message
                && status.details() == details;
            ensure!(same, "code {code} came as {status:?}");
        }
    }
    Ok(())
}

async fn large(client: &Client) -> Outcome {
    const SIZE: usize = 4_000_000;
    let mut client = client.clone().max_decoding_message_size(8 << 20).max_encoding_message_size(8 << 20);
    let payload: Vec<u8> = (0..SIZE).map(|i| i.to_le_bytes()[i % 3]).collect();
    for _ in 0..5 {
        let reply = client.unary(with_payload(payload.clone())).await?.into_inner();
        ensure!(reply.payload == payload, "4 MB came back changed");
    }
    let request = EchoRequest { replies: 5, reply_bytes: 4_000_000, ..EchoRequest::default() };
    let mut replies = client.download(request).await?.into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await? {
        ensure!(reply.payload.len() == SIZE, "a reply of {} bytes", reply.payload.len());
        count += 1;
    }
    ensure!(count == 5, "{count} replies");
    Ok(())
}

async fn deadlines(client: &mut Client) -> Outcome {
    let left = client.unary(EchoRequest::default()).await?.into_inner().time_left_ms;
    ensure!(left.is_none(), "without a deadline the server sees {left:?} ms");

    let mut request = Request::new(EchoRequest::default());
    request.set_timeout(Duration::from_millis(2_000));
    let left = client.unary(request).await?.into_inner().time_left_ms;
    ensure!(left.is_some_and(|left| (1_500..=2_000).contains(&left)), "of 2000 ms the server sees {left:?}");

    for streaming in [false, true] {
        let message = EchoRequest { delay_ms: 5_000, replies: 1, ..EchoRequest::default() };
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_millis(300));
        let start = Instant::now();
        let result = if streaming {
            match client.download(request).await {
                Ok(replies) => replies.into_inner().message().await.map(drop),
                Err(status) => Err(status),
            }
        } else {
            client.unary(request).await.map(drop)
        };
        let took = start.elapsed();
        let code = result.err().map(|status| status.code());
        ensure!(code == Some(Code::DeadlineExceeded), "at its deadline the call ended with {code:?}");
        ensure!((290..800).contains(&took.as_millis()), "a deadline of 300 ms took {took:?}");
    }
    Ok(())
}

async fn idle(client: &mut Client, seconds: u64) -> Outcome {
    client.unary(EchoRequest::default()).await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    client.unary(EchoRequest::default()).await?;
    Ok(())
}

async fn slow_streams(client: &Client, seconds: u64) -> Outcome {
    let silent = u32::try_from(seconds)?;
    let slow = EchoRequest { replies: silent / 12 + 1, pause_ms: 12_000, ..EchoRequest::default() };
    let silent = EchoRequest { replies: 1, delay_ms: silent * 1_000, ..EchoRequest::default() };
    let mut streams = JoinSet::new();
    for request in [slow, silent] {
        let mut client = client.clone();
        streams.spawn(async move {
            let mut left = request.replies;
            let mut replies = client.download(request).await?.into_inner();
            while replies.message().await?.is_some() {
                left -= 1;
            }
            Ok::<_, Status>(left)
        });
    }
    while let Some(left) = streams.join_next().await {
        let left = left??;
        ensure!(left == 0, "{left} replies are missing");
    }
    Ok(())
}

async fn run(args: &Args) -> Outcome {
    let mut builder = Channel::builder(args.target.as_str()).policy(policy::P2c::least_pending());
    if let Some(silence) = args.ping_after_ms.map(Duration::from_millis) {
        let eager = Keepalive::on_suspicion().after_silence(silence).timeout(silence).burst(u32::MAX);
        builder = builder.http2(Http2Config::new().keepalive(eager));
    }
    let channel = builder.build()?;
    channel.ready(1, Duration::from_secs(5)).await?;
    let mut client = EchoClient::new(channel.clone());
    let outcome = match args.scenario {
        Scenario::Load => load(&client, args.seconds).await.map(drop),
        Scenario::Share => share(&client, args.seconds).await,
        Scenario::Shapes => shapes(&mut client).await,
        Scenario::Metadata => metadata(&mut client).await,
        Scenario::Statuses => statuses(&mut client).await,
        Scenario::Large => large(&client).await,
        Scenario::Deadlines => deadlines(&mut client).await,
        Scenario::Idle => idle(&mut client, args.seconds).await,
        Scenario::SlowStreams => slow_streams(&client, args.seconds).await,
    };
    println!("{}", channel.stats());
    outcome
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter("grpc_balance=debug").with_writer(std::io::stderr).init();
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

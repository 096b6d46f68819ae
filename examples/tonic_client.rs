//! A tonic client whose calls are balanced: point it at any target and see who answers.
//!
//! ```text
//! cargo run --release --example tonic_client -- --target dns:///greeter.default.svc.cluster.local:50051 --calls 1000
//! cargo run --release --example tonic_client -- --target ipv4:127.0.0.1:50051,127.0.0.1:50052 --policy round_robin
//! ```
//!
//! Exits with 0 if every call succeeded, with 1 if one failed, with 2 if it was asked for something impossible.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod cli {
    pub(crate) mod report;
    pub(crate) mod signal;
}
#[path = "../proto/mod.rs"]
mod pb;

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::{Parser, ValueEnum};
use cli::report::{Event, Tally, kind};
use grpc_balance::{Channel, error::BoxError, policy};
use pb::helloworld::{HelloRequest, greeter_client::GreeterClient};
use tokio::{task::JoinSet, time::Instant};

/// Calls helloworld.Greeter/SayHello on a balanced channel.
#[derive(Debug, Parser)]
struct Args {
    /// What to call: dns:///name:port, ipv4:address:port,..., unix:/path, or host:port.
    #[arg(long)]
    target: String,
    /// How many calls to make.
    #[arg(long, default_value_t = 1000)]
    calls: u64,
    /// How many calls to have in flight.
    #[arg(long, default_value_t = 10)]
    concurrency: u64,
    /// Which endpoint gets a call.
    #[arg(long, value_enum, default_value_t = Policy::P2cLeastPending)]
    policy: Policy,
    /// The DNS server to ask, instead of those in /etc/resolv.conf.
    #[arg(long)]
    dns_server: Option<SocketAddr>,
    /// How long a call may take, waiting for an endpoint included.
    #[arg(long)]
    deadline_ms: Option<u64>,
    /// Wait for an endpoint rather than fail while there is none.
    #[arg(long)]
    wait_for_ready: bool,
    /// Make the last line of the output one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Policy {
    RoundRobin,
    #[value(name = "p2c_least_pending")]
    P2cLeastPending,
    #[value(name = "p2c_peak_ewma")]
    P2cPeakEwma,
    Random,
    PickFirst,
}

impl Policy {
    fn build(self) -> Arc<dyn policy::Policy> {
        match self {
            Self::RoundRobin => Arc::new(policy::RoundRobin::new()),
            Self::P2cLeastPending => Arc::new(policy::P2c::least_pending()),
            Self::P2cPeakEwma => Arc::new(policy::P2c::peak_ewma()),
            Self::Random => Arc::new(policy::Random::new()),
            Self::PickFirst => Arc::new(policy::PickFirst::new()),
        }
    }
}

/// The target with the DNS server in it: `dns://server/name`.
fn target(args: &Args) -> Result<String, BoxError> {
    let Some(server) = args.dns_server else { return Ok(args.target.clone()) };
    let name = match args.target.split_once(':') {
        Some(("dns", name)) => name.strip_prefix("///").unwrap_or(name),
        Some(("ipv4" | "ipv6" | "unix", _)) => {
            return Err(format!("--dns-server makes no sense with the target {:?}", args.target).into());
        }
        _ => &args.target,
    };
    if name.starts_with("//") {
        return Err(format!("the target {:?} names a DNS server already", args.target).into());
    }
    Ok(format!("dns://{server}/{name}"))
}

fn channel(args: &Args) -> Result<Channel, BoxError> {
    let mut builder = Channel::builder(target(args)?)
        .policy(args.policy.build())
        .wait_for_ready(args.wait_for_ready)
        .user_agent("tonic_client");
    if let Some(deadline) = args.deadline_ms {
        builder = builder.deadline(Duration::from_millis(deadline));
    }
    Ok(builder.build()?)
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let (channel, stop) = match channel(&args).and_then(|channel| Ok((channel, cli::signal::stop()?))) {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("tonic_client: {error}");
            return ExitCode::from(2);
        }
    };

    let tally = Arc::new(Tally::default());
    let left = Arc::new(AtomicU64::new(args.calls));
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..args.concurrency.max(1) {
        let (mut client, tally, left) = (GreeterClient::new(channel.clone()), tally.clone(), left.clone());
        callers.spawn(async move {
            while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                let sent = Instant::now();
                match client.say_hello(HelloRequest { name: "world".into() }).await {
                    Ok(response) => tally.ok(&response, sent.elapsed()),
                    Err(status) => tally.error(kind(&status)),
                }
            }
        });
    }

    let mut events = Vec::new();
    let mut happened = |what: String| {
        let at_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        events.push(Event { at_ms, what, expected: Vec::new(), settled_ms: None });
    };
    let mut watch = channel.watch();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            done = callers.join_next() => if done.is_none() { break },
            Ok(()) = watch.changed() => {
                let now = watch.borrow_and_update();
                happened(format!("{}: {} of {} endpoints ready", now.state(), now.ready(), now.endpoints()));
            }
            () = stop.as_mut() => {
                happened("stopped by a signal".into());
                break;
            }
        }
    }
    let took = start.elapsed();
    let report = tally.report(events);
    print!("{report}");
    println!("{:.0} calls per second\n{}", report.calls as f64 / took.as_secs_f64(), channel.stats());
    if args.json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    }
    if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! Balancing over what DNS says, through everything that goes wrong in a week, in a quarter of a minute.
//!
//! In this one process: a DNS server, three tonic greeters behind one name (one of them 20 times slower than the
//! others), and a generated client on a [`Channel`] that 64 tasks share. While they call, the name grows to five
//! addresses, one greeter restarts gracefully, one is killed, and DNS breaks and is mended.
//!
//! ```text
//! cargo run --release --example quickstart            # a live table
//! cargo run --release --example quickstart -- --json  # ends with one JSON object
//! ```
//!
//! Exits with 0 if every event was followed by traffic on the right endpoints within 2 s, and no call failed but those
//! that the killed greeter was working on.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod cli {
    pub(crate) mod report;
}
mod loopback {
    pub(crate) mod pod;
    pub(crate) mod zone;
}
#[path = "../proto/mod.rs"]
mod pb;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::{IsTerminal, Write as _},
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::Parser;
use cli::report::{Event, Tally, kind};
use grpc_balance::{
    Channel,
    discover::DnsConfig,
    error::{BoxError, Phase},
    policy,
};
use loopback::{
    pod::{Pod, shared_port},
    zone::{Answer, NAME, Zone},
};
use pb::helloworld::{HelloRequest, greeter_client::GreeterClient};
use tokio::{task::JoinSet, time::Instant};
use tonic::Status;

const CALLERS: usize = 64;
const FAST: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(100);
/// How long each act lasts, and how long traffic may take to follow an event.
const ACT: Duration = Duration::from_millis(1_800);
const SETTLE: Duration = Duration::from_secs(2);
/// Traffic is looked at in slices of this length.
const SLICE: Duration = Duration::from_millis(250);

/// Shows a balanced tonic client through scaling, restarts, crashes and DNS failures.
#[derive(Debug, Parser)]
struct Args {
    /// Make the last line of the output one JSON object.
    #[arg(long)]
    json: bool,
}

struct Stage {
    zone: Zone,
    pods: BTreeMap<u8, Pod>,
    port: u16,
    channel: Channel,
    tally: Arc<Tally>,
    /// The greeter that was killed.
    killed: Arc<OnceLock<SocketAddr>>,
    /// Whether the callers should stop.
    over: Arc<AtomicBool>,
    start: Instant,
    events: Vec<Event>,
    live: bool,
}

impl Stage {
    async fn set(live: bool) -> Result<Self, BoxError> {
        let port = shared_port(6)?;
        let mut pods = BTreeMap::new();
        for (pod, delay) in [(1, FAST), (2, FAST), (3, SLOW)] {
            pods.insert(pod, Pod::start((ip(pod), port).into(), delay).await?);
        }
        let zone = Zone::start([1, 2, 3].map(ip).into()).await?;

        // All that an application needs; with the system's DNS servers, `dns:///name:port` is the target.
        let channel = Channel::builder(format!("dns://{}/{NAME}:{port}", zone.address()))
            .policy(policy::P2c::least_pending())
            // A broken DNS is asked again every second, for an audience that has no time for the default's 30 s.
            .dns(DnsConfig::new().backoff(Duration::from_millis(500), Duration::from_secs(1)))
            .build()?;
        channel.ready(3, Duration::from_secs(5)).await?;

        let (tally, killed, over) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self {
            zone,
            pods,
            port,
            channel,
            tally,
            killed,
            over,
            start: Instant::now(),
            events: Vec::new(),
            live,
        })
    }

    fn address(&self, pod: u8) -> SocketAddr {
        (ip(pod), self.port).into()
    }

    async fn run(&mut self, pod: u8) -> Result<(), BoxError> {
        self.pods.insert(pod, Pod::start(self.address(pod), FAST).await?);
        Ok(())
    }

    /// How many calls each greeter has answered.
    fn answered(&self) -> BTreeMap<String, u64> {
        let endpoints = self.channel.stats().endpoints;
        endpoints.into_iter().map(|of| (of.endpoint.to_string(), of.succeeded)).collect()
    }

    fn resolve_to(&self, pods: &[u8]) {
        self.zone.answer(Answer::Addresses(pods.iter().copied().map(ip).collect()));
    }

    /// The calls: each task makes the next as soon as it has the answer to the last.
    fn call(&self, callers: &mut JoinSet<()>) {
        for _ in 0..CALLERS {
            let mut client = GreeterClient::new(self.channel.clone());
            let (tally, killed, over) = (self.tally.clone(), self.killed.clone(), self.over.clone());
            callers.spawn(async move {
                while !over.load(Relaxed) {
                    let sent = Instant::now();
                    match client.say_hello(HelloRequest { name: "world".into() }).await {
                        Ok(response) => tally.ok(&response, sent.elapsed()),
                        Err(status) => {
                            tally.error(in_flight_at_kill(&status, &killed).unwrap_or_else(|| kind(&status)))
                        }
                    }
                }
            });
        }
    }

    /// Says what has just happened, waits until exactly these pods answer calls, and lets the act run on.
    async fn happens(&mut self, what: impl Into<String>, answering: &[u8]) {
        let what = what.into();
        let event = Instant::now();
        let at_ms = millis(event - self.start);
        if !self.live {
            println!("{at_ms:>6} ms  {what}");
        }
        let expected: Vec<String> = answering.iter().map(|pod| self.address(*pod).to_string()).collect();
        let expected_set: BTreeSet<String> = expected.iter().cloned().collect();
        let mut settled_ms = None;
        let mut before = self.answered();
        while event.elapsed() < ACT || (settled_ms.is_none() && event.elapsed() < SETTLE) {
            if self.live {
                self.draw(&what);
            }
            tokio::time::sleep(SLICE).await;
            let now = self.answered();
            let answered: BTreeSet<String> = now
                .iter()
                .filter(|(pod, n)| before.get(*pod) != Some(n))
                .map(|(pod, _)| pod.clone())
                .collect();
            before = now;
            if settled_ms.is_none() && answered == expected_set {
                settled_ms = Some(millis(event.elapsed()));
            }
        }
        if !self.live {
            match settled_ms {
                Some(ms) => println!("{:>12} traffic is on the right {} after {ms} ms", "", expected.len()),
                None => println!("{:>12} traffic is NOT on {expected:?} after {SETTLE:?}", ""),
            }
        }
        self.events.push(Event { at_ms, what, expected, settled_ms });
    }

    fn draw(&self, what: &str) {
        let mut screen = String::from("\x1b[H\x1b[2J");
        let _ = writeln!(
            screen,
            "{:5.1} s  {what}\n\n{}",
            self.start.elapsed().as_secs_f64(),
            self.channel.stats()
        );
        print!("{screen}");
        let _ = std::io::stdout().flush();
    }

    async fn play(&mut self) -> Result<(), BoxError> {
        self.happens("three greeters, 127.0.0.3 is 20 times slower", &[1, 2, 3]).await;

        self.run(4).await?;
        self.run(5).await?;
        self.resolve_to(&[1, 2, 3, 4, 5]);
        self.happens("DNS says five addresses", &[1, 2, 3, 4, 5]).await;

        if let Some(pod) = self.pods.remove(&2) {
            pod.stop();
        }
        self.happens("127.0.0.2 stops gracefully", &[1, 3, 4, 5]).await;

        self.run(2).await?;
        self.happens("127.0.0.2 is back", &[1, 2, 3, 4, 5]).await;

        let _ = self.killed.set(self.address(4));
        let working_on = self.pods.remove(&4).map_or(0, Pod::kill);
        self.happens(format!("127.0.0.4 is killed, working on {working_on} calls"), &[1, 2, 3, 5]).await;

        for (answer, name) in [(Answer::ServFail, "SERVFAIL"), (Answer::NxDomain, "NXDOMAIN")] {
            self.zone.answer(answer);
            self.happens(format!("DNS breaks: {name}"), &[1, 2, 3, 5]).await;
        }

        self.run(6).await?;
        self.resolve_to(&[1, 2, 3, 5, 6]);
        self.happens("DNS is mended, with 127.0.0.6 in place of the dead one", &[1, 2, 3, 5, 6]).await;
        Ok(())
    }
}

/// The kind of a failure that cannot be hidden: the greeter was killed while the call was with it. Whether it had done
/// the work nobody knows, so repeating the call is for the application to decide.
fn in_flight_at_kill(status: &Status, killed: &OnceLock<SocketAddr>) -> Option<String> {
    let error = grpc_balance::tonic::error_of(status)?;
    let endpoint = error.endpoint()?.to_string();
    let lost = error.phase() == Phase::Stream && !error.is_safe_to_retry();
    (lost && endpoint == killed.get()?.to_string()).then(|| format!("in flight at the kill of {endpoint}"))
}

fn ip(pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, pod)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn run(args: &Args) -> Result<bool, BoxError> {
    let mut stage = Stage::set(std::io::stdout().is_terminal()).await?;
    let mut callers = JoinSet::new();
    stage.start = Instant::now();
    stage.call(&mut callers);
    stage.play().await?;
    stage.over.store(true, Relaxed);
    callers.join_all().await;

    let report = stage.tally.report(stage.events);
    let unexpected =
        report.error_kinds.keys().filter(|kind| !kind.starts_with("in flight at the kill of")).count();
    let unsettled = report.events.iter().filter(|event| event.settled_ms.is_none()).count();
    println!("\n{report}\n{}", stage.channel.stats());
    println!(
        "{unexpected} unexpected kinds of error, {unsettled} events without traffic on the right endpoints"
    );
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(unexpected == 0 && unsettled == 0)
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::from(2)
        }
    }
}

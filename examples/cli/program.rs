//! A proxy as a program: one line when it listens, signals, exit codes.

use std::{
    future::pending,
    io::{self, Write as _},
    pin::Pin,
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use clap::{Parser, error::ErrorKind};
use futures_util::{FutureExt as _, future::try_join_all};
use grpc_balance::{
    access_log::AccessLogLayer,
    admin::{self, Admin},
    app::{serve, serve_per_core},
    cluster::Cluster,
    connect::Worker,
    error::BoxError,
    health_service::HealthServiceLayer,
    server::{Bound, HttpService, ListenError, Server},
    serving::Registry,
};
use tower::Layer as _;

use super::{flags::Flags, signal};

/// Reads the flags and runs with them: exit code 2 and one line for a bad flag, 1 and one line for anything else.
pub(crate) async fn main<A: Parser>(run: impl AsyncFnOnce(A) -> Result<(), BoxError>) -> ExitCode {
    let name = A::command().get_name().to_owned();
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            say(io::stderr(), &format!("{name}: {}", one_line(&error)));
            return ExitCode::from(2);
        }
    };
    let logs = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(logs).with_writer(|| Logs).init();
    match Box::pin(run(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(io::stderr(), &format!("{name}: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What is wrong, without the usage below it.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("For more")).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

/// Standard error, where logs wait until all that can be wrong has been checked: a mistake is told in one line.
struct Logs;

static HELD: Mutex<Option<Vec<u8>>> = Mutex::new(Some(Vec::new()));

impl Logs {
    fn release() {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = io::stderr().write_all(&held.unwrap_or_default());
    }
}

impl io::Write for Logs {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &mut *HELD.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(held) => held.write(text),
            None => io::stderr().write(text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A closed pipe is no reason to stop.
fn say(mut to: impl io::Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

/// Where a service runs: on one core of several, or on all of them.
#[derive(Clone, Copy)]
pub(crate) struct Core<'a>(Option<&'a Worker>);

impl Core<'_> {
    /// The cluster with its connections there.
    pub(crate) fn of(self, cluster: &Cluster) -> Cluster {
        self.0.map_or_else(|| cluster.clone(), |worker| cluster.on(worker))
    }
}

/// A listener being served, until it is drained.
type Serving = Pin<Box<dyn Future<Output = Result<(), ListenError>>>>;

/// The listeners of a proxy, which start and end together, with an admin service beside them.
pub(crate) struct Program {
    registry: Registry,
    log: Option<AccessLogLayer>,
    stop: Pin<Box<dyn Future<Output = ()>>>,
    addresses: Vec<String>,
    servers: Vec<Serving>,
    per_core: bool,
    admin: (admin::Builder, Option<Bound>),
}

impl Program {
    /// Signals are heard from here on; the first one starts the registry's drain.
    pub(crate) fn new(flags: &Flags) -> Result<Self, BoxError> {
        let registry = Registry::new();
        let listening = flags.admin.0.map(|address| Server::bind(address).listen()).transpose()?;
        Ok(Self {
            log: flags.access_log(),
            stop: Box::pin(signal::stop()?),
            addresses: Vec::new(),
            servers: Vec::new(),
            per_core: flags.per_core,
            admin: (Admin::builder(registry.drain().clone()), listening),
            registry,
        })
    }

    /// Tells operators of these clusters.
    pub(crate) fn with(mut self, clusters: &[Cluster]) -> Self {
        for cluster in clusters {
            self.admin.0 = self.admin.0.cluster(cluster.name().clone(), cluster.clone());
        }
        self
    }

    /// Whether this process should get calls, as those are told who ask.
    pub(crate) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The access log, unless it is off.
    pub(crate) fn log(&self) -> Option<AccessLogLayer> {
        self.log.clone()
    }

    /// Will serve what `app` makes, once or for each core, and say where it `does` what it does.
    pub(crate) fn serve<S: HttpService>(
        mut self,
        does: &str,
        listening: Bound,
        mut app: impl FnMut(Core<'_>) -> S + 'static,
    ) -> Self {
        for address in listening.local_addrs() {
            self.addresses.push(format!("{does} on {address}"));
            self.admin.0 = self.admin.0.listener(address.to_string(), listening.handle());
        }
        let (drain, stop) = (self.registry.drain().clone(), self.registry.drain().started());
        self.servers.push(match self.per_core {
            false => Box::pin(serve(listening, app(Core(None)), drain, stop).map(Ok)),
            true => {
                let app = move |worker: &Worker| app(Core(Some(worker)));
                Box::pin(serve_per_core(listening, app, drain, stop))
            }
        });
        self
    }

    /// Serves until everything is drained after the first signal, or until the second one.
    pub(crate) async fn run<A: Parser>(mut self) -> Result<(), BoxError> {
        let (admin, listening) = self.admin;
        self.addresses
            .extend(listening.iter().flat_map(Bound::local_addrs).map(|at| format!("admin on {at}")));
        Logs::release();
        say(io::stdout(), &format!("{} {}", A::command().get_name(), self.addresses.join(", ")));
        // It tells how the others drain, and so it goes with the last of them.
        let admin = async {
            let app = HealthServiceLayer::new(self.registry.clone()).layer(admin.build());
            match listening {
                Some(listening) => listening.serve(app, pending()).await,
                None => pending().await,
            }
        };
        let signals = async {
            self.stop.await;
            let second = signal::stop()?;
            self.registry.drain().start();
            second.await;
            io::Result::Ok(())
        };
        tokio::select! {
            served = try_join_all(self.servers) => drop(served?),
            () = admin => {}
            second = signals => second?,
        }
        if let Some(log) = self.log {
            log.flush().await;
        }
        Ok(())
    }
}

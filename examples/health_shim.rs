//! A tonic greeter that a GKE Ingress, an ALB, a kubelet and a gRPC client can ask for its health, on its own port.
//!
//! ```text
//! cargo run --release --example health_shim -- --listen 127.0.0.1:50051
//! curl -i http://127.0.0.1:50051/                                  # 200 ok
//! curl -i --http2-prior-knowledge http://127.0.0.1:50051/healthz
//! curl -ik https://127.0.0.1:50051/ -H 'accept: application/json'
//! kill -USR1 PID                                                   # NOT_SERVING and 503; once more: SERVING
//! ```
//!
//! SIGTERM and Ctrl-C drain it: NOT_SERVING and 503 at once, GOAWAY after `--linger`, then the calls in flight finish.
//! A second one ends it at once.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]

mod cli {
    pub(crate) mod signal;
}
#[path = "../proto/mod.rs"]
mod pb;

use std::{error::Error, io, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use grpc_balance::{
    app::serve,
    connect::tls::Identity,
    health_service::HealthServiceLayer,
    server::{Server, tls::ServerConfig},
    serving::{Registry, Status as Serving},
    shim::HealthShimLayer,
};
use pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use tonic::{Request, Response, Status, service::Routes};
use tower::ServiceBuilder;

/// Serves helloworld.Greeter, grpc.health.v1, and health checks over HTTP on `/` and `/healthz`.
#[derive(Debug, Parser)]
struct Args {
    /// The address to listen on, for HTTP/1.1 and HTTP/2, in plaintext and over TLS; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// The certificate for TLS, in PEM; a self-signed one for `localhost` is made if there is none.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// For how many seconds to go on listening while health checks say no already.
    #[arg(long, default_value_t = 5)]
    linger: u64,
    /// For how many seconds calls in flight may then go on.
    #[arg(long, default_value_t = 30)]
    drain_timeout: u64,
}

struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: format!("Hello {}!", request.into_inner().name) }))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("health_shim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let stop = cli::signal::stop()?;
    let registry = Registry::new();
    registry.set("helloworld.Greeter", Serving::Serving);
    let app = ServiceBuilder::new()
        .layer(HealthShimLayer::new(registry.clone()).path("/").path("/healthz"))
        .layer(HealthServiceLayer::new(registry.clone()))
        .service(Routes::new(GreeterServer::new(Polite)));

    let listening = Server::bind(args.listen)
        .tls_or_plaintext(tls(args.cert, args.key)?)
        .linger(Duration::from_secs(args.linger))
        .grace(Duration::from_secs(args.drain_timeout))
        .listen()?;
    let toggles = tokio::spawn(toggles(registry.clone())?);
    for address in listening.local_addrs() {
        println!("health_shim listens on {address}");
    }

    let drain = registry.drain();
    let all = serve(listening, app, drain.clone(), drain.started());
    let signals = async {
        stop.await;
        drain.start();
        cli::signal::stop()?.await;
        Ok::<_, io::Error>(())
    };
    tokio::select! {
        _ = all => {}
        second = signals => second?,
    }
    toggles.abort();
    Ok(())
}

/// The certificate of the files, or one that nobody has signed.
fn tls(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<ServerConfig, Box<dyn Error>> {
    let identity = match cert.zip(key) {
        Some((cert, key)) => Identity::files(cert, key),
        None => {
            let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            Identity::pem(own.cert.pem(), own.signing_key.serialize_pem())
        }
    };
    Ok(ServerConfig::builder().identity(identity).build()?)
}

/// Each SIGUSR1 takes everything out of service, or puts it back.
#[cfg(unix)]
fn toggles(registry: Registry) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut toggles = signal(SignalKind::user_defined1())?;
    Ok(async move {
        while toggles.recv().await.is_some() {
            let next = match registry.status("") {
                Serving::Serving => Serving::NotServing,
                _ => Serving::Serving,
            };
            for service in ["", "helloworld.Greeter"] {
                registry.set(service, next);
            }
            println!("{next:?}");
        }
    })
}

/// There is no such signal here.
#[cfg(not(unix))]
fn toggles(_: Registry) -> io::Result<impl Future<Output = ()>> {
    Ok(async {})
}

//! The data plane of a service mesh, by hand: one process beside the application of each pod.
//!
//! ```text
//! # beside a gRPC service
//! cargo run --release --example sidecar -- --app 127.0.0.1:8080 --app-protocol grpc
//! # beside a REST gateway that calls two of them
//! cargo run --release --example sidecar -- --app 127.0.0.1:3000 --app-protocol http1 --egress 127.0.0.1:8080 \
//!     --cluster alive=dns:///alive-svc:10000 --route /gateway.AliveService=alive \
//!     --cluster user=dns:///user-svc:10000 --route /gateway.UserService=user
//! ```
//!
//! It takes the place of this Envoy:
//!
//! ```yaml
//! static_resources:
//!   listeners:
//!   - name: ingress
//!     address: { socket_address: { address: 0.0.0.0, port_value: 10000 } }       # --listen
//!     ... route_config: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: "/" },
//!                         route: { cluster: local_service } }] }] }
//!   - name: egress
//!     address: { socket_address: { address: 127.0.0.1, port_value: 8080 } }      # --egress
//!     ... route_config:
//!           virtual_hosts:
//!           - domains: ["*"]
//!             routes:
//!             - { match: { prefix: /gateway.AliveService }, route: { cluster: alive } }  # --route, by whole segments
//!             - { match: { prefix: /gateway.UserService }, route: { cluster: user } }
//!   clusters:
//!   - name: local_service
//!     type: STATIC                                          # --app
//!     http2_protocol_options: {}                            # --app-protocol grpc; without it http1
//!   - name: alive                                           # --cluster, and likewise `user`
//!     type: STRICT_DNS
//!     connect_timeout: 0.25s                                # --connect-timeout
//!     lb_policy: ROUND_ROBIN                                # RoundRobin
//!     http2_protocol_options: {}
//! admin: { address: { socket_address: { address: 0.0.0.0, port_value: 10001 } } }  # --admin
//! ```
//!
//! When the application is gone, calls that provably did not reach it are refused (REFUSED_STREAM), so that the
//! caller's sidecar takes another pod and loses nothing, and this pod says NOT_SERVING.

mod cli {
    pub(crate) mod flags;
    pub(crate) mod program;
    pub(crate) mod signal;
}

use std::{net::SocketAddr, process::ExitCode};

use clap::{Parser, ValueEnum};
use cli::{
    flags::Flags,
    program::{self, Core, Program},
};
use grpc_balance::{error::BoxError, health_service::HealthServiceLayer, policy::RoundRobin, target::Target};
use tower::Layer as _;

/// Stands between an application and the network: calls to it come in here, and its calls go out here.
#[derive(Debug, Parser)]
#[command(
    name = "sidecar",
    mut_arg("listen", |arg| arg.default_value("0.0.0.0:10000")),
    mut_arg("admin", |arg| arg.default_value("127.0.0.1:10001")),
    mut_arg("upstream", |arg| arg.requires("egress")),
    mut_arg("cluster", |arg| arg.requires("egress")),
    mut_arg("route", |arg| arg.requires("egress")),
    mut_arg("connect_timeout", |arg| arg.default_value("250ms")),
)]
struct Args {
    #[command(flatten)]
    proxy: Flags,
    /// The application of this pod, to which everything goes that comes in.
    #[arg(long, value_name = "TARGET")]
    app: Target,
    /// What the application speaks.
    #[arg(long, value_enum, default_value_t = Protocol::Grpc)]
    app_protocol: Protocol,
    /// Where the application's own calls go out, by --cluster and --route; nowhere, unless given.
    #[arg(long, value_name = "ADDR")]
    egress: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Protocol {
    Http1,
    Grpc,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(Args { proxy, app, app_protocol, egress }: Args) -> Result<(), BoxError> {
    let ours: Vec<SocketAddr> = egress.into_iter().collect();
    let (ingress, mut program) = (proxy.server()?.listen()?, Program::new(&proxy)?);
    let outside = egress.map(|address| proxy.server_at(address).listen()).transpose()?;

    let local = proxy.cluster("local_service", &app, &ours, |cluster| match app_protocol {
        Protocol::Http1 => cluster.http1().refuse_unprocessed(true),
        Protocol::Grpc => cluster.refuse_unprocessed(true),
    })?;
    let registry = program.registry();
    registry.follow("", local.health());
    let (health, of) = (HealthServiceLayer::new(registry), local.clone());
    let inwards = move |core: Core<'_>| health.layer(core.of(&of));
    program = match program.log() {
        Some(log) => program.serve("listens", ingress, move |core| log.layer(inwards(core))),
        None => program.serve("listens", ingress, inwards),
    };

    if let Some(listening) = outside {
        let clusters = proxy.clusters("egress", &ours, |cluster| cluster.policy(RoundRobin::new()))?;
        let router = proxy.router(&clusters)?;
        let outwards = move |core: Core<'_>| router.map(|cluster| core.of(cluster));
        program = match program.log() {
            Some(log) => program.serve("egress", listening, move |core| log.layer(outwards(core))),
            None => program.serve("egress", listening, outwards),
        };
        program = program.with(&clusters);
    }
    program.with(&[local]).run::<Args>().await
}

//! One plaintext port in front of many gRPC backends behind one name.
//!
//! ```text
//! cargo run --release --example load_balancer -- --upstream dns:///greeter.default.svc.cluster.local:50051
//! cargo run --release --example load_balancer -- --listen 127.0.0.1:15001 \
//!     --upstream ipv4:127.0.0.1:50051,127.0.0.1:50052
//! ```
//!
//! It takes the place of this Envoy:
//!
//! ```yaml
//! static_resources:
//!   listeners:
//!   - name: ingress                      # the connection limit below goes by this name, and misses without it
//!     address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }       # --listen
//!     filter_chains:
//!     - filters:
//!       - name: envoy.filters.network.http_connection_manager
//!         typed_config:
//!           codec_type: AUTO             # HTTP/1.1 and HTTP/2 on one port: Server
//!           route_config: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: "/" },
//!                           route: { cluster: local_service, timeout: 0s } }] }] }
//!   clusters:
//!   - name: local_service
//!     type: STRICT_DNS                   # --upstream dns:///local_service:2746
//!     lb_policy: ROUND_ROBIN             # RoundRobin, per call and across all workers
//!     typed_extension_protocol_options:  # HTTP/2 upstream: what a Cluster speaks unless told otherwise
//!       envoy.extensions.upstreams.http.v3.HttpProtocolOptions: { explicit_http_config: { http2_protocol_options: {} } }
//! layered_runtime: { layers: [{ static_layer: { envoy.resource_limits.listener.ingress.connection_limit: 10000 } }] }
//! admin: { address: { socket_address: { address: 0.0.0.0, port_value: 8001 } } } # --admin
//! ```
//!
//! The limit belongs to the listener here, so that there is no name to miss. SIGTERM drains it: health checks say no,
//! after `--linger` connections are told to go, and calls in flight have `--drain-timeout` to end.

mod cli {
    pub(crate) mod flags;
    pub(crate) mod program;
    pub(crate) mod signal;
}

use std::process::ExitCode;

use clap::Parser;
use cli::{
    flags::Flags,
    program::{self, Core, Program},
};
use grpc_balance::{
    cluster::Cluster, error::BoxError, health_service::HealthServiceLayer, policy::RoundRobin,
    serving::Clusters,
};
use tower::Layer as _;

/// Balances the calls of one plaintext port over the endpoints behind a name.
#[derive(Debug, Parser)]
#[command(
    name = "load_balancer",
    mut_arg("listen", |arg| arg.default_value("0.0.0.0:15001")),
    mut_arg("admin", |arg| arg.default_value("127.0.0.1:8001")),
    mut_arg("upstream", |arg| arg.default_value("dns:///local_service:2746")),
    mut_arg("connection_limit", |arg| arg.default_value("10000")),
)]
struct Args {
    #[command(flatten)]
    proxy: Flags,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(Args { proxy }: Args) -> Result<(), BoxError> {
    let (listening, program) = (proxy.server()?.listen()?, Program::new(&proxy)?);
    let clusters = proxy.clusters("local_service", &[], |cluster| cluster.policy(RoundRobin::new()))?;
    let registry = program.registry();
    registry.follow("", Clusters::any(clusters.iter().map(Cluster::health)));

    let (health, router) = (HealthServiceLayer::new(registry), proxy.router(&clusters)?);
    let app = move |core: Core<'_>| health.layer(router.map(|cluster| core.of(cluster)));
    let program = match program.log() {
        Some(log) => program.serve("listens", listening, move |core| log.layer(app(core))),
        None => program.serve("listens", listening, app),
    };
    program.with(&clusters).run::<Args>().await
}

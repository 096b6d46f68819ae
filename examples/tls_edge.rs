//! gRPC exposed to the internet, behind a balancer that forwards TCP: TLS ends here.
//!
//! ```text
//! cargo run --release --example tls_edge -- --cert tls.crt --key tls.key --upstream dns:///grpc-service:50051
//! cargo run --release --example tls_edge -- --listen 127.0.0.1:15001 --upstream 127.0.0.1:50051  # self-signed
//! ```
//!
//! It takes the place of this Envoy:
//!
//! ```yaml
//! static_resources:
//!   listeners:
//!   - address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }       # --listen
//!     listener_filters: [{ name: envoy.filters.listener.proxy_protocol }]         # --proxy-protocol
//!     filter_chains:
//!     - transport_socket:
//!         name: envoy.transport_sockets.tls
//!         typed_config:
//!           common_tls_context:
//!             alpn_protocols: [h2, http/1.1]                # always offered: gRPC clients insist on it
//!             tls_params: { cipher_suites: [ECDHE-RSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-GCM-SHA256] }
//!             tls_certificate_sds_secret_configs: [...]     # --cert, --key: files, read again when they change
//!       filters:
//!       - name: envoy.filters.network.http_connection_manager
//!         typed_config:
//!           stream_idle_timeout: 0s                         # there is none here
//!           route_config: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: "/" },
//!                           route: { cluster: grpc, timeout: 0s } }] }] }         # nor a route timeout
//!   clusters:
//!   - name: grpc
//!     type: STRICT_DNS                                      # --upstream dns:///grpc-service:50051
//!     connect_timeout: 0.25s                                # --connect-timeout
//!     lb_policy: ROUND_ROBIN                                # RoundRobin
//!     typed_extension_protocol_options: ...                 # HTTP/2 upstream: what a Cluster speaks
//! admin: { address: { socket_address: { address: 127.0.0.1, port_value: 8001 } } }  # --admin
//! ```
//!
//! A stream may be quiet for hours: only the caller's `grpc-timeout` ends a call. A replaced certificate is taken for
//! new connections, and one that is broken is not.

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
    server::tls::ServerConfig, serving::Clusters,
};
use tower::Layer as _;

/// Ends TLS, and balances the calls over the endpoints behind a name.
#[derive(Debug, Parser)]
#[command(
    name = "tls_edge",
    mut_arg("listen", |arg| arg.default_value("0.0.0.0:15001")),
    mut_arg("admin", |arg| arg.default_value("127.0.0.1:8001")),
    mut_arg("upstream", |arg| arg.default_value("dns:///grpc-service:50051")),
    mut_arg("connect_timeout", |arg| arg.default_value("250ms")),
)]
struct Args {
    #[command(flatten)]
    proxy: Flags,
}

/// Those that the clients of TLS 1.2 may use; TLS 1.3 has its own.
const TLS12_SUITES: [&str; 2] = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"];

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(Args { proxy }: Args) -> Result<(), BoxError> {
    let tls =
        ServerConfig::builder().identity(proxy.identity()?).tls12_cipher_suites(TLS12_SUITES).build()?;
    let (listening, program) = (proxy.server()?.tls(tls).listen()?, Program::new(&proxy)?);
    let clusters = proxy.clusters("grpc", &[], |cluster| cluster.policy(RoundRobin::new()))?;
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

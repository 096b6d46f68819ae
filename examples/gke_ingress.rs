//! gRPC behind an HTTP(S) load balancer of a cloud, which checks health by `GET /` and wants a 200.
//!
//! ```text
//! cargo run --release --example gke_ingress -- --upstream dns:///server1:50000 --route /router.Router/ \
//!     --health-service route.Router
//! curl -ik https://127.0.0.1:8443/                    # 200 ok, or 503 unavailable
//! ```
//!
//! It takes the place of this Envoy:
//!
//! ```yaml
//! static_resources:
//!   listeners:
//!   - address: { socket_address: { address: 0.0.0.0, port_value: 443 } }         # --listen
//!     filter_chains:
//!     - transport_socket:                                   # --cert, --key; a self-signed pair without them
//!         name: envoy.transport_sockets.tls
//!         typed_config: { common_tls_context: { alpn_protocols: [h2, http/1.1], tls_certificates: [...] } }
//!       filters:
//!       - name: envoy.filters.network.http_connection_manager
//!         typed_config:
//!           access_log: [{ name: envoy.file_access_log, typed_config: { path: /dev/stdout } }]  # --access-log
//!           route_config: { virtual_hosts: [{ domains: ["*"], routes: [{ match: { prefix: /router.Router/ },
//!                           route: { cluster: service } }] }] }                  # --route
//!           http_filters:
//!           - name: envoy.filters.http.lua                  # HealthShimLayer: it reads the health itself
//!             typed_config: { inline_code: "... httpCall('local_admin', '/clusters', 50) ... string.match(body,
//!                             'service::%d+.%d+.%d+.%d+:%d+::health_flags::healthy') ..." }
//!           - name: envoy.filters.http.router
//!   clusters:
//!   - name: local_admin                                     # not needed
//!   - name: service
//!     type: STRICT_DNS                                      # --upstream dns:///server1:50000
//!     connect_timeout: 0.05s                                # --connect-timeout
//!     lb_policy: ROUND_ROBIN                                # RoundRobin
//!     common_lb_config: { healthy_panic_threshold: { value: 50.0 } }             # Panic::below(50)
//!     health_checks:                                        # probe::Grpc
//!     - { timeout: 1s, interval: 5s, interval_jitter: 1s, no_traffic_interval: 5s, unhealthy_threshold: 1,
//!         healthy_threshold: 3, grpc_health_check: { service_name: route.Router } }  # --health-service
//! admin: { address: { socket_address: { address: 127.0.0.1, port_value: 9901 } } }  # --admin
//! ```
//!
//! `/` says 200 while an endpoint is healthy, whatever DNS or the panic threshold make of it, and 503 before the first
//! resolution and from SIGTERM on.

mod cli {
    pub(crate) mod flags;
    pub(crate) mod program;
    pub(crate) mod signal;
}

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use cli::{
    flags::Flags,
    program::{self, Core, Program},
};
use grpc_balance::{
    cluster::Cluster,
    error::BoxError,
    health::{Panic, Thresholds},
    policy::RoundRobin,
    probe::{Grpc, Probe},
    server::tls::ServerConfig,
    serving::Clusters,
    shim::HealthShimLayer,
};
use tower::Layer as _;

/// Answers a cloud balancer's health checks from the health of the pods, and balances calls over them.
#[derive(Debug, Parser)]
#[command(
    name = "gke_ingress",
    mut_arg("listen", |arg| arg.default_value("0.0.0.0:8443")),
    mut_arg("admin", |arg| arg.default_value("127.0.0.1:9901")),
    mut_arg("upstream", |arg| arg.default_value("dns:///server1:50000")),
    mut_arg("route", |arg| arg.default_value("/router.Router/")),
    mut_arg("connect_timeout", |arg| arg.default_value("50ms")),
)]
struct Args {
    #[command(flatten)]
    proxy: Flags,
    /// The service whose health the endpoints are asked for; empty for the whole server.
    #[arg(long, value_name = "NAME", default_value = "route.Router")]
    health_service: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(Args { proxy, health_service }: Args) -> Result<(), BoxError> {
    let tls = ServerConfig::builder().identity(proxy.identity()?).build()?;
    let (listening, program) = (proxy.server()?.tls(tls).listen()?, Program::new(&proxy)?);
    let probe = Probe::from(Grpc::new(health_service))
        .timeout(Duration::from_secs(1))
        .interval(Duration::from_secs(5))
        .jitter(Duration::from_secs(1))
        .interval_without_traffic(Duration::from_secs(5))
        .thresholds(Thresholds::new(3, 1));
    let clusters = proxy.clusters("service", &[], |cluster| {
        cluster.policy(RoundRobin::new()).probe(probe.clone()).panic(Panic::below(50))
    })?;
    let registry = program.registry();
    registry.follow("", Clusters::any(clusters.iter().map(Cluster::health)));

    // The balancer asks from outside: it is told yes or no, and no causes.
    let shim = HealthShimLayer::new(registry).path("/").json(false);
    let router = proxy.router(&clusters)?;
    let app = move |core: Core<'_>| shim.layer(router.map(|cluster| core.of(cluster)));
    let program = match program.log() {
        Some(log) => program.serve("listens", listening, move |core| log.layer(app(core))),
        None => program.serve("listens", listening, app),
    };
    program.with(&clusters).run::<Args>().await
}

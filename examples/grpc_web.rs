//! gRPC for browsers: gRPC-Web in, gRPC out, with CORS; native gRPC on the same port.
//!
//! ```text
//! cargo run --release --example grpc_web -- --mode sidecar --upstream 127.0.0.1:9000
//! cargo run --release --example grpc_web -- --mode lb --upstream dns:///user-service:8080 \
//!     --cors-origin https://app.example
//! ```
//!
//! It takes the place of this Envoy:
//!
//! ```yaml
//! static_resources:
//!   listeners:
//!   - address: { socket_address: { address: 0.0.0.0, port_value: 8080 } }        # --listen
//!     filter_chains:
//!     - filters:
//!       - name: envoy.filters.network.http_connection_manager
//!         typed_config:
//!           route_config:
//!             virtual_hosts:
//!             - domains: ["*"]
//!               routes: [{ match: { prefix: "/" }, route: { cluster: user, timeout: 0s,
//!                          max_stream_duration: { grpc_timeout_header_max: 0s } } }]  # always so, and as 4
//!               typed_per_filter_config: { envoy.filters.http.cors: {            # web::cors
//!                 allow_origin_string_match: [...],                              # --cors-origin
//!                 allow_methods: "GET, PUT, DELETE, POST, OPTIONS", allow_headers: "...", max_age: "1728000",
//!                 expose_headers: "custom-header-1,grpc-status,grpc-message" } }
//!           http_filters: [envoy.filters.http.grpc_web, envoy.filters.http.cors, envoy.filters.http.router]
//!   clusters:
//!   - name: user                                            # --mode lb
//!     type: STRICT_DNS                                      # --upstream dns:///user-service:8080
//!     connect_timeout: 0.25s                                # --connect-timeout
//!     lb_policy: ROUND_ROBIN                                # RoundRobin
//!     health_checks: [{ timeout: 5s, interval: 10s, unhealthy_threshold: 2, healthy_threshold: 2,
//!                       tcp_health_check: {} }]             # probe::Tcp
//!   - name: golang_service                                  # --mode sidecar
//!     type: STATIC                                          # --upstream 127.0.0.1:9000
//!     upstream_connection_options: { tcp_keepalive: { keepalive_time: 300 } }    # TcpKeepalive
//! admin: { address: { socket_address: { address: 0.0.0.0, port_value: 9901 } } } # --admin
//! ```
//!
//! The access log is below the translation, where the status of a call can be read.

mod cli {
    pub(crate) mod flags;
    pub(crate) mod program;
    pub(crate) mod signal;
}

use std::{process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use cli::{
    flags::Flags,
    program::{self, Core, Program},
};
use grpc_balance::{
    cluster::{self, Cluster},
    connect::dial::{Sockets, TcpKeepalive},
    error::BoxError,
    health::Thresholds,
    health_service::HealthServiceLayer,
    policy::RoundRobin,
    probe::{Probe, Tcp},
    serving::Clusters,
    web::{self, GrpcWebLayer, Origins},
};
use tower::{Layer as _, ServiceBuilder};

/// Translates gRPC-Web to gRPC, answers for CORS, and balances the calls.
#[derive(Debug, Parser)]
#[command(
    name = "grpc_web",
    mut_arg("listen", |arg| arg.default_value("0.0.0.0:8080")),
    mut_arg("admin", |arg| arg.default_value("127.0.0.1:9901")),
    mut_arg("upstream", |arg| arg
        .default_value_if("mode", "lb", "dns:///user-service:8080")
        .default_value("127.0.0.1:9000")),
    mut_arg("connect_timeout", |arg| arg.default_value("250ms")),
)]
struct Args {
    #[command(flatten)]
    proxy: Flags,
    /// Beside one application, or in front of many pods.
    #[arg(long, value_enum, default_value_t = Mode::Sidecar)]
    mode: Mode,
    /// Whose pages may call, such as https://app.example; any, unless given. May be repeated.
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Sidecar,
    Lb,
}

impl Mode {
    fn configure(self, cluster: cluster::Builder) -> cluster::Builder {
        let cluster = cluster.policy(RoundRobin::new());
        let keepalive = TcpKeepalive::new().time(Duration::from_secs(300));
        let probe = Probe::from(Tcp::new())
            .timeout(Duration::from_secs(5))
            .interval(Duration::from_secs(10))
            .thresholds(Thresholds::new(2, 2));
        match self {
            Self::Sidecar => cluster.dial(Sockets::new().tcp_keepalive(keepalive)),
            Self::Lb => cluster.probe(probe),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    program::main(run).await
}

async fn run(Args { proxy, mode, cors_origin }: Args) -> Result<(), BoxError> {
    let origins = match cors_origin.is_empty() {
        true => Origins::any(),
        false => Origins::list(cors_origin)?,
    };
    let (listening, program) = (proxy.server()?.listen()?, Program::new(&proxy)?);
    let name = if let Mode::Sidecar = mode { "golang_service" } else { "user" };
    let clusters = proxy.clusters(name, &[], |cluster| mode.configure(cluster))?;
    let registry = program.registry();
    registry.follow("", Clusters::any(clusters.iter().map(Cluster::health)));

    let web = ServiceBuilder::new().layer(web::cors(origins)).layer(GrpcWebLayer::new());
    let (health, router) = (HealthServiceLayer::new(registry), proxy.router(&clusters)?);
    let app = move |core: Core<'_>| health.layer(router.map(|cluster| core.of(cluster)));
    let program = match program.log() {
        Some(log) => {
            program.serve("listens", listening, move |core| web.clone().layer(&log).service(app(core)))
        }
        None => program.serve("listens", listening, move |core| web.clone().service(app(core))),
    };
    program.with(&clusters).run::<Args>().await
}

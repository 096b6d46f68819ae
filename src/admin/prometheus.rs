//! The counters in Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

use crate::{
    admin::{
        builder::Reading,
        clusters::{STATS, flags, open_connections},
    },
    server,
    stats::{Disconnect, EndpointSnapshot},
};

const CLUSTER: &str = "envoy_cluster_name";
const ENDPOINT: &str = "envoy_endpoint_address";
const TARGET: &str = "grpc_target";

type OfCluster = (&'static str, &'static str, fn(&Reading) -> u64);

/// What is counted or measured for the whole of a cluster.
const CLUSTERS: [OfCluster; 18] = [
    (GAUGE, "envoy_cluster_membership_total", |c| c.summary.total_count() as u64),
    (GAUGE, "envoy_cluster_membership_healthy", |c| c.summary.healthy_count() as u64),
    (COUNTER, "envoy_cluster_lb_healthy_panic", |c| c.snapshot.panics),
    (GAUGE, "envoy_cluster_outlier_detection_ejections_active", |c| c.summary.ejected_count() as u64),
    (GAUGE, "envoy_cluster_upstream_cx_active", |c| c.snapshot.endpoints.iter().map(open_connections).sum()),
    (GAUGE, "envoy_cluster_upstream_rq_active", |c| c.snapshot.endpoints.iter().map(|e| e.in_flight).sum()),
    (COUNTER, "envoy_cluster_upstream_rq_completed", |c| c.snapshot.outcomes.total()),
    (GAUGE, "envoy_cluster_upstream_rq_pending_active", |c| c.snapshot.waiting),
    (COUNTER, "envoy_cluster_upstream_rq_pending_total", |c| c.snapshot.queued),
    (COUNTER, "envoy_cluster_upstream_rq_retry", |c| c.snapshot.retried),
    (COUNTER, "envoy_cluster_upstream_rq_timeout", |c| c.snapshot.expired),
    (COUNTER, "envoy_cluster_update_attempt", |c| c.snapshot.resolutions + c.snapshot.failed_resolutions),
    (COUNTER, "envoy_cluster_update_success", |c| c.snapshot.resolutions),
    (COUNTER, "envoy_cluster_update_failure", |c| c.snapshot.failed_resolutions),
    (COUNTER, "grpc_balance_repicks_total", |c| c.snapshot.repicked),
    (GAUGE, "grpc_balance_panic", |c| u64::from(c.summary.is_in_panic())),
    (GAUGE, "grpc_balance_awaiting_verdict", |c| c.summary.awaiting_count() as u64),
    (GAUGE, "grpc_balance_draining_endpoints", |c| c.summary.draining_count() as u64),
];

type OfEndpoint = (&'static str, &'static str, fn(&EndpointSnapshot) -> u64);

/// What gRPC counts for each endpoint.
const ENDPOINTS: [OfEndpoint; 4] = [
    (COUNTER, "grpc_subchannel_connection_attempts_succeeded_total", |e| e.connects),
    (COUNTER, "grpc_subchannel_connection_attempts_failed_total", |e| e.connect_failures),
    (GAUGE, "grpc_subchannel_open_connections", open_connections),
    (COUNTER, "grpc_lb_outlier_detection_ejections_enforced_total", |e| e.ejections),
];

type OfListener = (&'static str, &'static str, fn(&server::Stats) -> u64);

const LISTENERS: [OfListener; 5] = [
    (GAUGE, "envoy_listener_downstream_cx_active", |s| s.active as u64),
    (COUNTER, "envoy_listener_downstream_cx_total", |s| s.accepted),
    (COUNTER, "envoy_listener_downstream_cx_overflow", |s| s.overflowed),
    (COUNTER, "envoy_listener_ssl_connection_error", |s| s.tls_failures),
    (COUNTER, "grpc_balance_listener_accept_errors_total", |s| s.accept_errors),
];

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

pub(super) fn render(live: bool, clusters: &[Reading], listeners: &[(&str, server::Stats)]) -> String {
    let mut out = Text(String::new());
    out.family(GAUGE, "envoy_server_live");
    out.sample("envoy_server_live", &[], u64::from(live));
    for (kind, name, of) in CLUSTERS {
        out.family(kind, name);
        for cluster in clusters {
            out.sample(name, &[(CLUSTER, &cluster.name)], of(cluster));
        }
    }
    out.calls(clusters);
    out.set_ages(clusters);
    out.endpoints(clusters);
    for (kind, name, of) in LISTENERS {
        out.family(kind, name);
        for (address, stats) in listeners {
            out.sample(name, &[("envoy_listener_address", address)], of(stats));
        }
    }
    out.0
}

struct Text(String);

impl Text {
    /// Begins a metric; all its samples follow.
    fn family(&mut self, kind: &str, name: &str) {
        self.0.extend(["# TYPE ", name, " ", kind, "\n"]);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0 += name;
        for (i, (label, value)) in labels.iter().enumerate() {
            self.0.extend([if i == 0 { "{" } else { "," }, label, "=\""]);
            for c in value.chars() {
                match c {
                    '\\' => self.0 += "\\\\",
                    '"' => self.0 += "\\\"",
                    '\n' => self.0 += "\\n",
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(self.0, " {value}");
    }

    /// How calls ended, by gRPC status.
    fn calls(&mut self, clusters: &[Reading]) {
        const NAME: &str = "grpc_balance_calls_total";
        self.family(COUNTER, NAME);
        for Reading { name, snapshot, .. } in clusters {
            for (code, count) in snapshot.outcomes.iter() {
                let labels = [(CLUSTER, &**name), (TARGET, &snapshot.target), ("grpc_status", code.name())];
                self.sample(NAME, &labels, count);
            }
        }
    }

    /// How long ago discovery confirmed the endpoints: a set that is held over a failure gets old.
    fn set_ages(&mut self, clusters: &[Reading]) {
        const NAME: &str = "grpc_balance_set_age_seconds";
        self.family(GAUGE, NAME);
        for Reading { name, snapshot, .. } in clusters {
            if let Some(age) = snapshot.set_age {
                self.sample(NAME, &[(CLUSTER, name)], age.as_secs_f64());
            }
        }
    }

    fn endpoints(&mut self, clusters: &[Reading]) {
        let endpoints = Addressed::all(clusters);
        for stat in &STATS {
            let name = format!("envoy_cluster_endpoint_{}", stat.name);
            self.family(if stat.grows { COUNTER } else { GAUGE }, &name);
            for addressed in &endpoints {
                self.sample(&name, &addressed.of_cluster(), (stat.of)(addressed.endpoint));
            }
        }
        const HEALTHY: &str = "envoy_cluster_endpoint_healthy";
        self.family(GAUGE, HEALTHY);
        for addressed in &endpoints {
            let healthy = flags(addressed.endpoint).is_empty();
            self.sample(HEALTHY, &addressed.of_cluster(), u64::from(healthy));
        }
        for (kind, name, of) in ENDPOINTS {
            self.family(kind, name);
            for addressed in &endpoints {
                self.sample(name, &addressed.of_target(), of(addressed.endpoint));
            }
        }
        self.disconnections(&endpoints);
        self.latencies(&endpoints);
    }

    fn disconnections(&mut self, endpoints: &[Addressed<'_>]) {
        const NAME: &str = "grpc_subchannel_disconnections_total";
        self.family(COUNTER, NAME);
        for addressed in endpoints {
            let [cluster, target, address] = addressed.of_target();
            for (error, reasons) in DISCONNECT_ERRORS {
                let count: u64 =
                    reasons.iter().map(|reason| addressed.endpoint.disconnects.get(*reason)).sum();
                if count > 0 {
                    self.sample(NAME, &[cluster, target, address, ("grpc_disconnect_error", error)], count);
                }
            }
        }
    }

    fn latencies(&mut self, endpoints: &[Addressed<'_>]) {
        const NAME: &str = "grpc_balance_endpoint_call_duration_seconds";
        self.family("summary", NAME);
        for addressed in endpoints {
            let [cluster, address] = addressed.of_cluster();
            let latencies = &addressed.endpoint.latencies;
            for (label, share) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
                if let Some(within) = latencies.quantile(share) {
                    self.sample(NAME, &[cluster, address, ("quantile", label)], within.as_secs_f64());
                }
            }
            self.sample(&format!("{NAME}_count"), &addressed.of_cluster(), latencies.count());
        }
    }
}

/// The values that gRFC A94 lists for `grpc.disconnect_error`.
const DISCONNECT_ERRORS: [(&str, &[Disconnect]); 5] = [
    ("GOAWAY", &[Disconnect::GoAway]),
    ("socket error", &[Disconnect::Closed]),
    ("connection timed out", &[Disconnect::Keepalive]),
    ("connection reset", &[Disconnect::Reset]),
    ("subchannel shutdown", &[Disconnect::Removed, Disconnect::Shutdown]),
];

/// An endpoint with what its samples are labelled by.
struct Addressed<'a> {
    cluster: &'a Reading,
    address: String,
    endpoint: &'a EndpointSnapshot,
}

impl<'a> Addressed<'a> {
    /// Each once: an address that came back while its last streams drain would be there twice, and a scrape with two
    /// samples of one name is refused as a whole. The first is the current one.
    fn all(clusters: &'a [Reading]) -> Vec<Self> {
        let mut all = Vec::new();
        for cluster in clusters {
            let mut seen = std::collections::HashSet::new();
            for endpoint in &cluster.snapshot.endpoints {
                if seen.insert(endpoint.endpoint.key()) {
                    all.push(Self { cluster, address: endpoint.endpoint.to_string(), endpoint });
                }
            }
        }
        all
    }

    fn of_cluster(&self) -> [(&str, &str); 2] {
        [(CLUSTER, &self.cluster.name), (ENDPOINT, &self.address)]
    }

    fn of_target(&self) -> [(&str, &str); 3] {
        let [cluster, address] = self.of_cluster();
        [cluster, (TARGET, &self.cluster.snapshot.target), address]
    }
}

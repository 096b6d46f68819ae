//! What a proxy tells its operators over HTTP: readiness, clusters, metrics; and the order to drain.
//!
//! Whoever runs a proxy asks the same things again and again, with tools that are there already: a readiness probe, a
//! dashboard that reads Prometheus' text, a script that looks for `health_flags`. [`Admin`] answers them from the same
//! counters that the balancers decide by, in Envoy's formats. It is a tower service over the parts that it is given;
//! nothing is counted for it, and a request costs whoever asks.
//!
//! ```
//! use grpc_balance::{admin::Admin, health::{Health, Summary}, serving::Drain, stats::Snapshot};
//! use http::{Request, StatusCode};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (reporter, health) = Health::new("user");
//! # let channel = (health, || Snapshot::default());
//! let drain = Drain::new();                           // the server's
//! let admin = Admin::builder(drain.clone()).cluster("user", channel).build();
//!
//! let ask = |method: &str, path: &str| admin.clone().oneshot(Request::builder().method(method).uri(path).body(()).unwrap());
//! assert_eq!(ask("GET", "/ready").await?.status(), StatusCode::SERVICE_UNAVAILABLE, "not resolved yet");
//! # reporter.report(Summary::of(1));
//! assert_eq!(ask("GET", "/ready").await?.status(), StatusCode::OK);
//! assert_eq!(ask("GET", "/drain").await?.status(), StatusCode::METHOD_NOT_ALLOWED);
//! assert_eq!(ask("POST", "/drain").await?.status(), StatusCode::OK);
//! assert!(drain.is_started());
//! # Ok(())
//! # }
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `GET /ready` | 200 `LIVE`; 503 `PRE_INITIALIZING` until every cluster has been resolved once; 503 `DRAINING` once the drain has started |
//! | `GET /clusters` | each endpoint in Envoy's lines, `user::10.60.3.44:50000::health_flags::healthy`; with `?format=json` in Envoy's JSON |
//! | `GET /stats/prometheus` | all counters in Prometheus' text format |
//! | `POST /drain` | starts the [drain](crate::serving::Drain) |
//!
//! Serve it on a loopback address: it has no other protection than to refuse a `POST` that a browser sends for a page.
//!
//! # Health flags
//!
//! `healthy`, or what is not, joined: Envoy's `/pending_active_hc` (no verdict yet), `/failed_active_hc`,
//! `/failed_outlier_check` (ejected) and `/pending_dynamic_removal` (it drains), and where there is no connection its
//! state: `/idle`, `/connecting`, `/backoff`. So `healthy` says what a [summary](crate::health::Summary) counts as such.
//! Envoy's keys that would be constants here are left out.
//!
//! # Metrics
//!
//! Envoy's names where they mean the same, labelled `envoy_cluster_name`: `envoy_cluster_membership_total` and
//! `_healthy`, `_lb_healthy_panic`, `_outlier_detection_ejections_active`, `_upstream_cx_active`,
//! `_upstream_rq_active`, `_rq_completed`, `_rq_pending_active`, `_rq_pending_total`, `_rq_retry`, `_rq_timeout`, and
//! `_update_attempt`, `_success` and `_failure`; for each endpoint, by its `envoy_endpoint_address`, those of Envoy's
//! per-endpoint statistics under `envoy_cluster_endpoint_`; for each listener `envoy_listener_downstream_cx_total` and
//! its like; and `envoy_server_live`. What Envoy has no word for is named as in gRPC: `grpc_subchannel_*` (gRFC A94)
//! and `grpc_lb_outlier_detection_ejections_enforced_total` (A91), labelled `grpc_target` and by endpoint; the rest
//! begins with `grpc_balance_`.
//!
//! Counters of an endpoint go with it. So there are no sums of them per cluster, which would shrink: sum rates.

mod builder;
mod clusters;
mod json;
mod observe;
mod prometheus;
mod service;

pub use self::{builder::Builder, observe::Observe, service::Admin};

#[cfg(test)]
mod tests;

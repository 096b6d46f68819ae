//! What operators are told, on a port of its own.

use http::Method;

use crate::{
    HELLO, Pods,
    program::Program,
    support::greeter::Greeter,
    until,
    wire::{Http2, http1},
};

/// The programs, the flag that names what is behind them, and the name of its cluster.
const ALL: [(&str, &str, &str); 4] = [
    ("load_balancer", "--upstream", "local_service"),
    ("tls_edge", "--upstream", "grpc"),
    ("grpc_web", "--upstream", "golang_service"),
    ("sidecar", "--app", "local_service"),
];

#[tokio::test]
async fn readiness_clusters_and_metrics_are_told_and_a_drain_can_be_ordered() {
    for (name, upstream, cluster) in ALL {
        let backend = Greeter::start("a").await;
        let to = backend.address().to_string();
        let mut proxy = Program::start(name, &[upstream, &to, "--linger", "2s", "--per-core"]).await;
        let admin = proxy.at("admin");
        let get = async |path: &str| http1(admin, Method::GET, path).await;

        let healthy = format!("{cluster}::{to}::health_flags::healthy");
        until("it is ready", async || get("/clusters").await.contains(&healthy)).await;
        let ready = get("/ready").await;
        assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("LIVE"), "{name}: {ready}");
        let label = format!("{{envoy_cluster_name=\"{cluster}\"}} 1");
        // The sum of the cluster's health follows its endpoints' states a moment later.
        let sum = format!("envoy_cluster_membership_healthy{label}");
        until("it is summed up", async || get("/stats/prometheus").await.contains(&sum)).await;
        let metrics = get("/stats/prometheus").await;
        for metric in ["envoy_cluster_membership_total", "envoy_cluster_membership_healthy"] {
            assert!(metrics.contains(&format!("{metric}{label}")), "{name}: {metric} in {metrics}");
        }
        assert!(get("/clusters?format=json").await.contains(&format!("\"{cluster}\"")), "{name}");
        assert!(get("/drain").await.starts_with("HTTP/1.1 405 "), "{name}");
        assert!(get("/").await.starts_with("HTTP/1.1 404 "), "{name}");

        assert!(http1(admin, Method::POST, "/drain").await.starts_with("HTTP/1.1 200 "), "{name}");
        let ready = get("/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("DRAINING"), "{name}: {ready}");
        assert_eq!(proxy.ended().await.code(), Some(0), "{name}");
    }
}

#[tokio::test]
async fn nothing_is_told_where_it_is_off() {
    let pods = Pods::start("pods.test", 1).await;
    let to = pods.pods[0].address().to_string();
    let proxy = Program::start("load_balancer", &["--upstream", &to, "--admin", "off"]).await;
    assert!(!proxy.does("admin"));
    assert_eq!(Http2::connect(proxy.address()).await.call(HELLO).await.status(), 200);
    // `/ready` is a path like any other there.
    let answer = http1(proxy.address(), Method::GET, "/ready").await;
    assert!(!answer.contains("LIVE"), "{answer}");
}

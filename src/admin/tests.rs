use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::{
    endpoint::{Endpoint, Locality},
    health::{Health, Reporter, Summary},
    reply,
    server::Server,
    serving::Drain,
    stats::{EndpointSnapshot, EndpointState, EndpointStats, Snapshot},
};

fn endpoint(address: &str, state: EndpointState) -> EndpointSnapshot {
    let endpoint: Endpoint = address.parse().unwrap();
    let endpoint =
        Arc::new(endpoint.with_host_name("pod-1").with_locality(Locality::zone("b")).with_weight(3));
    let stats = EndpointStats::default();
    stats.set_state(&endpoint, state, None);
    stats.connected();
    stats.connected();
    let mut snapshot = stats.snapshot(&endpoint);
    snapshot.started = 9;
    snapshot.succeeded = 5;
    snapshot.failed = 2;
    snapshot.in_flight = 1;
    snapshot
}

fn two() -> Vec<EndpointSnapshot> {
    let mut second = endpoint("10.60.3.45:50000", EndpointState::Backoff);
    (second.failing, second.ejected) = (true, true);
    vec![endpoint("10.60.3.44:50000", EndpointState::Ready), second]
}

/// A cluster with these endpoints, once it is reported.
fn cluster(name: &str, endpoints: Vec<EndpointSnapshot>) -> (Reporter, impl Observe) {
    let (reporter, health) = Health::new(name);
    let snapshot = move || {
        let mut snapshot = Snapshot { target: "dns:///user:50000".into(), ..Snapshot::default() };
        snapshot.endpoints.clone_from(&endpoints);
        (snapshot.resolutions, snapshot.failed_resolutions, snapshot.panics) = (7, 2, 1);
        snapshot
    };
    (reporter, (health, snapshot))
}

/// An admin service of a cluster `service` of two endpoints, the first of them healthy.
fn admin() -> (Reporter, Admin) {
    let (reporter, cluster) = cluster("service", two());
    reporter.report(Summary::of(2).healthy(1).ejected(1));
    (reporter, Admin::builder(Drain::new()).cluster("service", cluster).build())
}

async fn ask(admin: &Admin, method: Method, uri: &str) -> Response<reply::Body> {
    let request = Request::builder().method(method).uri(uri).body(()).unwrap();
    admin.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<reply::Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn get(admin: &Admin, uri: &str) -> (u16, String) {
    let response = ask(admin, Method::GET, uri).await;
    (response.status().as_u16(), text(response).await)
}

#[tokio::test]
async fn it_is_ready_once_every_cluster_was_resolved_and_until_it_drains() {
    let ((first, user), (second, alive)) = (cluster("user", two()), cluster("alive", vec![]));
    let drain = Drain::new();
    let admin = Admin::builder(drain.clone()).cluster("user", user).cluster("alive", alive).build();
    assert_eq!(get(&admin, "/ready").await, (503, "PRE_INITIALIZING\n".into()));
    first.report(Summary::of(2));
    assert_eq!(get(&admin, "/ready").await, (503, "PRE_INITIALIZING\n".into()));
    second.report(Summary::of(0));
    assert_eq!(get(&admin, "/ready?x=1").await, (200, "LIVE\n".into()));
    drain.start();
    assert_eq!(get(&admin, "/ready").await, (503, "DRAINING\n".into()));
    assert!(get(&admin, "/stats/prometheus").await.1.contains("\nenvoy_server_live 0\n"));
}

#[tokio::test]
async fn only_a_post_that_no_page_sent_drains() {
    let drain = Drain::new();
    let admin = Admin::builder(drain.clone()).build();
    let refused = ask(&admin, Method::GET, "/drain").await;
    assert_eq!((refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()), (405, "POST"));
    let from_page = Request::post("/drain").header("origin", "http://evil.example").body(()).unwrap();
    assert_eq!(admin.clone().oneshot(from_page).await.unwrap().status(), 403);
    assert!(!drain.is_started());
    assert_eq!(ask(&admin, Method::POST, "/drain").await.status(), 200);
    assert!(drain.is_started());
}

#[tokio::test]
async fn what_reads_answers_get_and_head_and_nothing_else() {
    let (_reporter, admin) = admin();
    for path in ["/ready", "/clusters", "/clusters?format=json", "/stats/prometheus"] {
        let get = ask(&admin, Method::GET, path).await;
        let head = ask(&admin, Method::HEAD, path).await;
        assert_eq!((get.status(), get.headers()), (head.status(), head.headers()), "{path}");
        assert_eq!(text(get).await.len().to_string(), head.headers()["content-length"].to_str().unwrap());
        assert_eq!(text(head).await, "");
        let post = ask(&admin, Method::POST, path).await;
        assert_eq!((post.status().as_u16(), &post.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    }
    let (status, told) = get(&admin, "/").await;
    assert!(status == 404 && told.contains("/stats/prometheus"), "it tells what there is");
}

#[tokio::test]
async fn clusters_are_told_in_envoys_lines() {
    let (_reporter, admin) = admin();
    let (_, text) = get(&admin, "/clusters").await;
    let expected = "\
service::observability_name::service
service::target::dns:///user:50000
service::state::IDLE
service::panic::false
service::10.60.3.44:50000::cx_active::2
service::10.60.3.44:50000::cx_connect_fail::0
service::10.60.3.44:50000::cx_total::2
service::10.60.3.44:50000::rq_active::1
service::10.60.3.44:50000::rq_error::2
service::10.60.3.44:50000::rq_success::5
service::10.60.3.44:50000::rq_total::9
service::10.60.3.44:50000::hostname::pod-1
service::10.60.3.44:50000::health_flags::healthy
service::10.60.3.44:50000::weight::3
service::10.60.3.44:50000::region::
service::10.60.3.44:50000::zone::b
service::10.60.3.44:50000::sub_zone::
";
    assert!(text.starts_with(expected), "{text}");
    let unfit = "service::10.60.3.45:50000::health_flags::/failed_active_hc/failed_outlier_check/backoff\n";
    assert!(text.contains(unfit), "{text}");
}

#[test]
fn an_endpoint_is_healthy_when_nothing_speaks_against_it() {
    use EndpointState::{Connecting, Draining, Idle, Ready};
    for (state, awaiting, failing, ejected, flags) in [
        (Ready, false, false, false, &[][..]),
        (Ready, true, false, false, &["pending_active_hc"]),
        (Ready, false, true, false, &["failed_active_hc"]),
        (Ready, false, false, true, &["failed_outlier_check"]),
        (Connecting, true, false, false, &["pending_active_hc", "connecting"]),
        (Idle, false, false, false, &["idle"]),
        (Draining, false, true, false, &["failed_active_hc", "pending_dynamic_removal"]),
    ] {
        let mut snapshot = endpoint("10.0.0.1:1", state);
        (snapshot.awaiting, snapshot.failing, snapshot.ejected) = (awaiting, failing, ejected);
        assert_eq!(clusters::flags(&snapshot), flags);
    }
}

#[tokio::test]
async fn clusters_are_told_as_envoys_json() {
    let (reporter, cluster) = cluster("a \"b\"", vec![]);
    reporter.report(Summary::of(0));
    let unix = endpoint("unix:/run/x.sock", EndpointState::Ready);
    let (_reporter, other) = self::cluster("service", [two(), vec![unix]].concat());
    let admin = Admin::builder(Drain::new()).cluster("a \"b\"", cluster).cluster("service", other).build();
    let response = ask(&admin, Method::GET, "/clusters?x&format=json").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    let statuses = &json["cluster_statuses"];
    assert_eq!(
        (&statuses[0]["name"], &statuses[0]["host_statuses"]),
        (&"a \"b\"".into(), &serde_json::json!([]))
    );
    let hosts = &statuses[1]["host_statuses"];
    assert_eq!(
        hosts[0]["address"],
        serde_json::json!({"socket_address": {"address": "10.60.3.44", "port_value": 50000}})
    );
    assert_eq!(
        hosts[0]["stats"][6],
        serde_json::json!({"name": "rq_total", "value": "9", "type": "COUNTER"})
    );
    assert_eq!(hosts[0]["health_status"], serde_json::json!({"eds_health_status": "HEALTHY"}));
    assert_eq!(
        hosts[1]["health_status"],
        serde_json::json!({"failed_active_health_check": true, "failed_outlier_check": true, "backoff": true})
    );
    assert_eq!(hosts[2]["address"], serde_json::json!({"pipe": {"path": "unix:/run/x.sock"}}));
}

/// The samples by name and labels. Fails where Prometheus would refuse the text.
fn parsed(text: &str) -> HashMap<String, f64> {
    let (mut samples, mut families, mut current) = (HashMap::new(), HashSet::new(), ("", ""));
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            current = family.split_once(' ').unwrap();
            assert!(families.insert(current.0), "{} twice", current.0);
            assert!(["counter", "gauge", "summary"].contains(&current.1), "{line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let own = name == current.0 || current.1 == "summary" && name == format!("{}_count", current.0);
        assert!(own, "{line} does not belong to {}", current.0);
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit()));
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
    }
    samples
}

#[tokio::test]
async fn metrics_have_envoys_names_and_grpcs() {
    let (_reporter, admin) = admin();
    let response = ask(&admin, Method::GET, "/stats/prometheus").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let samples = parsed(&text(response).await);
    let endpoint = r#"envoy_cluster_name="service",envoy_endpoint_address="10.60.3.44:50000""#;
    let target = r#"grpc_target="dns:///user:50000",envoy_endpoint_address="10.60.3.44:50000""#;
    for (series, value) in [
        ("envoy_server_live".to_owned(), 1.0),
        (r#"envoy_cluster_membership_total{envoy_cluster_name="service"}"#.to_owned(), 2.0),
        (r#"envoy_cluster_membership_healthy{envoy_cluster_name="service"}"#.to_owned(), 1.0),
        (r#"envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="service"}"#.to_owned(), 1.0),
        (r#"envoy_cluster_lb_healthy_panic{envoy_cluster_name="service"}"#.to_owned(), 1.0),
        (r#"envoy_cluster_upstream_cx_active{envoy_cluster_name="service"}"#.to_owned(), 4.0),
        (r#"envoy_cluster_upstream_rq_active{envoy_cluster_name="service"}"#.to_owned(), 2.0),
        (r#"envoy_cluster_update_attempt{envoy_cluster_name="service"}"#.to_owned(), 9.0),
        (r#"envoy_cluster_update_failure{envoy_cluster_name="service"}"#.to_owned(), 2.0),
        (format!("envoy_cluster_endpoint_rq_total{{{endpoint}}}"), 9.0),
        (format!("envoy_cluster_endpoint_healthy{{{endpoint}}}"), 1.0),
        (format!(r#"grpc_subchannel_open_connections{{envoy_cluster_name="service",{target}}}"#), 2.0),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
    let unfit = r#"envoy_cluster_endpoint_healthy{envoy_cluster_name="service",envoy_endpoint_address="10.60.3.45:50000"}"#;
    assert_eq!(samples[unfit], 0.0);
}

#[tokio::test]
async fn an_endpoint_that_came_back_while_it_drains_is_one_series_and_a_name_is_one_cluster() {
    let (ready, draining) =
        (endpoint("10.0.0.1:1", EndpointState::Ready), endpoint("10.0.0.1:1", EndpointState::Draining));
    let ((_first, old), (_second, new)) = (cluster("user", two()), cluster("user", vec![ready, draining]));
    let admin = Admin::builder(Drain::new()).cluster("user", old).cluster("user", new).build();
    let samples = parsed(&get(&admin, "/stats/prometheus").await.1);
    let healthy =
        r#"envoy_cluster_endpoint_healthy{envoy_cluster_name="user",envoy_endpoint_address="10.0.0.1:1"}"#;
    assert_eq!(samples[healthy], 1.0);
}

#[tokio::test]
async fn names_cannot_break_out_of_their_label_or_line() {
    let (_reporter, cluster) = cluster("x", vec![]);
    let admin = Admin::builder(Drain::new()).cluster("a\\b\"\n# TYPE c", cluster).build();
    let samples = parsed(&get(&admin, "/stats/prometheus").await.1);
    assert!(samples.contains_key(r#"envoy_cluster_membership_total{envoy_cluster_name="a\\b\"\n# TYPE c"}"#));
    assert_eq!(get(&admin, "/clusters").await.1.lines().count(), 4);
}

#[tokio::test]
async fn listeners_are_told_by_their_address() {
    let server = Server::bind(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let admin = Admin::builder(Drain::new()).listener("0.0.0.0:443", server.handle()).build();
    let samples = parsed(&get(&admin, "/stats/prometheus").await.1);
    let overflow = r#"envoy_listener_downstream_cx_overflow{envoy_listener_address="0.0.0.0:443"}"#;
    assert_eq!(samples.get(overflow), Some(&0.0));
}

#[tokio::test]
async fn a_channel_can_be_observed() {
    let channel = crate::Channel::builder("ipv4:127.0.0.1:9").build().unwrap();
    let mut changes = channel.health().watch();
    let admin = Admin::builder(Drain::new()).cluster("nine", channel).build();
    changes.wait_for(Summary::is_resolved).await.unwrap();
    assert_eq!(get(&admin, "/ready").await.0, 200);
    let (_, text) = get(&admin, "/clusters").await;
    assert!(text.contains("nine::127.0.0.1:9::health_flags::/"), "{text}");
}

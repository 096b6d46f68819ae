//! Sidecars around a REST gateway and around the pods of two gRPC services.

use http::Method;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    HELLO, Nobody, channel,
    mesh::{Gateway, Mesh, Pod},
    program::Program,
    support::greeter::Greeter,
    until,
    wire::{self, Http2},
};

/// The statistic of Pearson's test for equal shares.
fn chi_square(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

#[tokio::test]
async fn rest_calls_spread_over_the_pods_and_outlive_the_loss_of_them() {
    let mut mesh = Mesh::start().await;
    let counts = |pods: &[Pod]| pods.iter().map(|pod| pod.app.calls()).collect::<Vec<_>>();
    let before = [counts(&mesh.alive), counts(&mesh.user)].concat();
    assert_eq!(mesh.calls(10_000).await, [""; 0]);
    let after = [counts(&mesh.alive), counts(&mesh.user)].concat();
    let got: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(got.iter().sum::<u64>(), 10_000);
    // 10.83 is the quantile of 0.999 with one degree of freedom; 10 000 calls, 5 000 to each service.
    for pods in got.chunks(2) {
        assert!(chi_square(pods) < 10.83, "{got:?}");
    }

    // The application of one pod is gone, and its sidecar is not: what did not reach it goes to the other pod.
    let Pod { app, sidecar: alone } = mesh.alive.remove(0);
    app.kill();
    assert_eq!(mesh.calls(400).await, [""; 0], "nothing was in flight at the kill");
    let mut health = HealthClient::new(channel(alone.address()));
    until("the pod says NOT_SERVING", async || {
        let answer = health.check(HealthCheckRequest::default()).await;
        answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::NotServing)
    })
    .await;

    // One pod is restarted as a deploy restarts it, under load, and gets calls again.
    let mut pod = mesh.user.remove(0);
    let back = std::cell::Cell::new(false);
    let load = async {
        while !back.get() {
            assert_eq!(mesh.calls(400).await, [""; 0]);
        }
    };
    tokio::join!(load, async {
        pod.restart().await;
        back.set(true);
    });
    let before = pod.app.calls();
    until("the pod is found again", async || {
        assert_eq!(mesh.calls(80).await, [""; 0]);
        pod.app.calls() > before
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_killed_costs_at_most_the_calls_that_it_was_processing() {
    let mut mesh = Mesh::start().await;
    let pod = mesh.alive.remove(0);
    let (failed, in_flight) = tokio::join!(mesh.calls(2_000), async {
        let calls = pod.app.calls();
        until("it is at work", async || pod.app.calls() > calls + 20).await;
        pod.sidecar.kill().await;
        8
    });
    assert!(failed.len() <= in_flight, "at most one per caller, not {failed:?}");
}

#[tokio::test]
async fn what_did_not_reach_the_application_is_refused_so_that_it_can_go_elsewhere() {
    let nobody = Nobody::new();
    for protocol in ["grpc", "http1"] {
        let args = ["--app", &nobody.address().to_string(), "--app-protocol", protocol];
        let sidecar = Program::start("sidecar", &args).await;
        let client = Http2::connect(sidecar.address()).await;
        let refused = client.send(wire::grpc(HELLO)).await.expect_err("it is refused");
        assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM), "{protocol}");
        // HTTP/1.1 has no word for it.
        let answer = wire::http1(sidecar.address(), Method::GET, "/").await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{protocol}: {answer}");
    }
}

#[tokio::test]
async fn the_health_of_an_ingress_is_that_of_its_application() {
    let health = async |of: &Program| {
        let answer = HealthClient::new(channel(of.address())).check(HealthCheckRequest::default()).await;
        answer.ok().map(|answer| answer.into_inner().status())
    };
    for protocol in ["grpc", "http1"] {
        let (service, gateway) = (Greeter::start("a").await, Gateway::start("127.0.0.1:1".parse().unwrap()));
        let app = if protocol == "grpc" { service.address() } else { gateway.address };
        let sidecar =
            Program::start("sidecar", &["--app", &app.to_string(), "--app-protocol", protocol]).await;
        until("the application is there", async || health(&sidecar).await == Some(ServingStatus::Serving))
            .await;
        service.kill();
        drop(gateway);
        until("it is gone", async || health(&sidecar).await == Some(ServingStatus::NotServing)).await;
    }
}

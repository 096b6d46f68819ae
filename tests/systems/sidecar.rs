//! Sidecars around a REST gateway and around the pods of two gRPC services.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    Channel,
    server::{Handle, RequestBody, Server},
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{net::TcpStream, task::JoinHandle};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    HELLO, Nobody, channel, free_port,
    program::Program,
    support::{
        dns::DnsServer,
        greeter::Greeter,
        pb::{
            echo::{EchoRequest, echo_client::EchoClient},
            helloworld::{HelloRequest, greeter_client::GreeterClient},
        },
    },
    until,
    wire::{self, Http2},
};

/// An application that speaks HTTP/1.1 and answers `/alive` and `/user` by one gRPC call each.
struct Gateway {
    address: SocketAddr,
    handle: Handle,
    serving: JoinHandle<()>,
}

impl Gateway {
    fn start(egress: SocketAddr) -> Self {
        let channel = channel(egress);
        let service =
            tower::service_fn(move |request: Request<RequestBody>| answer(request, channel.clone()));
        let bound = Server::bind("127.0.0.1:0").linger(Duration::ZERO).listen().expect("a free port");
        let (address, handle) = (bound.local_addrs().next().expect("it listens"), bound.handle());
        let serving = tokio::spawn(bound.serve(service, std::future::pending()));
        Self { address, handle, serving }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.handle.abort();
        self.serving.abort();
    }
}

async fn answer(
    request: Request<RequestBody>,
    channel: Channel,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let said = match request.uri().path() {
        "/alive" => {
            let reply = GreeterClient::new(channel).say_hello(HelloRequest::default()).await;
            reply.map(|reply| reply.into_inner().message)
        }
        _ => {
            let reply = EchoClient::new(channel).unary(EchoRequest::default()).await;
            reply.map(|reply| reply.into_inner().server)
        }
    };
    let (status, text) = match said {
        Ok(text) => (StatusCode::OK, text),
        Err(status) => (StatusCode::BAD_GATEWAY, status.to_string()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// A pod: an application and its sidecar.
struct Pod {
    app: Greeter,
    sidecar: Program,
}

impl Pod {
    async fn start(ip: IpAddr, port: u16, name: &str) -> Self {
        let app = Greeter::start(name).await;
        let sidecar = Self::sidecar(SocketAddr::new(ip, port), &app).await;
        Self { app, sidecar }
    }

    async fn sidecar(at: SocketAddr, app: &Greeter) -> Program {
        let target = app.address().to_string();
        let args = ["--app", &target, "--app-protocol", "grpc", "--linger", "1s", "--access-log", "off"];
        Program::start_at("sidecar", at, &args).await
    }

    /// As a deploy does it.
    async fn restart(&mut self) {
        let at = self.sidecar.address();
        self.sidecar.terminate().await;
        assert_eq!(self.sidecar.ended().await.code(), Some(0));
        self.sidecar = Self::sidecar(at, &self.app).await;
    }
}

/// Two pods of each service, and the gateway's sidecar in front of its REST application.
struct Mesh {
    alive: Vec<Pod>,
    user: Vec<Pod>,
    front: Program,
    _gateway: Gateway,
    _dns: DnsServer,
}

impl Mesh {
    async fn start() -> Self {
        let ips: [IpAddr; 4] =
            ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|ip| ip.parse().unwrap());
        let port = free_port(&ips).await;
        let dns = DnsServer::start().await;
        dns.set("alive-svc", 1, ips[..2].to_vec());
        dns.set("user-svc", 1, ips[2..].to_vec());
        let mut pods = Vec::new();
        for (i, ip) in ips.iter().enumerate() {
            pods.push(Pod::start(*ip, port, &format!("pod {i}")).await);
        }
        let user = pods.split_off(2);
        // The gateway must know where its sidecar's egress is, and the sidecar where the gateway is.
        let egress = SocketAddr::new(ips[0], free_port(&ips[..1]).await);
        let gateway = Gateway::start(egress);
        let (app, server, out) = (gateway.address.to_string(), dns.address().to_string(), egress.to_string());
        let clusters = [format!("alive=dns:///alive-svc:{port}"), format!("user=dns:///user-svc:{port}")];
        let args = [
            "--app",
            &app,
            "--app-protocol",
            "http1",
            "--egress",
            &out,
            "--cluster",
            &clusters[0],
            "--route",
            "/helloworld.Greeter=alive",
            "--cluster",
            &clusters[1],
            "--route",
            "/echo.Echo=user",
            "--dns-server",
            &server,
            "--access-log",
            "off",
        ];
        let front = Program::start("sidecar", &args).await;
        assert_eq!(front.at("egress"), egress);
        let mesh = Self { alive: pods, user, front, _gateway: gateway, _dns: dns };
        until("every pod answers", async || {
            let mut client = Rest::connect(mesh.front.address()).await;
            for _ in 0..4 {
                let _ = (client.get("/alive").await, client.get("/user").await);
            }
            mesh.alive.iter().chain(&mesh.user).all(|pod| pod.app.calls() > 0)
        })
        .await;
        mesh
    }

    /// So many REST calls at a time, half of them to each service; the answers that were not 200.
    async fn calls(&self, count: usize) -> Vec<String> {
        let callers = (0..8).map(|_| {
            let to = self.front.address();
            tokio::spawn(async move {
                let mut client = Rest::connect(to).await;
                let mut failed = Vec::new();
                for i in 0..count / 8 {
                    let path = if i % 2 == 0 { "/alive" } else { "/user" };
                    let answer = client.get(path).await;
                    if !answer.starts_with("HTTP/1.1 200 ") {
                        failed.push(answer);
                    }
                }
                failed
            })
        });
        let mut failed = Vec::new();
        for caller in callers.collect::<Vec<_>>() {
            failed.extend(caller.await.expect("no panic"));
        }
        failed
    }
}

/// An HTTP/1.1 connection that is kept.
struct Rest(tokio::io::BufReader<TcpStream>);

impl Rest {
    async fn connect(to: SocketAddr) -> Self {
        Self(tokio::io::BufReader::new(TcpStream::connect(to).await.expect("it listens")))
    }

    async fn get(&mut self, path: &str) -> String {
        use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

        let request = format!("GET {path} HTTP/1.1\r\nhost: gateway.test\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await.expect("it reads");
        let (mut answer, mut length) = (String::new(), 0);
        loop {
            let start = answer.len();
            assert!(self.0.read_line(&mut answer).await.expect("text") > 0, "it closed after {answer:?}");
            let line = answer[start..].trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body");
        answer + &String::from_utf8_lossy(&body)
    }
}

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

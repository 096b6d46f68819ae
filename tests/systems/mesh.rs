//! A service mesh of processes: a REST gateway and two gRPC services, each pod with its sidecar.

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
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::{
    channel, free_port,
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
};

/// An application that speaks HTTP/1.1 and answers `/alive` and `/user` by one gRPC call each.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    handle: Handle,
    serving: JoinHandle<()>,
}

impl Gateway {
    pub(crate) fn start(egress: SocketAddr) -> Self {
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
pub(crate) struct Pod {
    pub(crate) app: Greeter,
    pub(crate) sidecar: Program,
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
    pub(crate) async fn restart(&mut self) {
        let at = self.sidecar.address();
        self.sidecar.terminate().await;
        assert_eq!(self.sidecar.ended().await.code(), Some(0));
        self.sidecar = Self::sidecar(at, &self.app).await;
    }
}

/// Two pods of each service, and the gateway's sidecar in front of its REST application.
pub(crate) struct Mesh {
    pub(crate) alive: Vec<Pod>,
    pub(crate) user: Vec<Pod>,
    front: Program,
    _gateway: Gateway,
    _dns: DnsServer,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
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
    pub(crate) async fn calls(&self, count: usize) -> Vec<String> {
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

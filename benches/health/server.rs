//! A health server for ten thousand addresses, in a process of its own.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tokio::net::TcpListener;
use tonic::transport::{Server as Tonic, server::TcpIncoming};
use tower::ServiceBuilder;

const CHILD: &str = "GRPC_BALANCE_BENCH_HEALTH";

/// Whether this process is to be the server.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// The child: serves until its standard input closes, and answers each line there with how many checks it has served.
pub(crate) fn run() {
    crate::probing::open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served = Arc::<AtomicU64>::default();
    let counted = served.clone();
    let (ready, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            ready.send(listener.local_addr().unwrap().port()).unwrap();
            let (reporter, health) = tonic_health::server::health_reporter();
            reporter.set_service_status("bench.Service", tonic_health::ServingStatus::Serving).await;
            let count = ServiceBuilder::new().map_request(move |request: http::Request<_>| {
                counted.fetch_add(1, Relaxed);
                request
            });
            let server = Tonic::builder().layer(count).add_service(health);
            server.serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))).await.unwrap();
        });
    });
    println!("{}", port.recv().unwrap());
    io::stdout().flush().unwrap();
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    while input.read_line(&mut line).unwrap() > 0 {
        println!("{}", served.load(Relaxed));
        io::stdout().flush().unwrap();
        line.clear();
    }
    let _ = input.read(&mut []);
}

/// The child as the parent sees it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    pipes: Mutex<(ChildStdin, io::Lines<BufReader<std::process::ChildStdout>>)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let pipes = Mutex::new((child.stdin.take().unwrap(), lines));
        Self { child, port, pipes }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many checks it has served.
    pub(crate) fn checks(&self) -> u64 {
        let mut pipes = self.pipes.lock().unwrap();
        writeln!(pipes.0).unwrap();
        pipes.1.next().unwrap().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

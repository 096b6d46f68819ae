//! Three greeters in a process of their own, so that their CPU time is not the client's.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::pb::helloworld::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};

const CHILD: &str = "GRPC_BALANCE_BENCH_BACKENDS";

/// Whether this process is to be the backends.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// The child: serves until its standard input closes, as it does when the parent ends in any way.
pub(crate) fn run() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..3 {
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        println!("{}", listener.local_addr().unwrap());
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        runtime
            .spawn(Server::builder().add_service(GreeterServer::new(Service)).serve_with_incoming(incoming));
    }
    io::stdout().flush().unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Service;

#[tonic::async_trait]
impl Greeter for Service {
    async fn say_hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { message: "hello".into() }))
    }
}

/// The child as the parent sees it.
pub(crate) struct Backends {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Backends {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addresses = lines.take(3).map(|line| line.unwrap().parse().unwrap()).collect();
        Self { child, addresses }
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

//! Ten thousand servers that are well, in a process of their own, so that their CPU time is not the prober's.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CHILD: &str = "GRPC_BALANCE_BENCH_HEALTH";

/// Whether this process is to be the servers.
pub(crate) fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// The child: serves until its standard input closes, as it does when the parent ends in any way.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // One listener is a server at every loopback address.
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    io::stdout().flush().unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                if let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(socket));
                }
            }
        });
    });
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

async fn serve(mut socket: TcpStream) {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1) if first == *b"P" => grpc(socket).await,
        Ok(1) => {
            let mut request = [0; 1024];
            while let Ok(1..) = socket.read(&mut request).await {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                if socket.write_all(answer).await.is_err() {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Answers SERVING, and leaves a Watch open.
async fn grpc(socket: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let mut watches = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let mut response = Response::new(());
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let Ok(mut body) = respond.send_response(response, false) else { continue };
        let _ = body.send_data(Bytes::from_static(b"\0\0\0\0\x02\x08\x01"), false);
        if request.uri().path().ends_with("Watch") {
            watches.push((body, request));
        } else {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            let _ = body.send_trailers(trailers);
        }
    }
}

/// The child as the parent sees it.
pub(crate) struct Servers {
    child: Child,
    port: u16,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().unwrap() }
    }

    /// The address of the server with this number.
    pub(crate) fn address(&self, number: u32) -> SocketAddr {
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number);
        SocketAddr::from((ip, self.port))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

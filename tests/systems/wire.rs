//! Clients that see what is on the wire.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::pb::helloworld::HelloReply;

/// An HTTP/2 connection.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Bytes>);

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Response<()>,
    /// Whether the header block ended the stream.
    pub(crate) ended: bool,
    pub(crate) data: Vec<u8>,
    pub(crate) text: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http2 {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.expect("it listens")).await.expect("HTTP/2")
    }

    pub(crate) async fn over(
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, h2::Error> {
        let (client, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(connection);
        Ok(Self(client))
    }

    /// A request without a body.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> Seen {
        let request = Request::builder().method(method).uri(format!("http://proxy.test{path}"));
        self.send(request.body(()).expect("a request")).await.expect("it is answered")
    }

    /// A gRPC request without a message, which proxies do not look for.
    pub(crate) async fn call(&self, path: &str) -> Seen {
        self.send(grpc(path)).await.expect("it is answered")
    }

    /// `helloworld.Greeter/SayHello`: its message, or its status.
    pub(crate) async fn hello(&self) -> Result<String, String> {
        let (head, ()) = grpc("/helloworld.Greeter/SayHello").into_parts();
        let message = Bytes::from_static(&[0; 5]);
        let seen = self.send_with(Request::from_parts(head, ()), message).await.map_err(|e| e.to_string())?;
        let trailers = seen.trailers.as_ref().unwrap_or(seen.head.headers());
        match trailers.get("grpc-status").map(|value| value.as_bytes()) {
            Some(b"0") => HelloReply::decode(seen.data.get(5..).unwrap_or_default())
                .map(|reply| reply.message)
                .map_err(|error| error.to_string()),
            _ => Err(format!("{trailers:?}")),
        }
    }

    pub(crate) async fn send(&self, request: Request<()>) -> Result<Seen, h2::Error> {
        self.send_with(request, Bytes::new()).await
    }

    pub(crate) async fn send_with(&self, request: Request<()>, body: Bytes) -> Result<Seen, h2::Error> {
        let mut client = self.0.clone().ready().await?;
        let (response, mut sending) = client.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            sending.send_data(body, true)?;
        }
        let (head, mut body) = response.await?.into_parts();
        let ended = body.is_end_stream();
        let mut data = Vec::new();
        while let Some(chunk) = body.data().await {
            data.extend_from_slice(&chunk?);
        }
        let trailers = body.trailers().await?;
        let text = String::from_utf8_lossy(&data).into_owned();
        Ok(Seen { head: Response::from_parts(head, ()), ended, data, text, trailers })
    }
}

impl Seen {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("text"))
    }
}

/// A gRPC request without a message.
pub(crate) fn grpc(path: &str) -> Request<()> {
    Request::post(format!("http://proxy.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

/// What a server says over HTTP/1.1 to a request without a body.
pub(crate) async fn http1(to: SocketAddr, method: Method, path: &str) -> String {
    let socket = TcpStream::connect(to).await.expect("it listens");
    text(socket, &format!("{method} {path} HTTP/1.1\r\nhost: proxy.test\r\nconnection: close\r\n\r\n")).await
}

/// What a server says to this, to its end.
pub(crate) async fn text(socket: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    String::from_utf8_lossy(&bytes(socket, request.as_bytes()).await).into_owned()
}

/// What a server says to this, to its end.
pub(crate) async fn bytes(mut socket: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Vec<u8> {
    socket.write_all(request).await.expect("it reads");
    let mut answer = Vec::new();
    // A peer that has closed may leave it at a reset.
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

//! A client that sees frames.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[derive(Clone)]
pub(crate) struct Client(SendRequest<Bytes>);

/// A response as it came.
pub(crate) struct Seen {
    pub(crate) head: Response<()>,
    /// Whether the header block ended the stream.
    pub(crate) ended: bool,
    pub(crate) data: Vec<u8>,
    pub(crate) end: Result<Option<HeaderMap>, h2::Error>,
}

impl Client {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.expect("it listens");
        let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(client)
    }

    pub(crate) async fn send(&self, request: Request<()>) -> Result<Seen, h2::Error> {
        let mut client = self.0.clone().ready().await?;
        let (response, _) = client.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        let ended = body.is_end_stream();
        let mut data = Vec::new();
        while let Some(chunk) = body.data().await {
            match chunk {
                Ok(chunk) => data.extend_from_slice(&chunk),
                Err(error) => {
                    return Ok(Seen { head: Response::from_parts(head, ()), ended, data, end: Err(error) });
                }
            }
        }
        let end = body.trailers().await;
        Ok(Seen { head: Response::from_parts(head, ()), ended, data, end })
    }
}

/// A gRPC request without a message, which no server of messages answers well, and which ours do not look at.
pub(crate) fn grpc(path: &str) -> Request<()> {
    Request::post(format!("http://proxy.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request")
}

/// What a server says to this, to its end.
pub(crate) async fn http1(to: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(to).await.expect("it listens");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    answer
}

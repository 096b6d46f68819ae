//! A server under test, and clients for it.

mod app;
pub(crate) mod raw;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use grpc_balance::server::{Handle, Server, Stats};
use h2::{
    RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

pub(crate) use self::app::{App, app};

/// How long a thing may take that is expected to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A server that serves [`app`], until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    /// Ends when `serve` has returned.
    pub(crate) task: JoinHandle<()>,
    _shutdown: oneshot::Sender<()>,
}

impl Running {
    pub(crate) fn new(configure: impl FnOnce(Server) -> Server) -> Self {
        Self::of(configure(Server::bind("127.0.0.1:0").linger(Duration::ZERO)), app())
    }

    pub(crate) fn of(server: Server, app: App) -> Self {
        let bound = server.listen().unwrap();
        let address = bound.local_addrs().next().unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let handle = bound.handle();
        let (_shutdown, told) = oneshot::channel::<()>();
        let task = tokio::spawn(bound.serve(app, async move {
            let _ = told.await;
        }));
        Self { address, handle, task, _shutdown }
    }

    pub(crate) async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn http2(&self) -> Client {
        Client::new(self.dial().await).await
    }

    /// Waits until the counters are as wanted.
    pub(crate) async fn counts(&self, wanted: impl Fn(&Stats) -> bool) {
        let seen = timeout(SOON, async {
            while !wanted(&self.handle.stats()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(seen.await.is_ok(), "{:?}", self.handle.stats());
    }

    /// Waits until `serve` has returned.
    pub(crate) async fn ended(&mut self) {
        timeout(SOON, &mut self.task).await.expect("serve returns").unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An HTTP/2 client.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(crate) async fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, connection) = h2::client::handshake(io).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn send(&self, path: &str) -> Result<ResponseFuture, h2::Error> {
        self.request(Request::get(format!("http://test{path}")).body(()).unwrap()).await
    }

    pub(crate) async fn request(&self, request: Request<()>) -> Result<ResponseFuture, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        Ok(send.send_request(request, true)?.0)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        self.send(path).await?.await
    }

    /// The status and the text at a path.
    pub(crate) async fn text(&self, path: &str) -> Result<(StatusCode, String), h2::Error> {
        let (head, mut body) = self.get(path).await?.into_parts();
        let mut text = Vec::new();
        while let Some(data) = body.data().await.transpose()? {
            body.flow_control().release_capacity(data.len())?;
            text.extend_from_slice(&data);
        }
        Ok((head.status, String::from_utf8(text).unwrap()))
    }

    pub(crate) async fn works(&self) {
        assert_eq!(self.text("/").await.unwrap(), (StatusCode::OK, "ok".to_owned()));
    }

    /// Waits until the server has closed the connection.
    pub(crate) async fn closed(self) -> Result<(), h2::Error> {
        drop(self.send);
        timeout(SOON, self.connection).await.expect("the connection is closed").unwrap()
    }
}

/// Says this, and reads to the end.
pub(crate) async fn say(mut io: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    io.write_all(text.as_bytes()).await.unwrap();
    to_end(io).await
}

/// What comes until the server closes, cleanly or not.
pub(crate) async fn to_end(mut io: impl AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    let _ = timeout(SOON, io.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until this has come.
pub(crate) async fn until(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) {
        let byte = timeout(SOON, io.read_u8()).await.expect("an answer");
        answer.push(
            byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&answer))),
        );
    }
    String::from_utf8(answer).unwrap()
}

/// `GET /` over HTTP/1.1, on a connection that stays.
pub(crate) async fn http1_works(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    io.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let answer = until(io, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

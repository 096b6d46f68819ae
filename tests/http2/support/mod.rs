//! Clients and peers for these tests.

pub(crate) mod raw;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use grpc_balance::{
    connect::{
        Connection, ConnectionState, Established, Gate, Permit, Replay, SendError,
        http2::{self, Body, Http2, Http2Config},
    },
    endpoint::Endpoint,
};
use h2::{RecvStream, server::SendResponse};
use http::{
    Request, Response,
    uri::{Authority, Scheme},
};
use http_body::Frame;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{mpsc, watch},
};

pub(crate) struct Client {
    pub(crate) connection: Arc<Http2>,
    pub(crate) health: watch::Receiver<ConnectionState>,
    pub(crate) gate: Arc<Gate>,
}

pub(crate) fn endpoint() -> Arc<Endpoint> {
    Arc::new("10.0.0.1:50051".parse().unwrap())
}

pub(crate) fn handshake<T>(
    io: T,
    config: &Http2Config,
) -> impl Future<Output = Result<Established<Http2>, grpc_balance::Error>> + use<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let authority = Authority::from_static("greeter:50051");
    http2::handshake(io, endpoint(), Scheme::HTTP, authority, config, &Handle::current())
}

impl Client {
    pub(crate) async fn over<T>(io: T, config: Http2Config) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let established = handshake(io, &config).await.unwrap();
        let (connection, health) = (established.connection().clone(), established.health().clone());
        Self { connection, health, gate: Arc::new(Gate::unlimited()) }
    }

    pub(crate) fn send<B>(&self, request: Request<B>) -> http2::ResponseFuture<B>
    where
        B: http_body::Body<Data = Bytes, Error: Into<grpc_balance::error::BoxError>> + Send + 'static,
    {
        self.connection.send(request.map(Replay::new), self.gate.try_acquire().unwrap())
    }

    pub(crate) async fn call<B>(&self, body: B) -> Result<Response<Body>, SendError<B>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<grpc_balance::error::BoxError>> + Send + 'static,
    {
        self.send(post(body)).await
    }
}

/// A permit from the gate, or from the queue in front of it.
pub(crate) async fn permit(gate: &Arc<Gate>) -> Permit {
    if let Some(permit) = gate.try_acquire() {
        return permit;
    }
    let waiting = gate.room().wait();
    match gate.try_acquire() {
        Some(permit) => permit,
        None => waiting.await,
    }
}

pub(crate) fn post<B>(body: B) -> Request<B> {
    Request::post("/pkg.Service/Method").header("te", "trailers").body(body).unwrap()
}

pub(crate) async fn until(
    health: &mut watch::Receiver<ConnectionState>,
    wanted: impl FnMut(&ConnectionState) -> bool,
) -> ConnectionState {
    health.wait_for(wanted).await.unwrap().clone()
}

pub(crate) fn is_closed(state: &ConnectionState) -> bool {
    matches!(state, ConnectionState::Closed { .. })
}

pub(crate) fn is_going_away(state: &ConnectionState) -> bool {
    matches!(state, ConnectionState::GoingAway { .. })
}

/// A connected pair of real loopback sockets.
pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (near, far) = (near.unwrap(), far.unwrap().0);
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Serves calls with `h2`, each in a task of its own, until the connection closes.
pub(crate) fn serve<T, F, Fut>(
    io: T,
    builder: &h2::server::Builder,
    handler: F,
) -> tokio::task::JoinHandle<()>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let handshake = builder.handshake::<_, Bytes>(io);
    tokio::spawn(async move {
        let Ok(mut connection) = handshake.await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(handler(request, respond));
        }
    })
}

/// A client of an `h2` server over real sockets.
pub(crate) async fn client_of<F, Fut>(handler: F) -> Client
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (near, far) = sockets().await;
    serve(far, &h2::server::Builder::new(), handler);
    Client::over(near, Http2Config::new()).await
}

/// Sends all of `data`, as the peer's windows allow.
pub(crate) async fn send_all(stream: &mut h2::SendStream<Bytes>, mut data: Bytes, end: bool) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| match stream.capacity() {
            0 => stream.poll_capacity(cx),
            room => Poll::Ready(Some(Ok(room))),
        })
        .await
        else {
            return false;
        };
        let part = data.split_to(room.min(data.len()));
        if stream.send_data(part, end && data.is_empty()).is_err() {
            return false;
        }
    }
    true
}

/// Reads a request to its end.
pub(crate) async fn drain(body: &mut RecvStream) -> usize {
    let mut read = 0;
    while let Some(Ok(data)) = body.data().await {
        read += data.len();
        let _ = body.flow_control().release_capacity(data.len());
    }
    read
}

/// A request body that is fed by hand.
pub(crate) fn fed() -> (mpsc::Sender<Frame<Bytes>>, Fed) {
    let (sender, frames) = mpsc::channel(1);
    (sender, Fed { frames })
}

#[derive(Debug)]
pub(crate) struct Fed {
    frames: mpsc::Receiver<Frame<Bytes>>,
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A request body of `frames` equal frames that counts what was pulled from it.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) frame: Bytes,
    pub(crate) left: usize,
    pub(crate) pulled: Arc<AtomicU64>,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        self.pulled.fetch_add(self.frame.len() as u64, SeqCst);
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }
}

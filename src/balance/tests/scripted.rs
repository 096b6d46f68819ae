//! Connections that do what a test says, when it says so.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    balance::{Balance, Builder, ResponseFuture},
    connect::{Connect, Connection, ConnectionState, Established, Permit, Replay, SendError},
    discover::{Pushed, PushedHandle, Resolve},
    endpoint::{Address, Endpoint},
    error::{Error, Phase},
    grpc::Code,
    stats::Disconnect,
};

pub(super) type RequestBody = Empty<Bytes>;
pub(super) type Call = ResponseFuture<Scripted, RequestBody>;

/// A connector whose attempts the test answers one by one.
#[derive(Clone, Debug)]
pub(super) struct Scripted(mpsc::UnboundedSender<Attempt>);

/// The test's side of a [`Scripted`] connector.
#[derive(Debug)]
pub(super) struct Dialled(mpsc::UnboundedReceiver<Attempt>);

/// One attempt to connect, which waits for its answer.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) at: Instant,
    answer: oneshot::Sender<Result<Established<Line>, Error>>,
}

/// One established connection.
#[derive(Debug)]
pub(super) struct Line(mpsc::UnboundedSender<Received>);

/// The test's side of an established connection.
#[derive(Debug)]
pub(super) struct Peer {
    health: watch::Sender<ConnectionState>,
    calls: mpsc::UnboundedReceiver<Received>,
    was_cut: oneshot::Receiver<Error>,
}

type Answer = Result<Response<ScriptedBody>, SendError<RequestBody>>;

/// One call as it arrived, which waits for its answer.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) request: Request<Replay<RequestBody>>,
    permit: Permit,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) fn scripted() -> (Scripted, Dialled) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Scripted(sender), Dialled(receiver))
}

/// A balancer over a pushed set, with the test on the other side.
pub(super) fn pushed() -> (PushedHandle, Builder<Scripted>, Dialled) {
    let (handle, pushed) = Pushed::new();
    let (builder, dialled) = over(pushed);
    (handle, builder, dialled)
}

pub(super) fn over(resolver: impl Resolve) -> (Builder<Scripted>, Dialled) {
    let (connector, dialled) = scripted();
    (Balance::builder(resolver, connector).target("test").seed(1), dialled)
}

pub(super) fn endpoint(number: u16) -> Endpoint {
    Endpoint::new(address(number))
}

pub(super) fn address(number: u16) -> Address {
    SocketAddr::from(([127, 0, 0, 1], number)).into()
}

pub(super) fn request() -> Request<RequestBody> {
    Request::post("/test.Service/Call").body(Empty::new()).expect("a valid request")
}

pub(super) fn lost(message: &str) -> Error {
    Error::new(Code::Unavailable, Phase::Stream, message)
}

/// Lets everything else that can run do so.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

impl Dialled {
    pub(super) async fn next(&mut self) -> Attempt {
        timeout(std::time::Duration::from_secs(600), self.0.recv())
            .await
            .expect("an attempt is made")
            .expect("the balancer lives")
    }

    /// The attempt that is waiting already, if there is one.
    pub(super) async fn waiting(&mut self) -> Option<Attempt> {
        settle().await;
        self.0.try_recv().ok()
    }

    /// Accepts the next attempt.
    pub(super) async fn accept(&mut self) -> Peer {
        let peer = self.next().await.succeed(usize::MAX);
        settle().await;
        peer
    }

    /// Whether the balancer and all its attempts are gone.
    pub(super) async fn is_over(&mut self) -> bool {
        settle().await;
        self.0.is_closed()
    }
}

impl Attempt {
    pub(super) fn succeed(self, max_streams: usize) -> Peer {
        let (sender, calls) = mpsc::unbounded_channel();
        let (health, watch) = watch::channel(ConnectionState::Open { max_streams });
        let (cut, was_cut) = oneshot::channel();
        let established = Established::new(Arc::new(Line(sender)), watch).cut_by(move |cause| {
            let _ = cut.send(cause);
        });
        self.answer.send(Ok(established)).expect("the attempt is still wanted");
        Peer { health, calls, was_cut }
    }

    pub(super) fn fail(self, message: &str) {
        let error = Error::new(Code::Unavailable, Phase::Connect, message).at(self.endpoint);
        self.answer.send(Err(error)).expect("the attempt is still wanted");
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Peer {
    pub(super) fn calls_waiting(&self) -> usize {
        self.calls.len()
    }

    /// The call that has arrived already, if there is one.
    pub(super) fn received(&mut self) -> Option<Received> {
        self.calls.try_recv().ok()
    }

    pub(super) async fn break_off(&self) {
        self.health.send_replace(ConnectionState::Closed {
            reason: Disconnect::Closed,
            too_many_pings: false,
            cause: lost("broken pipe"),
        });
        settle().await;
    }

    pub(super) async fn go_away(&self) {
        self.health.send_replace(ConnectionState::GoingAway {
            too_many_pings: false,
            cause: lost("goaway NO_ERROR"),
        });
        settle().await;
    }

    pub(super) async fn set_max_streams(&self, max_streams: usize) {
        self.health.send_replace(ConnectionState::Open { max_streams });
        settle().await;
    }

    /// Why the balancer cut the connection, if it did.
    pub(super) async fn was_cut(&mut self) -> Option<Error> {
        settle().await;
        self.was_cut.try_recv().ok()
    }

    /// Whether the balancer has let go of the connection.
    pub(super) async fn is_let_go(&self) -> bool {
        settle().await;
        self.calls.is_closed()
    }
}

impl Received {
    /// Answers with headers; the stream goes on until the returned sender ends it.
    pub(super) fn stream(self) -> mpsc::UnboundedSender<Result<Frame<Bytes>, Error>> {
        let (sender, frames) = mpsc::unbounded_channel();
        let body = ScriptedBody { frames: Some(frames), _permit: self.permit };
        self.answer.send(Ok(Response::new(body))).expect("the call is still wanted");
        sender
    }

    /// Answers with a trailers-only status.
    pub(super) fn status(self, code: Code) {
        let body = ScriptedBody { frames: None, _permit: self.permit };
        let mut response = Response::new(body);
        response.headers_mut().insert("grpc-status", code.number().into());
        self.answer.send(Ok(response)).expect("the call is still wanted");
    }

    pub(super) fn unsent(self) {
        let Self { request, permit, answer } = self;
        drop(permit);
        answer
            .send(Err(SendError::Unsent(lost("connection closed"), request)))
            .expect("the call is still wanted");
    }

    pub(super) fn refuse(self, going_away: bool) {
        let Self { request, permit, answer } = self;
        drop(permit);
        let error = lost("refused").safe_to_retry(true);
        answer
            .send(Err(SendError::Refused { error, request: Some(request), going_away }))
            .expect("the call is still wanted");
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Connect for Scripted {
    type Connection = Line;
    type Future = Pin<Box<dyn Future<Output = Result<Established<Line>, Error>> + Send>>;

    fn connect(&self, endpoint: &Arc<Endpoint>) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        let attempt = Attempt { endpoint: endpoint.clone(), at: Instant::now(), answer };
        let sent = self.0.send(attempt);
        Box::pin(async move {
            sent.map_err(|_| lost("the test is over"))?;
            answered.await.map_err(|_| lost("the test dropped the attempt"))?
        })
    }
}

impl Connection<RequestBody> for Line {
    type Body = ScriptedBody;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn send(self: &Arc<Self>, request: Request<Replay<RequestBody>>, permit: Permit) -> Self::Future {
        let (answer, answered) = oneshot::channel();
        let line = self.clone();
        Box::pin(async move {
            line.0
                .send(Received { request, permit, answer })
                .map_err(|gone| SendError::Unsent(lost("connection closed"), gone.0.request))?;
            match answered.await {
                Ok(answer) => answer,
                Err(_) => Err(SendError::Failed(lost("broken pipe"))),
            }
        })
    }
}

/// A response body that the test fills; `None` is one that ended with its headers.
#[derive(Debug)]
pub(super) struct ScriptedBody {
    frames: Option<mpsc::UnboundedReceiver<Result<Frame<Bytes>, Error>>>,
    _permit: Permit,
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.frames {
            Some(frames) => frames.poll_recv(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.as_ref().is_none_or(|frames| frames.is_closed() && frames.is_empty())
    }
}

/// The last frame of a call with this status.
pub(super) fn trailers(code: Code) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.number().into());
    Frame::trailers(trailers)
}

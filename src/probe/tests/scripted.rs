//! Peers that do what a test says, when it says so.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::answers::{answer, message, status};
use crate::{
    connect::{ConnectionState, dial::DialLimit},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    health::{
        Verdict,
        proto::{HealthCheckRequest, ServingStatus},
    },
    probe::{
        Body, Owner, Probe, Prober, Probing,
        caller::{CallError, Caller, Open, Opened, Reply},
        line::DataConnection,
    },
    random::Random,
    stats::Disconnect,
};

/// One prober, and the test on its other side.
pub(super) struct Bench {
    pub(super) dials: mpsc::UnboundedReceiver<Dial>,
    pub(super) verdicts: mpsc::UnboundedReceiver<(Option<Verdict>, Instant)>,
    pub(super) traffic: Arc<AtomicBool>,
    task: JoinHandle<Infallible>,
}

/// One attempt to connect, which waits for its answer.
pub(super) struct Dial {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) at: Instant,
    pub(super) answer: oneshot::Sender<Result<Opened, Error>>,
}

/// The test's side of a connection.
pub(super) struct Peer {
    pub(super) calls: mpsc::UnboundedReceiver<Call>,
    pub(super) state: watch::Sender<ConnectionState>,
}

/// One call, which waits for its answer.
pub(super) struct Call {
    pub(super) request: Request<Body>,
    pub(super) at: Instant,
    answer: oneshot::Sender<Result<Response<Reply>, CallError>>,
}

/// The test's side of an open response.
pub(super) struct Stream(mpsc::UnboundedSender<Result<Frame<Bytes>, Error>>);

struct Line(mpsc::UnboundedSender<Call>);

struct Seat {
    endpoint: Arc<Endpoint>,
    traffic: Arc<AtomicBool>,
    verdicts: mpsc::UnboundedSender<(Option<Verdict>, Instant)>,
}

/// Nothing that is expected takes this long, in the clock's time.
const NEVER: Duration = Duration::from_secs(3_600);

pub(super) fn endpoint() -> Arc<Endpoint> {
    Arc::new(std::net::SocketAddr::from(([192, 0, 2, 1], 50051)).into())
}

pub(super) fn error(message: &str) -> Error {
    Error::new(Code::Unavailable, Phase::Connect, message)
}

/// What opens connections as the test says.
pub(super) fn dials() -> (Open, mpsc::UnboundedReceiver<Dial>) {
    let (sender, dials) = mpsc::unbounded_channel();
    let open: Open = Arc::new(move |endpoint| {
        let (answer, answered) = oneshot::channel();
        let _ = sender.send(Dial { endpoint: endpoint.clone(), at: Instant::now(), answer });
        Box::pin(async move {
            match answered.await {
                Ok(result) => result,
                Err(_) => std::future::pending().await,
            }
        })
    });
    (open, dials)
}

pub(super) fn probing(probe: impl Into<Probe>, open: Open) -> Arc<Probing> {
    Probing::new(probe.into(), open, DialLimit::default(), Arc::new(Random::seeded(7)))
}

/// A prober with connections of its own.
pub(super) fn start(probe: impl Into<Probe>) -> Bench {
    let (open, dials) = dials();
    run(&probing(probe, open), dials, None)
}

/// A prober that is lent connections.
pub(super) fn start_on(probe: impl Into<Probe>, connection: DataConnection) -> Bench {
    let (open, dials) = dials();
    run(&probing(probe, open), dials, Some(connection))
}

pub(super) fn run(
    probing: &Arc<Probing>,
    dials: mpsc::UnboundedReceiver<Dial>,
    data: Option<DataConnection>,
) -> Bench {
    let (sender, verdicts) = mpsc::unbounded_channel();
    let traffic = Arc::new(AtomicBool::new(true));
    let seat = Seat { endpoint: endpoint(), traffic: traffic.clone(), verdicts: sender };
    let task = tokio::spawn(Prober::new(probing.clone(), seat, data).run());
    Bench { dials, verdicts, traffic, task }
}

impl Bench {
    pub(super) async fn dial(&mut self) -> Dial {
        timeout(NEVER, self.dials.recv()).await.expect("nobody dials").expect("a prober")
    }

    /// The next verdict: when it came, and what it says.
    pub(super) async fn verdict(&mut self) -> String {
        let next = timeout(NEVER, self.verdicts.recv()).await.expect("no verdict").expect("a prober");
        next.0.map_or_else(|| "none".to_owned(), |verdict| verdict.to_string())
    }

    /// The verdict that was told since the last question, if one was.
    pub(super) fn told(&mut self) -> Option<String> {
        let verdict = self.verdicts.try_recv().ok()?.0?;
        Some(verdict.to_string())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dial {
    pub(super) fn accept(self) -> Peer {
        let (peer, opened) = connection();
        let _ = self.answer.send(Ok(opened));
        peer
    }

    pub(super) fn refuse(self) {
        let _ = self.answer.send(Err(error("connection refused")));
    }
}

pub(super) fn connection() -> (Peer, Opened) {
    let (sender, calls) = mpsc::unbounded_channel();
    let (state, watched) = watch::channel(ConnectionState::Open { max_streams: 100 });
    (Peer { calls, state }, Opened { caller: Arc::new(Line(sender)), state: watched })
}

impl Peer {
    pub(super) async fn call(&mut self) -> Call {
        timeout(NEVER, self.calls.recv()).await.expect("nobody calls").expect("a connection in use")
    }

    /// Answers every call like this.
    pub(super) fn always(mut self, answer: impl Fn() -> Response<Reply> + Send + 'static) {
        tokio::spawn(async move {
            while let Some(call) = self.calls.recv().await {
                call.answer(answer());
            }
        });
    }

    /// Whether the prober has dropped the connection.
    pub(super) fn is_left(&mut self) -> bool {
        self.calls.is_closed()
            || matches!(self.calls.try_recv(), Err(mpsc::error::TryRecvError::Disconnected))
    }

    pub(super) fn go_away(&self) {
        self.state
            .send_replace(ConnectionState::GoingAway { too_many_pings: false, cause: error("going away") });
    }

    pub(super) fn lose(&self) {
        self.state.send_replace(ConnectionState::Closed {
            reason: Disconnect::Reset,
            too_many_pings: false,
            cause: error("lost"),
        });
    }
}

impl Call {
    pub(super) fn answer(self, response: Response<Reply>) {
        let _ = self.answer.send(Ok(response));
    }

    pub(super) fn fail(self, error: CallError) {
        let _ = self.answer.send(Err(error));
    }

    pub(super) fn say(self, status: ServingStatus) {
        self.answer(answer(status));
    }

    /// Answers with headers, and goes on.
    pub(super) fn open(self) -> Stream {
        let (sender, receiver) = mpsc::unbounded_channel();
        let body = StreamBody::new(UnboundedReceiverStream::new(receiver));
        self.answer(Response::new(BodyExt::boxed_unsync(body)));
        Stream(sender)
    }

    /// Waits until nobody waits for the answer any more.
    pub(super) async fn cancelled(&mut self) {
        self.answer.closed().await;
    }

    /// The service that it asks after.
    pub(super) async fn service(self) -> (String, oneshot::Sender<Result<Response<Reply>, CallError>>) {
        let body = self.request.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(body[..1], [0], "not compressed");
        assert_eq!(body[1..5], u32::to_be_bytes(body.len() as u32 - 5), "its length");
        (HealthCheckRequest::decode(&body[5..]).expect("a request").service, self.answer)
    }
}

impl Stream {
    pub(super) fn say(&self, status: ServingStatus) {
        self.data(message(status));
    }

    pub(super) fn data(&self, bytes: Bytes) {
        let _ = self.0.send(Ok(Frame::data(bytes)));
    }

    pub(super) fn end(self, code: Code) {
        let _ = self.0.send(Ok(Frame::trailers(status(code))));
    }

    pub(super) fn break_off(self) {
        let _ = self.0.send(Err(error("the stream was reset")));
    }

    pub(super) async fn cancelled(&self) {
        self.0.closed().await;
    }
}

impl Caller for Line {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Reply>, CallError>> {
        let (answer, answered) = oneshot::channel();
        let sent = self.0.send(Call { request, at: Instant::now(), answer });
        Box::pin(async move {
            if sent.is_err() {
                return Err(CallError::Gone(error("the peer is gone")));
            }
            match answered.await {
                Ok(result) => result,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl Owner for Seat {
    fn endpoint(&self) -> Arc<Endpoint> {
        self.endpoint.clone()
    }

    fn has_traffic(&self) -> bool {
        self.traffic.load(SeqCst)
    }

    fn report(&self, verdict: Option<Verdict>) {
        let _ = self.verdicts.send((verdict, Instant::now()));
    }
}

//! What the browser reads when things go wrong behind the layer, and what it leaves behind when it goes away.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    error::{BoxError, Error, Phase},
    grpc::Code,
    server::RequestBody as Received,
    web::RequestBody,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::{sync::mpsc, task::yield_now, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tower::service_fn;

use crate::{
    client::{Client, EVERY_WAY, Mode, read},
    service::Served,
};

type Answered = Response<UnsyncBoxBody<Bytes, BoxError>>;

const SOON: Duration = Duration::from_secs(20);
const MESSAGE: &[u8] = b"\0\0\0\0\x04\x0a\x02hi";

/// A gRPC backend whose replies consist of these frames, each flushed.
fn sending(frames: fn() -> Vec<Result<&'static [u8], BoxError>>) -> Served {
    Served::around(service_fn(move |_: Request<RequestBody<Received>>| async move {
        let frames = futures_util::stream::iter(frames()).then(|frame| async {
            yield_now().await;
            frame.map(|data| Frame::data(Bytes::from_static(data)))
        });
        Ok::<_, Infallible>(grpc(StreamBody::new(frames).boxed_unsync()))
    }))
}

fn grpc(body: UnsyncBoxBody<Bytes, BoxError>) -> Answered {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn lost() -> BoxError {
    Error::new(Code::Unavailable, Phase::Stream, "the connection was lost").into()
}

#[tokio::test]
async fn a_failure_between_messages_is_read_as_a_status() {
    let served = sending(|| vec![Ok(MESSAGE), Err(lost())]);
    for way in EVERY_WAY {
        let answer = Client::new(served.address, way).call("Any", &[]).await;
        assert!(!answer.broken);
        assert_eq!(answer.messages.len(), 1, "{way:?}");
        assert_eq!(answer.status(), ("14", "stream: the connection was lost"));
    }
}

#[tokio::test]
async fn a_failure_within_a_message_breaks_the_body_instead_of_the_message() {
    let served = sending(|| vec![Ok(MESSAGE), Ok(b"\0\0\0\0\x10abc"), Err(lost())]);
    for way in EVERY_WAY {
        let answer = Client::new(served.address, way).call("Any", &[]).await;
        assert!(answer.broken, "{way:?}");
        assert!(answer.trailers.is_none() && answer.messages.len() <= 1, "{way:?}");
    }
}

#[tokio::test]
async fn a_page_from_behind_is_read_as_a_status() {
    let served = Served::around(service_fn(async |_: Request<RequestBody<Received>>| {
        let mut response = Response::new(Full::from("no healthy upstream"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, Infallible>(response)
    }));
    for way in EVERY_WAY {
        let answer = Client::new(served.address, way).call("Any", &[]).await;
        assert_eq!(answer.status(), ("14", "no healthy upstream"), "{way:?}");
        assert_eq!(answer.headers["content-length"], "0");
    }
}

#[tokio::test]
async fn bad_base64_is_a_bad_request() {
    let served = Served::echo();
    for way in EVERY_WAY.into_iter().filter(|way| way.1 == Mode::Text) {
        let client = Client::new(served.address, way);
        let response = client.start("Unary", Full::from("AAAA?")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer = read(Mode::Text, response).await;
        assert_eq!(answer.status().0, "13");
        assert!(answer.status().1.contains("base64"));
    }
}

#[tokio::test]
async fn messages_arrive_one_by_one_and_a_caller_that_goes_away_is_noticed() {
    let (senders, mut streams) = mpsc::unbounded_channel();
    let served = Served::around(service_fn(move |_: Request<RequestBody<Received>>| {
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
        senders.send(sender).unwrap();
        async { Ok::<_, Infallible>(grpc(StreamBody::new(ReceiverStream::new(receiver)).boxed_unsync())) }
    }));
    for way in EVERY_WAY {
        let client = Client::new(served.address, way);
        let mut body = client.start("Any", Full::default()).await.into_body();
        let sender = streams.recv().await.unwrap();
        for _ in 0..3 {
            sender.send(Ok(Frame::data(Bytes::from_static(MESSAGE)))).await.unwrap();
            let frame = timeout(SOON, body.frame()).await.expect("flushed at once").unwrap().unwrap();
            assert!(!frame.into_data().unwrap().is_empty());
        }
        drop((body, client));
        timeout(SOON, sender.closed()).await.expect("the backend's stream is dropped");
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_up_the_backend() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let served = Served::around(service_fn(move |_: Request<RequestBody<Received>>| {
        let counter = counter.clone();
        let endless = std::iter::repeat_with(move || {
            let mut message = vec![0, 0, 0, 0x40, 0];
            message.resize(5 + 0x4000, 7);
            counter.fetch_add(message.len(), SeqCst);
            Ok::<_, BoxError>(Frame::data(Bytes::from(message)))
        });
        async {
            Ok::<_, Infallible>(grpc(StreamBody::new(futures_util::stream::iter(endless)).boxed_unsync()))
        }
    }));
    for way in EVERY_WAY {
        sent.store(0, SeqCst);
        let client = Client::new(served.address, way);
        let response = client.start("Any", Full::default()).await;
        // Until the buffers of both sockets are full, and nothing has been asked for since.
        let mut before = usize::MAX;
        timeout(SOON, async {
            while before != sent.load(SeqCst) {
                before = sent.load(SeqCst);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        })
        .await
        .expect("it is held up");
        assert!(sent.load(SeqCst) > 0 && sent.load(SeqCst) < 64 << 20, "{way:?}: {sent:?}");
        drop(response);
    }
}

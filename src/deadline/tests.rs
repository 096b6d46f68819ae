use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use proptest::prelude::*;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::*;
use crate::grpc::timeout;

const MS: Duration = Duration::from_millis(1);

fn grpc(timeout: Option<&str>) -> Request<()> {
    let mut request = Request::post("/a.B/C").header(CONTENT_TYPE, "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header(timeout::HEADER, timeout);
    }
    request.body(()).unwrap()
}

fn plain() -> Request<()> {
    Request::get("/page").body(()).unwrap()
}

/// Answers after this time, with the `grpc-timeout` that it was told.
fn after(
    delay: Duration,
) -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = Infallible> + Clone {
    service_fn(move |request: Request<()>| async move {
        sleep(delay).await;
        let mut response = Response::new(Empty::new());
        if let Some(told) = request.headers().get(timeout::HEADER) {
            response.headers_mut().insert("told", told.clone());
        }
        Ok(response)
    })
}

fn told<B>(response: &Response<B>) -> Duration {
    timeout::parse(&response.headers()["told"]).unwrap()
}

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, io::Error>>;

/// A response whose body the test writes; it is at once there.
fn scripted() -> (
    Frames,
    impl Service<
        Request<()>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = io::Error> + Send>,
        Error = Infallible,
    > + Clone,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let service = service_fn(move |_: Request<()>| {
        let frames = UnboundedReceiverStream::new(receiver.lock().unwrap().take().unwrap());
        ready(Ok(Response::new(StreamBody::new(frames))))
    });
    (sender, service)
}

fn ok_trailers() -> HeaderMap {
    HeaderMap::from_iter([(crate::grpc::STATUS_HEADER, "0".parse().unwrap())])
}

#[tokio::test(start_paused = true)]
async fn before_headers_grpc_gets_status_4_and_others_504_exactly_when_it_passes() {
    let service = DeadlineLayer::new().cap(Duration::from_secs(1)).layer(after(Duration::from_secs(5)));
    let start = Instant::now();
    let response = service.clone().oneshot(grpc(Some("300m"))).await.unwrap();
    assert_eq!(start.elapsed() / MS.as_millis() as u32, 300 * MS);
    assert_eq!((response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()), (200, "4"));
    assert!(response.body().is_end_stream(), "one header block");

    let start = Instant::now();
    let response = service.oneshot(plain()).await.unwrap();
    assert_eq!(start.elapsed() / MS.as_millis() as u32, 1_000 * MS);
    assert_eq!(response.status(), 504);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(text, "the deadline of 1s passed");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_there_is_no_deadline_and_nothing_is_told() {
    let service = DeadlineLayer::new().layer(after(Duration::from_secs(86_400)));
    let response = service.clone().oneshot(grpc(None)).await.unwrap();
    assert!(!response.headers().contains_key("told"));
    // Who does not speak gRPC means nothing by the header: it goes through as it is.
    let mut request = plain();
    request.headers_mut().insert(timeout::HEADER, "1n".parse().unwrap());
    assert_eq!(service.oneshot(request).await.unwrap().headers()["told"], "1n");
}

#[tokio::test(start_paused = true)]
async fn the_soonest_of_header_cap_and_route_counts() {
    let service = DeadlineLayer::new().cap(Duration::from_secs(10)).layer(after(Duration::ZERO));
    for (asked, route, expected) in [
        (Some("3S"), None, 3),
        (Some("30S"), None, 10),
        (None, None, 10),
        (Some("3S"), Some(2), 2),
        (Some("3S"), Some(60), 3),
        (None, Some(4), 4),
        (None, Some(60), 10),
    ] {
        let mut request = grpc(asked);
        if let Some(seconds) = route {
            request.extensions_mut().insert(Cap(Duration::from_secs(seconds)));
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(told(&response), Duration::from_secs(expected), "{asked:?} {route:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_is_only_ever_tightened() {
    let mut extensions = http::Extensions::new();
    for (cap, then) in [(5, 5), (9, 5), (2, 2)] {
        Cap::tighten(&mut extensions, Duration::from_secs(cap));
        assert_eq!(extensions.get(), Some(&Cap(Duration::from_secs(then))));
    }
}

/// A service that is ready at a moment, and tells what it was told.
#[derive(Clone)]
struct ReadyAt(Instant);

impl Service<Request<()>> for ReadyAt {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if Instant::now() >= self.0 {
            return Poll::Ready(Ok(()));
        }
        let (at, waker) = (self.0, cx.waker().clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            waker.wake();
        });
        Poll::Pending
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let response = Response::builder().header("told", &request.headers()[timeout::HEADER]);
        ready(Ok(response.body(Empty::new()).unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_the_inner_service_counts_and_what_is_left_is_forwarded() {
    let inner = ReadyAt(Instant::now() + 300 * MS);
    let service = DeadlineLayer::new().layer(inner);
    let response = service.clone().oneshot(grpc(Some("1S"))).await.unwrap();
    let told = told(&response);
    assert!(told <= 700 * MS && told > 690 * MS, "{told:?}");

    let service = DeadlineLayer::new().layer(ReadyAt(Instant::now() + Duration::from_secs(9)));
    let response = service.oneshot(grpc(Some("1S"))).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_is_refused_and_named() {
    let service = DeadlineLayer::new().layer(after(Duration::ZERO));
    for malformed in ["5s", "+1S", "123456789n", ""] {
        let response = service.clone().oneshot(grpc(Some(malformed))).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "3", "{malformed}");
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains(&format!("`{malformed}`")), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_time_at_all_has_passed_before_the_service_is_called() {
    let called = Arc::new(AtomicBool::new(false));
    let inner = service_fn({
        let called = called.clone();
        move |_: Request<()>| {
            called.store(true, SeqCst);
            ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
        }
    });
    let response = DeadlineLayer::new().layer(inner).oneshot(grpc(Some("0n"))).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert!(!called.load(SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_no_clock_reaches_is_none() {
    let service = DeadlineLayer::new().cap(Duration::MAX).layer(after(Duration::from_secs(86_400)));
    assert_eq!(service.oneshot(plain()).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn after_headers_grpc_gets_trailers_and_the_inner_body_is_dropped_at_once() {
    let (frames, inner) = scripted();
    let start = Instant::now();
    let response = DeadlineLayer::new().layer(inner).oneshot(grpc(Some("300m"))).await.unwrap();
    let mut body = response.into_body();
    frames.send(Ok(Frame::data("one".into()))).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");

    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(start.elapsed() / MS.as_millis() as u32, 300 * MS);
    assert_eq!(
        (&trailers["grpc-status"], &trailers["grpc-message"]),
        (&"4".parse().unwrap(), &"the deadline of 300ms passed".parse().unwrap())
    );
    assert!(frames.is_closed(), "the upstream is cancelled while the response is still held");
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stands_still_does_not_hold_the_call_upstream_and_is_told_when_it_reads_on() {
    for reads in [0, 1] {
        let (frames, inner) = scripted();
        let response = DeadlineLayer::new().layer(inner).oneshot(grpc(Some("300m"))).await.unwrap();
        let mut body = response.into_body();
        for _ in 0..reads {
            frames.send(Ok(Frame::data("one".into()))).unwrap();
            body.frame().await.unwrap().unwrap();
        }
        frames.send(Ok(Frame::data("never read".into()))).unwrap();
        sleep(299 * MS).await;
        assert!(!frames.is_closed());
        sleep(2 * MS).await;
        assert!(frames.is_closed(), "after {reads} reads");
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "4");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_used_up_its_budget_does_not_miss_the_deadline() {
    let (frames, inner) = scripted();
    let mut call = Box::pin(DeadlineLayer::new().layer(inner).oneshot(grpc(Some("300m"))));
    let response = std::future::poll_fn(|cx| {
        while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        call.as_mut().poll(cx)
    });
    let _unread = response.await.unwrap();
    sleep(301 * MS).await;
    assert!(frames.is_closed());
}

#[tokio::test(start_paused = true)]
async fn after_headers_others_get_an_error() {
    let (frames, inner) = scripted();
    let service = DeadlineLayer::new().cap(2 * MS).layer(inner);
    let mut body = service.oneshot(plain()).await.unwrap().into_body();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref::<Elapsed>().unwrap().limit(), 2 * MS);
    assert!(frames.is_closed());
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_always_has_more_does_not_escape() {
    let inner = service_fn(|_: Request<()>| {
        let endless = tokio_stream::iter(std::iter::repeat(()))
            .map(|()| Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x"))));
        ready(Ok::<_, Infallible>(Response::new(StreamBody::new(endless))))
    });
    let mut body = DeadlineLayer::new().layer(inner).oneshot(grpc(Some("5m"))).await.unwrap().into_body();
    let mut seen = 0;
    loop {
        let frame = body.frame().await.unwrap().unwrap();
        if let Some(trailers) = frame.trailers_ref() {
            assert_eq!(trailers["grpc-status"], "4");
            break;
        }
        seen += 1;
        tokio::time::advance(MS).await;
    }
    assert!((4..=6).contains(&seen), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_time_passes_unchanged_and_stays_ended() {
    let (frames, inner) = scripted();
    let response = DeadlineLayer::new().layer(inner).oneshot(grpc(Some("5m"))).await.unwrap();
    let mut body = response.into_body();
    frames.send(Ok(Frame::data("one".into()))).unwrap();
    frames.send(Ok(Frame::trailers(ok_trailers()))).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap(), ok_trailers());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(body.frame().await.is_none(), "no second status");
}

#[tokio::test(start_paused = true)]
async fn a_response_in_one_header_block_stays_one() {
    let service = DeadlineLayer::new().layer(after(Duration::ZERO));
    assert!(service.oneshot(grpc(Some("1S"))).await.unwrap().body().is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trailers_may_cut_short_promises_no_length() {
    let inner = service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("12345")))))
    });
    let service = DeadlineLayer::new().cap(MS).layer(inner);
    let hint = service.clone().oneshot(grpc(None)).await.unwrap().body().size_hint();
    assert_eq!((hint.lower(), hint.upper()), (0, Some(5)));
    assert_eq!(service.oneshot(plain()).await.unwrap().body().size_hint().exact(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn the_inner_future_is_dropped_when_the_deadline_passes_and_not_when_it_is_polled_next() {
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let inner = service_fn({
        let dropped = dropped.clone();
        move |_: Request<()>| {
            let flag = Flag(dropped.clone());
            async move {
                let _flag = flag;
                pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
            }
        }
    });
    let mut future = Box::pin(DeadlineLayer::new().layer(inner).oneshot(grpc(Some("1m"))));
    std::future::poll_fn(|cx| future.as_mut().poll(cx).map(drop)).await;
    assert!(dropped.load(SeqCst), "while the finished future still lives");
}

proptest! {
    #[test]
    fn no_header_panics_and_what_is_told_is_no_more_than_was_asked(text in "[0-9]{0,9}[HMSmunx]?") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let service = DeadlineLayer::new().layer(after(Duration::ZERO));
            let response = service.oneshot(grpc(Some(&text))).await.unwrap();
            match timeout::parse(&text) {
                Err(_) => prop_assert_eq!(&response.headers()["grpc-status"], "3"),
                Ok(Duration::ZERO) => prop_assert_eq!(&response.headers()["grpc-status"], "4"),
                Ok(asked) => {
                    // Eight digits may not say it exactly, and are rounded up.
                    let told = told(&response);
                    prop_assert!(told <= timeout::parse(timeout::encode(asked)).unwrap(), "{:?} {:?}", told, asked);
                }
            }
            Ok(())
        })?;
    }
}

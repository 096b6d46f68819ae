mod body;

use std::{
    convert::Infallible,
    future::{Future, pending, ready},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
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

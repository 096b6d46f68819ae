use std::{
    convert::Infallible,
    future::{Future, ready},
    io,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_service::Service;

use super::*;

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

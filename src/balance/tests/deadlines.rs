//! Deadlines of calls that were sent.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::poll;
use http_body::Frame;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::{
    calls::{connected, in_flight},
    scripted::{address, request},
};
use crate::{
    connect::SendError,
    error::{Error, Phase},
    grpc::Code,
};

#[tokio::test(start_paused = true)]
async fn a_deadline_covers_headers_and_the_whole_body() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let timed = || {
        let mut request = request();
        request.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
        balance.clone().call(request)
    };
    let error = timed().await.expect_err("no headers come");
    assert_eq!((error.code(), error.phase()), (Code::DeadlineExceeded, Phase::Stream));
    assert_eq!(error.endpoint().expect("it was sent").addresses()[0], address(1));
    assert!(peers[0].received().expect("the call was sent").is_cancelled());

    let mut call = pin!(timed());
    assert!(poll!(&mut call).is_pending());
    let frames = peers[0].received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    frames.send(Ok(Frame::data(Bytes::from_static(b"x")))).expect("the body is read");
    body.frame().await.expect("a frame").expect("data");
    let error = body.frame().await.expect("an end").expect_err("the deadline passes");
    assert!(error.is_deadline_exceeded());
    assert!(frames.is_closed(), "the stream is cut");
    assert!(body.frame().await.is_none());
    assert_eq!(in_flight(&balance), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endless_stream_that_is_always_ready_ends_at_its_deadline() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let mut request = request();
    request.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
    let mut call = pin!(balance.clone().call(request));
    assert!(poll!(&mut call).is_pending());
    let frames = peers[0].received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    for second in 0..3 {
        frames.send(Ok(Frame::data(Bytes::from_static(b"x")))).expect("sent while the body is read");
        match body.frame().await.expect("a frame") {
            Ok(_) => assert!(second < 2),
            Err(error) => {
                assert!(error.is_deadline_exceeded());
                return;
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    panic!("the stream went on past its deadline");
}

/// A server that keeps the deadline too may be heard before our own timer is.
#[tokio::test(start_paused = true)]
async fn a_cancellation_by_the_server_after_the_deadline_is_the_deadline() {
    let (balance, mut peers, _rest) = connected(1, usize::MAX).await;
    let cancelled = || Error::new(Code::Cancelled, Phase::Stream, "the stream was reset");
    for (after, code) in [(500, Code::Cancelled), (1000, Code::DeadlineExceeded)] {
        let mut timed = request();
        timed.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
        let mut call = pin!(balance.clone().call(timed));
        assert!(poll!(&mut call).is_pending());
        let received = peers[0].received().expect("the call was sent");
        tokio::time::advance(Duration::from_millis(after)).await;
        received.answer.send(Err(SendError::Failed(cancelled()))).expect("the call is still wanted");
        let error = call.await.expect_err("it was reset");
        assert_eq!((error.code(), error.is_safe_to_retry()), (code, false), "after {after} ms");

        let mut timed = request();
        timed.headers_mut().insert("grpc-timeout", "1S".parse().expect("a header value"));
        let mut call = pin!(balance.clone().call(timed));
        assert!(poll!(&mut call).is_pending());
        let frames = peers[0].received().expect("the call was sent").stream();
        let mut body = call.await.expect("headers").into_body();
        tokio::time::advance(Duration::from_millis(after)).await;
        frames.send(Err(cancelled())).expect("the body is read");
        let error = body.frame().await.expect("an end").expect_err("it was reset");
        assert_eq!((error.code(), error.is_safe_to_retry()), (code, false), "after {after} ms");
    }
    assert_eq!((balance.stats().expired, in_flight(&balance)), (2, 0));
}

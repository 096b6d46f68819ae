//! Calls that are given up, by either side, thousands of times: no permit leaks and the connection lives on.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::poll;
use grpc_balance::connect::SendError;
use h2::Reason;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};

use crate::{
    calls::wait_for_idle,
    support::{Client, client_of, drain, fed, post},
};

const ROUNDS: usize = 3000;

/// Serves a request without a body with `odd`, and any other with 204.
macro_rules! client_of {
    (|$request:ident, $respond:ident| $odd:expr) => {
        client_of(async |mut $request, mut $respond| {
            if drain($request.body_mut()).await > 0 {
                let response = Response::builder().status(204).body(()).unwrap();
                $respond.send_response(response, true).unwrap();
            } else {
                $odd
            }
        })
        .await
    };
}

async fn assert_unharmed(client: &Client) {
    wait_for_idle(client).await;
    let response = client.call(Full::new(Bytes::from("hello"))).await.unwrap();
    assert_eq!(response.status(), 204);
}

#[tokio::test]
async fn futures_dropped_before_the_headers() {
    let client = client_of!(|request, respond| {
        let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    for round in 0..ROUNDS {
        let mut call = client.send(post(Empty::<Bytes>::new()));
        // Some were never polled, some have reached the peer.
        for _ in 0..round % 3 {
            assert!(poll!(&mut call).is_pending());
            tokio::task::yield_now().await;
        }
        drop(call);
        assert_eq!(client.gate.live(), 0);
    }
    assert_unharmed(&client).await;
}

#[tokio::test]
async fn bodies_dropped_half_read() {
    let client = client_of!(|request, respond| {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        let _ = body.send_data(Bytes::from_static(&[0; 1000]), false);
        let _ = body.send_data(Bytes::from_static(&[0; 1000]), false);
        let _ = poll_fn(|cx| body.poll_reset(cx)).await;
    });
    for _ in 0..ROUNDS {
        let mut response = client.call(Empty::<Bytes>::new()).await.unwrap();
        assert!(response.body_mut().frame().await.unwrap().unwrap().is_data());
        drop(response);
        assert_eq!(client.gate.live(), 0);
    }
    assert_unharmed(&client).await;
}

#[tokio::test]
async fn resets_before_the_headers() {
    let client = client_of!(|request, respond| respond.send_reset(Reason::CANCEL));
    for _ in 0..ROUNDS {
        let result = client.call(Empty::<Bytes>::new()).await;
        assert!(matches!(result, Err(SendError::Failed(error)) if !error.is_safe_to_retry()));
        assert_eq!(client.gate.live(), 0);
    }
    assert_unharmed(&client).await;
}

#[tokio::test]
async fn bidirectional_calls_dropped_while_both_halves_are_open() {
    let client = client_of(async |mut request, mut respond| {
        let status = if request.headers().contains_key("x-last") { 204 } else { 200 };
        let response = Response::builder().status(status).body(()).unwrap();
        let mut body = respond.send_response(response, false).unwrap();
        drain(request.body_mut()).await;
        let _ = body.send_data(Bytes::new(), true);
    })
    .await;
    for _ in 0..ROUNDS {
        let (feed, body) = fed();
        let mut response = client.call(body).await.unwrap();
        assert!(poll!(response.body_mut().frame()).is_pending());
        drop(response);
        assert_eq!(client.gate.live(), 1, "the task that uploads still holds the stream");
        feed.closed().await;
        wait_for_idle(&client).await;
    }
    wait_for_idle(&client).await;
    let mut last = post(Full::new(Bytes::from("hello")));
    last.headers_mut().insert("x-last", "1".parse().unwrap());
    assert_eq!(client.send(last).await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_permit_is_free_only_when_both_halves_are_gone() {
    let client = client_of(async |mut request, mut respond| {
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        drain(request.body_mut()).await;
        let _ = body.send_data(Bytes::from("done"), true);
    })
    .await;
    let (feed, body) = fed();
    let response = client.call(body).await.unwrap();
    assert_eq!(client.gate.live(), 1);
    feed.send(Frame::data(Bytes::from("last"))).await.unwrap();
    drop(feed);
    assert_eq!(client.gate.live(), 1);
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "done");
    assert!(body.frame().await.is_none());
    wait_for_idle(&client).await;
}

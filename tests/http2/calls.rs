//! What a call looks like on the wire, and what comes back.

use std::{convert::Infallible, error::Error as _, io};

use bytes::Bytes;
use grpc_balance::{
    connect::{SendError, http2::Http2Config},
    grpc::Code,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use crate::support::{
    Client, client_of, drain, fed, post,
    raw::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, RST_STREAM, RawFrame, STATUS_200},
};

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in pairs {
        trailers.append(*name, HeaderValue::from_static(value));
    }
    trailers
}

/// The frames that a request makes, as (kind, carries END_STREAM).
async fn frames_of<B>(body: B) -> Vec<(u8, bool)>
where
    B: http_body::Body<Data = Bytes, Error: Into<grpc_balance::error::BoxError>>
        + Send
        + std::fmt::Debug
        + 'static,
{
    let (near, mut peer) = Peer::new();
    let script = tokio::spawn(async move {
        peer.greet(None).await;
        let frames = peer.read_stream(1).await;
        peer.write(HEADERS, END_STREAM | END_HEADERS, 1, STATUS_200).await;
        (frames, peer)
    });
    let client = Client::over(near, Http2Config::new()).await;
    let response = client.call(body).await.unwrap();
    assert!(response.body().is_end_stream());
    let (frames, _peer) = script.await.unwrap();
    frames.iter().map(|frame: &RawFrame| (frame.kind, frame.ends_stream())).collect()
}

#[tokio::test]
async fn a_unary_request_is_one_headers_and_one_data_frame() {
    assert_eq!(frames_of(Full::new(Bytes::from("hello"))).await, [(HEADERS, false), (DATA, true)]);
}

#[tokio::test]
async fn a_body_that_shows_its_end_only_when_polled_still_ends_with_its_data() {
    let frames = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("hello")))]);
    assert_eq!(frames_of(StreamBody::new(frames)).await, [(HEADERS, false), (DATA, true)]);
}

#[tokio::test]
async fn an_empty_request_is_one_headers_frame() {
    assert_eq!(frames_of(Empty::new()).await, [(HEADERS, true)]);
}

#[tokio::test]
async fn request_trailers_follow_the_data() {
    let frames = futures_util::stream::iter([
        Ok::<_, Infallible>(Frame::data(Bytes::from("hello"))),
        Ok(Frame::trailers(trailers(&[("x-checksum", "1")]))),
    ]);
    assert_eq!(frames_of(StreamBody::new(frames)).await, [(HEADERS, false), (DATA, false), (HEADERS, true)]);
}

#[tokio::test]
async fn a_head_arrives_as_it_was_given() {
    let client = client_of(async |request, mut respond| {
        assert_eq!(request.uri(), "http://greeter:50051/pkg.Service/Method");
        assert_eq!(request.headers()["te"], "trailers");
        let values: Vec<_> = request.headers().get_all("x-dup").iter().cloned().collect();
        assert_eq!(values, ["1", "2", "3"]);
        assert_eq!(request.headers()["key-bin"], "AAEC");
        let mut response = Response::builder();
        for value in values {
            response = response.header("x-echo", value);
        }
        let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "0"), ("x-t", "b"), ("x-t", "a")])).unwrap();
    })
    .await;
    let mut request = post(Empty::<Bytes>::new());
    for value in ["1", "2", "3"] {
        request.headers_mut().append("x-dup", HeaderValue::from_static(value));
    }
    request.headers_mut().append("key-bin", HeaderValue::from_static("AAEC"));
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers().get_all("x-echo").iter().collect::<Vec<_>>(), ["1", "2", "3"]);
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap();
    assert_eq!(trailers.get_all("x-t").iter().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn a_requests_own_authority_wins() {
    let client = client_of(async |request, mut respond| {
        assert_eq!(request.uri(), "http://own.example:1/a");
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;
    let request = Request::post("https://own.example:1/a").body(Empty::<Bytes>::new()).unwrap();
    client.send(request).await.unwrap();
}

#[tokio::test]
async fn a_trailers_only_response_is_at_its_end_from_the_start() {
    let client = client_of(async |_, mut respond| {
        let response = Response::builder().header("grpc-status", "5").body(()).unwrap();
        respond.send_response(response, true).unwrap();
    })
    .await;
    let mut response = client.call(Full::new(Bytes::from("hello"))).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(response.headers()["grpc-status"], "5");
    assert!(response.body_mut().frame().await.is_none());
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn headers_and_trailers_without_data_are_no_trailers_only_response() {
    let client = client_of(async |_, mut respond| {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let response = client.call(Empty::new()).await.unwrap();
    assert!(!response.body().is_end_stream());
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_response_that_ends_first_stops_the_upload_and_is_no_error() {
    let client = client_of(async |mut request, mut respond| {
        assert!(request.body_mut().data().await.is_some());
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from("enough"), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
        // Dropping the request now sends RST_STREAM(NO_ERROR).
    })
    .await;
    let (feed, body) = fed();
    feed.send(Frame::data(Bytes::from("first"))).await.unwrap();
    let response = client.call(body).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes(), "enough");
    feed.closed().await;
    wait_for_idle(&client).await;
}

#[tokio::test]
async fn a_trailers_only_response_stops_the_upload_too() {
    let client = client_of(async |_, mut respond| {
        respond.send_response(Response::new(()), true).unwrap();
    })
    .await;
    let (feed, body) = fed();
    let response = client.call(body).await.unwrap();
    assert!(response.body().is_end_stream());
    feed.closed().await;
    drop(response);
    assert_eq!(client.gate.live(), 0);
}

#[tokio::test]
async fn a_failing_request_body_resets_the_stream_and_is_the_source_of_the_error() {
    let (near, mut peer) = Peer::new();
    let script = tokio::spawn(async move {
        peer.greet(None).await;
        peer.read_stream(1).await
    });
    let client = Client::over(near, Http2Config::new()).await;
    let frames =
        futures_util::stream::iter([Ok(Frame::data(Bytes::from("a"))), Err(io::Error::other("torn"))]);
    let Err(SendError::Failed(error)) = client.call(StreamBody::new(frames)).await else {
        panic!("the call cannot have succeeded")
    };
    assert_eq!(error.code(), Code::Cancelled);
    assert_eq!(error.source().unwrap().to_string(), "torn");
    assert!(!error.is_safe_to_retry());
    assert_eq!(client.gate.live(), 0);
    let last = script.await.unwrap().pop().unwrap();
    assert!(last.is(RST_STREAM));
    assert_eq!(&last.payload[..], 8u32.to_be_bytes(), "CANCEL");
}

#[tokio::test]
async fn a_request_body_that_fails_after_the_headers_fails_the_response() {
    let client = client_of(async |mut request, mut respond| {
        let _stream = respond.send_response(Response::new(()), false).unwrap();
        drain(request.body_mut()).await;
    })
    .await;
    let (fail, failure) = tokio::sync::oneshot::channel();
    let frames = futures_util::stream::once(async {
        failure.await.unwrap();
        Err::<Frame<Bytes>, _>(io::Error::other("torn"))
    });
    let Ok(mut response) = client.call(StreamBody::new(frames)).await else { panic!("no headers came") };
    fail.send(()).unwrap();
    let error = response.body_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "torn");
    drop(response);
    wait_for_idle(&client).await;
}

#[tokio::test]
async fn resets_have_the_codes_of_grpc() {
    let (near, mut peer) = Peer::new();
    let table = [
        (0x7, Code::Unavailable),
        (0x8, Code::Cancelled),
        (0xb, Code::ResourceExhausted),
        (0xc, Code::PermissionDenied),
        (0x1, Code::Internal),
        (0x2, Code::Internal),
        (0x3, Code::Internal),
        (0x5, Code::Internal),
    ];
    tokio::spawn(async move {
        peer.greet(None).await;
        for (reason, _) in table {
            let stream = peer.expect(HEADERS).await.stream;
            peer.write(HEADERS, END_HEADERS, stream, STATUS_200).await;
            peer.reset(stream, reason).await;
        }
        std::future::pending::<()>().await;
    });
    let client = Client::over(near, Http2Config::new()).await;
    for (reason, code) in table {
        let response = client.call(Empty::<Bytes>::new()).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert_eq!(error.code(), code, "RST_STREAM {reason:#x}");
        assert_eq!(error.endpoint().unwrap().to_string(), "10.0.0.1:50051");
        assert!(!error.is_safe_to_retry(), "a server that sent headers has acted");
    }
    assert_eq!(client.gate.live(), 0);
}

/// A task gives up its half of a stream a moment after the other half is gone.
pub(crate) async fn wait_for_idle(client: &Client) {
    while client.gate.live() > 0 {
        tokio::task::yield_now().await;
    }
}

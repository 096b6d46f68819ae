//! The whole layer, stimulus by stimulus, as a proxy has it.

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header::HOST};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use tokio::time::{Instant, timeout};
use tower::{ServiceExt, service_fn};

use crate::{
    error::BoxError,
    grpc::Code,
    reply::{self, Caller},
    web::{GrpcWeb, RequestBody},
};

type Inner = BoxBody<Bytes, BoxError>;
type Received = Request<RequestBody<Full<Bytes>>>;

fn boxed(body: impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static) -> Inner {
    body.map_err(Into::into).boxed()
}

const SOON: Duration = Duration::from_secs(20);

const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";

/// A backend that repeats what it is sent, with OK.
fn echoed(body: Bytes) -> Response<Inner> {
    let ok = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let frames = [Frame::data(body), Frame::trailers(ok)].map(Ok::<_, BoxError>);
    let mut response = Response::new(boxed(StreamBody::new(futures_util::stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("content-length", HeaderValue::from_static("7"));
    response
}

fn ask(content_type: &str, accept: Option<&str>, body: &'static [u8]) -> Request<Full<Bytes>> {
    let mut request = Request::post("/a.B/C").header("content-type", content_type);
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    request.body(Full::from(body)).unwrap()
}

/// What the caller gets from a backend that answers so.
async fn through(request: Request<Full<Bytes>>, answer: impl FnOnce() -> Response<Inner>) -> Response<Bytes> {
    let mut answer = Some(answer);
    let inner = service_fn(move |_: Received| {
        let answer = answer.take().map(|answer| answer());
        async move { Ok::<_, Infallible>(answer.unwrap()) }
    });
    whole(GrpcWeb::new(inner).oneshot(request).await.unwrap()).await
}

async fn whole<B: HttpBody<Error: std::fmt::Debug>>(response: Response<B>) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn web() -> Request<Full<Bytes>> {
    ask("application/grpc-web+proto", None, MESSAGE)
}

#[tokio::test]
async fn every_content_type_gets_the_reply_that_envoy_gives() {
    const BINARY: &[u8] = b"\0\0\0\0\x02hi\x80\0\0\0\x0fgrpc-status:0\r\n";
    const TEXT: &[u8] = b"AAAAAAJoaQ==gAAAAA9ncnBjLXN0YXR1czowDQo=";
    const TEXT_MESSAGE: &[u8] = b"AAAAAAJoaQ==";
    let text = Some("application/grpc-web-text");
    for (content_type, accept, body, expected_type, expected) in [
        ("application/grpc-web", None, MESSAGE, "application/grpc-web+proto", BINARY),
        ("application/grpc-web+proto; charset=utf-8", None, MESSAGE, "application/grpc-web+proto", BINARY),
        ("application/grpc-web+json", Some("*/*"), MESSAGE, "application/grpc-web+json", BINARY),
        ("application/grpc-web-text", None, TEXT_MESSAGE, "application/grpc-web+proto", BINARY),
        ("application/grpc-web-text", text, TEXT_MESSAGE, "application/grpc-web-text+proto", TEXT),
        ("application/grpc-web-text+proto", text, TEXT_MESSAGE, "application/grpc-web-text+proto", TEXT),
        ("application/grpc-web", text, MESSAGE, "application/grpc-web-text+proto", TEXT),
    ] {
        let inner = service_fn(async |request: Received| {
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(echoed(body))
        });
        let response = GrpcWeb::new(inner).oneshot(ask(content_type, accept, body)).await.unwrap();
        let response = whole(response).await;
        assert_eq!(header(&response, "content-type"), expected_type, "{content_type} {accept:?}");
        assert_eq!(response.body(), expected, "{content_type} {accept:?}");
        assert_eq!(header(&response, "content-length"), "", "it was the backend's");
    }
}

#[tokio::test]
async fn the_backend_gets_a_grpc_request_and_nothing_of_http_1() {
    let inner = service_fn(async |request: Received| {
        let mut left: Vec<_> =
            request.headers().iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
        left.sort_unstable();
        let expected = [
            ("content-type", "application/grpc+proto"),
            ("grpc-accept-encoding", "identity"),
            ("grpc-timeout", "5S"),
            ("host", "api.example"),
            ("te", "trailers"),
            ("x-grpc-web", "1"),
        ];
        assert_eq!(left, expected);
        assert_eq!(request.version(), Version::HTTP_2);
        Ok::<_, Infallible>(echoed(Bytes::new()))
    });
    let mut request = ask("application/grpc-web+proto;charset=utf-8", Some("application/grpc-web"), MESSAGE);
    for (name, value) in [
        ("host", "api.example"),
        ("content-length", "7"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("x-grpc-web", "1"),
        ("grpc-timeout", "5S"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let response = GrpcWeb::new(inner).oneshot(request).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
}

#[tokio::test]
async fn what_is_no_grpc_web_passes_untouched() {
    let native = |method: Method, content_type: &'static str| {
        let request = Request::builder().method(method).uri("/x").header("content-type", content_type);
        request
            .header("accept", "application/grpc-web-text")
            .header(HOST, "h")
            .body(Full::from("\u{0}x"))
            .unwrap()
    };
    for request in [
        native(Method::POST, "application/grpc"),
        native(Method::POST, "application/grpc+proto"),
        native(Method::GET, "application/grpc-web"),
        native(Method::OPTIONS, "application/grpc-web"),
        native(Method::POST, "application/json"),
    ] {
        let sent = request.headers().clone();
        let inner = service_fn(move |request: Received| {
            assert_eq!(request.headers(), &sent);
            async { Ok::<_, BoxError>(reply::text(StatusCode::IM_A_TEAPOT, "mine").map(boxed)) }
        });
        let response = whole(GrpcWeb::new(inner).oneshot(request).await.unwrap()).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(
            (header(&response, "content-length"), response.body().as_ref()),
            ("4", b"mine".as_slice())
        );
    }
}

#[tokio::test]
async fn an_error_without_a_body_stays_in_the_headers() {
    for accept in [None, Some("application/grpc-web-text")] {
        let request = ask("application/grpc-web+proto", accept, MESSAGE);
        let response = through(request, || {
            let mut response = Caller::Grpc.reply(Code::NotFound, "no such caf\u{e9}").map(boxed);
            response.headers_mut().insert("custom-header-1", HeaderValue::from_static("x"));
            response
        });
        let response = response.await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "grpc-status"), "5");
        assert_eq!(header(&response, "grpc-message"), "no such caf%C3%A9");
        assert_eq!(header(&response, "custom-header-1"), "x");
        assert_eq!(header(&response, "content-length"), "0");
        assert!(header(&response, "content-type").starts_with("application/grpc-web"));
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn an_empty_ok_has_its_trailers_frame_wherever_the_backend_said_it() {
    let response = through(web(), || Caller::Grpc.reply(Code::Ok, "").map(boxed)).await;
    assert_eq!(response.body().as_ref(), b"\x80\0\0\0\x0fgrpc-status:0\r\n");
    assert_eq!(header(&response, "grpc-status"), "", "it is said once");
}

#[tokio::test]
async fn a_page_of_http_becomes_a_status_with_the_start_of_its_text() {
    let long = "x".repeat(5_000);
    for (status, text, code, message) in [
        (503, "no healthy upstream", "14", "no healthy upstream"),
        (404, "", "12", "the response was HTTP 404 Not Found, not gRPC"),
        (429, "slow down\n", "14", "slow down"),
        (401, "who?", "16", "who?"),
        (500, "100 %", "2", "100 %25"),
        (200, "<html>", "2", "<html>"),
        (502, &long, "14", &long[..1024]),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let response = through(web(), || reply::text(status, text).map(boxed)).await;
        assert_eq!(response.status(), StatusCode::OK, "else a browser's client reads no message");
        assert_eq!((header(&response, "grpc-status"), header(&response, "grpc-message")), (code, message));
        assert_eq!(header(&response, "content-length"), "0");
        assert_eq!(header(&response, "content-type"), "application/grpc-web+proto");
        assert!(response.body().is_empty());
    }
}

#[tokio::test]
async fn a_page_that_never_ends_or_breaks_off_is_read_only_as_far_as_is_needed() {
    let endless = StreamBody::new(futures_util::stream::iter(std::iter::repeat_with(|| {
        Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"no\xc3\xa9")))
    })));
    let response = through(web(), || {
        let mut response = Response::new(boxed(endless));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    assert!(header(&response.await, "grpc-message").starts_with("no%C3%A9no"));
    let broken =
        futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"start"))), Err(BoxError::from("x"))]);
    let response = through(web(), || {
        let mut response = Response::new(boxed(StreamBody::new(broken)));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    });
    assert_eq!(header(&response.await, "grpc-message"), "start");
}

#[tokio::test]
async fn a_grpc_status_wins_over_the_http_status_and_a_packed_page_is_not_unpacked() {
    let response = through(web(), || {
        let mut response = Caller::Grpc.reply(Code::Aborted, "again").map(boxed);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    })
    .await;
    assert_eq!((response.status(), header(&response, "grpc-status")), (StatusCode::OK, "10"));
    let response = through(web(), || {
        let mut response = reply::text(StatusCode::BAD_GATEWAY, "\u{1f}packed").map(boxed);
        response.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
        response
    })
    .await;
    assert_eq!(header(&response, "grpc-message"), "the response was HTTP 502 Bad Gateway, not gRPC");
    assert_eq!(header(&response, "content-encoding"), "");
}

#[tokio::test(start_paused = true)]
async fn a_bad_request_is_answered_whatever_the_inner_service_makes_of_it() {
    let reports = service_fn(async |request: Received| {
        let _ = request.into_body().collect().await;
        Ok::<_, Infallible>(Caller::Grpc.reply(Code::Cancelled, "the body broke").map(boxed))
    });
    let fails = service_fn(async |request: Received| match request.into_body().collect().await {
        Ok(_) => Ok(Response::new(boxed(Empty::new()))),
        Err(error) => Err(error),
    });
    // Reads the body in another task, and waits for an answer that never comes.
    let hangs = service_fn(async |request: Received| {
        tokio::spawn(request.into_body().collect());
        pending::<Result<Response<Inner>, Infallible>>().await
    });
    let request = || ask("application/grpc-web-text", None, b"AAAA!AAA");
    let start = Instant::now();
    for response in [
        GrpcWeb::new(reports).oneshot(request()).await.unwrap(),
        GrpcWeb::new(fails).oneshot(request()).await.unwrap(),
        timeout(SOON, GrpcWeb::new(hangs).oneshot(request())).await.unwrap().unwrap(),
    ] {
        let response = whole(response).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(header(&response, "grpc-status"), "13");
        assert!(header(&response, "grpc-message").contains("no base64"));
        assert_eq!(header(&response, "content-type"), "application/grpc-web+proto");
        assert_eq!(header(&response, "content-length"), "0");
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "the response is woken");
}

#[tokio::test]
async fn a_request_that_turns_bad_after_headers_ends_with_a_status() {
    let inner = service_fn(async |request: Received| {
        let frames = request.into_body().map_err(|_| BoxError::from("the request broke"));
        let mut response = Response::new(boxed(frames));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        Ok::<_, Infallible>(response)
    });
    let request = ask("application/grpc-web-text", None, b"AAAAAAJoaQ==AAA!");
    let response = whole(GrpcWeb::new(inner).oneshot(request).await.unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let end = String::from_utf8_lossy(response.body());
    assert!(end.contains("grpc-status:13\r\n") && end.contains("no base64"), "{end}");
}

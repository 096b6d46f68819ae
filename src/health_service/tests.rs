use std::{convert::Infallible, time::Duration};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt as _, poll, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use tokio::time::timeout;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::{
    grpc::{Code, message, status_of},
    health::{
        Health, Summary,
        proto::{
            CHECK, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse, LIST,
            ServingStatus, WATCH,
        },
    },
    serving::{Registry, Status},
};

fn call_with<B>(path: &str, body: B) -> Request<B> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/grpc");
    request.body(body).unwrap()
}

fn call(path: &str, service: &str) -> Request<Full<Bytes>> {
    call_with(path, Full::new(frame::encode(&HealthCheckRequest { service: service.to_owned() })))
}

fn list() -> Request<Full<Bytes>> {
    call_with(LIST, Full::new(frame::encode(&HealthListRequest {})))
}

async fn answer<B: HttpBody>(registry: &Registry, request: Request<B>) -> Response<Body> {
    HealthService::new(registry.clone()).oneshot(request).await.unwrap()
}

fn message_of<M: Message + Default>(mut frame: Bytes) -> M {
    assert_eq!((frame.get_u8(), frame.get_u32() as usize), (0, frame.len()));
    M::decode(frame).unwrap()
}

/// The message of a call that succeeded.
async fn reply<M: Message + Default>(response: Response<Body>) -> M {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
    assert_eq!(status_of(response.status(), response.headers()), None, "not trailers only");
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().expect("trailers").clone();
    assert_eq!(status_of(StatusCode::OK, &trailers), Some(Code::Ok));
    message_of(body.to_bytes())
}

/// The code of a call that was refused by trailers only.
fn refusal<B: HttpBody>(response: &Response<B>) -> Code {
    assert_eq!((response.status(), response.body().is_end_stream()), (StatusCode::OK, true));
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
    status_of(response.status(), response.headers()).expect("a status")
}

async fn check(registry: &Registry, service: &str) -> ServingStatus {
    reply::<HealthCheckResponse>(answer(registry, call(CHECK, service)).await).await.status()
}

/// The next message of a watch, or its trailers. `None` when none comes, however long one waits: the clock is paused.
async fn next(body: &mut Body) -> Option<Result<ServingStatus, HeaderMap>> {
    let frame = timeout(Duration::from_secs(3600), body.frame()).await.ok()?;
    Some(match frame.expect("a frame").unwrap().into_data() {
        Ok(data) => Ok(message_of::<HealthCheckResponse>(data).status()),
        Err(frame) => Err(frame.into_trailers().unwrap()),
    })
}

#[tokio::test]
async fn check_tells_the_status_and_does_not_find_the_unknown() {
    let registry = Registry::new();
    registry.set("a.B", Status::NotServing);
    assert_eq!(check(&registry, "").await, ServingStatus::Serving);
    assert_eq!(check(&registry, "a.B").await, ServingStatus::NotServing);
    let unknown = answer(&registry, call(CHECK, "a.C")).await;
    assert_eq!(refusal(&unknown), Code::NotFound);
    assert_eq!(message::decode(&unknown.headers()[message::HEADER]), "there is no service `a.C`");
}

#[tokio::test]
async fn check_follows_clusters() {
    let (registry, (reporter, health)) = (Registry::new(), Health::new("a"));
    registry.follow("a.B", health);
    assert_eq!(check(&registry, "a.B").await, ServingStatus::NotServing);
    reporter.report(Summary::of(1).healthy(1));
    assert_eq!(check(&registry, "a.B").await, ServingStatus::Serving);
}

#[tokio::test(start_paused = true)]
async fn one_watch_sees_unknown_then_registered_then_the_shutdown() {
    let registry = Registry::new();
    let response = answer(&registry, call(WATCH, "a.B")).await;
    assert_eq!(status_of(response.status(), response.headers()), None);
    let mut body = response.into_body();
    assert_eq!(next(&mut body).await, Some(Ok(ServingStatus::ServiceUnknown)));
    assert_eq!(next(&mut body).await, None, "it stays open");
    registry.set("a.B", Status::Serving);
    assert_eq!(next(&mut body).await, Some(Ok(ServingStatus::Serving)));
    registry.set("a.B", Status::NotServing);
    registry.set("a.B", Status::Serving);
    assert_eq!(next(&mut body).await, None, "a slow reader gets the latest, which it knows");

    registry.drain().start();
    registry.set("a.B", Status::Serving);
    assert_eq!(next(&mut body).await, Some(Ok(ServingStatus::NotServing)));
    assert_eq!(next(&mut body).await, None);
    registry.drain().close();
    let Some(Err(trailers)) = next(&mut body).await else { panic!("no trailers") };
    assert_eq!(status_of(StatusCode::OK, &trailers), Some(Code::Unavailable), "a watch never succeeds");
    assert!(body.is_end_stream() && body.frame().await.is_none());
}

#[tokio::test]
async fn after_the_drain_everything_known_is_not_serving() {
    let registry = Registry::new();
    registry.set("a.B", Status::Serving);
    registry.drain().start();
    registry.set("a.C", Status::Serving);
    assert_eq!(check(&registry, "").await, ServingStatus::NotServing);
    assert_eq!(check(&registry, "a.B").await, ServingStatus::NotServing);
    assert_eq!(refusal(&answer(&registry, call(CHECK, "a.C")).await), Code::NotFound);
}

#[tokio::test]
async fn list_tells_all_up_to_a_hundred() {
    let registry = Registry::new();
    registry.set("a.B", Status::NotServing);
    let statuses = |reply: HealthListResponse| -> Vec<_> {
        reply.statuses.into_iter().map(|(name, status)| (name, status.status())).collect()
    };
    let told = statuses(reply(answer(&registry, list()).await).await);
    assert_eq!(told, [(String::new(), ServingStatus::Serving), ("a.B".into(), ServingStatus::NotServing)]);

    for i in 2..100 {
        registry.set(format!("service {i}"), Status::Serving);
    }
    assert_eq!(statuses(reply(answer(&registry, list()).await).await).len(), 100);
    registry.set("one more", Status::Serving);
    assert_eq!(refusal(&answer(&registry, list()).await), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_may_come_in_pieces_and_with_trailers() {
    let whole = frame::encode(&HealthCheckRequest { service: String::new() });
    let pieces = whole.chunks(2).map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
    let frames: Vec<_> = pieces.chain([Frame::trailers(HeaderMap::new())]).map(Ok::<_, Infallible>).collect();
    let response = answer(&Registry::new(), call_with(CHECK, StreamBody::new(stream::iter(frames)))).await;
    assert_eq!(reply::<HealthCheckResponse>(response).await.status(), ServingStatus::Serving);
}

#[tokio::test]
async fn what_is_no_proper_call_is_refused() {
    let registry = Registry::new();
    for (path, bytes, expected) in [
        ("/grpc.health.v1.Health/Chekc", &b"\0\0\0\0\0"[..], Code::Unimplemented),
        ("/grpc.health.v1.Health/", b"\0\0\0\0\0", Code::Unimplemented),
        ("/", b"", Code::Unimplemented),
        (CHECK, b"", Code::Unimplemented),
        (CHECK, b"\0\0\0\0\0\0\0\0\0\0", Code::Unimplemented),
        (CHECK, b"\x01\0\0\0\0", Code::Unimplemented),
        (CHECK, b"\0\0\0\0\x01", Code::Internal),
        (WATCH, b"\0\0\0\0\x01", Code::Internal),
        (LIST, b"\0\0\0\0\x01", Code::Internal),
        (CHECK, b"\0\0\x10\0\0", Code::ResourceExhausted),
    ] {
        let response = answer(&registry, call_with(path, Full::new(Bytes::from_static(bytes)))).await;
        assert_eq!(refusal(&response), expected, "{path} {bytes:?}");
    }
    let compressed = call_with(CHECK, Full::new(Bytes::from_static(b"\x01\0\0\0\0")));
    assert_eq!(answer(&registry, compressed).await.headers()["grpc-accept-encoding"], "identity");
}

#[tokio::test(start_paused = true)]
async fn what_is_clearly_wrong_is_refused_before_its_end() {
    let (registry, frames) =
        (Registry::new(), |bytes: &'static [u8]| stream::iter([Ok(Frame::data(Bytes::from_static(bytes)))]));
    for bytes in [&b"\0\xff\xff\xff\xff"[..], b"\x01", b"\0\0\0\0\0\0"] {
        let endless = frames(bytes).chain(stream::pending::<Result<_, Infallible>>());
        let response = answer(&registry, call_with(CHECK, StreamBody::new(endless)));
        let refused = timeout(Duration::from_secs(5), response).await.is_ok();
        assert_eq!(refused, bytes.len() >= 5, "{bytes:?}");
    }
    let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"\0"))), Err("reset")]);
    let response = answer(&registry, call_with(CHECK, StreamBody::new(broken))).await;
    assert_eq!(refusal(&response), Code::Cancelled);
}

#[tokio::test]
async fn a_call_whose_request_goes_on_waits_for_its_end() {
    let whole = frame::encode(&HealthCheckRequest::default());
    let endless = stream::iter([Ok::<_, Infallible>(Frame::data(whole))]).chain(stream::pending());
    let registry = Registry::new();
    let mut response = Box::pin(answer(&registry, call_with(CHECK, StreamBody::new(endless))));
    assert!(poll!(&mut response).is_pending(), "there may be a second message");
}

#[tokio::test]
async fn what_is_not_grpc_is_told_so_in_http() {
    let registry = Registry::new();
    let mut get = call(CHECK, "");
    *get.method_mut() = Method::GET;
    let response = answer(&registry, get).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST");
    for kind in ["application/json", "application/grpc-web"] {
        let mut json = call(CHECK, "");
        json.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        assert_eq!(answer(&registry, json).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
}

#[tokio::test]
async fn only_protobuf_is_served() {
    let registry = Registry::new();
    for (kind, expected) in [
        ("application/grpc+proto", None),
        ("application/grpc;charset=utf-8", None),
        ("application/grpc+proto; a=b+c", None),
        ("application/grpc+json", Some(Code::Unimplemented)),
        ("application/grpc+proto2", Some(Code::Unimplemented)),
    ] {
        let mut request = call(CHECK, "");
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let response = answer(&registry, request).await;
        assert_eq!(status_of(response.status(), response.headers()), expected, "{kind}");
    }
}

#[tokio::test]
async fn beside_another_service_it_takes_its_own_calls_only() {
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(request.uri().path().to_owned()))))
    });
    let beside = HealthServiceLayer::new(Registry::new()).layer(inner);
    let unknown = beside.clone().oneshot(call("/grpc.health.v1.Health/Other", "")).await.unwrap();
    assert_eq!(refusal(&unknown), Code::Unimplemented);
    let check = beside.clone().oneshot(call(CHECK, "")).await.unwrap();
    let body = check.into_body().collect().await.unwrap();
    assert_eq!(status_of(StatusCode::OK, body.trailers().unwrap()), Some(Code::Ok));
    for path in
        ["/", "/grpc.health.v1.Health", "/grpc.health.v1.HealthX/Check", "/helloworld.Greeter/SayHello"]
    {
        let response = beside.clone().oneshot(call(path, "")).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), path);
    }
}

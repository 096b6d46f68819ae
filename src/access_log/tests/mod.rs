mod format;
mod writer;

use std::{
    convert::Infallible,
    future::{pending, ready},
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::time::sleep;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::{
    balance::Peer,
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::{Code, STATUS_HEADER},
    reply::Caller,
};

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }
}

fn log() -> (AccessLogLayer, Written) {
    let written = Written::default();
    (AccessLogLayer::to(written.clone()), written)
}

/// The only line, without its start.
async fn line(log: &AccessLogLayer, written: &Written) -> String {
    log.flush().await;
    let lines = written.lines();
    let [line] = &lines[..] else { panic!("one line was expected: {lines:?}") };
    let (start, rest) = line.split_once("] ").unwrap();
    assert_eq!((start.len(), &start[..3], &start[24..]), (25, "[20", "Z"), "{start}");
    rest.to_owned()
}

fn endpoint() -> Arc<Endpoint> {
    Arc::new("127.0.1.3:50000".parse().unwrap())
}

fn call() -> Request<Full<Bytes>> {
    let request = Request::post("/router.Router/Unary?x=1").version(Version::HTTP_2);
    let request = request.header("content-type", "application/grpc").header("user-agent", "grpc-go/1.80");
    request.header("x-request-id", "40e3").header("host", "lab.local").body(Full::from("123456789")).unwrap()
}

type Frames = Vec<Result<Frame<Bytes>, Error>>;

/// A response of an endpoint with these frames; it reads the request first, and takes 5 ms.
fn upstream(
    frames: impl Fn() -> Frames + Clone + Send + 'static,
) -> impl tower::Service<
    Request<RequestBody<Full<Bytes>>>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Error> + Unpin>,
    Error = Infallible,
    Future = impl Send,
> + Clone {
    service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let frames = frames();
        async move {
            request.into_body().collect().await.unwrap();
            sleep(Duration::from_millis(5)).await;
            let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
            response.extensions_mut().insert(Peer::new(endpoint(), 2));
            Ok(response)
        }
    })
}

fn status(code: &'static str) -> Result<Frame<Bytes>, Error> {
    Ok(Frame::trailers(HeaderMap::from_iter([(STATUS_HEADER, HeaderValue::from_static(code))])))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test(start_paused = true)]
async fn the_line_is_envoys_with_the_grpc_status_of_the_trailers_the_attempts_and_the_phase() {
    let (log, written) = log();
    let response = log.layer(upstream(|| vec![data("abcde"), status("5")])).oneshot(call()).await.unwrap();
    sleep(Duration::from_millis(7)).await;
    log.flush().await;
    assert_eq!(written.lines(), [""; 0], "it is not over");
    response.into_body().collect().await.unwrap();
    assert_eq!(
        line(&log, &written).await,
        "\"POST /router.Router/Unary?x=1 HTTP/2\" 200 - 9 5 12 5 \"-\" \"grpc-go/1.80\" \"40e3\" \"lab.local\" \
         \"127.0.1.3:50000\" grpc=5 attempts=2 phase=-"
    );
}

#[tokio::test(start_paused = true)]
async fn a_local_reply_shows_its_status_endpoint_and_phase() {
    let (log, written) = log();
    let service = service_fn(|request: Request<RequestBody<Full<Bytes>>>| {
        let mut response = Caller::of(&request).reply(Code::Unavailable, "connection refused");
        let error = Error::new(Code::Unavailable, Phase::Connect, "connection refused").at(endpoint());
        response.extensions_mut().insert(error);
        ready(Ok::<_, Infallible>(response))
    });
    let response = log.layer(service).oneshot(call()).await.unwrap();
    assert!(response.body().is_end_stream(), "one header block stays one");
    // A server does not ask for the end of what has ended.
    drop(response);
    assert_eq!(
        line(&log, &written).await,
        "\"POST /router.Router/Unary?x=1 HTTP/2\" 200 UF 0 0 0 0 \"-\" \"grpc-go/1.80\" \"40e3\" \"lab.local\" \
         \"127.0.1.3:50000\" grpc=14 attempts=0 phase=connect"
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_headers_leaves_a_line() {
    let (log, written) = log();
    let service = log.layer(service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    }));
    let call = tokio::time::timeout(Duration::from_millis(30), service.oneshot(call()));
    call.await.unwrap_err();
    let line = line(&log, &written).await;
    assert!(line.contains("HTTP/2\" 0 DC 0 0 30 - "), "{line}");
    assert!(line.ends_with("\"lab.local\" \"-\" grpc=- attempts=0 phase=-"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_between_headers_and_trailers_leaves_a_line() {
    let (log, written) = log();
    let response = log.layer(upstream(|| vec![data("abcde"), status("0")])).oneshot(call()).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let line = line(&log, &written).await;
    assert!(line.contains("HTTP/2\" 200 DC 9 5 5 5 "), "{line}");
    assert!(line.ends_with("grpc=- attempts=2 phase=-"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_shows_its_phase_and_its_error_goes_through() {
    let (log, written) = log();
    let reset = || Error::new(Code::Unavailable, Phase::Stream, "reset").at(endpoint());
    let service = log.layer(upstream(move || vec![data("abc"), Err(reset())]));
    let error = service.oneshot(call()).await.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!(Error::find_in(&*error).map(Error::message), Some("reset"));
    let line = line(&log, &written).await;
    assert!(line.contains("HTTP/2\" 200 UR 9 3 5 5 "), "{line}");
    assert!(line.ends_with("grpc=- attempts=2 phase=stream"), "{line}");
}

#[tokio::test]
async fn a_service_that_fails_leaves_a_line_and_its_error_goes_through() {
    let (log, written) = log();
    let service = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        ready(Err::<Response<Empty<Bytes>>, _>(io::Error::other("broken")))
    });
    assert_eq!(log.layer(service).oneshot(call()).await.unwrap_err().to_string(), "broken");
    assert!(line(&log, &written).await.contains("HTTP/2\" 0 - "));
}

/// A body that says how long it is, and not that it has ended.
struct Known(Full<Bytes>);

impl http_body::Body for Known {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[tokio::test]
async fn what_a_server_sends_whole_is_complete_though_it_does_not_ask_for_the_end() {
    let unsized_end = || StreamBody::new(tokio_stream::iter([data("abc")]));
    for (method, read, ended) in
        [(Method::GET, true, "-"), (Method::GET, false, "DC"), (Method::HEAD, false, "-")]
    {
        let (log, written) = log();
        let service = log.layer(service_fn(|_: Request<RequestBody<Empty<Bytes>>>| {
            ready(Ok::<_, Infallible>(Response::new(Known(Full::new(Bytes::from("abc"))))))
        }));
        let request = Request::builder().method(method.clone()).uri("/page").body(Empty::new()).unwrap();
        let mut body = service.oneshot(request).await.unwrap().into_body();
        if read {
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let line = line(&log, &written).await;
        assert!(line.starts_with(&format!("\"{method} /page HTTP/1.1\" 200 {ended} ")), "{line}");
    }
    let (log, written) = log();
    let service = log.layer(service_fn(move |_: Request<RequestBody<Empty<Bytes>>>| {
        ready(Ok::<_, Infallible>(Response::new(unsized_end())))
    }));
    let mut body = service.oneshot(Request::new(Empty::new())).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(line(&log, &written).await.contains(" 200 DC "), "there might have been more");
}

/// One request through this log, with whatever a caller can send.
async fn once(log: &AccessLogLayer, request: Request<Empty<Bytes>>) {
    let service = log.layer(service_fn(|_: Request<RequestBody<Empty<Bytes>>>| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    }));
    drop(service.oneshot(request).await.unwrap());
}

fn sent(uri: &str, agent: &[u8]) -> Request<Empty<Bytes>> {
    let agent = HeaderValue::from_bytes(agent).unwrap();
    Request::get(uri).header("user-agent", agent).body(Empty::new()).unwrap()
}

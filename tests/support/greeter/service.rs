//! The services of a [`Greeter`](super::Greeter): counting, the hook, then generated tonic servers.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::{sync::watch, time::Instant};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    metadata::{KeyAndValueRef, MetadataKey, MetadataMap, MetadataValue},
    service::Routes,
};

use super::{Action, Counters, Gauge, Hook};
use crate::support::pb::{
    echo::{
        EchoReply, EchoRequest, Metadata,
        echo_server::{Echo, EchoServer},
    },
    helloworld::{
        HelloReply, HelloRequest,
        greeter_server::{Greeter, GreeterServer},
    },
};

/// Counts the calls, asks the hook, serves.
#[derive(Clone)]
pub(super) struct Service {
    routes: Routes,
    delay: watch::Receiver<Duration>,
    hook: Option<Hook>,
    counters: Arc<Counters>,
}

impl Service {
    pub(super) fn new(
        name: String,
        delay: watch::Receiver<Duration>,
        hook: Option<Hook>,
        counters: Arc<Counters>,
    ) -> Self {
        let name = Name(name.into());
        let echo = EchoServer::new(name.clone()).max_decoding_message_size(usize::MAX);
        let routes = Routes::new(GreeterServer::new(name)).add_service(echo).prepare();
        Self { routes, delay, hook, counters }
    }
}

impl tower::Service<Request<hyper::body::Incoming>> for Service {
    type Response = Response<Counted>;
    type Error = h2::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        self.counters.calls.fetch_add(1, SeqCst);
        let present = Gauge::enter(&self.counters, |counters| &counters.in_flight);
        self.counters.peak_in_flight.fetch_max(self.counters.in_flight.load(SeqCst), SeqCst);
        let (mut parts, body) = request.into_parts();
        if let Some(authority) = parts.uri.authority().map(ToString::to_string) {
            parts.extensions.insert(Authority(authority));
        }
        let action = self.hook.as_ref().map_or(Action::Serve, |hook| hook(&parts));
        let delay = match action {
            Action::ServeAfter(delay) => delay,
            _ => *self.delay.borrow(),
        };
        let mut routes = self.routes.clone();
        async move {
            let response = match action {
                Action::Serve | Action::ServeAfter(_) => {
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    let request = Request::from_parts(parts, Body::new(body));
                    let Ok(response) = tower::Service::call(&mut routes, request).await;
                    response
                }
                Action::Fail(status) => status.into_http(),
                Action::Reset(reason) => return Err(reason.into()),
                Action::Hang => std::future::pending().await,
            };
            Ok(response.map(|body| Counted { body, _present: present }))
        }
        .boxed()
    }
}

/// A response body that counts as in flight until it is dropped.
pub(super) struct Counted {
    body: Body,
    _present: Gauge,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[derive(Clone)]
struct Name(Arc<str>);

#[tonic::async_trait]
impl Greeter for Name {
    async fn say_hello(
        &self,
        _: tonic::Request<HelloRequest>,
    ) -> Result<tonic::Response<HelloReply>, Status> {
        Ok(tonic::Response::new(HelloReply { message: self.0.to_string() }))
    }
}

impl Name {
    /// What the server saw of the call, and what it will be told to do with it.
    fn saw(&self, metadata: &MetadataMap, authority: Option<&str>) -> EchoReply {
        let metadata_seen = metadata
            .iter()
            .map(|entry| match entry {
                KeyAndValueRef::Ascii(key, value) => {
                    Metadata { key: key.to_string(), value: value.as_bytes().to_vec() }
                }
                KeyAndValueRef::Binary(key, value) => {
                    let value = value.to_bytes().map_or_else(|_| Vec::new(), |bytes| bytes.to_vec());
                    Metadata { key: key.to_string(), value }
                }
            })
            .collect();
        EchoReply {
            payload: Vec::new(),
            server: self.0.to_string(),
            metadata: metadata_seen,
            time_left_ms: metadata.get("grpc-timeout").and_then(|value| milliseconds(value.to_str().ok()?)),
            authority: authority.unwrap_or_default().to_owned(),
        }
    }
}

fn milliseconds(timeout: &str) -> Option<u64> {
    let (digits, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => amount * 3_600_000,
        "M" => amount * 60_000,
        "S" => amount * 1_000,
        "m" => amount,
        "u" => amount / 1_000,
        "n" => amount / 1_000_000,
        _ => return None,
    })
}

fn payload(request: &EchoRequest) -> Vec<u8> {
    match request.reply_bytes {
        0 => request.payload.clone(),
        n => vec![b'x'; n as usize],
    }
}

fn status(request: &EchoRequest) -> Result<(), Status> {
    match &request.status {
        None => Ok(()),
        Some(status) => Err(Status::with_details(
            Code::from(status.code as i32),
            status.message.clone(),
            Bytes::from(status.details.clone()),
        )),
    }
}

/// Sends the caller's metadata back as `echo-<key>`.
fn respond<T>(reply: T, metadata: &MetadataMap) -> tonic::Response<T> {
    let mut response = tonic::Response::new(reply);
    for entry in metadata.iter() {
        match entry {
            KeyAndValueRef::Ascii(key, value) => {
                if let (Ok(key), Ok(value)) = (
                    MetadataKey::from_bytes(format!("echo-{key}").as_bytes()),
                    MetadataValue::try_from(value.as_bytes()),
                ) {
                    response.metadata_mut().append(key, value);
                }
            }
            KeyAndValueRef::Binary(key, value) => {
                if let (Ok(key), Ok(value)) =
                    (MetadataKey::from_bytes(format!("echo-{key}").as_bytes()), value.to_bytes())
                {
                    response.metadata_mut().append_bin(key, MetadataValue::from_bytes(&value));
                }
            }
        }
    }
    response
}

fn authority<T>(request: &tonic::Request<T>) -> Option<String> {
    request.extensions().get::<Authority>().map(|authority| authority.0.clone())
}

/// The request's `:authority`, kept where a tonic handler can see it.
#[derive(Clone)]
struct Authority(String);

type Replies = Pin<Box<dyn Stream<Item = Result<EchoReply, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Name {
    async fn unary(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<EchoReply>, Status> {
        let reply = self.saw(request.metadata(), authority(&request).as_deref());
        let (metadata, _, request) = request.into_parts();
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
        status(&request)?;
        Ok(respond(EchoReply { payload: payload(&request), ..reply }, &metadata))
    }

    async fn upload(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<EchoReply>, Status> {
        let mut reply = self.saw(request.metadata(), authority(&request).as_deref());
        let (metadata, _, mut requests) = request.into_parts();
        while let Some(request) = requests.message().await? {
            tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
            status(&request)?;
            reply.payload.extend_from_slice(&request.payload);
        }
        Ok(respond(reply, &metadata))
    }

    type DownloadStream = Replies;

    async fn download(
        &self,
        request: tonic::Request<EchoRequest>,
    ) -> Result<tonic::Response<Replies>, Status> {
        let saw = self.saw(request.metadata(), authority(&request).as_deref());
        let (metadata, _, request) = request.into_parts();
        let start = Instant::now() + Duration::from_millis(request.delay_ms.into());
        let pause = Duration::from_millis(request.pause_ms.into());
        let replies = request.replies;
        let reply = EchoReply { payload: payload(&request), ..saw };
        let end = futures_util::stream::iter(status(&request).err().map(Err));
        let stream = futures_util::stream::iter(0..replies).then(move |i| {
            let reply = reply.clone();
            async move {
                tokio::time::sleep_until(start + pause * i).await;
                Ok(reply)
            }
        });
        Ok(respond(Box::pin(stream.chain(end)), &metadata))
    }

    type ChatStream = Replies;

    async fn chat(
        &self,
        request: tonic::Request<Streaming<EchoRequest>>,
    ) -> Result<tonic::Response<Replies>, Status> {
        let saw = self.saw(request.metadata(), authority(&request).as_deref());
        let (metadata, _, requests) = request.into_parts();
        let stream = requests.then(move |request| {
            let saw = saw.clone();
            async move {
                let request = request?;
                tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
                status(&request)?;
                Ok(EchoReply { payload: payload(&request), ..saw })
            }
        });
        Ok(respond(Box::pin(stream), &metadata))
    }
}

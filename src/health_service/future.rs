//! One call.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body as HttpBody;
use pin_project::pin_project;

use crate::{
    grpc::Code,
    health::proto::{HealthCheckRequest, HealthListRequest, HealthListResponse},
    health_service::{
        Body,
        body::response_of,
        frame::{self, OneMessage},
        refusal::{Refusal, grpc_response},
    },
    serving::{Registry, Status},
};

/// gRFC A90 has a server refuse to list more.
const MAX_LIST: usize = 100;

/// The response of a call to the health service.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<B>(#[pin] State<B>);

#[pin_project(project = Projected)]
enum State<B> {
    Refused(Option<Response<Body>>),
    Reading {
        #[pin]
        body: B,
        message: OneMessage,
        method: Method,
        registry: Registry,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    Check,
    Watch,
    List,
}

impl<B> ResponseFuture<B> {
    pub(super) fn refused(response: Response<Body>) -> Self {
        Self(State::Refused(Some(response)))
    }

    pub(super) fn reading(body: B, method: Method, registry: Registry) -> Self {
        Self(State::Reading { body, message: OneMessage::default(), method, registry })
    }
}

impl<B: HttpBody> Future for ResponseFuture<B> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            Projected::Refused(response) => {
                // Polled once more, it has nothing more to say than this.
                let again = || Refusal::new(Code::Internal, "answered already").into_response();
                Poll::Ready(Ok(response.take().unwrap_or_else(again)))
            }
            Projected::Reading { mut body, message, method, registry } => {
                let answer = loop {
                    match ready!(body.as_mut().poll_frame(cx)) {
                        None => break answer(*method, mem::take(message), registry),
                        Some(Err(_)) => break Err(Refusal::new(Code::Cancelled, "the request broke off")),
                        Some(Ok(frame)) => {
                            // Trailers of a request say nothing.
                            let Ok(data) = frame.into_data() else { continue };
                            if let Err(refusal) = message.push(data) {
                                break Err(refusal);
                            }
                        }
                    }
                };
                Poll::Ready(Ok(answer.map_or_else(Refusal::into_response, grpc_response)))
            }
        }
    }
}

fn answer(method: Method, message: OneMessage, registry: &Registry) -> Result<Body, Refusal> {
    match method {
        Method::Check => {
            let HealthCheckRequest { service } = message.finish()?;
            match registry.status(&service) {
                Status::Unknown => {
                    Err(Refusal::new(Code::NotFound, format!("there is no service `{service}`")))
                }
                status => Ok(Body::reply(frame::encode(&response_of(status)))),
            }
        }
        Method::Watch => {
            let HealthCheckRequest { service } = message.finish()?;
            Ok(Body::changes(registry.watch(service)))
        }
        Method::List => {
            let HealthListRequest {} = message.finish()?;
            let statuses = registry.list();
            if statuses.len() > MAX_LIST {
                let message =
                    format!("{} services are more than the {MAX_LIST} that can be listed", statuses.len());
                return Err(Refusal::new(Code::ResourceExhausted, message));
            }
            let statuses =
                statuses.into_iter().map(|(name, status)| (name.to_string(), response_of(status))).collect();
            Ok(Body::reply(frame::encode(&HealthListResponse { statuses })))
        }
    }
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Refused(_) => "ResponseFuture(refused)",
            State::Reading { .. } => "ResponseFuture(reads the request)",
        })
    }
}

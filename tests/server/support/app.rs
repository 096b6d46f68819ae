use std::{
    convert::Infallible,
    future::Ready,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use grpc_balance::server::{ConnectInfo, RequestBody};
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::Service;

/// A service with a path for each thing that a response can do.
#[derive(Clone)]
pub(crate) struct App;

pub(crate) fn app() -> App {
    App
}

impl Service<Request<RequestBody>> for App {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answer = match request.uri().path() {
            "/" => Answer::Text(Some("ok".into())),
            "/echo" => Answer::Echo(Box::pin(request.into_body())),
            "/forever" => Answer::Forever,
            "/never" => return Box::pin(std::future::pending()),
            "/panic" => panic!("as it was asked for"),
            "/info" => {
                let info = request.extensions().get::<ConnectInfo>().cloned().unwrap();
                Answer::Text(Some(format!("{info:?} {}", info).into()))
            }
            _ => Answer::Text(Some("what?".into())),
        };
        let ready: Ready<_> = std::future::ready(Ok(Response::new(answer)));
        Box::pin(ready)
    }
}

pub(crate) enum Answer {
    Text(Option<Bytes>),
    Echo(Pin<Box<RequestBody>>),
    Forever,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = grpc_balance::error::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Echo(body) => body.as_mut().poll_frame(cx),
            Self::Forever => Poll::Pending,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Text(text) => {
                http_body::SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            _ => http_body::SizeHint::default(),
        }
    }
}

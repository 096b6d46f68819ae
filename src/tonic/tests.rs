use std::{error::Error as StdError, io, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use tonic::{Code as TonicCode, Status, body::Body, client::Grpc, codec::Codec};
use tower::service_fn;

use super::{error_of, with_status};
use crate::{
    error::{BoxError, Error, Phase},
    grpc::Code,
};

fn error(code: Code) -> Error {
    Error::new(code, Phase::Stream, "connection closed")
        .at(Arc::new("10.0.0.7:50051".parse().unwrap()))
        .because(io::Error::from(io::ErrorKind::BrokenPipe))
}

const TEXT: &str = "stream 10.0.0.7:50051: connection closed: broken pipe";

#[test]
fn every_code_has_its_counterpart() {
    for code in Code::ALL {
        assert_eq!(i32::from(TonicCode::from(code)), code.number() as i32);
        assert_eq!(Code::from(TonicCode::from(code)), code);
    }
}

#[test]
fn tonic_reads_our_code_and_keeps_our_error_as_source() {
    for code in Code::ALL {
        let status = Status::from_error(Box::new(with_status(error(code))));
        assert_eq!(status.code(), code.into());
        assert_eq!(status.message(), TEXT);
        let ours: &Error = status.source().unwrap().downcast_ref().expect("our error is the direct source");
        assert_eq!(ours.code(), code);
        assert_eq!(error_of(&status).unwrap().endpoint(), error(code).endpoint());
    }
}

#[test]
fn a_converted_error_says_the_same() {
    for code in Code::ALL {
        for error in [error(code), with_status(error(code))] {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code.into(), TEXT));
            assert!(status.source().unwrap().is::<Error>());
        }
    }
}

#[test]
fn the_cause_stays_reachable_behind_the_status() {
    let error = with_status(error(Code::Unavailable));
    let mut chain = vec![];
    let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(error) = next {
        chain.push(error);
        next = error.source();
    }
    assert!(chain[0].is::<Error>() && chain[1].is::<Status>() && chain[2].is::<io::Error>());
    assert_eq!(error.report().to_string(), TEXT, "the status is no cause");
    assert!(!format!("{error:?}").contains("Status"), "nor does it clutter the debug text");
}

#[test]
fn twice_is_once() {
    let once = with_status(error(Code::Aborted));
    let twice = with_status(once.clone());
    assert!(std::ptr::addr_eq(once.source().unwrap(), twice.source().unwrap()));
}

#[test]
fn our_code_wins_over_a_status_that_caused_it() {
    let body = Error::new(Code::Cancelled, Phase::Stream, "request body failed")
        .because(Status::data_loss("half a message"));
    let status = Status::from_error(Box::new(with_status(body)));
    assert_eq!(status.code(), TonicCode::Cancelled);
    assert!(status.message().contains("half a message"), "{}", status.message());
}

#[test]
fn layers_in_between_do_not_hide_it() {
    let wrapped: BoxError = Box::new(io::Error::other(Wrapper(with_status(error(Code::Unavailable)))));
    let status = Status::from_error(wrapped);
    assert_eq!(status.code(), TonicCode::Unavailable);
    assert_eq!(error_of(&status).unwrap().phase(), Phase::Stream);
}

#[test]
fn a_status_from_the_server_is_none_of_ours() {
    assert!(error_of(&Status::not_found("no such greeter")).is_none());
}

#[tokio::test]
async fn a_generated_client_sees_the_code_of_a_failed_call() {
    for code in Code::ALL {
        let service =
            service_fn(
                move |_: Request<Body>| async move { Err::<Response<Body>, _>(with_status(error(code))) },
            );
        let status = unary(Grpc::new(service)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code.into(), TEXT));
        assert_eq!(error_of(&status).unwrap().code(), code);
    }
}

#[tokio::test]
async fn a_generated_client_sees_the_code_of_a_failed_body() {
    for code in Code::ALL {
        let service = service_fn(move |_: Request<Body>| async move {
            let frames = futures_util::stream::iter([Err(with_status(error(code)))]);
            let body: FailingBody = StreamBody::new(Box::pin(frames));
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok::<_, Error>(response)
        });
        let status = unary(Grpc::new(service)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code.into(), TEXT));
        assert_eq!(error_of(&status).unwrap().code(), code);
    }
}

type FailingBody =
    StreamBody<Pin<Box<dyn futures_core::Stream<Item = Result<http_body::Frame<Bytes>, Error>> + Send>>>;

/// What every generated unary method does.
async fn unary<S, B>(mut client: Grpc<S>) -> Result<(), Status>
where
    S: tower_service::Service<Request<Body>, Response = Response<B>, Error = Error>,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    client.ready().await?;
    let path = http::uri::PathAndQuery::from_static("/helloworld.Greeter/SayHello");
    client.unary(tonic::Request::new(()), path, Nothing).await.map(|_| ())
}

/// A codec of messages without fields.
#[derive(Default)]
struct Nothing;

impl Codec for Nothing {
    type Encode = ();
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for Nothing {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl tonic::codec::Decoder for Nothing {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, _: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<()>, Status> {
        Ok(Some(()))
    }
}

#[derive(Debug)]
struct Wrapper(Error);

impl std::fmt::Display for Wrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a layer failed")
    }
}

impl StdError for Wrapper {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

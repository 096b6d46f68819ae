//! What servers answer.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use prost::Message;

use crate::{
    grpc::Code,
    health::proto::{HealthCheckResponse, ServingStatus},
    probe::caller::Reply,
};

pub(super) fn message(status: ServingStatus) -> Bytes {
    let message = HealthCheckResponse { status: status.into() }.encode_to_vec();
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len() as u32);
    bytes.extend_from_slice(&message);
    bytes.freeze()
}

pub(super) fn status(code: Code) -> HeaderMap {
    HeaderMap::from_iter([(crate::grpc::STATUS_HEADER, code.number().into())])
}

/// A whole answer to Check.
pub(super) fn answer(serving: ServingStatus) -> Response<Reply> {
    let body = Full::new(message(serving)).map_err(|never| match never {});
    Response::new(body.with_trailers(async { Some(Ok(status(Code::Ok))) }).boxed_unsync())
}

/// A trailers-only answer.
pub(super) fn trailers_only(code: Code) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    *response.headers_mut() = status(code);
    response
}

/// What a web server says of a path that it does not know.
pub(super) fn http_404() -> Response<Reply> {
    let page = Full::new(Bytes::from_static(b"<h1>not found</h1>")).map_err(|never| match never {});
    let mut response = Response::new(page.boxed_unsync());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

//! A client for gRPC-Web, written from PROTOCOL-WEB and sharing nothing with the code under test.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as Hyper, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;

use crate::pb::echo::{EchoReply, EchoRequest};

type Sent = BoxBody<Bytes, std::convert::Infallible>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Binary,
    Text,
}

pub(crate) const EVERY_WAY: [(Version, Mode); 4] = [
    (Version::HTTP_11, Mode::Binary),
    (Version::HTTP_11, Mode::Text),
    (Version::HTTP_2, Mode::Binary),
    (Version::HTTP_2, Mode::Text),
];

pub(crate) struct Client {
    http: Hyper<HttpConnector, Sent>,
    address: SocketAddr,
    mode: Mode,
}

/// All of an answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<EchoReply>,
    /// The lines of the last frame, if there was one.
    pub(crate) trailers: Option<BTreeMap<String, String>>,
    /// Whether the body broke off.
    pub(crate) broken: bool,
}

impl Answer {
    /// From the last frame, or from the headers.
    pub(crate) fn status(&self) -> (&str, &str) {
        let get = |name| match &self.trailers {
            Some(trailers) => trailers.get(name).map(String::as_str),
            None => self.headers.get(name).map(|value| value.to_str().unwrap()),
        };
        (get("grpc-status").unwrap_or("none"), get("grpc-message").unwrap_or(""))
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, (version, mode): (Version, Mode)) -> Self {
        let mut builder = Hyper::builder(TokioExecutor::new());
        builder.http2_only(version == Version::HTTP_2);
        Self { http: builder.build_http(), address, mode }
    }

    pub(crate) async fn call(&self, method: &str, requests: &[EchoRequest]) -> Answer {
        read(self.mode, self.start(method, Full::from(self.encode(requests))).await).await
    }

    /// The same, byte by byte.
    pub(crate) async fn call_in_bits(&self, method: &str, requests: &[EchoRequest]) -> Answer {
        let bits = self.encode(requests).into_iter().map(|byte| Ok(Frame::data(Bytes::from(vec![byte]))));
        let bits = bits.collect::<Vec<_>>();
        read(self.mode, self.start(method, StreamBody::new(futures_util::stream::iter(bits))).await).await
    }

    pub(crate) async fn start<B>(&self, method: &str, body: B) -> Response<Incoming>
    where
        B: Body<Data = Bytes, Error = std::convert::Infallible> + Send + Sync + 'static,
    {
        let content_type = match self.mode {
            Mode::Binary => "application/grpc-web+proto; charset=utf-8",
            Mode::Text => "application/grpc-web-text",
        };
        let request = Request::post(self.uri(&format!("/echo.Echo/{method}")))
            .header("content-type", content_type)
            .header("accept", content_type)
            .header("x-grpc-web", "1")
            .header("origin", "https://app.example");
        self.send(request.body(body.boxed()).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Sent>) -> Response<Incoming> {
        self.http.request(request).await.unwrap()
    }

    pub(crate) fn uri(&self, path: &str) -> Uri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }

    /// Each message flushed, and padded, by itself.
    fn encode(&self, requests: &[EchoRequest]) -> Vec<u8> {
        requests
            .iter()
            .flat_map(|request| {
                let payload = request.encode_to_vec();
                let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
                let frame = [&[0][..], &length, &payload].concat();
                match self.mode {
                    Mode::Binary => frame,
                    Mode::Text => BASE64_STANDARD.encode(frame).into_bytes(),
                }
            })
            .collect()
    }
}

/// Reads an answer to its end, and insists on what every answer promises.
pub(crate) async fn read(mode: Mode, response: Response<Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let content_type = head.headers["content-type"].to_str().unwrap();
    assert_eq!(content_type.starts_with("application/grpc-web-text"), mode == Mode::Text, "{content_type}");
    assert!(content_type.ends_with("+proto"));
    assert_eq!(head.headers["access-control-allow-origin"], "https://app.example");
    let mut answer = Answer { headers: head.headers, ..Answer::default() };
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(&frame.into_data().expect("no trailers but in the body")),
            Err(_) => {
                answer.broken = true;
                break;
            }
        }
    }
    let bytes = match mode {
        Mode::Binary => text,
        // Padding ends a group, and nothing else: what is cut by transport is put together above.
        Mode::Text => text.chunks(4).flat_map(|group| BASE64_STANDARD.decode(group).unwrap()).collect(),
    };
    let mut rest = bytes.as_slice();
    while let [flag, a, b, c, d, after @ ..] = rest {
        assert!(answer.trailers.is_none(), "the trailers are the last frame");
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let Some((frame, following)) = after.split_at_checked(length) else { break };
        if flag & 0x80 == 0 {
            answer.messages.push(EchoReply::decode(frame).unwrap());
        } else {
            let lines = std::str::from_utf8(frame).unwrap().strip_suffix("\r\n").unwrap().split("\r\n");
            let lines = lines.map(|line| line.split_once(':').unwrap());
            answer.trailers = Some(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        }
        rest = following;
    }
    assert!(rest.is_empty() || answer.broken, "{} bytes are left over", rest.len());
    answer
}

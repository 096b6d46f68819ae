//! The messages of a gRPC response, and its end.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use super::caller::Reply;
use crate::{
    error::{Error, Phase},
    grpc::{Code, STATUS_HEADER, message, status_of},
};

/// Far more than any health message takes.
const LONGEST: usize = 64 * 1024;

/// Reads a response. Cancelling [`next`](Self::next) loses nothing.
pub(super) struct Messages {
    http: StatusCode,
    headers: HeaderMap,
    body: Option<Reply>,
    buffer: BytesMut,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Message(Bytes),
    End(End),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: Code,
    pub(super) message: String,
    /// Whether the peer said the code itself, as `grpc-status`. A server that does not know gRPC says HTTP 404, which
    /// maps to UNIMPLEMENTED; it is not a gRPC server without a health service.
    pub(super) said: bool,
}

impl Messages {
    pub(super) fn new(response: Response<Reply>) -> Self {
        let (head, body) = response.into_parts();
        Self { http: head.status, headers: head.headers, body: Some(body), buffer: BytesMut::new() }
    }

    /// The next message, or the end.
    ///
    /// # Errors
    ///
    /// When the stream breaks, or what it carries is no gRPC.
    pub(super) async fn next(&mut self) -> Result<Next, Error> {
        loop {
            if let Some(message) = self.parse()? {
                return Ok(Next::Message(message));
            }
            // A trailers-only response, or one that is not gRPC's: what its body says does not matter.
            if let Some(code) = status_of(self.http, &self.headers) {
                self.body = None;
                return Ok(Next::End(End::new(code, self.http, &self.headers)));
            }
            let Some(body) = &mut self.body else { return Ok(Next::End(End::untold())) };
            match body.frame().await {
                None => self.body = None,
                Some(Err(error)) => {
                    self.body = None;
                    return Err(error);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        self.body = None;
                        if let Ok(trailers) = frame.into_trailers()
                            && let Some(code) = status_of(self.http, &trailers)
                        {
                            return Ok(Next::End(End::new(code, self.http, &trailers)));
                        }
                    }
                },
            }
        }
    }

    /// A whole message that has arrived.
    fn parse(&mut self) -> Result<Option<Bytes>, Error> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<5>() else { return Ok(None) };
        let [compressed, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let problem = match compressed {
            0 if length <= LONGEST => None,
            0 => Some(format!("a health message of {length} bytes is too long: expected at most {LONGEST}")),
            _ => Some("the health message is compressed, which nobody asked for".to_owned()),
        };
        if let Some(problem) = problem {
            self.body = None;
            return Err(Error::new(Code::Internal, Phase::Stream, problem));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

impl End {
    fn new(code: Code, http: StatusCode, headers: &HeaderMap) -> Self {
        let said = headers.contains_key(STATUS_HEADER);
        let message = match headers.get(message::HEADER) {
            Some(message) => message::decode(message),
            None if said => String::new(),
            None => format!("it answers HTTP {}, and is no gRPC server", http.as_u16()),
        };
        Self { code, message, said }
    }

    fn untold() -> Self {
        Self { code: Code::Unknown, message: "the call ended without a status".to_owned(), said: false }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.message.as_str() {
            "" => self.code.fmt(f),
            // The code is read into it, and would mislead.
            message if !self.said => f.write_str(message),
            message => write!(f, "{}: {message}", self.code),
        }
    }
}

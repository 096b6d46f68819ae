//! An HTTP/1.1 connection that is reused.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::LONGEST_BODY;
use crate::{
    connect::dial::{BoxDial, BoxIo},
    endpoint::Endpoint,
    probe::{line::Turn, tcp::connect},
};

/// A connection, if there is one. It makes progress only while it is asked something, so that it needs no task.
#[derive(Default)]
pub(in crate::probe) struct Http1(Option<Open>);

struct Open {
    sender: SendRequest<Empty<Bytes>>,
    connection: Pin<Box<Connection<TokioIo<BoxIo>, Empty<Bytes>>>>,
}

impl Http1 {
    /// Gets the status. A connection that is found closed is opened again: HTTP/1.1 servers end idle ones as they like.
    pub(super) async fn ask(
        &mut self,
        dial: &BoxDial,
        endpoint: &Endpoint,
        turn: &mut Turn,
        request: impl Fn() -> Request<Empty<Bytes>>,
    ) -> Result<StatusCode, String> {
        // Taken out: what is dropped half-way is of no use any more.
        if let Some(mut open) = self.0.take()
            && let Ok((status, reusable)) = open.exchange(request()).await
        {
            self.0 = reusable.then_some(open);
            return Ok(status);
        }
        let io = turn.hold(connect(dial, endpoint)).await?;
        let (sender, connection) =
            handshake(TokioIo::new(io)).await.map_err(|error| format!("no HTTP connection: {error}"))?;
        let mut open = Open { sender, connection: Box::pin(connection) };
        let (status, reusable) = open.exchange(request()).await.map_err(|error| told(&error))?;
        self.0 = reusable.then_some(open);
        Ok(status)
    }
}

impl Open {
    /// The status, and whether the connection can be used again.
    async fn exchange(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<(StatusCode, bool)> {
        let Self { sender, connection } = self;
        let answer = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status();
            let mut body = response.into_body();
            let mut read = 0;
            while let Some(frame) = body.frame().await {
                read += frame?.data_ref().map_or(0, Bytes::len);
                if read > LONGEST_BODY {
                    return Ok((status, false));
                }
            }
            Ok((status, true))
        };
        let mut answer = std::pin::pin!(answer);
        let mut closed = false;
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map(|(status, reusable)| (status, reusable && !closed)),
                // The answer, or why there is none, is with the sender.
                _ = connection.as_mut(), if !closed => closed = true,
            }
        }
    }
}

/// An error with its causes.
fn told(error: &hyper::Error) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http1").field(&self.0.is_some()).finish()
    }
}

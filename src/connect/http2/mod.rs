//! HTTP/2 connections, on `h2` directly.
//!
//! A balancer has to know more of a connection than that it exists: when the peer's SETTINGS arrived (only then is the
//! endpoint ready), how many streams the peer allows, that it said GOAWAY before any call fails of it, and which calls
//! it left unprocessed, so that they can go elsewhere. [`handshake`] makes a connection of any I/O object;
//! [`Http2`] sends calls on it.
//!
//! A call costs its own task's time and no more: the head and a body that is ready at once go out from within the
//! caller's future, a unary request as one HEADERS and one DATA frame. Only a body that is unfinished when the response
//! starts gets a task. Flow control is honoured both ways.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use grpc_balance::{
//!     connect::{Connection, Gate, Replay, http2::{self, Http2Config}},
//!     endpoint::Endpoint,
//! };
//! use http::{Request, Response, uri::{Authority, Scheme}};
//! use http_body_util::{BodyExt, Empty};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let (io, peer) = tokio::io::duplex(1 << 16);
//! # tokio::spawn(async move {
//! #     let Ok(mut peer) = h2::server::handshake(peer).await else { return };
//! #     while let Some(Ok((_, mut respond))) = peer.accept().await {
//! #         if let Ok(mut body) = respond.send_response(Response::new(()), false) {
//! #             let _ = body.send_data("hello".into(), true);
//! #         }
//! #     }
//! # });
//! let endpoint: Endpoint = "10.0.0.1:50051".parse()?;
//! let established = http2::handshake(
//!     io, // a TCP stream, TLS over one, anything
//!     Arc::new(endpoint),
//!     Scheme::HTTP,
//!     Authority::from_static("greeter:50051"),
//!     &Http2Config::new(),
//!     &tokio::runtime::Handle::current(),
//! )
//! .await?;
//!
//! let gate = Arc::new(Gate::unlimited());
//! let permit = gate.try_acquire().ok_or("the connection is full")?;
//! let request = Request::post("/helloworld.Greeter/SayHello").body(Replay::new(Empty::<Bytes>::new()))?;
//! let response = established.connection().send(request, permit).await.map_err(|_| "no response")?;
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "hello");
//! assert_eq!(gate.live(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod config;
mod driver;
mod head;
mod io;
mod link;
mod response;
mod upload;

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{
    Request,
    uri::{Authority, Scheme},
};
use http_body::Body as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::{oneshot, watch},
};

pub use self::{body::Body, config::Http2Config, response::ResponseFuture};
use self::{
    driver::{Driver, NO_SETTINGS_YET},
    io::{Reads, Tracked},
    link::{Call, Link},
    upload::Upload,
};
use crate::{
    connect::{
        Connection, ConnectionState, Established, Permit, Replay, RequestBody, SendError, keepalive::Monitor,
    },
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
};

/// An HTTP/2 connection to an endpoint. See the [module documentation](self).
///
/// It closes when this and its last stream are dropped.
pub struct Http2 {
    sender: SendRequest<Bytes>,
    link: Arc<Link>,
    scheme: Scheme,
    authority: Authority,
    /// Its drop tells the driver that no more calls come.
    _in_use: oneshot::Sender<()>,
}

/// Makes an HTTP/2 connection of an I/O object, with prior knowledge: over TLS, ALPN must have agreed on `h2` before.
///
/// It resolves when the peer's SETTINGS have arrived. Then a task on `runtime` drives the connection until it is
/// closed; until then the returned future does, and dropping it closes the I/O object. `scheme` and `authority` are
/// what requests say that do not bring an authority of their own. `endpoint` is who errors speak of.
///
/// # Errors
///
/// The peer closed the connection, said GOAWAY, or did not speak HTTP/2. There is no time limit here.
pub fn handshake<T>(
    io: T,
    endpoint: Arc<Endpoint>,
    scheme: Scheme,
    authority: Authority,
    config: &Http2Config,
    runtime: &Handle,
) -> impl Future<Output = Result<Established<Http2>, Error>> + Send + use<T>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = config.builder();
    builder.initial_max_send_streams(NO_SETTINGS_YET);
    let monitor = Monitor::new(config.get_keepalive().clone());
    let link = Arc::new(Link::new(endpoint, runtime.clone()));
    async move {
        let reads = Arc::new(Reads::new());
        let (sender, connection) =
            builder.handshake(Tracked::new(io, reads.clone())).await.map_err(|error| {
                Error::new(Code::Unavailable, Phase::Connect, "the HTTP/2 handshake failed")
                    .at(link.endpoint.clone())
                    .because(error)
            })?;
        let (state, health) = watch::channel(ConnectionState::Open { max_streams: 0 });
        let (in_use, released) = oneshot::channel();
        let mut driver =
            Driver::new(connection, sender.clone(), reads, link.clone(), state, released, monitor);
        poll_fn(|cx| driver.poll_settings(cx)).await?;
        link.driven_by(link.runtime.spawn(driver).abort_handle());
        let cut = link.clone();
        let connection = Http2 { sender, link, scheme, authority, _in_use: in_use };
        Ok(Established::new(Arc::new(connection), health).cut_by(move |cause| cut.abort(cause)))
    }
}

impl<B: RequestBody> Connection<B> for Http2 {
    type Body = Body;
    type Future = ResponseFuture<B>;

    fn send(self: &Arc<Self>, request: Request<Replay<B>>, permit: Permit) -> Self::Future {
        let head = head::outgoing(&request, &self.scheme, &self.authority);
        let empty = request.body().is_end_stream();
        // Counted before the driver is woken, or it could miss that there is a call to watch over.
        let call = Call::start(self.link.clone(), permit);
        // Clones are not held back by each other's queued streams; the permit is what counts.
        match self.sender.clone().send_request(head, empty) {
            Ok((response, stream)) => {
                let upload = (!empty).then(|| Upload::new(stream));
                ResponseFuture::open(response, upload, call, request)
            }
            Err(error) if self.takes_calls() => {
                ResponseFuture::failed(SendError::Failed(self.link.stream_error(error)))
            }
            Err(error) => ResponseFuture::failed(SendError::Unsent(self.link.unsent(error), request)),
        }
    }
}

impl Http2 {
    /// Closes the connection at once. Its calls in flight fail with UNAVAILABLE, and with `cause` as their source.
    ///
    /// To let them finish, drop all clones of the `Arc` instead.
    pub fn abort(&self, cause: Error) {
        self.link.abort(cause);
    }

    /// Whether it is the request's fault if it cannot be sent.
    fn takes_calls(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.sender.clone().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("endpoint", &self.link.endpoint.to_string())
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

//! Dialling: from an address to a byte stream.
//!
//! Most backends are reached by TCP or a unix socket, which [`Sockets`] opens. Everything else (a tunnel, a SOCKS
//! proxy, an in-memory pipe in a test) is a tower service from an [`Address`] to something that reads and writes.
//! TLS and HTTP/2 come on top of either.
//!
//! ```
//! use std::io;
//!
//! use grpc_balance::{connect::dial::Dial, endpoint::Address};
//! use tokio::io::DuplexStream;
//!
//! fn dialler(dial: impl Dial) {}
//!
//! dialler(tower::service_fn(|address: Address| async move {
//!     let (client, server) = tokio::io::duplex(64 * 1024);
//!     // Hand `server` to whoever serves `address`.
//!     Ok::<DuplexStream, io::Error>(client)
//! }));
//! ```

mod error;
mod limit;
mod race;
mod socket;
mod sockets;
mod tcp;
mod unix;

use std::{fmt, future::Future, future::poll_fn, pin::Pin, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

pub(crate) use self::race::{AttemptDelay, race};
pub use self::{
    error::DialError,
    limit::{DialLimit, DialPermit},
    socket::Socket,
    sockets::{Sockets, SocketsFuture},
    tcp::TcpKeepalive,
};
use crate::{endpoint::Address, error::BoxError};

/// A byte stream to a peer. Implemented for everything that has the traits it asks for.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T> Io for T where T: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

/// Opens byte streams to addresses. Implemented for every tower service that has the traits it asks for.
///
/// It is called from a task of the runtime that carries the connection, one clone per dial. Dropping its future gives
/// the dial up, and whoever called bounds its time. See the [module docs](self) for an example.
pub trait Dial:
    Service<Address, Response: Io, Error: Into<BoxError>, Future: Send + 'static> + Clone + Send + Sync + 'static
{
}

impl<S> Dial for S where
    S: Service<Address, Response: Io, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// A byte stream of any kind.
pub(crate) type BoxIo = Box<dyn Io>;

type DialFuture = Pin<Box<dyn Future<Output = Result<BoxIo, BoxError>> + Send>>;

/// A dialler of any kind, so that the type of a channel does not depend on it.
#[derive(Clone)]
pub(crate) struct BoxDial(Arc<dyn Fn(Address) -> DialFuture + Send + Sync>);

impl BoxDial {
    pub(crate) fn new(dial: impl Dial) -> Self {
        Self(Arc::new(move |address| {
            let mut dial = dial.clone();
            Box::pin(async move {
                poll_fn(|cx| dial.poll_ready(cx)).await.map_err(Into::into)?;
                let io = dial.call(address).await.map_err(Into::into)?;
                Ok(Box::new(io) as BoxIo)
            })
        }))
    }

    pub(crate) fn dial(&self, address: Address) -> DialFuture {
        (self.0)(address)
    }
}

impl fmt::Debug for BoxDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxDial").finish_non_exhaustive()
    }
}

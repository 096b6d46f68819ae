//! Sockets that listen.

mod acceptor;
#[cfg(unix)]
mod unix;

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
};

use tokio::net::{TcpListener, TcpSocket};

pub(super) use self::acceptor::{Accepted, Acceptor};
use super::{
    ConnectInfo,
    address::{ListenAddress, Source},
    error::ListenError,
};
use crate::connect::dial::Socket;

/// How many connections the kernel keeps for us. It takes what `net.core.somaxconn` allows, which is 4 096 by
/// default.
const BACKLOG: u32 = 4096;

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(unix::UnixListener),
}

impl Listener {
    /// Starts to listen, in the ambient runtime.
    pub(super) fn new(address: ListenAddress) -> Result<Self, ListenError> {
        let shown = address.to_string();
        Self::open(address.0).map_err(|error| ListenError::new(&shown, error))
    }

    fn open(source: Source) -> io::Result<Self> {
        match source {
            Source::Text(text) => match text.strip_prefix("unix:") {
                Some(path) => Self::unix(path.into()),
                None => tcp(text
                    .parse()
                    .map_err(|_| invalid("expected `IP:PORT`, `[IPv6]:PORT` or `unix:PATH`"))?),
            },
            Source::Tcp(address) => tcp(address),
            Source::Unix(path) => Self::unix(path),
            Source::AdoptedTcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
            #[cfg(unix)]
            Source::AdoptedUnix(listener) => unix::UnixListener::adopt(listener).map(Self::Unix),
        }
    }

    #[cfg(unix)]
    fn unix(path: std::path::PathBuf) -> io::Result<Self> {
        unix::UnixListener::bind(path).map(Self::Unix)
    }

    #[cfg(not(unix))]
    fn unix(_: std::path::PathBuf) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this platform has no unix sockets"))
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, ConnectInfo)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                // Small writes must not wait for the acknowledgement of earlier ones. A socket that refuses this is
                // dead, and will say so.
                let _ = stream.set_nodelay(true);
                let info = ConnectInfo::new(Some(peer), stream.local_addr().ok());
                Poll::Ready(Ok((stream.into(), info)))
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let stream = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((stream.into(), ConnectInfo::new(None, None))))
            }
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the last process to be forgotten. On Windows the option would
    // let two processes share the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG).map(Listener::Tcp)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A connected socket of [`Sockets`](super::Sockets).
#[derive(Debug)]
pub struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(Kind::Tcp(stream))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(Kind::Unix(stream))
    }
}

macro_rules! delegate {
    ($socket:expr, $stream:ident => $call:expr) => {
        match &mut $socket.get_mut().0 {
            Kind::Tcp($stream) => $call,
            #[cfg(unix)]
            Kind::Unix($stream) => $call,
        }
    };
}

#[cfg(feature = "server")]
impl Socket {
    /// The same socket, driven by the runtime of the caller from now on.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        Ok(Self(match self.0 {
            Kind::Tcp(stream) => Kind::Tcp(TcpStream::from_std(stream.into_std()?)?),
            #[cfg(unix)]
            Kind::Unix(stream) => Kind::Unix(UnixStream::from_std(stream.into_std()?)?),
        }))
    }
}

#[cfg(all(feature = "server", feature = "tls"))]
impl Socket {
    /// Whether the peer begins with `byte`, which is left unread. Never on a unix socket.
    pub(crate) async fn begins_with(&self, byte: u8) -> io::Result<bool> {
        match &self.0 {
            Kind::Tcp(stream) => {
                let mut first = [0];
                Ok(stream.peek(&mut first).await? > 0 && first[0] == byte)
            }
            #[cfg(unix)]
            Kind::Unix(_) => Ok(false),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds hand the slices to the kernel in one call.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

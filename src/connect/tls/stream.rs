use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{TlsError, error::cause};

/// A TLS stream over an `I`, on which HTTP/2 was negotiated.
///
/// Its errors say what a TLS alert of the peer means: with TLS 1.3 a server complains about a client certificate
/// only after the handshake.
#[derive(Debug)]
pub struct TlsStream<I> {
    inner: tokio_rustls::client::TlsStream<I>,
    name: Arc<str>,
}

impl<I> TlsStream<I> {
    pub(super) fn new(inner: tokio_rustls::client::TlsStream<I>, name: &str) -> Self {
        Self { inner, name: name.into() }
    }

    /// The stream beneath.
    pub fn get_ref(&self) -> &I {
        self.inner.get_ref().0
    }

    fn explain(&self, error: io::Error) -> io::Error {
        match cause(&error) {
            Some(rustls::Error::AlertReceived(alert)) => {
                let alert = *alert;
                io::Error::new(error.kind(), TlsError::alert(&self.name, alert).because(error))
            }
            _ => error,
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        Poll::Ready(read.map_err(|error| self.explain(error)))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf));
        Poll::Ready(written.map_err(|error| self.explain(error)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bufs));
        Poll::Ready(written.map_err(|error| self.explain(error)))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        Poll::Ready(flushed.map_err(|error| self.explain(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

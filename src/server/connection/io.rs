use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::vitals::Vitals;
use crate::server::flood::Meter;

/// The byte stream of a connection, from its first byte on, with an eye on what passes.
#[derive(Debug)]
pub(super) struct Watched<I> {
    io: I,
    /// What was read to find out the protocol.
    opening: Bytes,
    vitals: Arc<Vitals>,
    /// For HTTP/2.
    meter: Option<Meter>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, opening: Bytes, vitals: Arc<Vitals>, meter: Option<Meter>) -> Self {
        vitals.note_owed();
        Self { io, opening, vitals, meter }
    }

    fn note_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(meter) = &mut self.meter else {
            // HTTP/1: what comes while nothing is being served is the head of the next request.
            if self.vitals.active() == 0 {
                self.vitals.note_owed();
            }
            return Ok(());
        };
        match meter.read(bytes) {
            Ok(completed) => {
                if completed {
                    self.vitals.note_paid();
                }
                if meter.is_owed() {
                    self.vitals.note_owed();
                } else {
                    self.vitals.note_paid();
                }
                Ok(())
            }
            Err(flood) => {
                self.vitals.note_flood(flood);
                Err(io::Error::other(flood))
            }
        }
    }

    fn note_written<'a>(&mut self, written: usize, slices: impl IntoIterator<Item = &'a [u8]>) {
        self.vitals.note_written(written);
        let Some(meter) = &mut self.meter else { return };
        let mut left = written;
        for slice in slices {
            let taken = slice.get(..left).unwrap_or(slice);
            meter.wrote(taken);
            left -= taken.len();
            if left == 0 {
                break;
            }
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.opening.has_remaining() {
            let n = self.opening.len().min(buf.remaining());
            buf.put_slice(&self.opening.split_to(n));
        } else {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.note_read(read))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf))?;
        self.note_written(written, [buf]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs))?;
        self.note_written(written, bufs.iter().map(|slice| &**slice));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

//! Knowing when something was last read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// When something was last read, and how often.
///
/// The driver is the only writer and the only reader (the atomics only let it cross threads), so plain loads and
/// stores will do.
#[derive(Debug)]
pub(super) struct Reads {
    epoch: Instant,
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Reads {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::now(), count: AtomicU64::new(0), nanos: AtomicU64::new(0) }
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(super) fn last(&self) -> Instant {
        let since = Duration::from_nanos(self.nanos.load(Relaxed));
        self.epoch.checked_add(since).unwrap_or(self.epoch)
    }

    fn note(&self) {
        self.count.store(self.count().wrapping_add(1), Relaxed);
        let nanos = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Relaxed);
    }
}

/// An I/O object that notes its reads.
#[derive(Debug)]
pub(super) struct Tracked<T> {
    io: T,
    reads: Arc<Reads>,
}

impl<T> Tracked<T> {
    pub(super) fn new(io: T, reads: Arc<Reads>) -> Self {
        Self { io, reads }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tracked<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.reads.note();
        }
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tracked<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
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

//! One HTTP/2 connection of a [`Greeter`](super::Greeter), and the orders that end it.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};

use super::service::Service;

/// What the server's connections are told; each number counts the orders of its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Orders {
    pub(super) go_away: u64,
    pub(super) cut: u64,
    pub(super) reset: u64,
    pub(super) stop: bool,
}

pub(super) async fn serve(
    stream: TcpStream,
    service: Service,
    mut orders: watch::Receiver<Orders>,
    max_concurrent_streams: Option<u32>,
) {
    let _ = stream.set_nodelay(true);
    let mut obeyed = *orders.borrow_and_update();
    let io = TokioIo::new(Socket { stream, orders: orders.clone(), born: obeyed.reset });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_concurrent_streams(max_concurrent_streams);
    let mut connection = pin!(builder.serve_connection(io, TowerToHyperService::new(service)));
    loop {
        tokio::select! {
            biased;
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *orders.borrow_and_update();
                if now.reset > obeyed.reset {
                    return;
                }
                if now.go_away > obeyed.go_away || (now.stop && !obeyed.stop) {
                    connection.as_mut().graceful_shutdown();
                }
                if now.cut > obeyed.cut {
                    connection.as_mut().graceful_shutdown();
                    let _ = futures_util::poll!(connection.as_mut());
                    return;
                }
                obeyed = now;
            }
            _ = connection.as_mut() => return,
        }
    }
}

/// A socket that is closed with RST, not FIN, once its server has been told to reset.
struct Socket {
    stream: TcpStream,
    orders: watch::Receiver<Orders>,
    born: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.orders.borrow().reset > self.born {
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

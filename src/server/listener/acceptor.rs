use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::Listener;
use crate::{
    connect::dial::Socket,
    server::{ConnectInfo, stats::Counters},
};

/// The first pause after a failed accept, and the longest.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A socket and where it came from.
pub(in crate::server) type Accepted = (Socket, ConnectInfo);

/// Takes connections from several listeners, each in its turn.
#[derive(Debug)]
pub(in crate::server) struct Acceptor {
    listeners: Vec<Listener>,
    next: usize,
    /// While there are no file descriptors, a listener is ready at once and fails at once.
    pause: Option<Pin<Box<Sleep>>>,
    failures: u32,
    counters: Arc<Counters>,
}

impl Acceptor {
    pub(in crate::server) fn new(listeners: Vec<Listener>, counters: Arc<Counters>) -> Self {
        Self { listeners, next: 0, pause: None, failures: 0, counters }
    }

    pub(in crate::server) fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The next connection. Dropping the future loses none.
    pub(in crate::server) async fn accept(&mut self) -> Accepted {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Accepted> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.poll_listeners(cx) {
                Poll::Ready(Ok(accepted)) => {
                    self.failures = 0;
                    return Poll::Ready(accepted);
                }
                Poll::Ready(Err(error)) => self.failed(&error),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_listeners(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let (later, first) = self.listeners.split_at(self.next.min(self.listeners.len()));
        for (i, listener) in first.iter().chain(later).enumerate() {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                self.next = (self.next + i + 1) % self.listeners.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    fn failed(&mut self, error: &io::Error) {
        use io::ErrorKind as Kind;

        self.counters.accept_errors.add();
        // The peer went away before its turn came. There may be another behind it.
        if matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted) {
            return;
        }
        if self.failures == 0 {
            tracing::error!(target: "grpc_balance::server", %error, "cannot accept connections");
        }
        let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(Box::pin(sleep(pause)));
    }
}

//! The task that owns a connection's socket.

use std::{
    future::Future,
    io::ErrorKind,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason,
    client::{Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{oneshot, watch},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    io::{Reads, Tracked},
    link::Link,
};
use crate::{
    connect::{
        ConnectionState,
        keepalive::{Action, Monitor, Observation},
    },
    error::{Error, Phase},
    grpc::Code,
    stats::Disconnect,
};

/// What `h2` is told to start with, instead of a number that a peer could send: it stays until the peer's SETTINGS
/// have arrived.
pub(super) const NO_SETTINGS_YET: usize = usize::MAX - 1;

/// How long a connection that nobody uses may take to say goodbye to a peer that does not read.
const FAREWELL: Duration = Duration::from_millis(500);

/// Drives one connection until it is closed.
pub(super) struct Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    connection: Connection<Tracked<T>, Bytes>,
    /// Fails as soon as the peer's GOAWAY was read, and keeps an idle connection open.
    probe: Option<SendRequest<Bytes>>,
    pings: Option<PingPong>,
    /// A ping is unanswered.
    pinging: bool,
    reads: Arc<Reads>,
    link: Arc<Link>,
    state: watch::Sender<ConnectionState>,
    max_streams: usize,
    /// What ended the connection, unless it was a GOAWAY.
    reason: Disconnect,
    /// Resolves when nobody can start a call any more.
    released: Option<oneshot::Receiver<()>>,
    monitor: Monitor,
    busy: bool,
    gave_way: bool,
    alarm: Alarm,
    farewell: Alarm,
}

/// A timer that is allocated when it is first set.
#[derive(Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl<T> Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(
        mut connection: Connection<Tracked<T>, Bytes>,
        probe: SendRequest<Bytes>,
        reads: Arc<Reads>,
        link: Arc<Link>,
        state: watch::Sender<ConnectionState>,
        released: oneshot::Receiver<()>,
        monitor: Monitor,
    ) -> Self {
        Self {
            pings: connection.ping_pong(),
            pinging: false,
            connection,
            probe: Some(probe),
            reads,
            link,
            state,
            max_streams: NO_SETTINGS_YET,
            reason: Disconnect::Closed,
            released: Some(released),
            monitor,
            busy: false,
            gave_way: false,
            alarm: Alarm::default(),
            farewell: Alarm::default(),
        }
    }

    /// Drives the connection until the peer's SETTINGS have arrived.
    pub(super) fn poll_settings(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let closed = self.poll_connection(cx);
        if let Poll::Ready(cause) = closed {
            return Poll::Ready(Err(cause));
        }
        if self.probe.is_none()
            && let ConnectionState::GoingAway { cause, .. } = &*self.state.borrow()
        {
            return Poll::Ready(Err(cause.clone()));
        }
        if self.max_streams == NO_SETTINGS_YET { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    /// Drives the connection, and publishes what its frames have changed. Ready when it is closed.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let closed = Pin::new(&mut self.connection).poll(cx);
        let max = self.connection.max_concurrent_send_streams();
        if max != self.max_streams {
            self.max_streams = max;
            if self.probe.is_some() {
                self.state.send_replace(ConnectionState::Open { max_streams: max });
            }
        }
        if let Some(probe) = &mut self.probe
            && let Poll::Ready(Err(error)) = probe.poll_ready(cx)
            // A broken pipe: the connection itself knows more.
            && !error.is_io()
        {
            self.probe = None;
            self.going_away(error);
        }
        let result = ready!(closed);
        if let ConnectionState::GoingAway { cause, .. } = &*self.state.borrow()
            && !matches!(&result, Err(error) if error.is_io())
        {
            // After GOAWAY it closes by itself, with the last stream.
            return Poll::Ready(cause.clone());
        }
        Poll::Ready(match result {
            Ok(()) => self.error("the connection was closed"),
            Err(error) => {
                if error.get_io().is_none_or(|io| io.kind() == ErrorKind::ConnectionReset) {
                    self.reason = Disconnect::Reset;
                }
                self.error("the connection was lost").because(error)
            }
        })
    }

    fn going_away(&mut self, error: h2::Error) {
        let too_many_pings = error.reason() == Some(Reason::ENHANCE_YOUR_CALM)
            // The debug data of a GOAWAY shows nowhere else.
            && error.to_string().contains("too_many_pings");
        let message = if error.is_go_away() && error.is_remote() {
            "the peer is going away"
        } else {
            "the connection takes no more calls"
        };
        let cause = self.error(message).because(error);
        self.state.send_replace(ConnectionState::GoingAway { too_many_pings, cause });
    }

    /// Once nobody can start a call any more, the probe goes too, so that the connection closes with its last stream.
    /// Ready when a peer that does not read has kept it from closing for too long.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(released) = &mut self.released {
            if Pin::new(released).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.released = None;
            self.probe = None;
            self.farewell.set(Instant::now().checked_add(FAREWELL));
            // The connection has to see that it is alone.
            cx.waker().wake_by_ref();
        }
        while self.farewell.poll(cx).is_ready() {
            if !self.link.is_busy() {
                return Poll::Ready(self.error("the connection was closed unused"));
            }
            self.farewell.set(Instant::now().checked_add(FAREWELL));
        }
        Poll::Pending
    }

    /// Ready when the peer is dead.
    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if self.pinging
            && let Some(pings) = &mut self.pings
        {
            // Any byte counts as an answer; this only makes way for the next ping.
            self.pinging = pings.poll_pong(cx).is_pending();
        }
        let busy = self.link.is_busy();
        while self.alarm.poll(cx).is_ready() || busy != self.busy {
            self.busy = busy;
            let action = self.monitor.observe(Observation {
                now: Instant::now(),
                last_read: self.reads.last(),
                reads: self.reads.count(),
                busy,
                progressed: self.link.take_progress(),
            });
            match action {
                Action::Rest => self.alarm.set(None),
                Action::Wait(then) => self.alarm.set(Some(then)),
                Action::Ping(then) => {
                    if let Some(pings) = &mut self.pings {
                        // It fails while an earlier one is unanswered, which serves as well.
                        let _ = pings.send_ping(Ping::opaque());
                        self.pinging = true;
                    }
                    self.alarm.set(Some(then));
                    cx.waker().wake_by_ref();
                }
                Action::GiveUp => {
                    self.reason = Disconnect::Keepalive;
                    return Poll::Ready(self.error("the peer did not answer a keepalive ping"));
                }
            }
        }
        Poll::Pending
    }

    fn error(&self, message: &str) -> Error {
        Error::new(Code::Unavailable, Phase::Connect, message).at(self.link.endpoint.clone())
    }
}

impl<T> Future for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // A call that goes out wakes this task, which tokio then runs next. Giving way once lets all others that are
        // ready send their calls first, so that one write carries them.
        this.gave_way = !this.gave_way;
        if this.gave_way {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        for part in [Self::poll_connection, Self::poll_farewell, Self::poll_keepalive] {
            if let Poll::Ready(cause) = part(this, cx) {
                this.link.close(cause);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl<T> Drop for Driver<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    fn drop(&mut self) {
        // Before `h2` tells the streams that a pipe broke.
        self.link.close(self.error("the runtime of the connection is gone"));
        let Some(cause) = self.link.closed().cloned() else { return };
        self.state.send_modify(|state| {
            // Servers close right after a GOAWAY, and who looks only then must learn of it all the same.
            let (reason, too_many_pings) = match state {
                ConnectionState::GoingAway { too_many_pings, .. } => (Disconnect::GoAway, *too_many_pings),
                _ => (self.reason, false),
            };
            *state = ConnectionState::Closed { reason, too_many_pings, cause };
        });
    }
}

impl Alarm {
    fn set(&mut self, time: Option<Instant>) {
        self.set = time.is_some();
        let Some(time) = time else { return };
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() == time => {}
            Some(sleep) => sleep.as_mut().reset(time),
            None => self.sleep = Some(Box::pin(sleep_until(time))),
        }
    }

    /// Ready, once, when the time has come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.set => {
                ready!(sleep.as_mut().poll(cx));
                self.set = false;
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

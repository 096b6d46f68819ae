use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    lifecycle::{Cut, Leave, Lifecycle, Limits, Observation, Step},
    vitals::Vitals,
};
use crate::server::{drain::Phase, flood::Flood, stats::Counters};

/// Drives a connection of hyper's to its end, and sees to it that there is one.
pub(super) async fn drive<C>(
    mut connection: Pin<&mut C>,
    leave: impl Fn(Pin<&mut C>),
    limits: Limits,
    vitals: &Arc<Vitals>,
    mut phase: watch::Receiver<Phase>,
    counters: &Counters,
) where
    C: Future<Output = hyper::Result<()>>,
{
    let mut lifecycle = Lifecycle::new(limits, Instant::now());
    let mut timer = None;
    let mut drain = pin!(async move {
        // An error means that the server is gone; it takes this future with it.
        let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
    });
    let mut draining = false;

    let ended = poll_fn(|cx: &mut Context<'_>| {
        vitals.register(cx.waker());
        if !draining {
            draining = drain.as_mut().poll(cx).is_ready();
        }
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            let now = Instant::now();
            let step = lifecycle.step(Observation {
                now,
                active: vitals.active(),
                idle_since: vitals.idle_since(),
                owed_since: vitals.owed_since(),
                written: vitals.written(),
                draining,
            });
            match step {
                Step::Leave(why) => {
                    counters.left(why);
                    leave(connection.as_mut());
                }
                Step::Cut(why) => return Poll::Ready(Err(why)),
                Step::Wait(None) => return Poll::Pending,
                Step::Wait(Some(until)) => {
                    // A timer that fires too early costs one look; moving it at every poll would cost more.
                    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
                    if until < timer.deadline() || timer.deadline() <= now {
                        timer.as_mut().reset(until);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    })
    .await;
    counters.ended(&ended, vitals.flood());
}

impl Counters {
    fn left(&self, why: Leave) {
        match why {
            Leave::Idle => self.idle_timeouts.add(),
            Leave::Aged => self.aged.add(),
            Leave::Drained => {}
        }
    }

    fn ended(&self, how: &Result<hyper::Result<()>, Cut>, flood: Option<Flood>) {
        match (how, flood) {
            (_, Some(flood)) => {
                self.floods.add();
                tracing::debug!(target: super::TARGET, %flood, "connection closed");
            }
            (Ok(Ok(())), None) => {}
            (Ok(Err(error)), None) => {
                if is_calm_down(error) {
                    self.floods.add();
                }
                tracing::debug!(target: super::TARGET, error = error as &dyn std::error::Error, "connection failed");
            }
            (Err(why), None) => {
                match why {
                    Cut::Head => self.header_timeouts.add(),
                    Cut::Grace => self.cut.add(),
                    Cut::Unacknowledged => {}
                }
                tracing::debug!(target: super::TARGET, ?why, "connection cut");
            }
        }
    }
}

/// Whether `h2` itself closed the connection because of a flood.
fn is_calm_down(error: &hyper::Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{spawn, task::yield_now};

    use super::*;
    use crate::server::connection::vitals::Active;

    /// A connection on which nothing happens until it is told to leave.
    struct Quiet {
        told: bool,
    }

    impl Future for Quiet {
        type Output = hyper::Result<()>;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            if self.told { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_last_request_is_noticed_though_nothing_moves_on_the_connection() {
        let vitals = Arc::new(Vitals::new());
        let active = Active::new(vitals.clone());
        let (_server, phase) = watch::channel(Phase::Serving);
        let limits = Limits { head: None, idle: Some(MINUTE), age: None, age_grace: None };
        let driving = spawn(async move {
            let connection = pin!(Quiet { told: false });
            let leave = |mut connection: Pin<&mut Quiet>| connection.told = true;
            let counters = Counters::default();
            drive(connection, leave, limits, &vitals, phase, &counters).await;
            counters.snapshot().idle_timeouts
        });
        yield_now().await;
        tokio::time::advance(MINUTE * 5).await;
        assert!(!driving.is_finished());
        let ended = Instant::now();
        drop(active);
        assert_eq!(tokio::time::timeout(MINUTE * 5, driving).await.expect("it ends").unwrap(), 1);
        assert_eq!(ended.elapsed(), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_reaches_a_connection_that_waits_for_nothing() {
        let vitals = Arc::new(Vitals::new());
        let (server, phase) = watch::channel(Phase::Serving);
        let limits = Limits { head: None, idle: None, age: None, age_grace: None };
        let driving = spawn(async move {
            let connection = pin!(Quiet { told: false });
            let leave = |mut connection: Pin<&mut Quiet>| connection.told = true;
            drive(connection, leave, limits, &vitals, phase, &Counters::default()).await;
        });
        yield_now().await;
        assert!(!driving.is_finished());
        server.send_replace(Phase::Lingering);
        yield_now().await;
        assert!(!driving.is_finished());
        server.send_replace(Phase::Closing);
        tokio::time::timeout(MINUTE, driving).await.expect("it ends").unwrap();
    }
}

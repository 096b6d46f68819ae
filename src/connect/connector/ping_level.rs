//! Pinging less once a peer has complained.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use tokio::sync::watch;

use crate::connect::{ConnectionState, http2::Http2Config};

/// How often the keepalive of new connections was doubled.
#[derive(Clone, Debug, Default)]
pub(super) struct PingLevel(Arc<AtomicU32>);

impl PingLevel {
    // A thousand times the default of 10 s is close to three hours.
    const MAX: u32 = 10;

    pub(super) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// A connection that was made at `level` pinged too often. When fifty peers say so at once, it is doubled once.
    fn complained(&self, level: u32) {
        self.0.fetch_max(level.saturating_add(1).min(Self::MAX), Relaxed);
    }

    /// Waits for a complaint about pings of a connection that was made at `level`, until it has closed.
    pub(super) async fn watch(self, mut health: watch::Receiver<ConnectionState>, level: u32) {
        loop {
            if is_complaint(&health.borrow_and_update()) {
                self.complained(level);
                return;
            }
            if health.changed().await.is_err() {
                return;
            }
        }
    }
}

fn is_complaint(state: &ConnectionState) -> bool {
    match state {
        ConnectionState::Open { .. } => false,
        ConnectionState::GoingAway { too_many_pings, .. }
        | ConnectionState::Closed { too_many_pings, .. } => *too_many_pings,
    }
}

/// The settings of a connection that is made at `level`.
pub(super) fn apply(level: u32, config: &Http2Config) -> Http2Config {
    let doubled = (0..level).fold(config.get_keepalive().clone(), |keepalive, _| keepalive.doubled());
    config.clone().keepalive(doubled)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::uri::{Authority, Scheme};
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::{
        connect::{Keepalive, http2},
        endpoint::Endpoint,
        error::{Error, Phase},
        grpc::Code,
    };

    fn going_away(too_many_pings: bool) -> ConnectionState {
        let cause = Error::new(Code::Unavailable, Phase::Stream, "the peer is going away");
        ConnectionState::GoingAway { too_many_pings, cause }
    }

    #[tokio::test]
    async fn a_complaint_doubles_the_keepalive_of_later_connections() {
        let keepalive = Keepalive::on_suspicion().after_silence(Duration::from_secs(10));
        let config = Http2Config::new().keepalive(keepalive.clone());
        let level = PingLevel::default();
        assert_eq!(apply(level.get(), &config).get_keepalive(), &keepalive);

        let (state, health) = watch::channel(ConnectionState::Open { max_streams: 1 });
        let watching = tokio::spawn(level.clone().watch(health, level.get()));
        state.send_replace(going_away(true));
        watching.await.unwrap();
        assert_eq!(apply(level.get(), &config).get_keepalive(), &keepalive.doubled());
    }

    /// The level after a peer said GOAWAY (ENHANCE_YOUR_CALM) with this debug data, and closed at once.
    async fn level_after_goaway_and_close(debug_data: &[u8]) -> u32 {
        let (io, mut peer) = tokio::io::duplex(1 << 16);
        let endpoint: Endpoint = "192.0.2.1:1".parse().unwrap();
        let handshake = http2::handshake(
            io,
            Arc::new(endpoint),
            Scheme::HTTP,
            Authority::from_static("greeter.test"),
            &Http2Config::new(),
            &tokio::runtime::Handle::current(),
        );
        peer.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let established = handshake.await.unwrap();
        let level = PingLevel::default();
        let length = u8::try_from(8 + debug_data.len()).unwrap();
        let mut goaway = vec![0, 0, length, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
        goaway.extend_from_slice(debug_data);
        peer.write_all(&goaway).await.unwrap();
        drop(peer);
        level.clone().watch(established.health, 0).await;
        level.get()
    }

    #[tokio::test]
    async fn a_complaint_counts_although_the_peer_closes_at_once() {
        assert_eq!(level_after_goaway_and_close(b"too_many_pings").await, 1);
        assert_eq!(level_after_goaway_and_close(b"too_many_resets").await, 0);
    }

    #[tokio::test]
    async fn connections_of_one_level_that_complain_together_double_it_once() {
        let level = PingLevel::default();
        for _ in 0..50 {
            let (_state, health) = watch::channel(going_away(true));
            level.clone().watch(health, 0).await;
        }
        assert_eq!(level.get(), 1);
        let (_state, health) = watch::channel(going_away(true));
        level.clone().watch(health, 1).await;
        assert_eq!(level.get(), 2);
    }

    #[tokio::test]
    async fn a_connection_that_ends_in_peace_changes_nothing() {
        let level = PingLevel::default();
        let (state, health) = watch::channel(ConnectionState::Open { max_streams: 1 });
        let watching = tokio::spawn(level.clone().watch(health, 0));
        state.send_replace(going_away(false));
        drop(state);
        watching.await.unwrap();
        assert_eq!(level.get(), 0);
    }

    #[test]
    fn the_level_has_a_ceiling() {
        let level = PingLevel::default();
        for n in [9, 10, 1_000, u32::MAX] {
            level.complained(n);
        }
        assert_eq!(level.get(), PingLevel::MAX);
    }
}

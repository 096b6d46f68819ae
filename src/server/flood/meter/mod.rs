use tokio::time::Instant;

use super::{
    Flood, FloodLimits,
    allowance::Allowance,
    frames::{DATA, Frame, Frames, HEADERS, RST_STREAM, SETTINGS},
};

/// A cancelled stream costs two, and an opened one earns one: a peer that cancels less than every second stream
/// never runs out (Envoy closes a connection on the same proportion, from 500 streams on).
const RESET: u64 = 2;
const OPENED: u64 = 1;

/// SETTINGS make us look at every open stream, so one costs as much as several of the others.
const SETTINGS_COST: u64 = 10;
/// Envoy's `max_inbound_window_update_frames_per_data_frame_sent`.
const EARNED_BY_FRAME: u64 = 10;

/// Weighs what a peer makes us do against what it is good for.
///
/// Work for nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, unknown frames) is paid from an allowance
/// that headers and data in either direction earn and that time refills; cancelled streams from another.
#[derive(Debug)]
pub(crate) struct Meter {
    inbound: Frames,
    outbound: Frames,
    control: Allowance,
    resets: Allowance,
}

impl Meter {
    pub(crate) fn new(limits: &FloodLimits, max_concurrent_streams: u32, now: Instant) -> Self {
        let resets = limits.resets.unwrap_or_else(|| max_concurrent_streams.saturating_mul(2).max(1_000));
        Self {
            inbound: Frames::of_client(),
            outbound: Frames::of_server(),
            control: Allowance::new(u64::from(limits.control_frames), 10, now),
            resets: Allowance::new(u64::from(resets).saturating_mul(RESET), 10, now),
        }
    }

    /// Takes bytes of the peer. Says whether they completed something.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<bool, Flood> {
        let Self { inbound, control, resets, .. } = self;
        let mut flood = None;
        let completed = inbound.feed(bytes, |frame| {
            let paid = match frame.kind {
                HEADERS => {
                    resets.earn(OPENED);
                    control.earn(EARNED_BY_FRAME);
                    true
                }
                DATA if !frame.is_empty_data() => {
                    control.earn(worth(frame));
                    true
                }
                RST_STREAM => resets.pay(RESET),
                SETTINGS => control.pay(SETTINGS_COST),
                _ => control.pay(1),
            };
            if !paid {
                flood = Some(if frame.kind == RST_STREAM { Flood::Resets } else { Flood::Control });
            }
        });
        flood.map_or(Ok(completed), Err)
    }

    /// Takes bytes of ours: who receives data acknowledges it.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        let Self { outbound, control, .. } = self;
        outbound.feed(bytes, |frame| {
            if matches!(frame.kind, DATA | HEADERS) {
                control.earn(worth(frame));
            }
        });
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.inbound.is_owed()
    }
}

/// A large frame may be acknowledged in small steps.
fn worth(frame: Frame) -> u64 {
    EARNED_BY_FRAME + u64::from(frame.length / 1024)
}

#[cfg(test)]
mod tests;

//! Checks by TCP.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    connect::dial::{AttemptDelay, BoxDial, BoxIo, Dial, DialError, Sockets, race},
    endpoint::{Address, Endpoint},
    error::BoxError,
    health::Finding,
    probe::line::Turn,
};

/// As much of what the peer says is looked at.
const LONGEST: usize = 64 * 1024;

/// Connects, and optionally exchanges a few bytes. For endpoints that know neither gRPC's health protocol nor HTTP.
///
/// That a process accepts connections does not say that it works, and the kernel accepts them for one that hangs. Each
/// check makes a connection of its own, in plaintext, to the first of the endpoint's addresses that answers: the
/// connecting is what is checked.
#[derive(Clone, Debug)]
pub struct Tcp {
    dial: BoxDial,
    send: Bytes,
    expect: Bytes,
}

impl Tcp {
    /// Only connects.
    #[must_use]
    pub fn new() -> Self {
        Self { dial: BoxDial::new(Sockets::new()), send: Bytes::new(), expect: Bytes::new() }
    }

    /// Sends these bytes once connected. Default: none.
    #[must_use]
    pub fn send(mut self, bytes: impl Into<Bytes>) -> Self {
        self.send = bytes.into();
        self
    }

    /// Asks for these bytes, in a row, somewhere in the first 64 KiB of what the peer says. Default: it need not speak.
    #[must_use]
    pub fn expect(mut self, bytes: impl Into<Bytes>) -> Self {
        self.expect = bytes.into();
        self
    }

    /// Dials with something else than [`Sockets`] with their defaults. See [`dial`](crate::connect::dial).
    #[must_use]
    pub fn dial(mut self, dial: impl Dial) -> Self {
        self.dial = BoxDial::new(dial);
        self
    }

    pub(super) async fn check(&self, endpoint: &Arc<Endpoint>, turn: &mut Turn) -> Finding {
        let io = match turn.hold(connect(&self.dial, endpoint)).await {
            Ok(io) => io,
            Err(cause) => return Finding::Fail(cause.into()),
        };
        match self.exchange(io).await {
            Ok(()) => Finding::Pass,
            Err(cause) => Finding::Fail(cause.into()),
        }
    }

    async fn exchange(&self, mut io: BoxIo) -> Result<(), String> {
        if !self.send.is_empty() {
            let sent = async {
                io.write_all(&self.send).await?;
                io.flush().await
            };
            sent.await.map_err(|error| format!("nothing can be sent: {error}"))?;
        }
        let mut said = Vec::new();
        while !contains(&said, &self.expect) {
            if said.len() >= LONGEST {
                return Err(format!("it says something else than `{}`", abridged(&self.expect)));
            }
            let read =
                io.read_buf(&mut said).await.map_err(|error| format!("nothing can be read: {error}"))?;
            if read == 0 {
                return Err(format!(
                    "it says `{}` and closes, where `{}` is expected",
                    abridged(&said),
                    abridged(&self.expect)
                ));
            }
        }
        Ok(())
    }
}

impl Default for Tcp {
    fn default() -> Self {
        Self::new()
    }
}

/// Dials the endpoint's addresses until one answers.
pub(super) async fn connect(dial: &BoxDial, endpoint: &Endpoint) -> Result<BoxIo, String> {
    let failures = match race(endpoint.addresses(), AttemptDelay::new(DELAY), |at| dial.dial(at)).await {
        Ok(io) => return Ok(io),
        Err(failures) => failures,
    };
    let told: Vec<String> = failures.iter().map(|(address, error)| told(address, error)).collect();
    Err(told.join("; "))
}

/// As for calls (RFC 8305).
const DELAY: Duration = Duration::from_millis(250);

fn told(address: &Address, error: &BoxError) -> String {
    match error.downcast_ref::<DialError>() {
        Some(error) => format!("connect {address}: {}", error.cause()),
        None => format!("connect {address}: {error}"),
    }
}

fn contains(said: &[u8], expected: &[u8]) -> bool {
    expected.is_empty() || said.windows(expected.len()).any(|window| window == expected)
}

/// Bytes as they may stand in a log line.
fn abridged(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => format!("{}...", start.escape_ascii()),
        _ => bytes.escape_ascii().to_string(),
    }
}

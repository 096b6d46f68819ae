//! Happy Eyeballs: attempts to the addresses of one endpoint, started one after the other, racing each other.
//!
//! An address may swallow packets (a broken IPv6 route), or accept TCP and never speak. Trying the next one only after
//! a timeout would cost the whole timeout; so the next attempt starts a moment later while the earlier ones go on,
//! and the first to get all the way wins (RFC 8305 as narrowed by gRFC A61).

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, future::Future, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep;

use crate::endpoint::Address;

/// How long an attempt has before the next address is tried beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptDelay(Duration);

impl AttemptDelay {
    // gRFC A61 takes the default from RFC 8305 and narrows its limits.
    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(2);

    pub(crate) fn new(delay: Duration) -> Self {
        Self(delay.clamp(Self::MIN, Self::MAX))
    }
}

impl Default for AttemptDelay {
    fn default() -> Self {
        Self(Duration::from_millis(250))
    }
}

/// Runs `attempt` for the addresses until one succeeds, and drops the others.
///
/// When every attempt failed, the errors come in the order in which the attempts started. The last attempt has no
/// time limit: the caller bounds the whole.
pub(crate) async fn race<F, T, E>(
    addresses: &[Address],
    delay: AttemptDelay,
    mut attempt: impl FnMut(Address) -> F,
) -> Result<T, Vec<(Address, E)>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut untried = interleave(addresses).into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some((order, address)) = untried.next() {
            let attempt = attempt(address.clone());
            running.push(async move { attempt.await.map_err(|error| (order, address, error)) });
        }
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(established)) => return Ok(established),
                Some(Err(failure)) => failures.push(failure),
                None => break,
            },
            () = sleep(delay.0), if untried.len() > 0 => {}
        }
    }
    failures.sort_by_key(|(order, ..)| *order);
    Err(failures.into_iter().map(|(_, address, error)| (address, error)).collect())
}

/// Alternates between the address families, the first address's family first, each in its given order.
fn interleave(addresses: &[Address]) -> Vec<Address> {
    let mut families: Vec<(Family, VecDeque<&Address>)> = Vec::new();
    for address in addresses {
        let family = Family::of(address);
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, members)) => members.push_back(address),
            None => families.push((family, VecDeque::from([address]))),
        }
    }
    let mut interleaved = Vec::with_capacity(addresses.len());
    while interleaved.len() < addresses.len() {
        interleaved.extend(families.iter_mut().filter_map(|(_, members)| members.pop_front()).cloned());
    }
    interleaved
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
    Local,
}

impl Family {
    fn of(address: &Address) -> Self {
        match address {
            Address::Tcp(address) if address.is_ipv4() => Self::V4,
            Address::Tcp(_) => Self::V6,
            Address::Unix(_) | Address::UnixAbstract(_) => Self::Local,
        }
    }
}

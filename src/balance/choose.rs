//! Where a call goes next, decided on one snapshot.

use http::Request;
use tokio::time::Instant;

use crate::{
    balance::{
        exclusions::Exclusions,
        shared::Shared,
        snapshot::{Choice, Snapshot},
    },
    connect::{Connect, Permit, Replay, subchannel::Lane},
    error::{Error, Phase},
    grpc::Code,
    policy::{Pick, PickContext, ReadyEndpoint},
};

/// How many full endpoints a call lets its policy find one by one before it looks for any endpoint with room.
const MAX_FULL: usize = 8;

/// Where a call goes next.
pub(crate) enum Next<'a, C> {
    Send(Reserved<'a, C>),
    Wait(Wait),
    Fail(Error),
}

/// What a call waits for.
pub(crate) enum Wait {
    /// Other endpoints, because of this.
    Change(Option<Error>),
    /// Other endpoints, or a stream to one of these: they are full.
    Room,
    /// The snapshot that shows the connection of this permit.
    Connection(Permit),
}

/// A stream to an endpoint, ready to be used.
pub(crate) struct Reserved<'a, C> {
    pub(crate) ready: &'a ReadyEndpoint,
    pub(crate) lane: &'a Lane<C>,
    pub(crate) permit: Permit,
}

/// Chooses a connection for the call.
pub(crate) fn choose<'a, C: Connect, B>(
    shared: &Shared<C>,
    snapshot: &'a Snapshot<C::Connection>,
    request: &Request<Replay<B>>,
    excluded: &mut Exclusions,
    wait_for_ready: bool,
    now: Instant,
) -> Next<'a, C::Connection> {
    let picker = match &snapshot.choice {
        Choice::Pick(picker) => picker,
        Choice::Wait => return Next::Wait(Wait::Change(None)),
        Choice::Fail(error) if wait_for_ready => return Next::Wait(Wait::Change(Some(error.clone()))),
        Choice::Fail(error) | Choice::Closed(error) => return Next::Fail(error.clone()),
    };
    let endpoints = snapshot.ready.endpoints();
    excluded.begin(snapshot.generation);
    loop {
        let context = PickContext::new(
            request.uri().path(),
            request.headers(),
            request.extensions(),
            &shared.random,
            now,
        )
        .excluding(excluded.as_slice());
        let index = match picker.pick(&context) {
            Pick::Endpoint(index) => index,
            Pick::Queue => break,
            Pick::Fail(error) if wait_for_ready => return Next::Wait(Wait::Change(Some(error))),
            Pick::Fail(error) | Pick::Drop(error) => return Next::Fail(error),
        };
        let Some(ready) = endpoints.get(index) else {
            let message = format!("the policy picked number {index} of {}", endpoints.len());
            return Next::Fail(Error::new(Code::Internal, Phase::Pick, message));
        };
        if let Some(reserved) = reserve(snapshot, index) {
            return Next::Send(reserved);
        }
        if !excluded.full(ready.id()) || excluded.full_count() == MAX_FULL {
            let start = shared.random.below(endpoints.len());
            let found = (start..endpoints.len())
                .chain(0..start)
                .filter(|&i| !excluded.as_slice().contains(&endpoints[i].id()))
                .find_map(|i| reserve(snapshot, i));
            match found {
                Some(reserved) => return Next::Send(reserved),
                None => break,
            }
        }
    }
    if excluded.full_count() == 0 {
        return Next::Wait(Wait::Change(None));
    }
    shared.demand.notify_one();
    Next::Wait(Wait::Room)
}

/// A stream to the endpoint with this index, on its oldest connection that has one to spare (gRFC A105).
fn reserve<C: Send + Sync + 'static>(snapshot: &Snapshot<C>, index: usize) -> Option<Reserved<'_, C>> {
    let ready = snapshot.ready.endpoints().get(index)?;
    snapshot.lanes(ready).iter().find_map(|lane| {
        let permit = lane.gate.try_acquire()?;
        Some(Reserved { ready, lane, permit })
    })
}

/// Uses a stream that came free while the call waited for one, or drops it.
///
/// Its connection may be so new that no snapshot shows it yet, or gone, or to an endpoint that the call must not go
/// to. `wait`: whether it is worth waiting for the next snapshot.
pub(crate) fn redeem<'a, C: Send + Sync + 'static>(
    snapshot: &'a Snapshot<C>,
    permit: Permit,
    excluded: &mut Exclusions,
    wait: bool,
) -> Option<Next<'a, C>> {
    excluded.begin(snapshot.generation);
    for ready in snapshot.ready.endpoints() {
        if let Some(lane) = snapshot.lanes(ready).iter().find(|lane| permit.is_of(&lane.gate)) {
            let welcome = !excluded.as_slice().contains(&ready.id());
            return welcome.then_some(Next::Send(Reserved { ready, lane, permit }));
        }
    }
    wait.then_some(Next::Wait(Wait::Connection(permit)))
}

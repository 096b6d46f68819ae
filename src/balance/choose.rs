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
    load::Conduct,
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
    /// Some time: only endpoints are left that have refused the call.
    Respite,
}

/// A stream to an endpoint, ready to be used.
pub(crate) struct Reserved<'a, C> {
    pub(crate) ready: &'a ReadyEndpoint,
    pub(crate) lane: &'a Lane<C>,
    pub(crate) permit: Permit,
    /// Whether the endpoint is on trial, and this is its one call.
    pub(crate) trial: bool,
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
    // The first endpoint that would take the call, were it not on trial with another one.
    let mut on_trial = None;
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
        // A policy that ignores exclusions must not lead the call round in a circle.
        if excluded.as_slice().contains(&ready.id()) {
            break;
        }
        match reserve(snapshot, index) {
            Room::Here(reserved) => return Next::Send(reserved),
            Room::OnTrial => on_trial = on_trial.or(Some(index)),
            Room::Full => {}
        }
        excluded.full(ready.id());
        if excluded.full_count() == MAX_FULL {
            // Weight 0 gets calls only while all have it, here as under the policy.
            let weighted = endpoints.iter().any(|ready| ready.weight() > 0);
            let start = shared.random.below(endpoints.len());
            let found = (start..endpoints.len())
                .chain(0..start)
                .filter(|&i| endpoints[i].weight() > 0 || !weighted)
                .filter(|&i| !excluded.as_slice().contains(&endpoints[i].id()))
                .find_map(|i| match reserve(snapshot, i) {
                    Room::Here(reserved) => Some(reserved),
                    Room::OnTrial | Room::Full => None,
                });
            match found {
                Some(reserved) => return Next::Send(reserved),
                None => break,
            }
        }
    }
    // With nobody else to go to, a trial of one call at a time would only make the others wait.
    if let Some((ready, (lane, permit))) = on_trial
        .and_then(|index| endpoints.get(index))
        .and_then(|ready| Some((ready, permit_of(snapshot, ready)?)))
    {
        return Next::Send(Reserved { ready, lane, permit, trial: false });
    }
    if excluded.full_count() == 0 {
        return Next::Wait(if excluded.only_refused() { Wait::Respite } else { Wait::Change(None) });
    }
    if shared.may_grow {
        shared.demand.notify_one();
    }
    Next::Wait(Wait::Room)
}

/// A stream to the endpoint with this index, on its oldest connection that has one to spare (gRFC A105).
fn reserve<C: Send + Sync + 'static>(snapshot: &Snapshot<C>, index: usize) -> Room<'_, C> {
    let Some(ready) = snapshot.ready.endpoints().get(index) else { return Room::Full };
    let Some((lane, permit)) = permit_of(snapshot, ready) else { return Room::Full };
    match ready.load().conduct().map_or(Some(false), Conduct::admit) {
        Some(trial) => Room::Here(Reserved { ready, lane, permit, trial }),
        None => Room::OnTrial,
    }
}

/// A stream on the oldest connection that has one to spare.
fn permit_of<'a, C: Send + Sync + 'static>(
    snapshot: &Snapshot<C>,
    ready: &'a ReadyEndpoint,
) -> Option<(&'a Lane<C>, Permit)> {
    snapshot.lanes(ready).iter().find_map(|lane| Some((lane, lane.gate.try_acquire()?)))
}

/// Whether an endpoint takes a call.
enum Room<'a, C> {
    Here(Reserved<'a, C>),
    /// It is on trial, and its one call is under way.
    OnTrial,
    Full,
}

/// Uses a stream that came free while the call waited for one, or drops it.
///
/// Its connection may be so new that no snapshot shows it yet, or gone. `wait`: whether it is worth waiting for the
/// next snapshot. An endpoint that refused the call before is welcome here: all others are full, and were it not, two
/// calls that it refused would pass its stream to each other for ever.
pub(crate) fn redeem<C: Send + Sync + 'static>(
    snapshot: &Snapshot<C>,
    permit: Permit,
    wait: bool,
) -> Option<Next<'_, C>> {
    for ready in snapshot.ready.endpoints() {
        if let Some(lane) = snapshot.lanes(ready).iter().find(|lane| permit.is_of(&lane.gate)) {
            return Some(Next::Send(Reserved { ready, lane, permit, trial: false }));
        }
    }
    wait.then_some(Next::Wait(Wait::Connection(permit)))
}

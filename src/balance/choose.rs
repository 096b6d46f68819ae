//! Where a call goes next, decided on one snapshot.

use std::sync::Arc;

use http::Request;
use tokio::time::Instant;

use crate::{
    balance::{
        exclusions::Exclusions,
        shared::Shared,
        snapshot::{Choice, Snapshot},
    },
    connect::{Connect, Permit, Replay, subchannel::Lane},
    endpoint::Endpoint,
    error::{Error, Phase},
    grpc::Code,
    load::InFlight,
    policy::{Pick, PickContext},
    stats::EndpointStats,
};

/// How many full endpoints a call lets its policy find one by one before it looks for any endpoint with room.
const MAX_FULL: usize = 8;

/// Where a call goes next.
pub(crate) enum Next<C> {
    Send(Reserved<C>),
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
pub(crate) struct Reserved<C> {
    pub(crate) connection: Arc<C>,
    pub(crate) permit: Permit,
    pub(crate) in_flight: InFlight,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) stats: Arc<EndpointStats>,
}

/// Chooses a connection for the call.
pub(crate) fn choose<C: Connect, B>(
    shared: &Shared<C>,
    request: &Request<Replay<B>>,
    excluded: &mut Exclusions,
    wait_for_ready: bool,
    now: Instant,
) -> Next<C::Connection> {
    let snapshot = shared.published.load();
    let picker = match &snapshot.choice {
        Choice::Pick(picker) => picker,
        Choice::Wait => return Next::Wait(Wait::Change(None)),
        Choice::Fail(error) if wait_for_ready => return Next::Wait(Wait::Change(Some(error.clone()))),
        Choice::Fail(error) | Choice::Closed(error) => return Next::Fail(error.clone()),
    };
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
        let Some(id) = snapshot.ready.endpoints().get(index).map(|ready| ready.load().id()) else {
            let message = format!("the policy picked number {index} of {}", snapshot.ready.len());
            return Next::Fail(Error::new(Code::Internal, Phase::Pick, message));
        };
        if let Some(reserved) = reserve(&snapshot, index, now) {
            return Next::Send(reserved);
        }
        if !excluded.full(id) || excluded.full_count() == MAX_FULL {
            let start = shared.random.below(snapshot.ready.len());
            let found = (start..snapshot.ready.len())
                .chain(0..start)
                .filter(|&i| !excluded.as_slice().contains(&snapshot.ready.endpoints()[i].load().id()))
                .find_map(|i| reserve(&snapshot, i, now));
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

/// Uses a stream that came free while the call waited for one.
///
/// Its connection may be so new that no snapshot shows it yet, or gone, or to an endpoint that the call must not go
/// to. `wait`: whether it is worth waiting for the next snapshot.
pub(crate) fn redeem<C: Connect>(
    shared: &Shared<C>,
    permit: Permit,
    excluded: &mut Exclusions,
    wait: bool,
    now: Instant,
) -> Option<Next<C::Connection>> {
    let snapshot = shared.published.load();
    excluded.begin(snapshot.generation);
    for (ready, lanes) in snapshot.ready.endpoints().iter().zip(&snapshot.lanes) {
        if let Some(lane) = lanes.open.iter().find(|lane| permit.is_of(&lane.gate)) {
            if excluded.as_slice().contains(&ready.load().id()) {
                return None;
            }
            return Some(Next::Send(Reserved {
                connection: lane.connection.clone(),
                permit,
                in_flight: InFlight::start(ready.load().clone(), now),
                endpoint: ready.endpoint().clone(),
                stats: lanes.stats.clone(),
            }));
        }
    }
    wait.then_some(Next::Wait(Wait::Connection(permit)))
}

/// A stream to the endpoint with this index, on its oldest connection that has one to spare (gRFC A105).
fn reserve<C>(snapshot: &Snapshot<C>, index: usize, now: Instant) -> Option<Reserved<C>> {
    let ready = snapshot.ready.endpoints().get(index)?;
    let lanes = snapshot.lanes.get(index)?;
    let reserve = |lane: &Lane<C>| lane.gate.try_acquire().map(|permit| (lane.connection.clone(), permit));
    let (connection, permit) = lanes.open.iter().find_map(reserve)?;
    Some(Reserved {
        connection,
        permit,
        in_flight: InFlight::start(ready.load().clone(), now),
        endpoint: ready.endpoint().clone(),
        stats: lanes.stats.clone(),
    })
}

/// Whether every ready endpoint has refused the call.
pub(crate) fn refused_everywhere<C: Connect>(shared: &Shared<C>, excluded: &Exclusions) -> bool {
    let snapshot = shared.published.load();
    let endpoints = snapshot.ready.endpoints();
    !endpoints.is_empty() && endpoints.iter().all(|ready| excluded.has_refused(ready.load().id()))
}

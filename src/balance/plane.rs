//! What the control plane knows, readable by statistics.

use std::{collections::HashMap, sync::Arc};

use crate::{
    balance::{
        members::{Member, Members},
        probing::Probing,
        race::Progress,
        snapshot::{Choice, Snapshot},
        standing::Standing,
        state::Connectivity,
    },
    connect::subchannel::{Id, Lanes, Status, Subchannel},
    endpoint::{Endpoint, Verdict},
    error::{Error, Phase},
    grpc::Code,
    load::Load,
    policy::ReadyEndpoint,
    stats::{ChannelState, EndpointStats},
};

/// The endpoints of the current set and those that drain. The control task changes it, under a lock that no call
/// ever takes; statistics read it.
pub(crate) struct Plane<C> {
    /// Whether discovery has ever answered.
    pub(crate) resolved: bool,
    /// Why the latest resolution failed, if it did.
    pub(crate) last_error: Option<Error>,
    pub(crate) members: Members<Held<C>>,
    /// Removed endpoints whose last streams are finishing, by their subchannels' serial numbers.
    pub(crate) draining: HashMap<u64, Member<Held<C>>>,
}

/// One endpoint's connections and counters.
///
/// What every publication looks at is in place, and the rest is elsewhere, so that ten thousand can be gone through.
pub(crate) struct Held<C> {
    /// Here while a connection takes calls; it carries them.
    pub(crate) ready: Option<ReadyEndpoint>,
    pub(crate) standing: Standing,
    pub(crate) rest: Box<Rest<C>>,
}

pub(crate) struct Rest<C> {
    pub(crate) id: Id,
    pub(crate) subchannel: Subchannel,
    pub(crate) status: Status,
    pub(crate) load: Arc<Load>,
    pub(crate) stats: Arc<EndpointStats>,
    pub(crate) wanted: bool,
    /// What the probe found, if there is one.
    pub(crate) verdict: Option<Verdict>,
    /// Why it was ejected the last time.
    pub(crate) ejection: Option<Arc<str>>,
    /// Ends the probing when it is dropped.
    pub(crate) probing: Option<Probing<C>>,
}

impl<C> Held<C> {
    /// Takes in a verdict that discovery attached, or tells the probe of the attributes.
    pub(crate) fn describe(&mut self, endpoint: &Arc<Endpoint>) {
        match &self.rest.probing {
            Some(probing) => probing.describe(endpoint.clone()),
            None => {
                self.standing.passing = endpoint.verdict().map(Verdict::is_passing);
                self.rest.verdict = endpoint.verdict().cloned();
            }
        }
    }

    /// Why it is not fit for calls; of use only while it is not.
    pub(crate) fn why_unfit(&self) -> Arc<str> {
        let cause = match &self.rest.ejection {
            Some(ejection) if self.standing.ejected => Some(ejection),
            _ => self.rest.verdict.as_ref().and_then(Verdict::cause),
        };
        cause.cloned().unwrap_or_else(|| "awaits its first verdict".into())
    }

    /// How far it has come in a race. One that is unfit has lost, connected or not, and one that awaits its verdict has
    /// not won yet.
    pub(crate) fn progress(&self) -> Progress {
        match &self.rest.status {
            Status::Ready if self.standing.is_awaiting() => Progress::Pending,
            Status::Ready if self.standing.is_fit() => Progress::Ready,
            Status::Ready | Status::Failed(_) => Progress::Failed,
            Status::Idle | Status::Connecting => Progress::Pending,
        }
    }

    /// The endpoint as the picker gets it, if it may have calls.
    pub(crate) fn admitted(&self) -> Option<&ReadyEndpoint> {
        self.ready.as_ref().filter(|_| self.standing.is_admitted())
    }
}

impl<C: Send + Sync + 'static> Held<C> {
    pub(crate) fn new(rest: Rest<C>) -> Self {
        Self { ready: None, standing: Standing::default(), rest: Box::new(rest) }
    }

    /// The connections are these now.
    pub(crate) fn connected(&mut self, endpoint: &Arc<Endpoint>, lanes: Lanes<C>) {
        let first = |lanes: &Lanes<C>| lanes.open.first().map(|lane| Arc::as_ptr(&lane.connection));
        let is_another = self.lanes().and_then(first) != first(&lanes);
        if let Some(probing) = self.rest.probing.as_ref().filter(|_| is_another) {
            probing.lend(lanes.open.first());
        }
        let ready = || ReadyEndpoint::connected(endpoint.clone(), self.rest.load.clone(), lanes.clone());
        self.ready = (!lanes.open.is_empty()).then(ready);
        self.serve_waiting(self.standing.is_admitted());
    }

    /// Whether streams that come free go to calls that wait for one: only those to an endpoint that calls may go to.
    pub(crate) fn serve_waiting(&self, serves: bool) {
        let lanes = self.lanes().into_iter().flat_map(|lanes| &lanes.open);
        lanes.for_each(|lane| lane.gate.serve_waiting(serves));
    }

    /// The endpoint has other attributes now.
    pub(crate) fn update(&mut self, endpoint: &Arc<Endpoint>) {
        if let Some(lanes) = self.lanes().cloned() {
            self.connected(endpoint, lanes);
        }
        if self.rest.wanted {
            self.rest.subchannel.connect(endpoint.clone());
        }
        self.describe(endpoint);
    }

    /// The open connections, if there are any.
    pub(crate) fn lanes(&self) -> Option<&Lanes<C>> {
        self.ready.as_ref()?.connections()
    }
}

impl<C> Default for Plane<C> {
    fn default() -> Self {
        Self { resolved: false, last_error: None, members: Members::new(), draining: HashMap::new() }
    }
}

impl<C> Plane<C> {
    /// Connects to the members whose index is wanted, and gives up the connections to the others.
    pub(crate) fn want(&mut self, wanted: impl Fn(usize) -> bool) {
        self.members.for_each_mut(|index, member| {
            let held = &mut *member.state.rest;
            match (held.wanted, wanted(index)) {
                (false, true) => held.subchannel.connect(member.endpoint.clone()),
                (true, false) => held.subchannel.idle(),
                _ => return,
            }
            held.wanted = !held.wanted;
        });
    }

    /// What becomes of calls while no endpoint is ready. `unfinished`: a race has contenders that were not tried yet.
    pub(crate) fn without_endpoints(&self, target: &str, unfinished: bool) -> Choice {
        if !self.resolved {
            return self.last_error.clone().map_or(Choice::Wait, Choice::Fail);
        }
        if self.members.len() == 0 {
            let message = format!("`{target}` has no endpoints");
            let error = Error::new(Code::Unavailable, Phase::Resolve, message);
            return Choice::Fail(match &self.last_error {
                Some(cause) => error.because(cause.clone()),
                None => error,
            });
        }
        let (mut failures, mut latest) = (0, None);
        let (mut unfit, mut latest_unfit) = (0, None);
        for member in self.members.iter().filter(|member| member.state.rest.wanted) {
            match &member.state.rest.status {
                Status::Failed(cause) => {
                    failures += 1;
                    latest = Some(cause);
                }
                Status::Ready if !member.state.standing.is_awaiting() => {
                    unfit += 1;
                    latest_unfit = Some(member);
                }
                Status::Idle | Status::Connecting | Status::Ready => return Choice::Wait,
            }
        }
        if unfinished {
            return Choice::Wait;
        }
        match (latest, latest_unfit) {
            (_, Some(Member { endpoint, state })) => {
                let text = format!(
                    "no healthy endpoint: {unfit} of {} are unfit for calls; one of them: {}",
                    self.members.len(),
                    state.why_unfit()
                );
                Choice::Fail(Error::new(Code::Unavailable, Phase::Pick, text).at(endpoint.clone()))
            }
            (Some(cause), None) => {
                let message = match failures {
                    1 => "no connection to the only endpoint".to_owned(),
                    n => format!("no connection to any of {n} endpoints; one of them"),
                };
                let text = format!("{message}: {cause}");
                Choice::Fail(Error::new(Code::Unavailable, Phase::Connect, text).because(cause.clone()))
            }
            (None, None) => Choice::Wait,
        }
    }

    /// The state of the whole (specs of gRPC's connectivity semantics: the best state of any endpoint counts).
    pub(crate) fn connectivity(&self, snapshot: &Snapshot<C>) -> Connectivity {
        let state = match &snapshot.choice {
            Choice::Pick(_) => ChannelState::Ready,
            Choice::Wait => ChannelState::Connecting,
            Choice::Fail(_) => ChannelState::TransientFailure,
            Choice::Closed(_) => ChannelState::Shutdown,
        };
        let cause = match &snapshot.choice {
            Choice::Fail(cause) | Choice::Closed(cause) => Some(cause.clone()),
            Choice::Pick(_) | Choice::Wait => None,
        };
        Connectivity::new(state, self.members.len(), snapshot.ready.len(), cause)
    }
}

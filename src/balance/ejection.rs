//! Outlier detection at work: calls tell how they ended, and the control plane ejects and takes back.

use std::collections::HashMap;

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use crate::{
    balance::plane::{Held, Plane},
    connect::subchannel::Id,
    eject::{Change, Counts, Eject, InvalidEject, Kind, Outliers},
    endpoint::Endpoint,
    error::Error,
    grpc::{Classify, Code, Outcome},
    load::{InFlight, LoadId},
    random::Random,
};

/// What a call tells the control plane of its endpoint.
pub(crate) struct Suspicion {
    load: LoadId,
    why: Why,
}

enum Why {
    /// Failures in a row have come to a length that trips.
    Streak(Kind),
    /// A call to an endpoint on trial has ended.
    Tried(Outcome),
}

/// What calls know of outlier detection.
#[derive(Debug)]
pub(crate) struct Watcher {
    settings: Eject,
    suspicions: mpsc::UnboundedSender<Suspicion>,
}

impl Watcher {
    /// An attempt ended with this status. `outcome` is what the balancer's own classifier says of it.
    pub(crate) fn answered(&self, in_flight: &InFlight, code: Code, outcome: Outcome) {
        let outcome =
            self.settings.classifier().map_or(outcome, |classify: &Classify| classify.outcome(code));
        self.ended(in_flight, outcome, Kind::GatewayError);
    }

    /// An attempt ended without a status.
    pub(crate) fn broke(&self, in_flight: &InFlight, error: &Error, outcome: Outcome) {
        // To A50 what broke has a status as well.
        let outcome =
            self.settings.classifier().map_or(outcome, |classify: &Classify| classify.outcome(error.code()));
        self.ended(in_flight, outcome, Kind::LocalOrigin);
    }

    fn ended(&self, in_flight: &InFlight, outcome: Outcome, kind: Kind) {
        let load = in_flight.load();
        let Some(conduct) = load.conduct() else { return };
        conduct.count(outcome);
        match outcome {
            Outcome::Success => conduct.streak.clear(),
            Outcome::Failure if self.settings.trips(kind, conduct.streak.hit(kind)) => {
                self.tell(load.id(), Why::Streak(kind));
            }
            Outcome::Failure | Outcome::Cancelled => {}
        }
        if in_flight.is_trial() {
            conduct.end_trial(outcome);
            self.tell(load.id(), Why::Tried(outcome));
        }
    }

    fn tell(&self, load: LoadId, why: Why) {
        // Without a control plane nobody needs to know.
        let _ = self.suspicions.send(Suspicion { load, why });
    }
}

/// What the control plane knows of outlier detection.
pub(crate) struct Ejection {
    outliers: Outliers<LoadId>,
    ids: HashMap<LoadId, Id>,
    suspicions: mpsc::UnboundedReceiver<Suspicion>,
}

impl Ejection {
    /// Both sides.
    pub(crate) fn new(settings: Eject, now: Instant) -> Result<(Watcher, Self), InvalidEject> {
        let (sender, suspicions) = mpsc::unbounded_channel();
        let outliers = Outliers::new(settings.clone(), now)?;
        Ok((Watcher { settings, suspicions: sender }, Self { outliers, ids: HashMap::new(), suspicions }))
    }

    /// A new endpoint.
    pub(crate) fn watch<C>(&mut self, held: &Held<C>) {
        let load = &held.rest.load;
        load.keep_conduct();
        self.ids.insert(load.id(), held.rest.id);
        self.outliers.insert(load.id());
    }

    /// The endpoint has left the set.
    pub(crate) fn forget<C>(&mut self, held: &Held<C>) {
        let load = held.rest.load.id();
        self.ids.remove(&load);
        self.outliers.remove(&load);
    }

    /// What some call has to say.
    pub(crate) async fn next(&mut self) -> Option<Suspicion> {
        self.suspicions.recv().await
    }

    /// What some call had to say already.
    pub(crate) fn try_next(&mut self) -> Option<Suspicion> {
        self.suspicions.try_recv().ok()
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.outliers.next_wake()
    }

    /// Whether this changes who gets calls.
    pub(crate) fn hear<C>(&mut self, plane: &mut Plane<C>, suspicion: Suspicion, now: Instant) -> bool {
        let Suspicion { load, why } = suspicion;
        let change = match why {
            Why::Streak(kind) => self.outliers.consecutive(&load, kind, now),
            Why::Tried(outcome) => self.outliers.tried(&load, outcome, now),
        };
        change.is_some_and(|change| self.apply(plane, change, now))
    }

    /// Compares the endpoints, if it is time. Whether this changes who gets calls.
    pub(crate) fn sweep<C>(&mut self, plane: &mut Plane<C>, random: &Random, now: Instant) -> bool {
        if self.outliers.next_wake().is_none_or(|at| at > now) {
            return false;
        }
        let counts = plane.members.iter().filter_map(|member| {
            let load = &member.state.rest.load;
            let (succeeded, failed) = load.conduct()?.counts();
            Some((load.id(), Counts::new(succeeded, failed)))
        });
        let changes = self.outliers.sweep(now, counts, random);
        let mut changed = false;
        for change in changes {
            changed |= self.apply(plane, change, now);
        }
        changed
    }

    fn apply<C>(&self, plane: &mut Plane<C>, change: Change<LoadId>, now: Instant) -> bool {
        let (load, ejected, trial) = match &change {
            Change::Ejected { key, .. } => (key, true, false),
            Change::OnTrial { key } => (key, false, true),
            Change::Returned { key } => (key, false, false),
        };
        let Some(member) = self.ids.get(load).and_then(|id| plane.members.slot_mut(id.slot)) else {
            return false;
        };
        let (endpoint, held): (&Endpoint, _) = (&member.endpoint, &mut member.state);
        if let Some(conduct) = held.rest.load.conduct() {
            conduct.set_trial(trial);
            // After a trial the streak goes on, since its one call has told already.
            if !ejected {
                conduct.streak.clear();
            }
        }
        match &change {
            Change::Ejected { until, cause, .. } => {
                let for_s = until.saturating_duration_since(now).as_secs_f64();
                warn!(target: "grpc_balance::health", %endpoint, %cause, for_s, "ejected");
                held.rest.ejection = Some(format!("ejected: {cause}").into());
                held.rest.stats.ejected();
            }
            Change::OnTrial { .. } => {
                info!(target: "grpc_balance::health", %endpoint, "the ejection is over, one call at a time");
            }
            Change::Returned { .. } => {
                info!(target: "grpc_balance::health", %endpoint, "returned from ejection");
            }
        }
        let changes = held.standing.ejected != ejected;
        held.standing.ejected = ejected;
        changes
    }
}

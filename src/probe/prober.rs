//! The probing of one endpoint, from its addition to its removal.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    caller::Open,
    grpc::{self, Grpc, Question},
    http::{Http, Http1},
    line::{DataConnection, Line, Turn},
    names::{Acquaintance, Names},
    schedule::Moment,
    settings::{Check, Probe},
    tcp::Tcp,
};
use crate::{
    connect::dial::DialLimit,
    endpoint::{Address, Endpoint},
    health::{Finding, Judge, Thresholds, Verdict},
    random::Random,
};

/// Whose endpoint a [`Prober`] probes.
pub(crate) trait Owner: Send + Sync + 'static {
    /// The endpoint, with its attributes as they are now.
    fn endpoint(&self) -> Arc<Endpoint>;

    /// Whether calls go to the cluster. It is asked about once per interval.
    fn has_traffic(&self) -> bool;

    /// Takes a verdict that is not the one reported last: the first, a change, or another cause of a failure. `None`:
    /// the endpoint awaits its first verdict anew, since a watch is on a new connection.
    fn report(&self, verdict: Option<Verdict>);
}

/// What the probers of one cluster share.
pub(crate) struct Probing {
    probe: Probe,
    question: Option<Question>,
    open: Open,
    first_dials: DialLimit,
    names: Arc<Names>,
    pub(super) random: Arc<Random>,
}

impl Probing {
    /// `first_dials` bounds how many endpoints are connected to for the first time at once.
    pub(crate) fn new(probe: Probe, open: Open, first_dials: DialLimit, random: Arc<Random>) -> Arc<Self> {
        let (question, service) = match &probe.check {
            Check::Grpc(check) => (Some(check.question(&probe)), check.service.clone()),
            Check::Http(_) | Check::Tcp(_) => (None, "".into()),
        };
        Arc::new(Self { question, probe, open, first_dials, names: Names::new(service), random })
    }

    /// Whether probers want to be lent the connections that carry calls.
    pub(crate) fn wants_data_connection(&self) -> bool {
        matches!(&self.probe.check, Check::Grpc(check) if check.on_data_connection)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.probe.timeout
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.probe.port
    }
}

/// Probes one endpoint until it is dropped.
pub(crate) struct Prober<O> {
    probing: Arc<Probing>,
    record: Record<O>,
    asker: Asker,
    acquaintance: Acquaintance,
}

/// What is kept between two checks.
enum Asker {
    Grpc { line: Line, question: Question },
    Http1 { http: Http, connection: Http1 },
    Http2 { http: Http, line: Line },
    Tcp(Tcp),
}

impl<O: Owner> Prober<O> {
    /// `data`: the connection that carries the endpoint's calls, if the probe [wants](Probing::wants_data_connection)
    /// it and there is one.
    pub(crate) fn new(probing: Arc<Probing>, owner: O, data: Option<DataConnection>) -> Self {
        let own = || Line::own(probing.open.clone());
        let asker = match (&probing.probe.check, &probing.question) {
            (Check::Tcp(tcp), _) => Asker::Tcp(tcp.clone()),
            (Check::Http(http), _) if http.http2 => Asker::Http2 { http: http.clone(), line: own() },
            (Check::Http(http), _) => Asker::Http1 { http: http.clone(), connection: Http1::default() },
            (Check::Grpc(check), question) => {
                let data = data.filter(|_| probing.wants_data_connection());
                let line = data.map_or_else(own, Line::data);
                let question = question.clone().unwrap_or_else(|| check.question(&probing.probe));
                Asker::Grpc { line, question }
            }
        };
        let thresholds = match &probing.probe.check {
            // A stream tells each change once: there is nothing to count.
            Check::Grpc(Grpc { watches: true, .. }) => Thresholds::new(1, 1),
            _ => probing.probe.thresholds,
        };
        let acquaintance = probing.names.ask();
        Self { record: Record::new(owner, thresholds), asker, acquaintance, probing }
    }

    /// Probes for as long as it is polled.
    pub(crate) async fn run(mut self) -> Infallible {
        let probing = self.probing.clone();
        sleep(probing.probe.before_first(&probing.random)).await;
        let dials = match &self.asker {
            Asker::Grpc { line, .. } | Asker::Http2 { line, .. } => line.is_own(),
            Asker::Http1 { .. } | Asker::Tcp(_) => true,
        };
        // Waiting for its turn is not the endpoint's fault, so that no timeout covers it.
        let mut turn = Turn(if dials { Some(probing.first_dials.acquire().await) } else { None });
        if let (Asker::Grpc { line, question }, Check::Grpc(Grpc { watches: true, .. })) =
            (&mut self.asker, &probing.probe.check)
        {
            let (record, acquaintance) = (&mut self.record, &mut self.acquaintance);
            return grpc::watch(question, &probing, line, turn, record, acquaintance).await;
        }
        let (mut first, mut hurried) = (true, false);
        loop {
            let finding = self.check(&mut turn).await;
            turn = Turn::default();
            // A loss after a failure is its echo.
            let well = finding == Finding::Pass;
            self.record.hear(finding);
            let traffic = self.record.owner.has_traffic();
            let moment = Moment { first, failing: !self.record.passes(), traffic };
            let pause = probing.probe.pause(moment, &probing.random);
            let wait = probing.probe.wait(pause, moment, || self.record.owner.has_traffic());
            tokio::select! {
                () = wait => hurried = false,
                // What ends connections without a word may be dead. What does so after each answer is not: it is asked
                // twice per interval at most.
                () = self.asker.lost(), if well && !hurried => hurried = true,
            }
            first = false;
        }
    }

    async fn check(&mut self, turn: &mut Turn) -> Finding {
        let limit = self.probing.probe.timeout;
        loop {
            if let Asker::Grpc { line, .. } = &mut self.asker {
                line.ready().await;
            }
            let endpoint = self.record.endpoint(self.probing.probe.port);
            match timeout(limit, self.asker.ask(&endpoint, turn, &mut self.acquaintance)).await {
                Ok(Some(finding)) => return finding,
                // Its connection went away, which is no finding.
                Ok(None) => {}
                Err(_) => {
                    self.asker.reset();
                    return Finding::Fail(format!("no answer within {limit:?}").into());
                }
            }
        }
    }
}

impl Asker {
    async fn ask(
        &mut self,
        endpoint: &Arc<Endpoint>,
        turn: &mut Turn,
        acquaintance: &mut Acquaintance,
    ) -> Option<Finding> {
        match self {
            Self::Grpc { line, question } => grpc::check(question, line, endpoint, turn, acquaintance).await,
            Self::Http1 { http, connection } => Some(http.check(connection, endpoint, turn).await),
            Self::Http2 { http, line } => http.check_http2(line, endpoint, turn).await,
            Self::Tcp(tcp) => Some(tcp.check(endpoint, turn).await),
        }
    }

    /// Waits until its connection is lost.
    async fn lost(&mut self) {
        match self {
            Self::Grpc { line, .. } | Self::Http2 { line, .. } => line.lost().await,
            Self::Http1 { .. } | Self::Tcp(_) => pending().await,
        }
    }

    /// After a timeout: a connection of our own may be one whose peer is gone without a word.
    fn reset(&mut self) {
        match self {
            Self::Grpc { line, .. } | Self::Http2 { line, .. } if line.is_own() => line.leave(),
            // An HTTP/1.1 connection is given up with the request on it.
            _ => {}
        }
    }
}

/// What is known and told of one endpoint.
pub(super) struct Record<O> {
    owner: O,
    thresholds: Thresholds,
    judge: Judge,
    told: Option<Verdict>,
    /// The endpoint as the owner has it, and as it is asked at another port.
    moved: Option<(Arc<Endpoint>, Arc<Endpoint>)>,
}

impl<O: Owner> Record<O> {
    fn new(owner: O, thresholds: Thresholds) -> Self {
        Self { owner, thresholds, judge: Judge::new(thresholds), told: None, moved: None }
    }

    /// The endpoint to ask.
    pub(super) fn endpoint(&mut self, port: Option<u16>) -> Arc<Endpoint> {
        let endpoint = self.owner.endpoint();
        let Some(port) = port else { return endpoint };
        match &self.moved {
            Some((from, to)) if Arc::ptr_eq(from, &endpoint) => to.clone(),
            _ => {
                let to = at_port(&endpoint, port);
                self.moved = Some((endpoint, to.clone()));
                to
            }
        }
    }

    pub(super) fn hear(&mut self, finding: Finding) {
        let known = self.judge.verdict().is_some();
        let changed = self.judge.hear(finding, Instant::now());
        let Some(verdict) = self.judge.verdict() else { return };
        if changed {
            let endpoint = self.owner.endpoint();
            match (known, verdict.is_passing()) {
                (false, true) => tracing::debug!(%endpoint, %verdict, "first health check"),
                _ => tracing::info!(%endpoint, %verdict, "health changed"),
            }
        }
        if self.told.as_ref() != Some(verdict) {
            self.told = Some(verdict.clone());
            self.owner.report(Some(verdict.clone()));
        }
    }

    /// Starts from no verdict.
    pub(super) fn forget(&mut self) {
        self.judge = Judge::new(self.thresholds);
        if self.told.take().is_some() {
            self.owner.report(None);
        }
    }

    fn passes(&self) -> bool {
        self.judge.verdict().is_some_and(Verdict::is_passing)
    }
}

fn at_port(endpoint: &Arc<Endpoint>, port: u16) -> Arc<Endpoint> {
    let addresses = endpoint.addresses().iter().cloned().map(|mut address| {
        if let Address::Tcp(address) = &mut address {
            address.set_port(port);
        }
        address
    });
    let moved = Endpoint::with_addresses(addresses);
    let moved = moved.map(|moved| match endpoint.host_name() {
        Some(name) => moved.with_host_name(name),
        None => moved,
    });
    moved.map_or_else(|| endpoint.clone(), Arc::new)
}

//! One resolution: every question that has to be asked, and what the answers come to.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, sleep_until},
};

use crate::{
    discover::dns::{
        known::Part,
        lookup::{Answer, Failure, Family, Lookup, Service},
        schedule::later,
    },
    error::Error,
};

/// How many questions are open at once: an SRV name may have hundreds of hosts.
const CONCURRENCY: usize = 32;

/// What a resolution came to.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// There is at least one address.
    Answered {
        parts: Vec<Part>,
        ttl: Duration,
        /// What went wrong with a part of the answer.
        error: Option<Error>,
        /// Where it was found.
        found: Found,
    },
    /// Every name says that there is nothing.
    Empty { error: Error, ttl: Option<Duration> },
    /// There is no telling.
    Failed(Error),
}

/// The candidate that had an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    name: String,
    /// Whether every candidate before it was empty. Otherwise it may be but a namesake, elsewhere in the search list,
    /// of the one that could not be asked for.
    certain: bool,
}

/// A resolution that is about to be made.
pub(super) struct Round<L> {
    pub(super) lookup: Arc<L>,
    pub(super) candidates: Vec<String>,
    /// What the last resolution found.
    pub(super) found: Option<Found>,
    pub(super) port: u16,
    pub(super) srv: bool,
    pub(super) srv_host_names: bool,
    pub(super) deadline: Instant,
    pub(super) family_delay: Duration,
    /// Where a first part of the answer goes if the rest takes its time.
    pub(super) early: UnboundedSender<Report>,
}

/// Hosts to ask for addresses.
struct Host {
    name: Arc<str>,
    port: u16,
    weight: u32,
    host_name: Option<Arc<str>>,
}

type Asked = (usize, Family, Option<Result<Answer<IpAddr>, Failure>>);

impl<L: Lookup> Round<L> {
    /// Asks for one candidate after the other until one has an answer.
    ///
    /// The candidate of last time is asked first if it is certain: the search list is not walked for each poll. When
    /// a candidate fails, that is the result unless a later one has an answer: what failed may well exist, so it is
    /// never "no such name". And once something was found, only a candidate as good replaces it.
    pub(super) async fn run(self) -> Report {
        let mut names = self.candidates.clone();
        let found = self.found.as_ref().filter(|found| names.contains(&found.name));
        if let Some(found) = found.filter(|found| found.certain) {
            names.retain(|name| *name != found.name);
            names.insert(0, found.name.clone());
        }
        let mut failed = None;
        let mut empty = None;
        for name in names {
            let was_found = found.is_some_and(|found| found.name == name);
            let here = Found { name, certain: failed.is_none() };
            match self.candidate(&here).await {
                Report::Failed(error) if was_found => return Report::Failed(error),
                Report::Failed(error) => {
                    failed.get_or_insert(error);
                }
                Report::Empty { error, ttl } => {
                    empty.get_or_insert((error, ttl));
                }
                answered => return answered,
            }
            if Instant::now() >= self.deadline {
                break;
            }
        }
        match (failed, empty) {
            (None, Some((error, ttl))) => Report::Empty { error, ttl },
            (Some(error), _) => Report::Failed(error),
            (None, None) => Report::Failed(no_candidate()),
        }
    }

    async fn candidate(&self, here: &Found) -> Report {
        if !self.srv {
            let name = Arc::from(here.name.as_str());
            let host = Host { name, port: self.port, weight: 1, host_name: None };
            return self.hosts(here, &[host], Duration::MAX).await;
        }
        match self.lookup.services(&here.name, self.deadline).await {
            Ok(answer) => match hosts_of(answer.records, self.srv_host_names) {
                Some(hosts) => self.hosts(here, &hosts, answer.ttl).await,
                None => Report::Empty { error: not_there(&here.name), ttl: Some(answer.ttl) },
            },
            Err(failure) => failure.into(),
        }
    }

    /// Asks for both families of all hosts at once.
    async fn hosts(&self, here: &Found, hosts: &[Host], ttl: Duration) -> Report {
        // SRV records of different ports may share a host; it is asked for once.
        let mut names: Vec<&Arc<str>> = hosts.iter().map(|host| &host.name).collect();
        names.sort();
        names.dedup();
        let mut asked: Vec<Asked> =
            (0..names.len()).flat_map(|name| Family::BOTH.map(|family| (name, family, None))).collect();
        // Collected first: an iterator that borrows cannot be held across the awaits below by a `Send` future.
        let questions: Vec<_> = asked
            .iter()
            .enumerate()
            .map(|(place, (name, family, _))| {
                let reply = names.get(*name).map(|name| self.lookup.addresses(name, *family, self.deadline));
                async move {
                    match reply {
                        Some(reply) => (place, Some(reply.await)),
                        None => (place, None),
                    }
                }
            })
            .collect();
        let mut replies = stream::iter(questions).buffer_unordered(CONCURRENCY);
        let mut delay = pin!(sleep_until(self.deadline));
        let mut early = Early::Nothing;
        loop {
            tokio::select! {
                biased;
                reply = replies.next() => match reply {
                    None => break,
                    Some((place, reply)) => {
                        let positive = matches!(reply, Some(Ok(_)));
                        if let Some(question) = asked.get_mut(place) {
                            question.2 = reply;
                        }
                        if positive && matches!(early, Early::Nothing) {
                            delay.as_mut().reset(later(Instant::now(), self.family_delay));
                            early = Early::Waiting;
                        }
                    }
                },
                () = &mut delay, if matches!(early, Early::Waiting) => {
                    early = Early::Sent;
                    // Nobody listens any more if the resolver is gone, and so soon will be this future.
                    let _ = self.early.send(report(here, hosts, &names, &asked, ttl));
                }
            }
        }
        report(here, hosts, &names, &asked, ttl)
    }
}

enum Early {
    Nothing,
    Waiting,
    Sent,
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Empty { error, ttl } => Self::Empty { error, ttl },
            Failure::Unknown(error) => Self::Failed(error),
        }
    }
}

/// The report on a name that needed no question.
pub(super) fn settled(name: &str, port: u16, ips: &[IpAddr], ttl: Duration) -> Report {
    let parts = Family::BOTH.map(|family| Part {
        host: name.into(),
        family,
        port,
        weight: 1,
        host_name: None,
        ips: Some(ips.iter().copied().filter(|ip| Family::of(*ip) == family).collect()),
    });
    let found = Found { name: name.to_owned(), certain: true };
    Report::Answered { parts: parts.into(), ttl, error: None, found }
}

/// Sums up the answers so far.
fn report(here: &Found, hosts: &[Host], names: &[&Arc<str>], asked: &[Asked], ttl: Duration) -> Report {
    let mut ttl = ttl;
    let mut failed = None;
    let mut empty: Option<(Error, Option<Duration>)> = None;
    let mut any = false;
    for (_, _, reply) in asked {
        match reply {
            None => {}
            Some(Ok(answer)) => {
                any = true;
                ttl = ttl.min(answer.ttl);
            }
            Some(Err(Failure::Empty { error, ttl })) => {
                empty.get_or_insert_with(|| (error.clone(), *ttl));
            }
            Some(Err(Failure::Unknown(error))) => {
                failed.get_or_insert_with(|| error.clone());
            }
        }
    }
    if !any {
        return match (failed, empty) {
            (None, Some((error, ttl))) => Report::Empty { error, ttl },
            (Some(error), _) => Report::Failed(error),
            (None, None) => Report::Failed(no_candidate()),
        };
    }
    let mut parts = Vec::with_capacity(2 * hosts.len());
    for host in hosts {
        let Ok(name) = names.binary_search(&&host.name) else { continue };
        for (_, family, reply) in asked.iter().filter(|(asked, ..)| *asked == name) {
            parts.push(Part {
                host: host.name.clone(),
                family: *family,
                port: host.port,
                weight: host.weight,
                host_name: host.host_name.clone(),
                ips: match reply {
                    Some(Ok(answer)) => Some(answer.records.clone()),
                    Some(Err(Failure::Empty { .. })) => Some(Vec::new()),
                    Some(Err(Failure::Unknown(_))) | None => None,
                },
            });
        }
    }
    Report::Answered { parts, ttl, error: failed, found: here.clone() }
}

/// The hosts of the lowest priority number. `None` if the service is decidedly not there.
fn hosts_of(mut services: Vec<Service>, host_names: bool) -> Option<Vec<Host>> {
    services.retain(|service| &*service.target != ".");
    let priority = services.iter().map(|service| service.priority).min()?;
    services.retain(|service| service.priority == priority);
    // Servers shuffle; who sorts gets the same endpoints for the same records.
    services.sort_by(|a, b| (&a.target, a.port).cmp(&(&b.target, b.port)));
    let host = |service: Service| Host {
        host_name: host_names.then(|| service.target.trim_end_matches('.').into()),
        name: service.target,
        port: service.port,
        weight: u32::from(service.weight).max(1),
    };
    Some(services.into_iter().map(host).collect())
}

fn not_there(name: &str) -> Error {
    super::unavailable(format!("the SRV records of `{name}` say that the service is not there"))
}

fn no_candidate() -> Error {
    super::unavailable("there is no name to ask for")
}

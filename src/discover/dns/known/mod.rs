//! What is known of the endpoints, and what an answer changes about it.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    discover::dns::{lookup::Family, schedule::later},
    endpoint::{Address, Endpoint, EndpointKey},
};

/// One question and its answer: the addresses of one family behind one host.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The absolute name.
    pub(super) host: Arc<str>,
    pub(super) family: Family,
    pub(super) port: u16,
    pub(super) weight: u32,
    /// What the endpoints are called, where it is not what the target is called.
    pub(super) host_name: Option<Arc<str>>,
    /// `None`: unanswered.
    pub(super) ips: Option<Vec<IpAddr>>,
}

/// The endpoints as far as they are known, and the doubts about them. Pure: time is passed in.
#[derive(Debug)]
pub(super) struct Known {
    entries: Vec<Entry>,
    empty_since: Option<Instant>,
    confirm_after: Option<Duration>,
    empty_grace: Duration,
}

#[derive(Debug)]
struct Entry {
    address: SocketAddr,
    endpoint: Arc<Endpoint>,
    host: Arc<str>,
    missing_since: Option<Instant>,
    /// Its connection failed, or was told to go away.
    suspect: bool,
}

/// What became of an empty answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    /// There was nothing to lose.
    NothingKnown,
    /// The endpoints stay, at least until then.
    Held { until: Instant },
    /// The endpoints are gone.
    Honoured,
}

impl Known {
    /// `confirm_after`: how much later a missing address must be missing again to be dropped; `None` for at once.
    pub(super) fn new(confirm_after: Option<Duration>, empty_grace: Duration) -> Self {
        Self { entries: Vec::new(), empty_since: None, confirm_after, empty_grace }
    }

    /// Takes in an answer with at least one address. When some address should be asked for again, if any.
    ///
    /// What was unanswered stays as it was. Endpoints that stay keep their `Arc` and their order; new ones follow in
    /// the order of the answer. `rank` orders the families.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        parts: &[Part],
        rank: impl Fn(Family) -> u8,
    ) -> Option<Instant> {
        self.empty_since = None;
        let unanswered: HashSet<(&str, Family)> =
            parts.iter().filter(|p| p.ips.is_none()).map(|p| (&*p.host, p.family)).collect();
        let mut wanted: HashMap<SocketAddr, &Part> = HashMap::new();
        let mut order = Vec::new();
        for part in parts {
            for ip in part.ips.iter().flatten() {
                let address = SocketAddr::new(*ip, part.port);
                wanted.entry(address).or_insert_with(|| {
                    order.push(address);
                    part
                });
            }
        }
        let confirm_after = self.confirm_after;
        let mut ask_again = None;
        self.entries.retain_mut(|entry| {
            if let Some(part) = wanted.remove(&entry.address) {
                entry.update(part);
                return true;
            }
            let family = Family::of(entry.address.ip());
            if unanswered.contains(&(&*entry.host, family)) {
                return true;
            }
            let Some(confirm_after) = confirm_after.filter(|_| !entry.suspect) else { return false };
            let drop_at = later(*entry.missing_since.get_or_insert(now), confirm_after);
            if now < drop_at {
                ask_again = ask_again.max(Some(drop_at));
            }
            now < drop_at
        });
        for address in order {
            if let Some(part) = wanted.remove(&address) {
                self.entries.push(Entry::new(address, part));
            }
        }
        self.entries.sort_by_key(|entry| rank(Family::of(entry.address.ip())));
        ask_again
    }

    /// Takes in an answer without addresses.
    pub(super) fn empty(&mut self, now: Instant) -> Emptied {
        if self.entries.is_empty() {
            return Emptied::NothingKnown;
        }
        let until = later(*self.empty_since.get_or_insert(now), self.empty_grace);
        if now < until {
            return Emptied::Held { until };
        }
        self.empty_since = None;
        self.entries.clear();
        Emptied::Honoured
    }

    /// Whether the endpoint is to be believed gone as soon as it is missing. Whether it is known at all.
    pub(super) fn suspect(&mut self, key: &EndpointKey, suspect: bool) -> bool {
        let [Address::Tcp(address)] = key.addresses() else { return false };
        let entry = self.entries.iter_mut().find(|entry| entry.address == *address);
        entry.map(|entry| entry.suspect = suspect).is_some()
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.entries.iter().map(|entry| &entry.endpoint)
    }
}

impl Entry {
    fn new(address: SocketAddr, part: &Part) -> Self {
        Self {
            address,
            endpoint: Arc::new(part.endpoint(address)),
            host: part.host.clone(),
            missing_since: None,
            suspect: false,
        }
    }

    fn update(&mut self, part: &Part) {
        self.missing_since = None;
        self.host = part.host.clone();
        let old = &self.endpoint;
        if old.weight() != part.weight || old.host_name() != part.host_name.as_deref() {
            self.endpoint = Arc::new(part.endpoint(self.address));
        }
    }
}

impl Part {
    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let endpoint = Endpoint::new(address).with_weight(self.weight);
        match &self.host_name {
            Some(name) => endpoint.with_host_name(name.clone()),
            None => endpoint,
        }
    }
}

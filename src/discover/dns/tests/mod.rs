//! The resolver as a whole, under a paused clock, against DNS as a function of name and family.

mod belief;
mod timing;

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    DnsConfig,
    hosts::Hosts,
    lookup::{Answer, Failure, Family, Lookup, Reply, Service},
    poller::{Place, Poller},
    unavailable,
};
use crate::{
    Error,
    discover::Resolve,
    endpoint::{EndpointKey, EndpointSet},
    random::Random,
};

type Item = Result<Arc<EndpointSet>, Error>;

/// What one question gets, and how long that takes.
#[derive(Clone, Debug)]
enum Says {
    Ips(&'static [&'static str], u64),
    Empty,
    Fails,
    Never,
}

#[derive(Debug, Default)]
struct Fake {
    says: Mutex<HashMap<(String, Family), Says>>,
    asked: Mutex<Vec<(Instant, String, Family)>>,
}

impl Fake {
    fn say(&self, name: &str, family: Family, says: Says) {
        self.says.lock().unwrap().insert((name.to_owned(), family), says);
    }

    /// Both families at once: IPv4 as given, IPv6 empty or failing along.
    fn v4(&self, says: Says) {
        let v6 = match says {
            Says::Ips(..) => Says::Empty,
            ref other => other.clone(),
        };
        self.say("greeter.", Family::V4, says);
        self.say("greeter.", Family::V6, v6);
    }

    /// When IPv4 was asked for.
    fn times(&self) -> Vec<Instant> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, _, family)| *family == Family::V4)
            .map(|(t, ..)| *t)
            .collect()
    }

    fn gaps(&self) -> Vec<f64> {
        self.times().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl Lookup for Fake {
    fn addresses(&self, name: &str, family: Family, deadline: Instant) -> Reply<IpAddr> {
        let mut asked = self.asked.lock().unwrap();
        asked.push((Instant::now(), name.to_owned(), family));
        // Under a paused clock, who asks without end never lets a test fail by itself.
        assert!(asked.len() < 100_000, "a storm of questions");
        drop(asked);
        let says = self.says.lock().unwrap().get(&(name.to_owned(), family)).cloned().unwrap_or(Says::Empty);
        let name = name.to_owned();
        Box::pin(async move {
            match says {
                Says::Ips(ips, ttl) => Ok(Answer {
                    records: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                    ttl: Duration::from_secs(ttl),
                }),
                Says::Empty => {
                    Err(Failure::Empty { error: unavailable(format!("{name} NXDOMAIN")), ttl: None })
                }
                Says::Fails => Err(Failure::Unknown(unavailable(format!("{name} SERVFAIL")))),
                Says::Never => {
                    sleep_until(deadline).await;
                    Err(Failure::Unknown(unavailable(format!("{name} silence"))))
                }
            }
        })
    }

    fn services(&self, name: &str, _: Instant) -> Reply<Service> {
        let error = unavailable(format!("{name} SERVFAIL"));
        Box::pin(async move { Err(Failure::Unknown(error)) })
    }

    fn has_route(&self, _: SocketAddr) -> bool {
        true
    }
}

fn config() -> DnsConfig {
    DnsConfig::new().random(Arc::new(Random::seeded(7)))
}

fn poller(config: DnsConfig, search: &[&str]) -> (Arc<Fake>, Poller<Fake>) {
    let fake = Arc::new(Fake::default());
    let search: Vec<String> = search.iter().map(|s| (*s).to_owned()).collect();
    let lookup = fake.clone();
    let locate = move || {
        Ok(Place { hosts: Hosts::default(), lookup: lookup.clone(), search: search.clone(), ndots: 5 })
    };
    (fake, Poller::new("greeter", 80, config, Box::new(locate)))
}

/// The next item, which must come within a day of the paused clock.
async fn next(poller: &mut Poller<Fake>) -> Item {
    let next = poll_fn(|cx| Pin::new(&mut *poller).poll_resolve(cx));
    timeout(secs(24 * 3600), next).await.expect("nothing new in a day").expect("it never ends")
}

/// What is yielded within this time.
async fn all_within(poller: &mut Poller<Fake>, time: Duration) -> Vec<(Instant, Item)> {
    let mut items = Vec::new();
    let _ = timeout(time, async {
        loop {
            let item = next(poller).await;
            items.push((Instant::now(), item));
        }
    })
    .await;
    items
}

fn show(item: &Item) -> String {
    match item {
        Ok(set) => set.endpoints().iter().map(|e| e.to_string()).collect::<Vec<_>>().join(" "),
        Err(error) => error.message().to_owned(),
    }
}

fn key(address: &str) -> EndpointKey {
    address.parse::<crate::endpoint::Endpoint>().unwrap().key().clone()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

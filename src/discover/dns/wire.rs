//! Questions that go to real DNS servers, by way of hickory.
//!
//! Only its queries are hickory's: names arrive here absolute, and each server has a hickory resolver of its own,
//! without cache, retries and search. So every failure is told with its server, and a broken server holds nobody up
//! for longer than one attempt.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    lookup::Lookup as Records,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, Record, RecordType},
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{
    discover::dns::{
        lookup::{Answer, Failure, Family, Lookup, Reply, Service},
        schedule::later,
        unavailable,
    },
    error::Error,
};

/// The DNS servers of a resolver.
#[derive(Clone)]
pub(super) struct Wire(Arc<Inner>);

struct Inner {
    servers: Vec<Server>,
    /// The server that answered last: it is asked first.
    preferred: AtomicUsize,
    timeout: Duration,
    attempts: usize,
}

struct Server {
    address: SocketAddr,
    /// Made at the first question, which unlike the construction happens inside a runtime.
    resolver: OnceLock<Result<TokioResolver, NetError>>,
}

impl Wire {
    pub(super) fn new(
        servers: impl IntoIterator<Item = SocketAddr>,
        timeout: Duration,
        attempts: usize,
    ) -> Self {
        let server = |address| Server { address, resolver: OnceLock::new() };
        Self(Arc::new(Inner {
            servers: servers.into_iter().map(server).collect(),
            preferred: AtomicUsize::new(0),
            timeout,
            attempts: attempts.max(1),
        }))
    }
}

impl Lookup for Wire {
    fn addresses(&self, name: &str, family: Family, deadline: Instant) -> Reply<IpAddr> {
        let record_type = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        self.ask(name, record_type, deadline, |record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    }

    fn services(&self, name: &str, deadline: Instant) -> Reply<Service> {
        self.ask(name, RecordType::SRV, deadline, |record| match &record.data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii().into(),
            }),
            _ => None,
        })
    }

    /// Connecting a datagram socket looks the route up and sends nothing (RFC 6724, section 2, suggests the same).
    fn has_route(&self, address: SocketAddr) -> bool {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
    }
}

impl Wire {
    fn ask<T: Send + 'static>(
        &self,
        name: &str,
        record_type: RecordType,
        deadline: Instant,
        pick: fn(&Record) -> Option<T>,
    ) -> Reply<T> {
        let inner = self.0.clone();
        let name = name.to_owned();
        Box::pin(async move {
            let question = Name::from_ascii(&name).map_err(|error| {
                Failure::Unknown(unavailable(format!("`{name}` is no DNS name")).because(error))
            })?;
            inner.ask(&question, record_type, deadline).await.and_then(|(server, records)| {
                let of_type =
                    || records.answers().iter().filter(|record| record.record_type() == record_type);
                let found: Vec<T> = of_type().filter_map(pick).collect();
                // Every record counts, the aliases on the way included: the shortest TTL is when something may change.
                let ttl = records.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                if found.is_empty() {
                    let error = unavailable(format!("{record_type} of `{name}`: no records, from {server}"));
                    return Err(Failure::Empty { error, ttl: None });
                }
                Ok(Answer { records: found, ttl: Duration::from_secs(ttl.into()) })
            })
        })
    }
}

impl Inner {
    /// Asks one server after the other until one knows, each of them `attempts` times unless it answered.
    async fn ask(
        &self,
        name: &Name,
        record_type: RecordType,
        deadline: Instant,
    ) -> Result<(SocketAddr, Records), Failure> {
        let first = self.preferred.load(Relaxed);
        let count = self.servers.len();
        let mut said: Vec<Option<Error>> = vec![None; count];
        let mut silence = None;
        for turn in 0..count.saturating_mul(self.attempts) {
            let index = first.wrapping_add(turn) % count;
            let (Some(server), Some(said)) = (self.servers.get(index), said.get_mut(index)) else { continue };
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            if said.is_some() {
                continue;
            }
            let until = later(now, self.timeout).min(deadline);
            let reply = timeout_at(until, server.ask(name, record_type, self.timeout)).await;
            if let Ok(Ok(_) | Err(Unanswered::Empty { .. })) = &reply {
                self.preferred.store(index, Relaxed);
            }
            match reply {
                Ok(Ok(records)) => return Ok((server.address, records)),
                Ok(Err(Unanswered::Empty { error, ttl })) => return Err(Failure::Empty { error, ttl }),
                Ok(Err(Unanswered::Refused(error))) => *said = Some(error),
                Ok(Err(Unanswered::Silence(error))) => silence = Some(error),
                Err(_) => silence = Some(server.error(name, record_type, "no answer in time")),
            }
        }
        // What a server said tells more than that another one was silent.
        let error = said.into_iter().flatten().next().or(silence);
        Err(Failure::Unknown(error.unwrap_or_else(|| {
            unavailable(format!("{record_type} of `{name}`: there was no DNS server to ask, or no time"))
        })))
    }
}

/// Why a server did not give records.
enum Unanswered {
    /// It says that there are none.
    Empty { error: Error, ttl: Option<Duration> },
    /// It says that it cannot or will not tell: there is no use in asking it again at once.
    Refused(Error),
    /// It did not say anything that can be understood.
    Silence(Error),
}

impl Server {
    async fn ask(
        &self,
        name: &Name,
        record_type: RecordType,
        timeout: Duration,
    ) -> Result<Records, Unanswered> {
        let resolver = self.resolver.get_or_init(|| resolver(self.address, timeout));
        let reply = match resolver {
            Ok(resolver) => resolver.lookup(name.clone(), record_type).await,
            Err(error) => Err(error.clone()),
        };
        reply.map_err(|error| match &error {
            NetError::Dns(DnsError::NoRecordsFound(none)) => {
                let what = match none.response_code {
                    ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
                    ResponseCode::NoError => "no records of this type".to_owned(),
                    code => return Unanswered::Refused(self.error(name, record_type, &spelt(code))),
                };
                let ttl = none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
                Unanswered::Empty { error: self.error(name, record_type, &what), ttl }
            }
            NetError::Dns(DnsError::ResponseCode(code)) => {
                Unanswered::Refused(self.error(name, record_type, &spelt(*code)))
            }
            NetError::Timeout => Unanswered::Silence(self.error(name, record_type, "no answer in time")),
            _ => Unanswered::Silence(self.error(name, record_type, "the exchange failed").because(error)),
        })
    }

    fn error(&self, name: &Name, record_type: RecordType, what: &str) -> Error {
        unavailable(format!("{record_type} of `{name}` from {}: {what}", self.address))
    }
}

/// The code as DNS tools spell it.
fn spelt(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        code => code.to_string(),
    }
}

/// A resolver for one server: UDP, and TCP for what is truncated.
fn resolver(server: SocketAddr, timeout: Duration) -> Result<TokioResolver, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.into());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.attempts = 0;
    options.timeout = timeout;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.0.servers.iter().map(|server| server.address).collect();
        f.debug_struct("Wire")
            .field("servers", &servers)
            .field("timeout", &self.0.timeout)
            .field("attempts", &self.0.attempts)
            .finish()
    }
}

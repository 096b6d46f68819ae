//! What is asked of DNS, apart from how.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::error::Error;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// One SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Absolute; `.` says that the service is not there (RFC 2782).
    pub(super) target: Arc<str>,
}

/// At least one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Duration,
}

/// Why there are no records.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The server said so: no such name (NXDOMAIN), or none of this type.
    Empty { error: Error, ttl: Option<Duration> },
    /// There is no telling.
    Unknown(Error),
}

pub(super) type Reply<T> = BoxFuture<'static, Result<Answer<T>, Failure>>;

/// Somebody who can be asked for absolute names, the final dot included. Replies come before their deadline.
pub(super) trait Lookup: fmt::Debug + Send + Sync + 'static {
    fn addresses(&self, name: &str, family: Family, deadline: Instant) -> Reply<IpAddr>;

    fn services(&self, name: &str, deadline: Instant) -> Reply<Service>;

    /// Whether this host knows a way to the address; nothing is sent.
    fn has_route(&self, address: SocketAddr) -> bool;
}

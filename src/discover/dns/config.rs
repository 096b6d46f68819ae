//! The settings of discovery by DNS.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::random::Random;

/// How names are looked up, how often, and what is believed.
///
/// See the [module docs](crate::discover::dns) for an example. The defaults suit a headless Kubernetes service.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) resolv_conf: Option<ResolvConfSource>,
    pub(super) hosts: HostsSource,
    pub(super) search: Option<Vec<String>>,
    pub(super) ndots: Option<usize>,
    pub(super) srv: bool,
    pub(super) srv_host_names: bool,
    pub(super) deadline: Duration,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) attempts: Option<usize>,
    pub(super) min_interval: Duration,
    pub(super) max_interval: Duration,
    pub(super) jitter: f64,
    pub(super) min_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) empty_grace: Duration,
    pub(super) confirm_removals: bool,
    pub(super) refresh_burst: u32,
    pub(super) refresh_interval: Duration,
    pub(super) family_delay: Duration,
    pub(super) random: Arc<Random>,
}

/// Where the text of resolv.conf comes from.
#[derive(Clone, Debug)]
pub(super) enum ResolvConfSource {
    Path(PathBuf),
    Text(Arc<str>),
}

/// Which hosts file counts.
#[derive(Clone, Debug)]
pub(super) enum HostsSource {
    System,
    Path(PathBuf),
    Nowhere,
}

impl DnsConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            servers: Vec::new(),
            resolv_conf: None,
            hosts: HostsSource::System,
            search: None,
            ndots: None,
            srv: false,
            srv_host_names: false,
            deadline: Duration::from_secs(10),
            attempt_timeout: None,
            attempts: None,
            min_interval: Duration::from_secs(1),
            max_interval: Duration::from_secs(30),
            jitter: 0.1,
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(30),
            empty_grace: Duration::from_secs(30),
            confirm_removals: true,
            refresh_burst: 4,
            refresh_interval: Duration::from_secs(5),
            family_delay: Duration::from_millis(50),
            random: Arc::new(Random::from_os()),
        }
    }

    /// Sets the DNS servers to ask, in order; the next one is asked when one fails, and the one that answered last
    /// is asked first. Default: those of resolv.conf.
    ///
    /// The system's search list is not applied to them, since it speaks of the names that the system's servers
    /// know: set [`search`](Self::search) or a resolv.conf as well if it should be.
    #[must_use]
    pub fn servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = servers.into_iter().collect();
        self
    }

    /// Sets the resolv.conf to take servers, search list and options from. Default: the system's.
    ///
    /// It is read again after a failed resolution.
    #[must_use]
    pub fn resolv_conf_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.resolv_conf = Some(ResolvConfSource::Path(path.into()));
        self
    }

    /// Sets the text of a resolv.conf instead of a file's.
    #[must_use]
    pub fn resolv_conf_text(mut self, text: impl Into<Arc<str>>) -> Self {
        self.resolv_conf = Some(ResolvConfSource::Text(text.into()));
        self
    }

    /// Sets the hosts file, whose names are not asked for. Default: `/etc/hosts` on unix.
    ///
    /// It is read again for each poll. With [`servers`](Self::servers) set, the system's is not looked at: who names a
    /// server wants its answer.
    #[must_use]
    pub fn hosts_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.hosts = HostsSource::Path(path.into());
        self
    }

    /// Looks at no hosts file.
    #[must_use]
    pub fn without_hosts(mut self) -> Self {
        self.hosts = HostsSource::Nowhere;
        self
    }

    /// Sets the search list. Default: that of resolv.conf.
    #[must_use]
    pub fn search(mut self, domains: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.search = Some(domains.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how many dots a name needs to be asked for as it stands before the search list is applied. A name with a
    /// final dot is only asked for as it stands. Default: that of resolv.conf, or 1.
    #[must_use]
    pub fn ndots(mut self, ndots: usize) -> Self {
        self.ndots = Some(ndots);
        self
    }

    /// Sets whether the name is that of SRV records, such as `_grpc._tcp.greeter.default.svc.cluster.local`.
    /// Default: no.
    ///
    /// Port and weight of each endpoint are then those of its record (RFC 2782), and the port of the target means
    /// nothing. Only the records of the lowest priority number are used. A record of weight 0 counts as
    /// 1, since it should get a few calls rather than none. Every address of a record's host is an endpoint.
    #[must_use]
    pub fn srv(mut self, srv: bool) -> Self {
        self.srv = srv;
        self
    }

    /// Sets whether the host that an SRV record names becomes its endpoint's
    /// [host name](crate::endpoint::Endpoint::host_name), and thereby the `:authority` and the name that TLS verifies.
    /// Default: no, because plain DNS would then decide whose certificate is good enough (RFC 6125, section 5.1).
    #[must_use]
    pub fn srv_host_names(mut self, use_them: bool) -> Self {
        self.srv_host_names = use_them;
        self
    }

    /// Sets how long one resolution may take, all names, servers and attempts included. Default 10 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how long one server may take to answer one question. Default: the `timeout` of resolv.conf if it has
    /// one, or else 2 s (glibc's 5 s is the well-known pause of a lost packet).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// Sets how often each server is asked before a question is given up; at least 1. Default: the `attempts` of
    /// resolv.conf, or 2. A server that answered with an error is not asked again within the same resolution.
    #[must_use]
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = Some(attempts.max(1));
        self
    }

    /// Sets the shortest interval between two polls, whatever the TTL. Default 1 s.
    ///
    /// It is also the time after which a missing address is asked for again.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Sets the longest interval between two polls, whatever the TTL. Default 30 s.
    #[must_use]
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.max_interval = interval;
        self
    }

    /// Sets by what share at most an interval is lengthened at random, from 0 to 1. Default 0.1.
    ///
    /// Caches hand out what is left of a TTL: without jitter all their clients would come back at once.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// Sets the delays after failed resolutions: the first one, and the longest. Default 1 s and 30 s.
    ///
    /// In between they grow by 1.6 (gRPC's connection backoff); each is varied by up to 20 % either way. gRPC lets
    /// them grow to 120 s; here a broken server is not asked more seldom than a sound one, so that its recovery is
    /// noticed.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.min_backoff = first;
        self.max_backoff = longest.max(first);
        self
    }

    /// Sets for how long empty answers (NXDOMAIN or no records) must go on before known endpoints are given up for
    /// them. Default 30 s.
    #[must_use]
    pub fn empty_grace(mut self, grace: Duration) -> Self {
        self.empty_grace = grace;
        self
    }

    /// Sets whether an address missing from an answer is asked for once more before it is dropped. Default: yes.
    #[must_use]
    pub fn confirm_removals(mut self, confirm: bool) -> Self {
        self.confirm_removals = confirm;
        self
    }

    /// Sets the budget of resolutions that failed connections ask for, ahead of the TTL: so many at once, and one
    /// more per interval. Default 4, and one per 5 s. What exceeds it is put off, not forgotten. 0 turns them off.
    #[must_use]
    pub fn refresh_budget(mut self, burst: u32, interval: Duration) -> Self {
        self.refresh_burst = burst;
        self.refresh_interval = interval;
        self
    }

    /// Sets for how long an answer waits for that of the other address family before it is used alone. Default
    /// 50 ms (RFC 8305, section 3).
    #[must_use]
    pub fn family_delay(mut self, delay: Duration) -> Self {
        self.family_delay = delay;
        self
    }

    /// Sets the source of randomness for jitter. Default: one seeded by the operating system.
    #[must_use]
    pub fn random(mut self, random: Arc<Random>) -> Self {
        self.random = random;
        self
    }
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self::new()
    }
}

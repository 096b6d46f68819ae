//! The flags that every proxy here has, and the parts that they make.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::ValueEnum;
use grpc_balance::{
    access_log::AccessLogLayer,
    cluster::{self, Cluster},
    connect::tls::Identity,
    discover::DnsConfig,
    endpoint::Address,
    error::BoxError,
    route::{Route, Router},
    server::{Server, tls::ServerConfig},
    target::{Source, Target},
};

/// Where to listen, where to send, and how to end.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where operators ask for /ready, /clusters and /stats/prometheus, and order to /drain.
    #[arg(long, value_name = "ADDR|off", value_parser = address_or_off, default_value = "off")]
    pub(crate) admin: Admin,
    /// Where to send everything: dns:///NAME:PORT, ipv4:ADDR:PORT,ADDR:PORT, ADDR:PORT, unix:PATH.
    #[arg(long, value_name = "TARGET", conflicts_with = "cluster")]
    upstream: Option<Target>,
    /// One of several places to send to, under a name. May be repeated.
    #[arg(long, value_name = "NAME=TARGET")]
    cluster: Vec<Named>,
    /// Which requests go where, by whole segments of the path, or with `*` by its text; without a name, to
    /// --upstream. May be repeated; what no route takes is refused.
    #[arg(long, value_name = "PREFIX[*][=NAME]")]
    route: Vec<Rule>,
    /// The DNS server to ask, instead of those in /etc/resolv.conf.
    #[arg(long, value_name = "ADDR")]
    dns_server: Option<SocketAddr>,
    /// How long a connection to an endpoint may take to be made.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    connect_timeout: Duration,
    /// How many connections may be open; one more is closed at once.
    #[arg(long, value_name = "N")]
    connection_limit: Option<usize>,
    /// The certificate for TLS, in PEM; it is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Every connection begins with a PROXY protocol header (v1, v2), as from an L4 balancer that sends one.
    #[arg(long)]
    proxy_protocol: bool,
    /// How requests are logged on standard output, each once it is over.
    #[arg(long, value_enum, default_value_t = AccessLog::Text)]
    access_log: AccessLog,
    /// Serve with a runtime for each core, each with its own connections to the endpoints.
    #[arg(long)]
    pub(crate) per_core: bool,
    /// For how long to go on listening after SIGTERM, while health checks say no already.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5s")]
    linger: Duration,
    /// For how long calls in flight may then go on.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    drain_timeout: Duration,
}

impl Flags {
    /// The clusters that were asked for, one of this name for `--upstream`. None of them may be one of the listeners.
    pub(crate) fn clusters(
        &self,
        name: &str,
        also_listening: &[SocketAddr],
        configure: impl Fn(cluster::Builder) -> cluster::Builder,
    ) -> Result<Vec<Cluster>, BoxError> {
        let only = self.upstream.clone().map(|target| Named { name: name.to_owned(), target });
        let all: Vec<_> = match self.cluster.is_empty() {
            true => only.into_iter().collect(),
            false => self.cluster.clone(),
        };
        if all.is_empty() {
            return Err(
                "there is nowhere to send to: expected --upstream TARGET or --cluster NAME=TARGET".into()
            );
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = all.iter().find(|named| !names.insert(&named.name)) {
            return Err(format!("--cluster: the name `{}` is there twice", twice.name).into());
        }
        all.iter().map(|named| self.cluster(&named.name, &named.target, also_listening, &configure)).collect()
    }

    /// One cluster with what the flags say of all. Its target may be none of the listeners.
    pub(crate) fn cluster(
        &self,
        name: &str,
        target: &Target,
        also_listening: &[SocketAddr],
        configure: impl Fn(cluster::Builder) -> cluster::Builder,
    ) -> Result<Cluster, BoxError> {
        let mut listeners = also_listening.iter().chain([&self.listen]).chain(&self.admin.0);
        if let Some(own) = listeners.find(|listener| leads_to(target, listener)) {
            return Err(format!(
                "the upstream `{target}` is the listener {own} itself: calls would go in circles"
            )
            .into());
        }
        let dns = match self.dns_server {
            Some(server) => DnsConfig::new().servers([server]),
            None => DnsConfig::new(),
        };
        let builder = Cluster::builder(name, target.as_str()).dns(dns).connect_timeout(self.connect_timeout);
        Ok(configure(builder).build().map_err(|error| error.report().to_string())?)
    }

    /// The routes that were asked for; without any, everything goes to the one cluster.
    pub(crate) fn router(&self, clusters: &[Cluster]) -> Result<Router<Cluster>, BoxError> {
        let mut router = Router::builder();
        for rule in &self.route {
            let cluster = match &rule.cluster {
                Some(name) => clusters.iter().find(|cluster| **cluster.name() == **name),
                None => clusters.first().filter(|_| clusters.len() == 1),
            };
            let path = &rule.path;
            let Some(cluster) = cluster else {
                let known: Vec<_> = clusters.iter().map(|cluster| &**cluster.name()).collect();
                return Err(format!("--route {path}: expected =NAME, one of {}", known.join(", ")).into());
            };
            let route = if rule.textual { Route::text_prefix(path) } else { Route::prefix(path) };
            router = router.route(route, cluster.clone());
        }
        match (self.route.is_empty(), clusters) {
            (true, [only]) => router = router.otherwise(only.clone()),
            (true, _) => return Err("several clusters need routes: expected --route PREFIX=NAME".into()),
            (false, _) => {}
        }
        Ok(router.build()?)
    }

    /// The listener, over TLS if there is a certificate.
    pub(crate) fn server(&self) -> Result<Server, BoxError> {
        let mut server = self.server_at(self.listen).proxy_protocol(self.proxy_protocol);
        if let Some(limit) = self.connection_limit {
            server = server.connection_limit(limit);
        }
        match self.cert {
            Some(_) => Ok(server.tls(ServerConfig::builder().identity(self.identity()?).build()?)),
            None => Ok(server),
        }
    }

    /// Another listener, which ends like the first.
    pub(crate) fn server_at(&self, address: SocketAddr) -> Server {
        Server::bind(address).linger(self.linger).grace(self.drain_timeout)
    }

    /// The certificate of the files, or one that nobody has signed.
    pub(crate) fn identity(&self) -> Result<Identity, BoxError> {
        Ok(match self.cert.as_ref().zip(self.key.as_ref()) {
            Some((cert, key)) => Identity::files(cert, key),
            None => {
                let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
                Identity::pem(own.cert.pem(), own.signing_key.serialize_pem())
            }
        })
    }

    /// The access log, unless it is off.
    pub(crate) fn access_log(&self) -> Option<AccessLogLayer> {
        match self.access_log {
            AccessLog::Off => None,
            AccessLog::Text => Some(AccessLogLayer::stdout()),
            AccessLog::Json => Some(AccessLogLayer::builder().json().stdout()),
        }
    }
}

/// An address, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin(pub(crate) Option<SocketAddr>);

fn address_or_off(text: &str) -> Result<Admin, BoxError> {
    match text {
        "off" => Ok(Admin(None)),
        address => Ok(Admin(Some(address.parse().map_err(|_| "expected ADDRESS:PORT or off")?))),
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessLog {
    Off,
    Text,
    Json,
}

/// `NAME=TARGET`.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    target: Target,
}

impl FromStr for Named {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        match text.split_once('=') {
            Some((name, target)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), target: target.parse()? })
            }
            _ => Err("expected NAME=TARGET".into()),
        }
    }
}

/// `PREFIX`, `PREFIX*`, with `=NAME` behind it or not.
#[derive(Clone, Debug)]
struct Rule {
    path: String,
    textual: bool,
    cluster: Option<String>,
}

impl FromStr for Rule {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        let (path, cluster) = match text.rsplit_once('=') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (text, None),
        };
        let (path, textual) = match path.strip_suffix('*') {
            Some(path) => (path, true),
            None => (path, false),
        };
        match path.starts_with('/') {
            true => Ok(Self { path: path.to_owned(), textual, cluster }),
            false => Err("expected a path that begins with `/`, then `*` or not, then `=NAME` or not".into()),
        }
    }
}

/// `250ms`, `5s`, `2m`, or seconds: `0.5`.
pub(crate) fn duration(text: &str) -> Result<Duration, BoxError> {
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("expected a time such as 250ms, 5s or 2m".into()),
    };
    let number: f64 = number.parse().map_err(|_| "expected a time such as 250ms, 5s or 2m")?;
    Ok(Duration::try_from_secs_f64(number * seconds)?)
}

/// Whether a target is a listener of this very process, as far as addresses tell.
fn leads_to(target: &Target, listener: &SocketAddr) -> bool {
    let addresses: Vec<SocketAddr> = match target.source() {
        Source::Dns { host, port, .. } => {
            let localhost = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
            let literal = host.parse().map(|ip| vec![ip]);
            let ips = literal.unwrap_or(if host == "localhost" { localhost.to_vec() } else { Vec::new() });
            ips.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect()
        }
        Source::Addresses(all) => {
            let tcp = |address: &Address| if let Address::Tcp(tcp) = address { Some(*tcp) } else { None };
            all.iter().filter_map(tcp).collect()
        }
        _ => Vec::new(),
    };
    // An address can be bound to if it is one of this machine's.
    let is_ours = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    addresses.iter().any(|address| {
        let same_ip = address.ip() == listener.ip()
            || (listener.ip().is_unspecified() && is_ours(address.ip()))
            || (address.ip().is_unspecified() && listener.ip().is_loopback());
        address.port() == listener.port() && address.port() != 0 && same_ip
    })
}

//! The public face of discovery by DNS.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::proto::rr::Name;

use crate::{
    discover::{
        DnsConfig, Feedback, Fixed, Resolve, Status,
        dns::{
            config::{HostsSource, ResolvConfSource},
            hosts::Hosts,
            poller::{Place, Poller},
            resolv_conf::ResolvConf,
            unavailable,
            wire::Wire,
        },
        literal,
    },
    endpoint::EndpointSet,
    error::{Error, Phase},
    grpc::Code,
};

/// A resolver of a DNS name; see the [module docs](crate::discover::dns).
///
/// It does its work while it is polled, has no task and no thread, and ends with its last question when it is
/// dropped. It may be built outside a runtime, but must be polled inside one.
#[derive(Debug)]
pub struct Dns(Kind);

#[derive(Debug)]
enum Kind {
    Known(Fixed),
    Polled(Box<Poller<Wire>>),
}

impl Dns {
    /// A resolver of `name`, whose endpoints listen on `port`, with the defaults of [`DnsConfig`].
    ///
    /// # Errors
    ///
    /// If `name` is no DNS name.
    pub fn new(name: &str, port: u16) -> Result<Self, Error> {
        Self::with_config(name, port, DnsConfig::new())
    }

    /// A resolver of `name`, whose endpoints listen on `port`.
    ///
    /// # Errors
    ///
    /// If `name` is no DNS name.
    pub fn with_config(name: &str, port: u16, config: DnsConfig) -> Result<Self, Error> {
        if let Some(endpoint) = literal::endpoint(name, port) {
            return Ok(Self(Kind::Known(Fixed::new([endpoint]))));
        }
        if name.is_empty() || !name.is_ascii() {
            return Err(no_name(name));
        }
        Name::from_ascii(name).map_err(|error| no_name(name).because(error))?;
        let settings = config.clone();
        let locate = Box::new(move || locate(&settings));
        Ok(Self(Kind::Polled(Box::new(Poller::new(name, port, config, locate)))))
    }
}

impl Resolve for Dns {
    fn poll_resolve(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Arc<EndpointSet>, Error>>> {
        match &mut self.get_mut().0 {
            Kind::Known(fixed) => Pin::new(fixed).poll_resolve(cx),
            Kind::Polled(poller) => Pin::new(&mut **poller).poll_resolve(cx),
        }
    }

    fn feedback(self: Pin<&mut Self>, feedback: Feedback) {
        if let Kind::Polled(poller) = &mut self.get_mut().0 {
            Pin::new(&mut **poller).feedback(feedback);
        }
    }

    fn status(&self) -> Option<Status> {
        match &self.0 {
            Kind::Known(fixed) => fixed.status(),
            Kind::Polled(poller) => poller.status(),
        }
    }
}

fn no_name(name: &str) -> Error {
    let message =
        format!("`{name}` is no DNS name; expected ASCII labels of at most 63 characters, joined by dots");
    Error::new(Code::InvalidArgument, Phase::Resolve, message)
}

/// Settles whom to ask: what is configured, what resolv.conf says, the defaults, in this order.
fn locate(config: &DnsConfig) -> Result<Place<Wire>, Error> {
    let conf = match &config.resolv_conf {
        Some(ResolvConfSource::Text(text)) => ResolvConf::parse(text),
        Some(ResolvConfSource::Path(path)) => read(path)?,
        None if config.servers.is_empty() => system()?,
        None => ResolvConf::default(),
    };
    let servers = if config.servers.is_empty() { conf.servers } else { config.servers.clone() };
    if servers.is_empty() {
        return Err(unavailable(
            "there is no DNS server to ask: neither resolv.conf nor the configuration has one",
        ));
    }
    let timeout = config.attempt_timeout.or(conf.timeout).unwrap_or(Duration::from_secs(2));
    let attempts = config.attempts.or(conf.attempts).unwrap_or(2);
    Ok(Place {
        hosts: hosts(config),
        lookup: Arc::new(Wire::new(servers, timeout, attempts)),
        search: config.search.clone().unwrap_or(conf.search),
        ndots: config.ndots.or(conf.ndots).unwrap_or(1),
    })
}

/// A small local file: reading it blocks for no time that matters.
fn read(path: &Path) -> Result<ResolvConf, Error> {
    match std::fs::read(path) {
        Ok(text) => Ok(ResolvConf::parse(&String::from_utf8_lossy(&text))),
        Err(error) => Err(unavailable(format!("cannot read `{}`", path.display())).because(error)),
    }
}

/// A hosts file that cannot be read has no names; most hosts get by without one.
fn hosts(config: &DnsConfig) -> Hosts {
    let path = match &config.hosts {
        HostsSource::System if cfg!(unix) && config.servers.is_empty() => Path::new("/etc/hosts"),
        HostsSource::Path(path) => path,
        HostsSource::System | HostsSource::Nowhere => return Hosts::default(),
    };
    std::fs::read(path).map(|text| Hosts::parse(&String::from_utf8_lossy(&text))).unwrap_or_default()
}

#[cfg(unix)]
fn system() -> Result<ResolvConf, Error> {
    read(Path::new("/etc/resolv.conf"))
}

/// Elsewhere than on unix there is no such file, and hickory knows where to look.
#[cfg(not(unix))]
fn system() -> Result<ResolvConf, Error> {
    let (config, options) = hickory_resolver::system_conf::read_system_conf()
        .map_err(|error| unavailable("cannot read the system's DNS settings").because(error))?;
    let server =
        |server: &hickory_resolver::config::NameServerConfig| std::net::SocketAddr::new(server.ip, 53);
    Ok(ResolvConf {
        servers: config.name_servers().iter().map(server).collect(),
        search: config.search().iter().map(ToString::to_string).collect(),
        ndots: Some(options.ndots),
        ..ResolvConf::default()
    })
}

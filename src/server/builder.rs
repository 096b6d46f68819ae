use std::{sync::Arc, time::Duration};

use super::{
    Bound, Handle, Http2Config, HttpService, ListenAddress, ListenError, config::Config, listener::Listener,
};
use crate::random::Random;

/// A server for HTTP/1.1 and HTTP/2 that has not begun to listen.
///
/// See the [module docs](super) for examples.
#[derive(Debug)]
#[must_use = "a server does nothing until it serves"]
pub struct Server {
    addresses: Vec<ListenAddress>,
    connection_limit: Option<usize>,
    linger: Duration,
    grace: Option<Duration>,
    handle: Handle,
    config: Config,
}

const TEN_SECONDS: Option<Duration> = Some(Duration::from_secs(10));

impl Server {
    /// Will listen here: `"0.0.0.0:443"`, `"[::]:443"`, `"unix:/run/app.sock"`, a `SocketAddr`, or a listener of
    /// the standard library to adopt.
    pub fn bind(address: impl Into<ListenAddress>) -> Self {
        Self {
            addresses: vec![address.into()],
            connection_limit: None,
            linger: Duration::from_secs(5),
            grace: Some(Duration::from_secs(30)),
            handle: Handle::new(),
            config: Config {
                #[cfg(feature = "tls")]
                tls: None,
                #[cfg(feature = "tls")]
                plaintext_too: false,
                proxy_protocol: false,
                http2: Http2Config::new(),
                max_header_bytes: 60 << 10,
                max_headers: 100,
                tls_timeout: TEN_SECONDS,
                preface_timeout: TEN_SECONDS,
                header_timeout: TEN_SECONDS,
                idle_timeout: Some(Duration::from_secs(3_600)),
                max_age: None,
                max_age_grace: None,
                random: Arc::new(Random::from_os()),
            },
        }
    }

    /// Will listen here too.
    pub fn and_bind(mut self, address: impl Into<ListenAddress>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Secures all its connections. Default: plaintext.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: super::tls::ServerConfig) -> Self {
        self.config.tls = Some(config);
        self
    }

    /// Secures connections that begin with a TLS handshake, and serves all others in plaintext, on the same port. For
    /// a port whose plaintext is asked for, as by a kubelet beside a load balancer that speaks TLS; what must be
    /// secured must not be there. Requests tell by their [`ConnectInfo`](super::ConnectInfo) which it was. Default: a
    /// server with [`tls`](Self::tls) serves nothing else.
    ///
    /// On unix sockets all connections are in plaintext then.
    #[cfg(feature = "tls")]
    pub fn tls_or_plaintext(mut self, config: super::tls::ServerConfig) -> Self {
        self.config.plaintext_too = true;
        self.tls(config)
    }

    /// Begins to listen, and serves with a runtime per core, each with the service that `factory` makes for it, once,
    /// within it. A proxy's makes `Cluster::on` of its worker, for connections to endpoints that no other core touches.
    ///
    /// ```no_run
    /// use std::convert::Infallible;
    ///
    /// use grpc_balance::{connect::Worker, server::{RequestBody, Server}};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    ///
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = |_: &Worker| tower::service_fn(|_: Request<RequestBody>| async {
    ///     Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
    /// });
    /// Server::bind("0.0.0.0:15001").per_core(app).serve(std::future::pending()).await?;
    /// # Ok(()) }
    /// ```
    pub fn per_core<F, S>(self, factory: F) -> super::PerCore<F>
    where
        F: FnMut(&crate::connect::Worker) -> S,
        S: super::HttpService,
    {
        super::PerCore::new(self.listen(), factory)
    }

    /// Expects each connection to begin with a header of the PROXY protocol, version 1 or 2, as an L4 balancer in front
    /// sends it, before TLS; [`ConnectInfo`](super::ConnectInfo) then tells the addresses that it names. A connection
    /// without one is closed, and counted. Default false: never believe strangers who they are.
    ///
    /// It has the [preface's time](Self::preface_timeout).
    pub fn proxy_protocol(mut self, expect: bool) -> Self {
        self.config.proxy_protocol = expect;
        self
    }

    /// How many connections may be open, over all listeners. One more is accepted and closed at once, so that its
    /// peer learns of it and can go elsewhere, and counted. Default: as many as there are file descriptors, as in
    /// Envoy, which calls this `max_downstream_connections` and asks for it at the edge.
    pub fn connection_limit(mut self, connections: usize) -> Self {
        self.connection_limit = Some(connections);
        self
    }

    /// The HTTP/2 settings. Default [`Http2Config::new`].
    pub fn http2(mut self, config: Http2Config) -> Self {
        self.config.http2 = config;
        self
    }

    /// How large the headers of one request may be together, in bytes; with HTTP/2, each counts 32 more (RFC 9113,
    /// 6.5.2). What exceeds it is answered with 431. Default 60 KiB, Envoy's `max_request_headers_kb`.
    pub fn max_header_bytes(mut self, bytes: u32) -> Self {
        self.config.max_header_bytes = bytes;
        self
    }

    /// How many headers a request may have. What exceeds it is answered with 431. Default 100, Envoy's
    /// `max_headers_count`.
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.config.max_headers = headers;
        self
    }

    /// How long a TLS handshake may take. Default 10 s: its two round trips take a bad radio link less. Envoy's
    /// `transport_socket_connect_timeout`, which is off there.
    pub fn tls_handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.tls_timeout = timeout.into();
        self
    }

    /// How long a connection may take, after TLS, to say enough to tell HTTP/1 from HTTP/2. Default 10 s. Neither
    /// Envoy nor hyper has this: a peer that stays silent is left to their idle timeouts, or to none.
    pub fn preface_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.preface_timeout = timeout.into();
        self
    }

    /// How long the head of a request may take from its first byte on; with HTTP/2, a block of headers, and the
    /// first frame. Default 10 s. Envoy's `request_headers_timeout`, which is off there. It does not bound bodies:
    /// a stream may be quiet for hours.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.header_timeout = timeout.into();
        self
    }

    /// How long a connection may have no request before it is closed, gracefully. Default 1 h, Envoy's
    /// `idle_timeout`.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.idle_timeout = timeout.into();
        self
    }

    /// How old a connection may become before it is told to go, gracefully; each gets up to 10 % more or less, so
    /// that clients do not all come back at once. Default: as old as it likes. gRFC A9's `MAX_CONNECTION_AGE`,
    /// Envoy's `max_connection_duration`. It is how clients behind an L4 balancer come to know new servers.
    pub fn max_connection_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.config.max_age = age.into();
        self
    }

    /// How long the requests of a connection that was told to go, because it was too old or idle, may take.
    /// Default: as long as they like. gRFC A9's `MAX_CONNECTION_AGE_GRACE`.
    pub fn max_connection_age_grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.config.max_age_grace = grace.into();
        self
    }

    /// How long a drain leaves everything open, so that whoever is in front sees from a health check that this
    /// server is not ready, and stops sending. Default 5 s, the interval of a common health check. Kubernetes has
    /// `preStop: sleep` for the same.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long a drain then waits for requests in flight before it cuts them off. `None` waits as long as they
    /// like. Default 30 s, Kubernetes' `terminationGracePeriodSeconds`; with the linger, set that to more.
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.grace = grace.into();
        self
    }

    /// The source of randomness, for tests. Default: seeded by the operating system.
    pub fn random(mut self, random: Arc<Random>) -> Self {
        self.config.random = random;
        self
    }

    /// A handle to drain it and to read its counters.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Begins to listen, on all addresses or on none. It must be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// When an address is none, is in use, or is not ours. The message says which.
    pub fn listen(self) -> Result<Bound, ListenError> {
        if tokio::runtime::Handle::try_current().is_err() {
            let shown = self.addresses.first().map(ToString::to_string).unwrap_or_default();
            return Err(ListenError::new(&shown, std::io::Error::other("there is no tokio runtime here")));
        }
        let listeners = self.addresses.into_iter().map(Listener::new).collect::<Result<Vec<_>, _>>()?;
        Ok(Bound::new(listeners, self.connection_limit, self.linger, self.grace, self.handle, self.config))
    }

    /// Listens, and serves until it has been drained: [`listen`](Self::listen), then [`Bound::serve`].
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn serve<S>(self, service: S, shutdown: impl Future<Output = ()>) -> Result<(), ListenError>
    where
        S: HttpService,
    {
        self.listen()?.serve(service, shutdown).await;
        Ok(())
    }
}

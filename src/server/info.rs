use std::{fmt, net::SocketAddr, sync::Arc};

/// Where a request came from: an extension of every request that a server passes on.
///
/// ```
/// use grpc_balance::server::ConnectInfo;
///
/// fn from<B>(request: &http::Request<B>) -> Option<std::net::SocketAddr> {
///     request.extensions().get::<ConnectInfo>()?.peer_addr()
/// }
/// # assert_eq!(from(&http::Request::new(())), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectInfo(Arc<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    tls: Option<TlsInfo>,
}

impl ConnectInfo {
    pub(super) fn new(peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Self {
        Self(Arc::new(Inner { peer, local, tls: None }))
    }

    #[cfg(feature = "tls")]
    pub(super) fn secured(self, session: &rustls::ServerConnection) -> Self {
        let tls = TlsInfo {
            server_name: session.server_name().map(Into::into),
            alpn: session.alpn_protocol().map(Into::into),
            client_certificates: session
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|certificate| certificate.as_ref().into())
                .collect(),
        };
        Self(Arc::new(Inner { tls: Some(tls), ..Inner::clone(&self.0) }))
    }

    /// The addresses that an L4 balancer in front told of.
    pub(super) fn told(self, (peer, local): (SocketAddr, SocketAddr)) -> Self {
        Self(Arc::new(Inner { peer: Some(peer), local: Some(local), ..Inner::clone(&self.0) }))
    }

    /// The peer's address, as the balancer in front told it under the [PROXY
    /// protocol](super::Server::proxy_protocol); `None` on a unix socket.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// Our own address that the peer connected to; `None` on a unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// What the TLS handshake said; `None` without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.0.tls.as_ref()
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls()?.alpn()
    }
}

impl fmt::Display for ConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.peer {
            Some(peer) => peer.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

/// What a TLS handshake said of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    server_name: Option<Box<str>>,
    alpn: Option<Box<[u8]>>,
    client_certificates: Vec<Box<[u8]>>,
}

impl TlsInfo {
    /// The name that the client wanted to reach (SNI, RFC 6066), in lower case.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The protocol that was agreed on (ALPN, RFC 7301): `h2`, `http/1.1`, or `None`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The client's certificate chain, verified, its own first, each in DER. Empty when it has none.
    #[must_use]
    pub fn client_certificates(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.client_certificates.iter().map(|certificate| &**certificate)
    }
}

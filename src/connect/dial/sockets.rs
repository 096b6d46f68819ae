use std::{
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::{DialError, Socket, TcpKeepalive, tcp::TcpOptions, unix};
use crate::endpoint::Address;

/// Opens sockets of the operating system: TCP, unix paths, and on Linux abstract unix sockets.
///
/// ```
/// use std::time::Duration;
///
/// use grpc_balance::connect::dial::{Sockets, TcpKeepalive};
///
/// let sockets = Sockets::new()
///     .tcp_user_timeout(Duration::from_secs(30))
///     .tcp_keepalive(TcpKeepalive::new().time(Duration::from_secs(120)));
/// # let _ = sockets;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Sockets {
    tcp: Arc<TcpOptions>,
}

impl Sockets {
    /// Sockets with the defaults that each setter states.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets TCP_NODELAY. Default `true`: Nagle's algorithm holds a small frame back until the peer acknowledged the
    /// last one, which delayed acknowledgements stretch to 40 ms.
    #[must_use]
    pub fn tcp_nodelay(mut self, nodelay: bool) -> Self {
        Arc::make_mut(&mut self.tcp).nodelay = nodelay;
        self
    }

    /// Sets TCP_USER_TIMEOUT, after which the kernel gives up a connection whose data the peer does not acknowledge.
    /// `None` leaves the system's setting, which lets a cut-off connection live for about 15 minutes. Default 20 s, as
    /// gRFC A18 recommends. Linux, Android, Fuchsia and Cygwin have it; elsewhere it is ignored.
    #[must_use]
    pub fn tcp_user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        Arc::make_mut(&mut self.tcp).user_timeout = timeout.into();
        self
    }

    /// Sets TCP keepalive; `None` turns it off. The default is [`TcpKeepalive::new`]: middleboxes then see some
    /// traffic, and an idle connection whose peer vanished is found without HTTP/2 pings, which servers count.
    #[must_use]
    pub fn tcp_keepalive(mut self, keepalive: impl Into<Option<TcpKeepalive>>) -> Self {
        Arc::make_mut(&mut self.tcp).keepalive = keepalive.into();
        self
    }

    /// Sets the local address that TCP connections leave from; the port is the system's choice. By default the routing
    /// table chooses. A remote address of the other IP family cannot be reached then, and its error says so.
    #[must_use]
    pub fn local_address(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        Arc::make_mut(&mut self.tcp).local_address = address.into();
        self
    }
}

impl Service<Address> for Sockets {
    type Response = Socket;
    type Error = DialError;
    type Future = SocketsFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Address) -> Self::Future {
        let tcp = self.tcp.clone();
        SocketsFuture(Box::pin(async move {
            let opened = match &address {
                Address::Tcp(address) => tcp.connect(*address).await.map(Socket::from),
                Address::Unix(path) => unix::connect(path).await,
                Address::UnixAbstract(name) => unix::connect_abstract(name).await,
            };
            opened.map_err(|cause| DialError::new(address, cause))
        }))
    }
}

/// The dial of [`Sockets`].
pub struct SocketsFuture(Pin<Box<dyn Future<Output = Result<Socket, DialError>> + Send>>);

impl Future for SocketsFuture {
    type Output = Result<Socket, DialError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for SocketsFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketsFuture").finish_non_exhaustive()
    }
}

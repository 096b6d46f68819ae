use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

/// When the kernel probes a silent TCP connection (SO_KEEPALIVE).
///
/// The kernel counts in whole seconds; fractions are cut off, and less than one second counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    time: Duration,
    interval: Duration,
    retries: u32,
}

impl TcpKeepalive {
    /// After 60 s of silence, every 10 s, dead after 3 unanswered probes: sooner than the idle limits of common load
    /// balancers and NATs, the shortest of which are a few minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self { time: Duration::from_secs(60), interval: Duration::from_secs(10), retries: 3 }
    }

    /// Sets the silence before the first probe (TCP_KEEPIDLE). Default 60 s.
    #[must_use]
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Sets the time between unanswered probes (TCP_KEEPINTVL). Default 10 s.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how many unanswered probes end the connection (TCP_KEEPCNT), where the platform can. Default 3; at least
    /// one is sent. A [user timeout](super::Sockets::tcp_user_timeout) takes the place of this count on Linux.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    fn to_socket(&self) -> socket2::TcpKeepalive {
        // The kernel refuses zeroes, and more than 32 767 seconds or 127 probes.
        let seconds = |time: Duration| time.clamp(Duration::from_secs(1), Duration::from_secs(32_767));
        let keepalive = socket2::TcpKeepalive::new().with_time(seconds(self.time));
        #[cfg(any(
            target_os = "android",
            target_os = "freebsd",
            target_os = "linux",
            target_os = "netbsd",
            target_vendor = "apple",
            windows,
        ))]
        let keepalive =
            keepalive.with_interval(seconds(self.interval)).with_retries(self.retries.clamp(1, 127));
        keepalive
    }
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug)]
pub(super) struct TcpOptions {
    pub(super) nodelay: bool,
    pub(super) user_timeout: Option<Duration>,
    pub(super) keepalive: Option<TcpKeepalive>,
    pub(super) local_address: Option<IpAddr>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            user_timeout: Some(Duration::from_secs(20)),
            keepalive: Some(TcpKeepalive::new()),
            local_address: None,
        }
    }
}

impl TcpOptions {
    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.configure(&socket)?;
        if let Some(local) = self.local_address {
            if local.is_ipv4() != address.is_ipv4() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("the local address {local} is of the other IP family"),
                ));
            }
            socket.bind(SocketAddr::new(local, 0)).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot bind the local address {local}: {error}"))
            })?;
        }
        socket.connect(address).await
    }

    fn configure(&self, socket: &TcpSocket) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(self.nodelay)?;
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(&keepalive.to_socket())?;
        }
        #[cfg(any(target_os = "android", target_os = "cygwin", target_os = "fuchsia", target_os = "linux"))]
        if self.user_timeout.is_some() {
            // A timeout of 0 would mean the system's setting, and the kernel takes at most `i32::MAX` milliseconds.
            let bounds = (Duration::from_millis(1), Duration::from_millis(i32::MAX.unsigned_abs().into()));
            socket
                .set_tcp_user_timeout(self.user_timeout.map(|timeout| timeout.clamp(bounds.0, bounds.1)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(options: TcpOptions) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        options.connect(listener.local_addr().unwrap()).await.unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn defaults_are_what_the_documentation_says() {
        let stream = connected(TcpOptions::default()).await;
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(20)));
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(10));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn options_that_are_off_leave_the_systems_settings() {
        let options = TcpOptions { nodelay: false, user_timeout: None, keepalive: None, local_address: None };
        let stream = connected(options).await;
        let socket = SockRef::from(&stream);
        assert!(!socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        assert!(!socket.keepalive().unwrap());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn extreme_values_are_clamped_to_what_the_kernel_takes() {
        for time in [Duration::ZERO, Duration::MAX] {
            for retries in [0, u32::MAX] {
                let keepalive = TcpKeepalive::new().time(time).interval(time).retries(retries);
                connected(TcpOptions {
                    user_timeout: Some(time),
                    keepalive: Some(keepalive),
                    ..TcpOptions::default()
                })
                .await;
            }
        }
    }

    #[tokio::test]
    async fn leaves_from_the_local_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = IpAddr::from([127, 0, 0, 2]);
        let options = TcpOptions { local_address: Some(local), ..TcpOptions::default() };
        let stream = options.connect(listener.local_addr().unwrap()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), local);
    }

    #[tokio::test]
    async fn a_local_address_of_the_other_family_is_an_error_that_says_so() {
        let options =
            TcpOptions { local_address: Some(IpAddr::from([127, 0, 0, 1])), ..TcpOptions::default() };
        let error = options.connect("[::1]:1".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("127.0.0.1 is of the other IP family"), "{error}");
    }

    #[tokio::test]
    async fn a_local_address_that_is_not_ours_is_named() {
        let options =
            TcpOptions { local_address: Some(IpAddr::from([203, 0, 113, 1])), ..TcpOptions::default() };
        let error = options.connect("127.0.0.1:1".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("cannot bind the local address 203.0.113.1"), "{error}");
    }
}

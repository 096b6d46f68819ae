use std::{fmt, net::SocketAddr, path::PathBuf};

/// Where a server listens.
///
/// Text is `IP:PORT`, `[IPv6]:PORT` or `unix:PATH`; an unspecified address (`0.0.0.0`, `[::]`) means every
/// interface, and port 0 a free one. It is looked at when the server begins to listen. A listener that exists
/// already, from systemd for instance, is adopted.
#[derive(Debug)]
pub struct ListenAddress(pub(super) Source);

#[derive(Debug)]
pub(super) enum Source {
    Text(String),
    Tcp(SocketAddr),
    Unix(PathBuf),
    AdoptedTcp(std::net::TcpListener),
    #[cfg(unix)]
    AdoptedUnix(std::os::unix::net::UnixListener),
}

impl From<&str> for ListenAddress {
    fn from(text: &str) -> Self {
        Self(Source::Text(text.to_owned()))
    }
}

impl From<String> for ListenAddress {
    fn from(text: String) -> Self {
        Self(Source::Text(text))
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(Source::Tcp(address))
    }
}

impl From<PathBuf> for ListenAddress {
    /// A unix socket.
    fn from(path: PathBuf) -> Self {
        Self(Source::Unix(path))
    }
}

impl From<std::net::TcpListener> for ListenAddress {
    fn from(listener: std::net::TcpListener) -> Self {
        Self(Source::AdoptedTcp(listener))
    }
}

#[cfg(unix)]
impl From<std::os::unix::net::UnixListener> for ListenAddress {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self(Source::AdoptedUnix(listener))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(text) => f.write_str(text),
            Source::Tcp(address) => address.fmt(f),
            Source::Unix(path) => write!(f, "unix:{}", path.display()),
            Source::AdoptedTcp(_) => f.write_str("an adopted listener"),
            #[cfg(unix)]
            Source::AdoptedUnix(_) => f.write_str("an adopted unix listener"),
        }
    }
}

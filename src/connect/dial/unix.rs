//! Unix sockets, and what to say where there are none.

use std::{io, path::Path};

use super::Socket;

#[cfg(unix)]
pub(super) async fn connect(path: &Path) -> io::Result<Socket> {
    use std::os::unix::ffi::OsStrExt;

    // A leading NUL would silently mean the abstract namespace.
    if path.as_os_str().as_bytes().first() == Some(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket path cannot start with NUL"));
    }
    tokio::net::UnixStream::connect(path).await.map(Socket::from)
}

#[cfg(not(unix))]
pub(super) async fn connect(_: &Path) -> io::Result<Socket> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this platform has no unix sockets"))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) async fn connect_abstract(name: &[u8]) -> io::Result<Socket> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    // Tokio takes a path that starts with NUL for an abstract name.
    let path = [b"\0", name].concat();
    tokio::net::UnixStream::connect(OsStr::from_bytes(&path)).await.map(Socket::from)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) async fn connect_abstract(_: &[u8]) -> io::Result<Socket> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract unix sockets exist on Linux only"))
}

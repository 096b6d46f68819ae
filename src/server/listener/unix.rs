use std::{
    fs, io,
    os::unix::{fs::FileTypeExt, net},
    path::PathBuf,
    task::{Context, Poll},
};

use tokio::net::UnixStream;

use super::invalid;

/// A listening unix socket, and the file that we made for it.
#[derive(Debug)]
pub(in crate::server) struct UnixListener {
    listener: tokio::net::UnixListener,
    path: Option<PathBuf>,
}

impl UnixListener {
    /// Listens at a path. A socket that nobody listens on any more, left by a process that was killed, is replaced.
    pub(super) fn bind(path: PathBuf) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(invalid("expected a path after `unix:`"));
        }
        let bound = match tokio::net::UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path) => {
                fs::remove_file(&path)?;
                tokio::net::UnixListener::bind(&path)
            }
            bound => bound,
        };
        Ok(Self { listener: bound?, path: Some(path) })
    }

    pub(super) fn adopt(listener: net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: tokio::net::UnixListener::from_std(listener)?, path: None })
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        self.listener.poll_accept(cx).map_ok(|(stream, _)| stream)
    }
}

fn is_stale(path: &PathBuf) -> bool {
    fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Who comes later finds out from the missing file, or replaces it.
            let _ = fs::remove_file(path);
        }
    }
}

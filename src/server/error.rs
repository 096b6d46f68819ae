use std::{error::Error as StdError, fmt, io};

/// A server that cannot listen. The message names the address, the source says why.
#[derive(Debug)]
pub struct ListenError {
    /// What cannot be done.
    what: Box<str>,
    source: io::Error,
}

impl ListenError {
    pub(super) fn new(address: &impl fmt::Display, source: io::Error) -> Self {
        Self { what: format!("listen on `{address}`").into(), source }
    }

    pub(super) fn workers(source: io::Error) -> Self {
        Self { what: "start a thread for each core".into(), source }
    }

    /// Whether somebody else has the address.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }

    /// Whether the address is not one, or there is none.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.source.kind() == io::ErrorKind::InvalidInput
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl StdError for ListenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

use std::{error::Error as StdError, fmt, io};

use crate::endpoint::Address;

/// An address to which no stream could be opened. Its source is the operating system's error.
#[derive(Debug)]
pub struct DialError {
    address: Address,
    cause: io::Error,
}

impl DialError {
    pub(super) fn new(address: Address, cause: io::Error) -> Self {
        Self { address, cause }
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the operating system said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// Whether this platform has no such addresses: unix sockets outside unix, abstract ones outside Linux.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.cause.kind() == io::ErrorKind::Unsupported
    }
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {}", self.address)
    }
}

impl StdError for DialError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}

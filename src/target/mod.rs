//! Targets: what a client is told to talk to, as gRPC writes it.
//!
//! `dns:///greeter:50051`, `ipv4:10.0.0.1:80,10.0.0.2:80`, `unix:/run/greeter.sock`, or a bare `greeter:50051`: a
//! [`Target`] says where the endpoints come from ([`Source`]) and which `:authority` the backends see. The syntax
//! is that of gRPC's [naming.md](https://github.com/grpc/grpc/blob/master/doc/naming.md); a text that is no URI,
//! or whose scheme is none of gRPC's, is read again as `dns:///` followed by the text.
//!
//! ```
//! use grpc_balance::target::{Source, Target};
//!
//! let target: Target = "dns://10.96.0.10/greeter.default.svc:50051".parse()?;
//! assert_eq!(target.authority(), "greeter.default.svc:50051");
//! let Source::Dns { server, host, port, .. } = target.source() else { unreachable!() };
//! assert_eq!(server.map(|s| s.to_string()).as_deref(), Some("10.96.0.10:53"));
//! assert_eq!((host.as_str(), *port), ("greeter.default.svc", 50051));
//! # Ok::<(), grpc_balance::target::ParseTargetError>(())
//! ```

mod parse;
#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, str::FromStr};

use crate::{
    endpoint::Address,
    error::{Error, Phase},
    grpc::Code,
};

/// The port of a target that names none.
pub const DEFAULT_PORT: u16 = 443;

/// What a client talks to: where its endpoints come from, and the authority that they see.
///
/// See the [module docs](crate::target).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    text: Box<str>,
    source: Source,
    authority: Box<str>,
}

/// Where the endpoints of a [`Target`] come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A name to be looked up (`dns:` and everything bare). It may be an IP literal.
    #[non_exhaustive]
    Dns {
        /// The DNS server to ask; `None` for those of the system.
        server: Option<SocketAddr>,
        /// The name or the IP literal, without brackets.
        host: String,
        /// The port of the endpoints. Default 443.
        port: u16,
    },
    /// Addresses, each of them an endpoint (`ipv4:`, `ipv6:`, `unix:`, `unix-abstract:`); never empty.
    Addresses(Vec<Address>),
}

impl Target {
    /// Where the endpoints come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The `:authority` that backends see unless it is overridden.
    ///
    /// By gRPC's rule it is the target's path without its leading slash, percent-encoded where an authority demands
    /// it: `greeter:50051` for `dns:///greeter:50051`, with no port where the target has none. It is never the DNS
    /// server of a target that names one, it is `localhost` for unix sockets, and `localhost:80` for `:80`.
    ///
    /// It is always an authority by RFC 3986, and so by the `http` crate. gRPC's own rule breaks that: here the IPv6
    /// address `::1` is called `[::1]`, and of several addresses only the first is named.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The target as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match parse::target(text) {
            Ok((source, authority)) => Ok(Self { text: text.into(), source, authority: authority.into() }),
            Err(expected) => Err(ParseTargetError { text: text.to_owned(), expected }),
        }
    }
}

impl TryFrom<&str> for Target {
    type Error = ParseTargetError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Text that is no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseTargetError {
    text: String,
    expected: String,
}

impl ParseTargetError {
    /// The text that was to be a target.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for ParseTargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no target: {}", self.text, self.expected)
    }
}

impl std::error::Error for ParseTargetError {}

impl From<ParseTargetError> for Error {
    fn from(error: ParseTargetError) -> Self {
        Self::new(Code::InvalidArgument, Phase::Resolve, error.to_string()).because(error)
    }
}

//! The resolver that a target asks for.

use std::{net::SocketAddr, pin::Pin};

#[cfg(feature = "dns")]
use crate::discover::{Dns, DnsConfig};
use crate::{
    discover::{Fixed, Resolve, literal},
    endpoint::Endpoint,
    error::Error,
    target::{Source, Target},
};

/// A resolver of which nothing more is known.
type AnyResolver = Pin<Box<dyn Resolve>>;

/// The resolver for a target: a fixed set for addresses, DNS with its defaults for names.
///
/// May be called outside a runtime: nothing is asked before the resolver is first polled.
///
/// # Errors
///
/// If the target is a name and the crate was built without the feature `dns`, or DNS cannot be asked for it.
pub fn for_target(target: &Target) -> Result<AnyResolver, Error> {
    #[cfg(feature = "dns")]
    return for_target_with_dns(target, &DnsConfig::new());
    #[cfg(not(feature = "dns"))]
    resolver(target, |host, _, _| {
        let message = format!(
            "`{target}` needs a look-up of `{host}`, and grpc-balance was built without its feature `dns`: expected \
             an IP address, `localhost`, or an `ipv4:`, `ipv6:`, `unix:` or `unix-abstract:` target"
        );
        Err(Error::new(crate::grpc::Code::InvalidArgument, crate::error::Phase::Resolve, message))
    })
}

/// The resolver for a target, where names are looked up as `dns` says.
///
/// A server that the target names takes precedence over those of `dns`. May be called outside a runtime: nothing is
/// asked before the resolver is first polled.
///
/// # Errors
///
/// If the target is a name that DNS cannot be asked for.
#[cfg(feature = "dns")]
pub fn for_target_with_dns(target: &Target, dns: &DnsConfig) -> Result<AnyResolver, Error> {
    resolver(target, |host, port, server| {
        let config = match server {
            Some(server) => dns.clone().servers([server]),
            None => dns.clone(),
        };
        Ok(Box::pin(Dns::with_config(host, port, config)?))
    })
}

fn resolver(
    target: &Target,
    look_up: impl FnOnce(&str, u16, Option<SocketAddr>) -> Result<AnyResolver, Error>,
) -> Result<AnyResolver, Error> {
    match target.source() {
        Source::Addresses(addresses) => {
            Ok(Box::pin(Fixed::new(addresses.iter().cloned().map(Endpoint::new))))
        }
        Source::Dns { server, host, port } => match literal::endpoint(host, *port) {
            Some(endpoint) => Ok(Box::pin(Fixed::new([endpoint]))),
            None => look_up(host, *port, *server),
        },
    }
}

//! Hosts that are never asked for: the answer is in their name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::endpoint::{Address, Endpoint};

/// The endpoint of an IP literal, or of `localhost` and the names below it (RFC 6761, section 6.3).
///
/// `localhost` is one endpoint with two addresses, since it is one process, and which of them it listens on differs:
/// were they two endpoints, one of them would fail for ever.
pub(super) fn endpoint(host: &str, port: u16) -> Option<Endpoint> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(Endpoint::new(SocketAddr::new(ip, port)));
    }
    if let Some((ip, zone)) = host.split_once('%') {
        let address = SocketAddrV6::new(ip.parse().ok()?, port, 0, zone.parse().ok()?);
        return Some(Endpoint::new(SocketAddr::V6(address)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name != "localhost" && !name.ends_with(".localhost") {
        return None;
    }
    let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    Endpoint::with_addresses(ips.map(|ip| Address::Tcp(SocketAddr::new(ip, port))))
}

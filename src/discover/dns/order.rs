//! Which of the addresses come first.

use std::net::SocketAddr;

use crate::discover::dns::{known::Part, lookup::Family};

/// The rank of each family; the lowest comes first.
///
/// IPv6 before IPv4 (RFC 6724, section 2.1), but a family without a route last (its rule 1). One address speaks for
/// its family. Within a family the order is that of the answer that first named an address: servers shuffle, and so
/// clients that prefer the first endpoint spread, without changing their minds at each poll.
pub(super) fn preference(
    parts: &[Part],
    has_route: &dyn Fn(SocketAddr) -> bool,
) -> impl Fn(Family) -> u8 + use<> {
    let routed = |family| {
        let mut of_family = parts.iter().filter(|part| part.family == family);
        let address = of_family.find_map(|p| Some(SocketAddr::new(*p.ips.as_ref()?.first()?, p.port)));
        address.is_none_or(has_route)
    };
    let (v4, v6) = (routed(Family::V4), routed(Family::V6));
    move |family| match family {
        Family::V6 if v6 => 0,
        Family::V4 if v4 => 1,
        Family::V6 => 2,
        Family::V4 => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::{Part, preference};
    use crate::discover::dns::lookup::Family;

    #[test]
    fn ipv6_comes_first_unless_there_is_no_way_to_it() {
        let part = |family, ip: &str| Part {
            host: "greeter.".into(),
            family,
            port: 80,
            weight: 1,
            host_name: None,
            ips: Some(vec![ip.parse().unwrap()]),
        };
        let parts = [part(Family::V4, "10.0.0.1"), part(Family::V6, "fd00::1")];
        let first = |routes: fn(bool) -> bool| {
            let rank = preference(&parts, &|address| routes(address.is_ipv6()));
            Family::BOTH.into_iter().min_by_key(|family| rank(*family)).unwrap()
        };
        assert_eq!(first(|_| true), Family::V6);
        assert_eq!(first(|_| false), Family::V6);
        assert_eq!(first(|v6| v6), Family::V6);
        assert_eq!(first(|v6| !v6), Family::V4);
    }
}

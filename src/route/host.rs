//! The hosts that a route takes.

use http::{Request, header::HOST, uri::Authority};

/// A set of hosts, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Host {
    Any,
    Exact(Box<str>),
    /// All below a domain: the domain with its leading dot.
    Below(Box<str>),
}

/// More is more specific.
pub(super) type Rank = (u8, usize);

impl Host {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected a host without scheme and port, such as `shop.example` or `*.example`";
        let (below, name) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        let is_host = Authority::try_from(name).is_ok_and(|authority| authority.host() == name);
        if !is_host || name.contains('*') {
            return Err(EXPECTED);
        }
        let name = without_root(name).to_ascii_lowercase();
        Ok(if below { Self::Below(format!(".{name}").into()) } else { Self::Exact(name.into()) })
    }

    pub(super) fn matches(&self, authority: Option<&Authority>) -> bool {
        let host = || authority.map(|authority| without_root(authority.host()).as_bytes());
        match self {
            Self::Any => true,
            Self::Exact(name) => host().is_some_and(|host| host.eq_ignore_ascii_case(name.as_bytes())),
            Self::Below(domain) => host().is_some_and(|host| {
                let start = host.len().checked_sub(domain.len()).filter(|start| *start > 0);
                let end = start.and_then(|start| host.get(start..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(domain.as_bytes()))
            }),
        }
    }

    pub(super) fn rank(&self) -> Rank {
        match self {
            Self::Any => (0, 0),
            Self::Below(domain) => (1, domain.len()),
            Self::Exact(_) => (2, 0),
        }
    }
}

/// For whom a request is: its target's authority (`:authority` in HTTP/2), else its one `Host` header (RFC 9112,
/// section 3.2.2).
pub(super) fn authority<B>(request: &Request<B>) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    }
}

/// A fully qualified name is the same with and without its last dot.
fn without_root(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

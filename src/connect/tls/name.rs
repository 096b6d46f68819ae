use std::net::IpAddr;

use rustls_pki_types::ServerName;

use super::TlsError;

/// The name to verify, from the host of an authority: a DNS name, an IPv4 address, or an IPv6 address with or without
/// brackets. Addresses are verified as such (RFC 5280 `iPAddress` names) and send no SNI (RFC 6066).
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    // A zone says which local interface leads there, and certificates know nothing of it (RFC 6874).
    let address = bare.split_once('%').map_or(bare, |(address, _zone)| address);
    if let Ok(address) = address.parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    // The dot that makes a name absolute is no part of what certificates hold.
    let name = bare.strip_suffix('.').unwrap_or(bare);
    ServerName::try_from(name.to_owned()).map_err(|error| {
        TlsError::config(format!(
            "`{host}` is no name that a certificate can have: expected a host name or an IP"
        ))
        .because(error)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_of_authorities_become_names() {
        for (host, name) in [
            ("example.com", "example.com"),
            ("example.com.", "example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[fe80::1%25eth0]", "fe80::1"),
            ("under_score.svc", "under_score.svc"),
        ] {
            assert_eq!(server_name(host).unwrap().to_str(), name, "{host}");
        }
        assert!(matches!(server_name("[::1]").unwrap(), ServerName::IpAddress(_)));
    }

    #[test]
    fn what_no_certificate_can_hold_is_a_clear_error() {
        for host in ["", ".", "a b", "exa*mple", "%", "[", "a..b", "host:50051"] {
            let error = server_name(host).unwrap_err();
            assert!(error.is_config());
            assert!(error.to_string().starts_with(&format!("`{host}` is no name")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_host_panics(host: String) {
            let _ = server_name(&host);
        }
    }
}

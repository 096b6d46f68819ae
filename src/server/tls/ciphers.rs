use rustls::{SupportedCipherSuite, crypto::ring::cipher_suite as suite};

use crate::connect::tls::TlsError;

/// The suites of TLS 1.2 by the names that OpenSSL and Envoy use, and by those of IANA.
static SUITES: [(&str, &str, &SupportedCipherSuite); 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        &suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        &suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        &suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        &suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        &suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        &suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The named suites for TLS 1.2, in their order, behind all of `all` for TLS 1.3.
pub(super) fn select(
    names: &[String],
    all: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, TlsError> {
    let mut selected: Vec<_> = all.iter().copied().filter(|suite| suite.tls13().is_some()).collect();
    for name in names {
        let found = SUITES.iter().find(|(openssl, iana, _)| name == openssl || name == iana);
        let Some((_, _, suite)) = found else {
            let known: Vec<_> = SUITES.iter().map(|(openssl, ..)| *openssl).collect();
            return Err(TlsError::config(format!(
                "`{name}` is no cipher suite for TLS 1.2 that is offered here: expected one of {}",
                known.join(", ")
            )));
        };
        selected.push(**suite);
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::ALL_CIPHER_SUITES;

    use super::*;

    #[test]
    fn every_suite_of_the_provider_has_a_name() {
        let openssl: Vec<_> = SUITES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let iana: Vec<_> = SUITES.iter().map(|(_, name, _)| (*name).to_owned()).collect();
        let all = select(&openssl, ALL_CIPHER_SUITES).unwrap();
        assert_eq!(all.len(), ALL_CIPHER_SUITES.len());
        assert_eq!(all, select(&iana, ALL_CIPHER_SUITES).unwrap());
        assert!(ALL_CIPHER_SUITES.iter().all(|suite| all.contains(suite)));
    }

    #[test]
    fn an_unknown_suite_is_named() {
        let error = select(&["AES128-SHA".to_owned()], ALL_CIPHER_SUITES).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("`AES128-SHA`") && told.contains("ECDHE-RSA-AES256-GCM-SHA384"), "{told}");
    }
}

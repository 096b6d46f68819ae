//! Certificates and keys from PEM text, with errors that name where it came from.

use std::{fs, path::Path};

use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::TlsError;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| {
        TlsError::config(format!("cannot read `{}`: {error}", path.display())).because(error)
    })
}

/// All certificates in `pem`, at least one.
pub(crate) fn certificates(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::config(format!("{origin} is not valid PEM: {error}")).because(error))?;
    if certificates.is_empty() {
        return Err(TlsError::config(format!("{origin} has no `CERTIFICATE` section")));
    }
    Ok(certificates)
}

/// The first private key in `pem`.
pub(super) fn private_key(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound if has_encrypted_key(pem) => {
            TlsError::config(format!("{origin} has an encrypted private key: expected one without a passphrase"))
        }
        pem::Error::NoItemsFound => TlsError::config(format!(
            "{origin} has no private key: expected a section `PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY`"
        )),
        error => TlsError::config(format!("{origin} is not valid PEM: {error}")).because(error),
    })
}

fn has_encrypted_key(pem: &[u8]) -> bool {
    let label = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    pem.windows(label.len()).any(|window| window == label)
}

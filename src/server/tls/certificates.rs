use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::DnsName;

use crate::connect::tls::{Identity, Rotation, TlsError};

/// The certificates of a server, by the name that clients ask for.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    fallback: Option<Certificate>,
    /// By name in lower case.
    exact: HashMap<String, Certificate>,
    /// By what follows the first dot of the name, in lower case.
    wildcards: HashMap<String, Certificate>,
}

impl Certificates {
    /// Loads what clients get who ask for no name, or for none that is here.
    pub(super) fn set_fallback(
        &mut self,
        identity: Identity,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        self.fallback = Some(Certificate::load(identity, provider)?);
        Ok(())
    }

    /// Loads what clients get who ask for this name, which may be a wildcard.
    pub(super) fn add(
        &mut self,
        name: &str,
        identity: Identity,
        provider: &CryptoProvider,
    ) -> Result<(), TlsError> {
        let (names, bare) = match name.strip_prefix("*.") {
            Some(bare) => (&mut self.wildcards, bare),
            None => (&mut self.exact, name),
        };
        let bare = DnsName::try_from(bare).map_err(|error| {
            TlsError::config(format!(
                "`{name}` is no name for a certificate: expected `host.example` or `*.example`"
            ))
            .because(error)
        })?;
        let certificate = Certificate::load(identity, provider)?;
        if names.insert(bare.to_lowercase_owned().as_ref().to_owned(), certificate).is_some() {
            return Err(TlsError::config(format!("`{name}` has two certificates: expected one")));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Certificate> {
        self.fallback.iter().chain(self.exact.values()).chain(self.wildcards.values())
    }

    /// Looks at the files that are due, and says whether any certificate was replaced.
    pub(super) async fn refresh(&self, provider: &CryptoProvider) -> bool {
        let mut changed = false;
        for certificate in self.all() {
            changed |= certificate.refresh(provider).await;
        }
        changed
    }

    fn find(&self, name: Option<&str>) -> Option<&Certificate> {
        // rustls has put the name in lower case.
        name.and_then(|name| self.exact.get(name).or_else(|| self.wildcards.get(name.split_once('.')?.1)))
            .or(self.fallback.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()).map(|certificate| certificate.current.load_full())
    }
}

#[derive(Debug)]
struct Certificate {
    current: ArcSwap<CertifiedKey>,
    rotation: Option<Rotation>,
}

impl Certificate {
    fn load(identity: Identity, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let (key, rotation) = identity.load(provider)?;
        Ok(Self { current: ArcSwap::from_pointee(key), rotation })
    }

    async fn refresh(&self, provider: &CryptoProvider) -> bool {
        let Some(rotation) = &self.rotation else { return false };
        match rotation.changed(provider).await {
            Some(key) => {
                self.current.store(Arc::new(key));
                true
            }
            None => false,
        }
    }
}

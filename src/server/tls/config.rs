use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    server::{ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{certificates::Certificates, ciphers};
use crate::connect::{
    dial::Io,
    tls::{Identity, TlsError, Version, pem},
};

/// Sessions that can be resumed. rustls' own default.
const SESSIONS: usize = 256;

/// How to secure connections from clients. Cheap to clone; clones share rotated certificates and TLS sessions.
///
/// See the [module docs](super) for examples.
#[derive(Clone, Debug)]
pub struct ServerConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Arc<CryptoProvider>,
    certificates: Arc<Certificates>,
    current: ArcSwap<rustls::ServerConfig>,
}

impl ServerConfig {
    /// Starts a configuration: no certificate yet, no client certificates, TLS 1.2 or newer.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Makes a byte stream a TLS stream. The caller bounds the time.
    pub(in crate::server) async fn accept<I: Io>(&self, io: I) -> io::Result<TlsStream<I>> {
        let inner = &self.0;
        if inner.certificates.refresh(&inner.provider).await {
            // Nobody is to resume a session of the old certificate.
            let mut config = rustls::ServerConfig::clone(&inner.current.load());
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            inner.current.store(Arc::new(config));
        }
        Box::pin(TlsAcceptor::from(inner.current.load_full()).accept(io)).await
    }
}

/// Builds a [`ServerConfig`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    identity: Option<Identity>,
    identities: Vec<(String, Identity)>,
    client_roots: Vec<Roots>,
    clients_optional: bool,
    min_version: Version,
    cipher_suites: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
enum Roots {
    Pem(Vec<u8>),
    File(PathBuf),
}

impl Builder {
    /// Sets the certificate for clients that ask for no name, or for none that has its own. Without it they are refused.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the certificate for clients that ask for this name by SNI. `*.example.com` is every name with one more label.
    /// A name of its own goes before a wildcard.
    pub fn identity_for(mut self, name: impl Into<String>, identity: Identity) -> Self {
        self.identities.push((name.into(), identity));
        self
    }

    /// Requires a client certificate that one of these roots, in PEM, vouches for. Several calls add up. Default: clients
    /// are not asked.
    pub fn client_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_roots.push(Roots::Pem(pem.into()));
        self
    }

    /// The same, with roots in a file. It is read once, by [`build`](Self::build).
    pub fn client_roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_roots.push(Roots::File(path.into()));
        self
    }

    /// Lets clients in that show no certificate; one that is shown must still be good. Default: with roots for clients, a
    /// certificate is required. Envoy's `require_client_certificate`.
    pub fn optional_client_certificates(mut self) -> Self {
        self.clients_optional = true;
        self
    }

    /// Sets the oldest version that is acceptable. Default TLS 1.2, which RFC 9113 asks for at least, and which is
    /// Envoy's default for servers.
    pub fn min_version(mut self, version: Version) -> Self {
        self.min_version = version;
        self
    }

    /// Accepts only these suites of TLS 1.2, best first, by the names of OpenSSL (`ECDHE-RSA-AES256-GCM-SHA384`) or IANA.
    /// Those of TLS 1.3 are not restricted, as with Envoy's `cipher_suites`. Default: all six that ring has; they are
    /// all with forward secrecy and authenticated encryption.
    pub fn tls12_cipher_suites(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cipher_suites = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the files, checks everything, and builds the configuration. It blocks for as long as the files take.
    ///
    /// # Errors
    ///
    /// When there is no certificate, a file cannot be read, PEM or a certificate in it is broken, a key does not belong to
    /// its certificate, a name is no name, or a suite is unknown. The message says which.
    pub fn build(self) -> Result<ServerConfig, TlsError> {
        let mut provider = rustls::crypto::ring::default_provider();
        if let Some(names) = &self.cipher_suites {
            provider.cipher_suites = ciphers::select(names, &provider.cipher_suites)?;
        }
        let provider = Arc::new(provider);
        let mut certificates = Certificates::default();
        if let Some(identity) = self.identity {
            certificates.set_fallback(identity, &provider)?;
        }
        for (name, identity) in self.identities {
            certificates.add(&name, identity, &provider)?;
        }
        if certificates.is_empty() {
            return Err(TlsError::config("a server needs a certificate: expected an identity"));
        }
        if self.clients_optional && self.client_roots.is_empty() {
            return Err(TlsError::config(
                "client certificates are optional, but there are no roots to check them",
            ));
        }
        let certificates = Arc::new(certificates);
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.min_version.and_newer())
            .map_err(|error| TlsError::config("the TLS versions and suites cannot be used").because(error))?;
        let config = if self.client_roots.is_empty() {
            config.with_no_client_auth()
        } else {
            config.with_client_cert_verifier(verifier(&self.client_roots, self.clients_optional, &provider)?)
        };
        let mut config = config.with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // The order of suites that was given is meant.
        config.ignore_client_order = self.cipher_suites.is_some();
        let current = ArcSwap::from_pointee(config);
        Ok(ServerConfig(Arc::new(Inner { provider, certificates, current })))
    }
}

fn verifier(
    roots: &[Roots],
    optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for roots in roots {
        let (certificates, origin) = match roots {
            Roots::Pem(text) => {
                let origin = "the PEM text of the roots for clients".to_owned();
                (pem::certificates(text, &origin)?, origin)
            }
            Roots::File(path) => {
                let origin = format!("`{}`", path.display());
                (pem::certificates(&pem::read(path)?, &origin)?, origin)
            }
        };
        for (i, certificate) in certificates.into_iter().enumerate() {
            store.add(certificate).map_err(|error| {
                TlsError::config(format!("certificate {} of {origin} is no X.509 root: {error}", i + 1))
                    .because(error)
            })?;
        }
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider.clone());
    if optional {
        verifier = verifier.allow_unauthenticated();
    }
    verifier.build().map_err(|error| TlsError::config("the roots for clients cannot be used").because(error))
}

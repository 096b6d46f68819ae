use std::{io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    certificates::Certificates,
    ciphers,
    roots::{ClientRoots, Roots},
};
use crate::connect::{
    dial::Io,
    tls::{Identity, TlsError, Version},
};

/// How to secure connections from clients. Cheap to clone; clones share rotated certificates and TLS sessions.
///
/// See the [module docs](super) for examples.
#[derive(Clone, Debug)]
pub struct ServerConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    current: ArcSwap<rustls::ServerConfig>,
}

/// What a configuration for rustls is made of.
#[derive(Debug)]
struct Parts {
    provider: Arc<CryptoProvider>,
    certificates: Arc<Certificates>,
    client_roots: Option<ClientRoots>,
    min_version: Version,
    /// Suites were given, and so their order is meant.
    ordered: bool,
}

impl Parts {
    fn assemble(&self) -> Result<rustls::ServerConfig, TlsError> {
        let config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(self.min_version.and_newer())
            .map_err(|error| TlsError::config("the TLS versions and suites cannot be used").because(error))?;
        let config = match &self.client_roots {
            Some(roots) => config.with_client_cert_verifier(roots.verifier()),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(self.certificates.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = self.ordered;
        Ok(config)
    }

    /// Looks at the files that are due, and says whether anything was replaced.
    async fn refresh(&self) -> bool {
        let certificates = self.certificates.refresh(&self.provider).await;
        let roots = match &self.client_roots {
            Some(roots) => roots.refresh(&self.provider).await,
            None => false,
        };
        certificates || roots
    }
}

impl ServerConfig {
    /// Starts a configuration: no certificate yet, no client certificates, TLS 1.2 or newer.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Makes a byte stream a TLS stream. The caller bounds the time.
    pub(in crate::server) async fn accept<I: Io>(&self, io: I) -> io::Result<TlsStream<I>> {
        let inner = &self.0;
        // A new configuration has no sessions: nobody resumes one that the old certificate or the old roots began.
        if inner.parts.refresh().await
            && let Ok(config) = inner.parts.assemble()
        {
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

impl Builder {
    /// Sets the certificate for clients that ask for no name, or for none that has its own. Without it they are
    /// refused.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets the certificate for clients that ask for this name by SNI. `*.example.com` is every name with one more
    /// label. A name of its own goes before a wildcard.
    pub fn identity_for(mut self, name: impl Into<String>, identity: Identity) -> Self {
        self.identities.push((name.into(), identity));
        self
    }

    /// Requires a client certificate that one of these roots, in PEM, vouches for. Several calls add up. Default:
    /// clients are not asked.
    pub fn client_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_roots.push(Roots::Pem(pem.into()));
        self
    }

    /// The same, with roots in a file that may be replaced at any time. Before a handshake it is read again, at
    /// most once a second; a file that is broken is logged as an error, and the old roots stay.
    pub fn client_roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_roots.push(Roots::File(path.into()));
        self
    }

    /// Lets clients in that show no certificate; one that is shown must still be good. Default: with roots for
    /// clients, a certificate is required. Envoy's `require_client_certificate`.
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

    /// Accepts only these suites of TLS 1.2, best first, by the names of OpenSSL (`ECDHE-RSA-AES256-GCM-SHA384`) or
    /// IANA. Those of TLS 1.3 are not restricted, as with Envoy's `cipher_suites`. Default: all six that ring has;
    /// they are all with forward secrecy and authenticated encryption.
    pub fn tls12_cipher_suites(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cipher_suites = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Reads the files, checks everything, and builds the configuration. It blocks for as long as the files take.
    ///
    /// # Errors
    ///
    /// When there is no certificate, a file cannot be read, PEM or a certificate in it is broken, a key does not
    /// belong to its certificate, a name is no name, or a suite is unknown. The message says which.
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
        let client_roots = match self.client_roots {
            roots if roots.is_empty() => None,
            roots => Some(ClientRoots::load(roots, self.clients_optional, &provider)?),
        };
        let parts = Parts {
            provider,
            certificates: Arc::new(certificates),
            client_roots,
            min_version: self.min_version,
            ordered: self.cipher_suites.is_some(),
        };
        let current = ArcSwap::from_pointee(parts.assemble()?);
        Ok(ServerConfig(Arc::new(Inner { parts, current })))
    }
}

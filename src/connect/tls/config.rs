use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, SupportedProtocolVersion,
    client::danger::ServerCertVerifier,
    crypto::CryptoProvider,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;

use super::{Identity, TlsError, TlsStream, identity::Rotation, name::server_name, pem};
use crate::connect::dial::Io;

const ALPN_H2: &[u8] = b"h2";

/// How to secure connections to endpoints. Cheap to clone; clones share rotated certificates and TLS sessions.
///
/// See the [module docs](super) for examples.
#[derive(Clone, Debug)]
pub struct ClientConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: Arc<CryptoProvider>,
    current: ArcSwap<rustls::ClientConfig>,
    rotation: Option<Rotation>,
    server_name: Option<ServerName<'static>>,
}

impl ClientConfig {
    /// Starts a configuration: the platform's roots, no client certificate, TLS 1.2 or newer.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Makes a byte stream a TLS stream to the peer called `host`, which carries HTTP/2.
    ///
    /// `host` is the host of an authority: a name, or an IP address with or without brackets. The caller bounds the
    /// time. Dropping the future gives the handshake up.
    ///
    /// # Errors
    ///
    /// When `host` is no name that a certificate can have, the peer's certificate is not trusted or not valid for it,
    /// the peer does not select `h2`, or the handshake fails in any other way.
    pub async fn handshake<I: Io>(&self, io: I, host: &str) -> Result<TlsStream<I>, TlsError> {
        let name = match &self.0.server_name {
            Some(pinned) => pinned.clone(),
            None => server_name(host)?,
        };
        let text = name.to_str().into_owned();
        let connector = TlsConnector::from(self.0.current().await);
        let stream =
            Box::pin(connector.connect(name, io)).await.map_err(|error| TlsError::handshake(&text, error))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(ALPN_H2) => Ok(TlsStream::new(stream, &text)),
            selected => Err(TlsError::no_h2(&text, selected)),
        }
    }
}

impl Inner {
    async fn current(&self) -> Arc<rustls::ClientConfig> {
        if let Some(rotation) = &self.rotation
            && let Some(identity) = rotation.changed(&self.provider).await
        {
            let mut config = rustls::ClientConfig::clone(&self.current.load());
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
            // Sessions of the old certificate stay behind: rustls resumes none whose resolver was another.
            self.current.store(Arc::new(config));
        }
        self.current.load_full()
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Version {
    pub(crate) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static SINCE_TLS12: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => &SINCE_TLS12,
            Self::Tls13 => &SINCE_TLS12[..1],
        }
    }
}

/// Builds a [`ClientConfig`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    roots: Vec<Roots>,
    identity: Option<Identity>,
    server_name: Option<String>,
    min_version: Version,
}

#[derive(Clone, Debug)]
enum Roots {
    Pem(Vec<u8>),
    File(PathBuf),
    Der(Vec<CertificateDer<'static>>),
}

impl Builder {
    /// Trusts these roots, in PEM, *instead of* the platform's. Several calls add up.
    #[must_use]
    pub fn roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Roots::Pem(pem.into()));
        self
    }

    /// Trusts the roots in this PEM file *instead of* the platform's. It is read once, by [`build`](Self::build).
    #[must_use]
    pub fn roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Roots::File(path.into()));
        self
    }

    /// Trusts these roots, each an X.509 certificate in DER, *instead of* the platform's.
    #[must_use]
    pub fn roots_der(mut self, certificates: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.roots.push(Roots::Der(certificates.into_iter().map(CertificateDer::from).collect()));
        self
    }

    /// Sets the client certificate, for mutual TLS. Default: none.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Verifies every peer as this name, whatever its endpoint or the target is called. Default: the host of the
    /// endpoint's authority. Set it where the names of endpoints come from a source that is not to be trusted with
    /// the choice of whom to trust, such as plain DNS.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Sets the oldest version that is acceptable. Default TLS 1.2, which RFC 9113 asks for at least.
    #[must_use]
    pub fn min_version(mut self, version: Version) -> Self {
        self.min_version = version;
        self
    }

    /// Reads the files, checks everything, and builds the configuration. It blocks for as long as the files take.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, PEM or a certificate in it is broken, a key does not belong to its certificate, the
    /// server name is no name, or the platform has no roots. The message says which.
    pub fn build(self) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server_name = self.server_name.as_deref().map(server_name).transpose()?;
        let verifier = verifier(&self.roots, &provider)?;
        let config = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.min_version.and_newer())
            .map_err(|error| TlsError::config("the TLS versions cannot be used").because(error))?
            .dangerous() // It is not: both verifiers check chain, name and validity.
            .with_custom_certificate_verifier(verifier);
        let (mut config, rotation) = match self.identity {
            None => (config.with_no_client_auth(), None),
            Some(identity) => {
                let (key, rotation): (CertifiedKey, _) = identity.load(&provider)?;
                (config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))), rotation)
            }
        };
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        let current = ArcSwap::from_pointee(config);
        Ok(ClientConfig(Arc::new(Inner { provider, current, rotation, server_name })))
    }
}

fn verifier(
    roots: &[Roots],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if roots.is_empty() {
        let verifier = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| {
            TlsError::config("the platform has no trusted roots: install its CA certificates, or give roots")
                .because(error)
        })?;
        return Ok(Arc::new(verifier));
    }
    let mut store = RootCertStore::empty();
    for roots in roots {
        let (certificates, origin) = match roots {
            Roots::Pem(pem) => {
                let origin = "the PEM text of the roots".to_owned();
                (pem::certificates(pem, &origin)?, origin)
            }
            Roots::File(path) => {
                let origin = format!("`{}`", path.display());
                (pem::certificates(&pem::read(path)?, &origin)?, origin)
            }
            Roots::Der(certificates) => (certificates.clone(), "the roots in DER".to_owned()),
        };
        for (i, certificate) in certificates.into_iter().enumerate() {
            store.add(certificate).map_err(|error| {
                TlsError::config(format!("certificate {} of {origin} is no X.509 root: {error}", i + 1))
                    .because(error)
            })?;
        }
    }
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
            .build()
            .map_err(|error| TlsError::config("no roots were given").because(error))?;
    Ok(verifier)
}

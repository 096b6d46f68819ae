//! Servers, and certificates made on the spot.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use grpc_balance::connect::tls::{Builder, ClientConfig, Identity, TlsError, TlsStream};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// A certificate authority of the test's own.
pub struct Ca(pub CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Of two authorities with one name, a verifier would try the wrong one's key.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test authority {}", NUMBER.fetch_add(1, SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(&self, names: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Trusts this authority alone.
    pub fn trusted(&self) -> Builder {
        ClientConfig::builder().roots_pem(self.0.pem())
    }
}

impl Issued {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }

    pub fn identity(&self) -> Identity {
        Identity::pem(self.certificate.as_str(), self.key.as_str())
    }
}

/// What a server is to be.
pub struct Peer<'a> {
    pub issued: &'a Issued,
    pub alpn: &'a [&'a str],
    pub clients: Option<&'a Ca>,
    pub versions: &'a [&'static rustls::SupportedProtocolVersion],
}

impl<'a> Peer<'a> {
    pub fn new(issued: &'a Issued) -> Self {
        Self { issued, alpn: &["h2"], clients: None, versions: rustls::ALL_VERSIONS }
    }

    pub fn config(&self) -> rustls::ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.versions)
            .unwrap();
        let config = match self.clients {
            None => config.with_no_client_auth(),
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(ca.0.der().clone()).unwrap();
                config.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap(),
                )
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.issued.key.as_bytes()).unwrap();
        let mut config = config.with_single_cert(vec![self.issued.der()], key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// Serves echoes; tells each client's certificate and SNI.
    pub async fn serve(&self) -> Served {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(self.config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, clients) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(socket).await?;
                    let session = stream.get_ref().1;
                    let _ = seen.send(Client {
                        certificate: session
                            .peer_certificates()
                            .and_then(|chain| chain.first())
                            .map(|certificate| certificate.clone().into_owned()),
                        sni: session.server_name().map(str::to_owned),
                    });
                    let mut word = [0; 4];
                    while stream.read_exact(&mut word).await.is_ok() {
                        stream.write_all(&word).await?;
                    }
                    io::Result::Ok(())
                });
            }
        });
        Served { address, clients }
    }
}

pub struct Served {
    pub address: SocketAddr,
    pub clients: mpsc::UnboundedReceiver<Client>,
}

#[derive(Debug)]
pub struct Client {
    pub certificate: Option<CertificateDer<'static>>,
    pub sni: Option<String>,
}

impl Served {
    pub async fn connect(&self, config: &ClientConfig, host: &str) -> Result<TlsStream<TcpStream>, TlsError> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        config.handshake(socket, host).await
    }
}

/// The stream carries bytes both ways.
pub async fn works(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(b"word").await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"word");
    Ok(())
}

/// The message of an error and of all its causes.
pub fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        told += &format!(": {error}");
        source = error.source();
    }
    told
}

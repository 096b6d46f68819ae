use std::{error::Error as StdError, fmt, io};

use rustls::AlertDescription;

use crate::error::BoxError;

/// A TLS configuration that cannot work, or a peer that did not get through the handshake.
///
/// The message names the file, the PEM section, or the peer and what was expected of it; the cause is the source.
#[derive(Debug)]
pub struct TlsError {
    kind: Kind,
    message: Box<str>,
    source: Option<BoxError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Config,
    ServerCertificate,
    ClientCertificate,
    Alpn,
    NotTls,
    Handshake,
}

impl TlsError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into().into_boxed_str(), source: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a failed handshake with the peer called `name` means.
    pub(super) fn handshake(name: &str, error: io::Error) -> Self {
        use rustls::Error as Tls;

        let (kind, message) = match cause(&error) {
            Some(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) => (
                Kind::ServerCertificate,
                format!("the peer did not prove to be `{name}`: its certificate was refused"),
            ),
            Some(Tls::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                return Self::no_h2(name, None).because(error);
            }
            Some(Tls::AlertReceived(alert)) => return Self::alert(name, *alert).because(error),
            Some(Tls::InvalidMessage(_)) => (
                Kind::NotTls,
                format!("the peer for `{name}` did not answer with TLS: is it a plaintext port?"),
            ),
            Some(Tls::PeerIncompatible(_)) => (
                Kind::Handshake,
                format!("the peer for `{name}` offers no TLS version or cipher suite that was asked for"),
            ),
            None if error.kind() == io::ErrorKind::UnexpectedEof => (
                Kind::Handshake,
                format!("the peer for `{name}` closed the connection during the TLS handshake"),
            ),
            _ => (Kind::Handshake, format!("the TLS handshake with the peer for `{name}` failed")),
        };
        Self::new(kind, message).because(error)
    }

    /// What the peer called `name` complained about. With TLS 1.3 this comes after the handshake where it is about
    /// our certificate.
    pub(super) fn alert(name: &str, alert: AlertDescription) -> Self {
        use AlertDescription as Alert;

        match alert {
            Alert::CertificateRequired => Self::new(
                Kind::ClientCertificate,
                format!("the peer for `{name}` requires a client certificate, and none was accepted"),
            ),
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => Self::new(
                Kind::ClientCertificate,
                format!("the peer for `{name}` refused our client certificate ({alert:?})"),
            ),
            Alert::ProtocolVersion => Self::new(
                Kind::Handshake,
                format!("the peer for `{name}` speaks no TLS version that was asked for"),
            ),
            _ => Self::new(
                Kind::Handshake,
                format!("the peer for `{name}` broke off the TLS connection ({alert:?})"),
            ),
        }
    }

    pub(super) fn no_h2(name: &str, selected: Option<&[u8]>) -> Self {
        let selected = match selected {
            Some(protocol) => format!("`{}`", protocol.escape_ascii()),
            None => "nothing".to_owned(),
        };
        Self::new(
            Kind::Alpn,
            format!("the peer for `{name}` did not select HTTP/2: expected ALPN `h2`, it chose {selected}"),
        )
    }

    /// Whether the configuration is at fault: a file, a PEM section, a key, a name. No peer was asked.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.kind == Kind::Config
    }

    /// Whether the server's certificate was refused: untrusted, expired, or for another name.
    #[must_use]
    pub fn is_server_certificate(&self) -> bool {
        self.kind == Kind::ServerCertificate
    }

    /// Whether the server refused our client certificate, or misses one.
    #[must_use]
    pub fn is_client_certificate(&self) -> bool {
        self.kind == Kind::ClientCertificate
    }

    /// Whether the server did not select `h2` by ALPN, and so may not speak HTTP/2 at all.
    #[must_use]
    pub fn is_alpn(&self) -> bool {
        self.kind == Kind::Alpn
    }

    /// Whether the server answered with something else than TLS.
    #[must_use]
    pub fn is_not_tls(&self) -> bool {
        self.kind == Kind::NotTls
    }
}

/// The rustls error inside an I/O error of a TLS stream.
pub(super) fn cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for TlsError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

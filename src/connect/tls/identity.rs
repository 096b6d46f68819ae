//! One's own certificate, of a client or of a server, fixed or following files that are rotated.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use tokio::{task::spawn_blocking, time::Instant};

use super::{TlsError, pem};

/// A certificate with its key: a client's, for mutual TLS, or a server's.
///
/// ```
/// use std::time::Duration;
///
/// use grpc_balance::connect::tls::Identity;
///
/// let rotated = Identity::files("/var/run/tls/tls.crt", "/var/run/tls/tls.key").check_every(Duration::from_secs(10));
/// # let _ = rotated;
/// ```
#[derive(Clone)]
pub struct Identity(Source);

#[derive(Clone)]
enum Source {
    Pem(Pair),
    Files(Files),
}

impl Identity {
    /// A certificate chain, one's own first, and its private key (PKCS #8, PKCS #1 or SEC 1), both in PEM.
    #[must_use]
    pub fn pem(certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self(Source::Pem(Pair { certificates: certificates.into(), key: key.into() }))
    }

    /// The same, in two files that may be replaced at any time; they may be one file that has both.
    ///
    /// Before a connection is made the files are read again, if the last time was long enough ago. A changed pair is
    /// taken for new connections, which then also resume no TLS session of the old one. A pair that is broken, or of
    /// which only one half has been replaced yet, is logged as an error, and the old pair stays.
    #[must_use]
    pub fn files(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self(Source::Files(Files {
            certificates: certificates.into(),
            key: key.into(),
            check_every: Duration::from_secs(1),
        }))
    }

    /// Sets how much time passes between two looks at the files. Default 1 s: soon enough for every rotation, and
    /// thousands of connections made at once cost one look. Zero looks before every connection.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        if let Source::Files(files) = &mut self.0 {
            files.check_every = interval;
        }
        self
    }

    /// Loads the pair for the first time, and what is needed to follow its files.
    pub(crate) fn load(
        self,
        provider: &CryptoProvider,
    ) -> Result<(CertifiedKey, Option<Rotation>), TlsError> {
        match self.0 {
            Source::Pem(pair) => {
                pair.certified("the certificate", "the key", provider).map(|key| (key, None))
            }
            Source::Files(files) => {
                let pair = files.read()?;
                let key = files.certified(&pair, provider)?;
                Ok((key, Some(Rotation::new(files, pair))))
            }
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Pem(_) => f.debug_struct("Identity").finish_non_exhaustive(),
            Source::Files(files) => f.debug_tuple("Identity").field(files).finish(),
        }
    }
}

/// A certificate chain and its key as they were written, in PEM.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    fn certified(
        &self,
        certificates_origin: &str,
        key_origin: &str,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = pem::certificates(&self.certificates, certificates_origin)?;
        let key = pem::private_key(&self.key, key_origin)?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let message = match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{key_origin} is not the private key of {certificates_origin}")
                }
                _ => format!("{certificates_origin} and {key_origin} cannot be used: {error}"),
            };
            TlsError::config(message).because(error)
        })
    }
}

#[derive(Clone, Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
    check_every: Duration,
}

impl Files {
    fn read(&self) -> Result<Pair, TlsError> {
        Ok(Pair { certificates: pem::read(&self.certificates)?, key: pem::read(&self.key)? })
    }

    fn certified(&self, pair: &Pair, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        pair.certified(&quoted(&self.certificates), &quoted(&self.key), provider)
    }
}

fn quoted(path: &Path) -> String {
    format!("`{}`", path.display())
}

/// Follows the files of an identity.
pub(crate) struct Rotation {
    files: Files,
    seen: Mutex<Seen>,
}

struct Seen {
    pair: Pair,
    /// Why the files could not be read last time, so that the same trouble is logged once.
    unreadable: Option<String>,
    /// `None` when the interval reaches beyond the end of time.
    next_check: Option<Instant>,
}

impl Rotation {
    fn new(files: Files, pair: Pair) -> Self {
        let next_check = Instant::now().checked_add(files.check_every);
        Self { files, seen: Mutex::new(Seen { pair, unreadable: None, next_check }) }
    }

    /// The new pair, if the files have one.
    ///
    /// Of several tasks that ask at once one looks, and the others go on with what there is.
    pub(crate) async fn changed(&self, provider: &CryptoProvider) -> Option<CertifiedKey> {
        if !self.is_due() {
            return None;
        }
        let files = self.files.clone();
        // The content is compared rather than its time: file systems round times, and mounts that are swapped by a
        // symlink keep old ones.
        match spawn_blocking(move || files.read()).await {
            Ok(read) => self.note(read, provider),
            Err(_) => None, // The runtime shuts down.
        }
    }

    fn is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = seen.next_check.is_some_and(|at| at <= now);
        if due {
            seen.next_check = now.checked_add(self.files.check_every);
        }
        due
    }

    fn note(&self, read: Result<Pair, TlsError>, provider: &CryptoProvider) -> Option<CertifiedKey> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = match read {
            Ok(pair) => pair,
            Err(error) => {
                let error = error.to_string();
                if seen.unreadable.as_ref() != Some(&error) {
                    tracing::error!(%error, "keeping the old certificate");
                    seen.unreadable = Some(error);
                }
                return None;
            }
        };
        seen.unreadable = None;
        if seen.pair == pair {
            return None;
        }
        let certified = self.files.certified(&pair, provider);
        seen.pair = pair;
        match certified {
            Ok(certified) => {
                tracing::info!(certificates = %self.files.certificates.display(), "certificate replaced");
                Some(certified)
            }
            Err(error) => {
                tracing::error!(%error, "keeping the old certificate");
                None
            }
        }
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("files", &self.files).finish_non_exhaustive()
    }
}

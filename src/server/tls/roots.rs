use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::{task::spawn_blocking, time::Instant};

use crate::connect::tls::{TlsError, pem};

/// How much time passes between two looks at the files, as with certificates.
const CHECK_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) enum Roots {
    Pem(Vec<u8>),
    File(PathBuf),
}

impl Roots {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::Pem(text) => Ok(text.clone()),
            Self::File(path) => pem::read(path),
        }
    }

    fn origin(&self) -> String {
        match self {
            Self::Pem(_) => "the PEM text of the roots for clients".to_owned(),
            Self::File(path) => format!("`{}`", path.display()),
        }
    }
}

/// Whom a server trusts to vouch for clients, fixed or following files that are rotated.
#[derive(Debug)]
pub(super) struct ClientRoots {
    sources: Vec<Roots>,
    optional: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    texts: Vec<Vec<u8>>,
    /// So that the same trouble is logged once.
    trouble: Option<String>,
    verifier: Arc<dyn ClientCertVerifier>,
    next_check: Option<Instant>,
}

impl ClientRoots {
    pub(super) fn load(
        sources: Vec<Roots>,
        optional: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let texts = sources.iter().map(Roots::read).collect::<Result<Vec<_>, _>>()?;
        let verifier = verifier(&sources, &texts, optional, provider)?;
        let next_check = Instant::now().checked_add(CHECK_EVERY);
        Ok(Self { sources, optional, seen: Mutex::new(Seen { texts, trouble: None, verifier, next_check }) })
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).verifier.clone()
    }

    /// Looks at the files if it is time, and says whether the verifier was replaced.
    pub(super) async fn refresh(&self, provider: &Arc<CryptoProvider>) -> bool {
        if !self.is_due() {
            return false;
        }
        let sources = self.sources.clone();
        match spawn_blocking(move || sources.iter().map(Roots::read).collect::<Result<Vec<_>, _>>()).await {
            Ok(read) => self.note(read, provider),
            Err(_) => false, // The runtime shuts down.
        }
    }

    fn is_due(&self) -> bool {
        if self.sources.iter().all(|source| matches!(source, Roots::Pem(_))) {
            return false;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = seen.next_check.is_some_and(|at| at <= now);
        if due {
            seen.next_check = now.checked_add(CHECK_EVERY);
        }
        due
    }

    fn note(&self, read: Result<Vec<Vec<u8>>, TlsError>, provider: &Arc<CryptoProvider>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = match read {
            Ok(texts) if texts == seen.texts => {
                seen.trouble = None;
                return false;
            }
            Ok(texts) => verifier(&self.sources, &texts, self.optional, provider).map(|new| (texts, new)),
            Err(error) => Err(error),
        };
        match replaced {
            Ok((texts, verifier)) => {
                tracing::info!(target: "grpc_balance::server", "roots for clients replaced");
                seen.texts = texts;
                seen.verifier = verifier;
                seen.trouble = None;
                true
            }
            Err(error) => {
                let trouble = error.to_string();
                if seen.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(target: "grpc_balance::server", error = %trouble, "keeping the old roots for clients");
                    seen.trouble = Some(trouble);
                }
                false
            }
        }
    }
}

fn verifier(
    sources: &[Roots],
    texts: &[Vec<u8>],
    optional: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for (source, text) in sources.iter().zip(texts) {
        let origin = source.origin();
        for (i, certificate) in pem::certificates(text, &origin)?.into_iter().enumerate() {
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

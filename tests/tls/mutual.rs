//! Client certificates, and their rotation.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use grpc_balance::connect::tls::{ClientConfig, Identity, TlsError};

use crate::peer::{Ca, Issued, Peer, Served, told, works};

#[tokio::test]
async fn mutual_tls_shows_the_client_certificate() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let client = ca.issue(&["client.test"]);
    let mut server = Peer { clients: Some(&ca), ..Peer::new(&issued) }.serve().await;
    let config = ca.trusted().identity(client.identity()).build().unwrap();
    works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
    assert_eq!(server.clients.recv().await.unwrap().certificate, Some(client.der()));
}

/// With TLS 1.2 the handshake fails; with TLS 1.3 the first read does.
async fn refused(server: &Served, config: &ClientConfig) -> String {
    match server.connect(config, "greeter.test").await {
        Err(error) => told(&error),
        Ok(mut stream) => {
            let error = works(&mut stream).await.unwrap_err();
            let tls = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
            assert!(tls.is_some_and(TlsError::is_client_certificate), "{error:?}");
            error.to_string()
        }
    }
}

#[tokio::test]
async fn a_missing_client_certificate_is_said_to_be_required() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let config = ca.trusted().build().unwrap();
    let server = Peer { clients: Some(&ca), ..Peer::new(&issued) }.serve().await;
    let told = refused(&server, &config).await;
    assert!(told.contains("requires a client certificate"), "{told}");
}

#[tokio::test]
async fn a_client_certificate_that_the_server_does_not_trust_is_said_to_be_refused() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let stranger = Ca::new().issue(&["client.test"]);
    let config = ca.trusted().identity(stranger.identity()).build().unwrap();
    for versions in [rustls::ALL_VERSIONS, &[&rustls::version::TLS12]] {
        let server = Peer { clients: Some(&ca), versions, ..Peer::new(&issued) }.serve().await;
        let told = refused(&server, &config).await;
        assert!(told.contains("refused our client certificate"), "{told}");
    }
}

/// A certificate and a key in a directory of their own.
pub struct Files {
    directory: PathBuf,
}

impl Files {
    pub fn new(issued: &Issued) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("grpc-balance-tls-{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
        let files = Self { directory: std::env::temp_dir().join(name) };
        fs::create_dir_all(&files.directory).unwrap();
        files.write(&issued.certificate, &issued.key);
        files
    }

    pub fn write(&self, certificate: &str, key: &str) {
        fs::write(self.certificate(), certificate).unwrap();
        fs::write(self.key(), key).unwrap();
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.join("tls.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.join("tls.key")
    }

    pub fn identity(&self) -> Identity {
        Identity::files(self.certificate(), self.key()).check_every(Duration::ZERO)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn a_rotated_client_certificate_is_shown_by_new_connections_while_old_ones_go_on() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let (old, new) = (ca.issue(&["client.test"]), ca.issue(&["client.test"]));
    for versions in [rustls::ALL_VERSIONS, &[&rustls::version::TLS12]] {
        let mut server = Peer { clients: Some(&ca), versions, ..Peer::new(&issued) }.serve().await;
        let files = Files::new(&old);
        let config = ca.trusted().identity(files.identity()).build().unwrap();
        let mut first = server.connect(&config, "greeter.test").await.unwrap();
        works(&mut first).await.unwrap();
        assert_eq!(server.clients.recv().await.unwrap().certificate, Some(old.der()));

        files.write(&new.certificate, &new.key);
        // The first connection also left a session that could be resumed, under the old certificate.
        let mut second = server.connect(&config, "greeter.test").await.unwrap();
        works(&mut second).await.unwrap();
        assert_eq!(server.clients.recv().await.unwrap().certificate, Some(new.der()));
        works(&mut first).await.unwrap();
    }
}

#[tokio::test]
async fn a_broken_replacement_keeps_the_old_client_certificate_until_it_is_mended() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let (old, new) = (ca.issue(&["client.test"]), ca.issue(&["client.test"]));
    let mut server = Peer { clients: Some(&ca), ..Peer::new(&issued) }.serve().await;
    let files = Files::new(&old);
    let config = ca.trusted().identity(files.identity()).build().unwrap();
    let breakages: [(&str, &str); 4] =
        [(&new.certificate, &old.key), ("no PEM", &new.key), (&new.certificate, ""), ("", "")];
    for (certificate, key) in breakages {
        files.write(certificate, key);
        works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
        assert_eq!(server.clients.recv().await.unwrap().certificate, Some(old.der()));
    }
    fs::remove_file(files.key()).unwrap();
    works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
    assert_eq!(server.clients.recv().await.unwrap().certificate, Some(old.der()));

    files.write(&new.certificate, &new.key);
    works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
    assert_eq!(server.clients.recv().await.unwrap().certificate, Some(new.der()));
}

#[tokio::test]
async fn between_two_looks_the_files_are_left_alone() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let (old, new) = (ca.issue(&["client.test"]), ca.issue(&["client.test"]));
    let mut server = Peer { clients: Some(&ca), ..Peer::new(&issued) }.serve().await;
    let files = Files::new(&old);
    // An interval that reaches beyond the end of time must not panic either.
    for interval in [Duration::from_secs(3_600), Duration::MAX] {
        files.write(&old.certificate, &old.key);
        let config = ca.trusted().identity(files.identity().check_every(interval)).build().unwrap();
        files.write(&new.certificate, &new.key);
        works(&mut server.connect(&config, "greeter.test").await.unwrap()).await.unwrap();
        assert_eq!(server.clients.recv().await.unwrap().certificate, Some(old.der()));
    }
}

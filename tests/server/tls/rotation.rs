//! Certificates that are replaced while the server runs.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use grpc_balance::{connect::tls::Identity, server::tls::ServerConfig};
use tokio::time::{Instant, timeout};

use super::{Authority, Dialler, Issued, secured, shown};
use crate::support::{SOON, http1_works};

/// A directory as a Kubernetes secret is mounted.
struct Mount(PathBuf);

impl Mount {
    fn new(issued: &Issued) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let path =
            std::env::temp_dir().join(format!("grpc-balance-rotation-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let mount = Self(path);
        mount.write(&issued.certificate, &issued.key);
        mount
    }

    fn write(&self, certificate: &str, key: &str) {
        fs::write(self.0.join("tls.crt"), certificate).unwrap();
        fs::write(self.0.join("tls.key"), key).unwrap();
    }

    fn identity(&self) -> Identity {
        Identity::files(self.0.join("tls.crt"), self.0.join("tls.key")).check_every(Duration::ZERO)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_rotated_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["greeter.test"]), authority.issue(&["greeter.test"]));
    let mount = Mount::new(&old);
    let server = secured(ServerConfig::builder().identity(mount.identity()));
    // One dialler, so that it would resume its session.
    let dialler = Dialler::new(&authority);
    let mut first = dialler.dial(&server, "greeter.test").await.unwrap();
    http1_works(&mut first).await;
    assert_eq!(shown(&first), *old.der());
    mount.write(&new.certificate, &new.key);
    let mut second = dialler.dial(&server, "greeter.test").await.unwrap();
    http1_works(&mut second).await;
    assert_eq!(shown(&second), *new.der());
    http1_works(&mut first).await;
}

#[tokio::test]
async fn a_broken_replacement_keeps_the_old_certificate_until_it_is_mended() {
    let authority = Authority::new();
    let (old, new) = (authority.issue(&["greeter.test"]), authority.issue(&["greeter.test"]));
    let mount = Mount::new(&old);
    let named = authority.issue(&["other.test"]);
    let server = secured(
        ServerConfig::builder().identity_for("greeter.test", mount.identity()).identity(named.identity()),
    );
    let breakages = [(&*new.certificate, &*old.key), ("no PEM", &new.key), (&new.certificate, ""), ("", "")];
    for (certificate, key) in breakages {
        mount.write(certificate, key);
        let mut stream = Dialler::new(&authority).dial(&server, "greeter.test").await.unwrap();
        assert_eq!(shown(&stream), *old.der(), "{certificate:.20}");
        http1_works(&mut stream).await;
        assert_eq!(shown(&Dialler::new(&authority).dial(&server, "other.test").await.unwrap()), *named.der());
    }
    fs::remove_file(mount.0.join("tls.key")).unwrap();
    assert_eq!(shown(&Dialler::new(&authority).dial(&server, "greeter.test").await.unwrap()), *old.der());
    mount.write(&new.certificate, &new.key);
    assert_eq!(shown(&Dialler::new(&authority).dial(&server, "greeter.test").await.unwrap()), *new.der());
    server.counts(|stats| stats.tls_failures == 0).await;
}

#[tokio::test]
async fn rotated_roots_for_clients_are_taken_and_broken_ones_are_not() {
    let (authority, next) = (Authority::new(), Authority::new());
    let mount = Mount::new(&authority.issue(&["greeter.test"]));
    let roots = mount.0.join("clients.crt");
    fs::write(&roots, authority.pem()).unwrap();
    let server = secured(ServerConfig::builder().identity(mount.identity()).client_roots_file(&roots));
    let (old, new) = (authority.issue(&["client.test"]), next.issue(&["client.test"]));
    // With TLS 1.2 the client learns in the handshake whether it is let in.
    let is_let_in = async |issued: &Issued| {
        let dialler = Dialler::speaking(&authority, &[&rustls::version::TLS12], Some(issued));
        dialler.dial(&server, "greeter.test").await.is_ok()
    };
    assert!(is_let_in(&old).await && !is_let_in(&new).await);

    fs::write(&roots, "no PEM").unwrap();
    // The file is looked at once a second.
    let looked = Instant::now() + Duration::from_millis(1_100);
    while Instant::now() < looked {
        assert!(is_let_in(&old).await && !is_let_in(&new).await);
    }
    fs::write(&roots, next.pem()).unwrap();
    let taken = async { while !is_let_in(&new).await {} };
    timeout(SOON, taken).await.expect("the new roots are taken");
    assert!(!is_let_in(&old).await);
}

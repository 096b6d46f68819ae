//! TLS towards clients, with rustls.
//!
//! ```no_run
//! use grpc_balance::{
//!     connect::tls::{Identity, Version},
//!     server::{Server, tls::ServerConfig},
//! };
//!
//! // Files of a Kubernetes secret, followed when they are rotated.
//! let tls = ServerConfig::builder()
//!     .identity(Identity::files("/tls/tls.crt", "/tls/tls.key"))
//!     .build()?;
//!
//! // Two names, client certificates, and the suites that an auditor named.
//! let strict = ServerConfig::builder()
//!     .identity_for("api.example.com", Identity::files("/tls/api.crt", "/tls/api.key"))
//!     .identity_for("*.example.net", Identity::files("/tls/net.crt", "/tls/net.key"))
//!     .client_roots_file("/tls/clients.crt")
//!     .min_version(Version::Tls12)
//!     .tls12_cipher_suites(["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"])
//!     .build()?;
//!
//! let server = Server::bind("0.0.0.0:443").tls(tls);
//! # let _ = strict;
//! # Ok::<(), grpc_balance::connect::tls::TlsError>(())
//! ```
//!
//! `h2` and `http/1.1` are offered by ALPN, in this order. A client that offers neither, or nothing, is let in all
//! the same and speaks what it likes: HTTP/2's preface is recognised. The cryptography is ring's, whatever provider
//! the rest of the process uses.

mod certificates;
mod ciphers;
mod config;
mod roots;

pub use self::config::{Builder, ServerConfig};

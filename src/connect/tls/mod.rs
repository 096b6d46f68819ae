//! TLS and mutual TLS to endpoints, with rustls.
//!
//! An endpoint is dialled by its address and trusted by its name: the host of the authority that calls carry, checked
//! against the certificate's subject alternative names. Nothing here falls back: a peer that does not speak TLS,
//! offers an older version, does not choose HTTP/2 by ALPN or cannot prove its name gets no byte of a call.
//!
//! The platform decides whom to trust unless roots are given, and client certificates that lie in files follow them
//! when they are rotated, without a restart and without touching connections that exist:
//!
//! ```no_run
//! use grpc_balance::connect::tls::{ClientConfig, Identity};
//!
//! // Server authentication against the roots of the platform.
//! let public = ClientConfig::builder().build()?;
//!
//! // Mutual TLS inside a cluster, with files as cert-manager or SPIFFE helpers write them.
//! let mutual = ClientConfig::builder()
//!     .roots_file("/var/run/tls/ca.crt")
//!     .identity(Identity::files("/var/run/tls/tls.crt", "/var/run/tls/tls.key"))
//!     .build()?;
//! # Ok::<(), grpc_balance::connect::tls::TlsError>(())
//! ```
//!
//! The cryptography is ring's, whatever provider the rest of the process uses.

mod config;
mod error;
mod identity;
mod name;
pub(crate) mod pem;
mod stream;

#[cfg(feature = "server")]
pub(crate) use self::identity::Rotation;
pub use self::{
    config::{Builder, ClientConfig, Version},
    error::TlsError,
    identity::Identity,
    stream::TlsStream,
};

//! A probe's own connections are made as those for calls are, TLS included.

use std::sync::Arc;

use grpc_balance::{
    connect::{Connector, tls::ClientConfig},
    discover::Fixed,
    probe::{Grpc, Http},
};
use http::{
    Response,
    uri::{Authority, PathAndQuery},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::peers::{Probing, Server};

#[tokio::test]
async fn the_connectors_tls_is_used_and_verified() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["greeter.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(socket) = acceptor.accept(socket).await else { return };
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                // The name in the certificate is that of calls.
                let right = request.uri().authority().is_some_and(|authority| authority == "greeter.test");
                let status = if right { "12" } else { "13" };
                let response = Response::builder().header("grpc-status", status).body(()).unwrap();
                let _ = respond.send_response(response, true);
            }
        }
    })
    .await;

    let connector = |roots: String| {
        let tls = ClientConfig::builder().roots_pem(roots).build().unwrap();
        Connector::builder(Authority::from_static("greeter.test")).tls(tls).build().unwrap()
    };
    let trusting = connector(cert.pem());
    let endpoint = || Fixed::new([server.address]);
    Probing::with(endpoint(), Grpc::new(""), &trusting).says("failing: UNIMPLEMENTED").await;
    let http = Http::new(PathAndQuery::from_static("/healthz")).http2();
    Probing::with(endpoint(), http, &trusting).says("passing").await;

    let another = generate_simple_self_signed(["greeter.test".to_owned()]).unwrap();
    let mut probing = Probing::with(endpoint(), Grpc::new(""), &connector(another.cert.pem()));
    probing.says("failing: connect").await;
}

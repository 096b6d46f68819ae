//! Whole connections over TLS.

use std::{error::Error as StdError, sync::Arc};

use bytes::Bytes;
use grpc_balance::{
    connect::{
        Connect, Connection, Connector, ConnectorBuilder, Established, Gate, Replay, http2::Http2,
        tls::TlsError,
    },
    endpoint::Endpoint,
    error::Error,
};
use http::{Request, Response, uri::Authority};
use http_body_util::Empty;
use tokio::net::TcpListener;

use crate::peer::{Ca, Peer};

/// Serves HTTP/2 that answers calls with the URI that it saw.
pub(crate) async fn listening(peer: Peer<'_>) -> Endpoint {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(peer.config()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(socket).await else { return };
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let response = Response::builder().header("uri", request.uri().to_string());
                    let _ = respond.send_response(response.body(()).unwrap(), true);
                }
            });
        }
    });
    Endpoint::new(address)
}

async fn connect(builder: ConnectorBuilder, endpoint: Endpoint) -> Result<Established<Http2>, Error> {
    builder.build().unwrap().connect(&Arc::new(endpoint)).await
}

async fn uri(established: Established<Http2>) -> String {
    let permit = Arc::new(Gate::unlimited()).try_acquire().unwrap();
    let request = Request::post("/pkg.Service/Method").body(Replay::new(Empty::<Bytes>::new())).unwrap();
    let response = established.connection().send(request, permit).await.unwrap();
    response.headers()["uri"].to_str().unwrap().to_owned()
}

fn target() -> ConnectorBuilder {
    Connector::builder(Authority::from_static("greeter.test:50051"))
}

/// Our TLS error among the causes.
fn tls(error: &Error) -> Option<&TlsError> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[tokio::test]
async fn calls_are_https_and_the_endpoints_own_name_is_verified_before_the_targets() {
    let ca = Ca::new();
    let (greeter, pod) = (ca.issue(&["greeter.test"]), ca.issue(&["pod-0.test"]));
    let config = ca.trusted().build().unwrap();

    let endpoint = listening(Peer::new(&greeter)).await;
    let established = connect(target().tls(config.clone()), endpoint).await.unwrap();
    assert_eq!(uri(established).await, "https://greeter.test:50051/pkg.Service/Method");

    let endpoint = listening(Peer::new(&pod)).await;
    let named = endpoint.clone().with_host_name("pod-0.test");
    let established = connect(target().tls(config.clone()), named).await.unwrap();
    assert_eq!(uri(established).await, "https://pod-0.test:50051/pkg.Service/Method");

    let overridden = target().authority(Authority::from_static("pod-0.test")).tls(config.clone());
    let established = connect(overridden, endpoint.clone()).await.unwrap();
    assert_eq!(uri(established).await, "https://pod-0.test/pkg.Service/Method");

    let error = connect(target().tls(config), endpoint).await.unwrap_err();
    assert!(tls(&error).unwrap().is_server_certificate(), "{error}");
}

#[tokio::test]
async fn a_failed_handshake_is_told_with_its_cause_in_one_line() {
    let endpoint = listening(Peer::new(&Ca::new().issue(&["greeter.test"]))).await;
    let config = Ca::new().trusted().build().unwrap();
    let error = connect(target().tls(config), endpoint.clone()).await.unwrap_err();
    assert!(error.is_unavailable());
    let told = error.to_string();
    assert!(
        told.starts_with(&format!("connect {endpoint}: the peer did not prove to be `greeter.test`")),
        "{told}"
    );
    assert!(told.contains("UnknownIssuer"), "{told}");
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_told_although_tls_13_says_so_late() {
    let ca = Ca::new();
    let issued = ca.issue(&["greeter.test"]);
    let endpoint = listening(Peer { clients: Some(&ca), ..Peer::new(&issued) }).await;
    let config = ca.trusted().build().unwrap();
    let error = connect(target().tls(config), endpoint).await.unwrap_err();
    assert!(error.to_string().contains("requires a client certificate"), "{error:?}");
}

#[tokio::test]
async fn plaintext_to_a_tls_port_and_tls_to_a_plaintext_port_are_errors() {
    let ca = Ca::new();
    let endpoint = listening(Peer::new(&ca.issue(&["greeter.test"]))).await;
    let error = connect(target(), endpoint).await.unwrap_err();
    assert!(error.message().contains("is it a TLS or an HTTP/1 port?"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let _ = h2::server::handshake(socket).await;
    });
    let config = ca.trusted().build().unwrap();
    let error = connect(target().tls(config), endpoint).await.unwrap_err();
    assert!(tls(&error).unwrap().is_not_tls(), "{error}");
}

//! A channel over TLS: the target's name is what the server has to prove.

use std::time::Duration;

use bytes::Bytes;
use grpc_balance::{Channel, Error, channel};
use http::Request;
use http_body_util::Empty;
use tower::ServiceExt;

use crate::{
    connector::listening,
    peer::{Ca, Peer},
};

/// The URI of a call as the server saw it.
async fn call(builder: channel::Builder) -> Result<String, Error> {
    let channel = builder.deadline(Duration::from_secs(30)).build().unwrap();
    let request = Request::post("/pkg.Service/Method").body(Empty::<Bytes>::new()).unwrap();
    let response = channel.oneshot(request).await?;
    Ok(response.headers()["uri"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_address_is_proved_as_an_address_and_a_set_authority_as_a_name() {
    let ca = Ca::new();
    let endpoint = listening(Peer::new(&ca.issue(&["127.0.0.1", "greeter.test"]))).await;
    let to = || Channel::builder(format!("ipv4:{endpoint}")).tls(ca.trusted().build().unwrap());
    assert_eq!(call(to()).await.unwrap(), format!("https://{endpoint}/pkg.Service/Method"));
    assert_eq!(
        call(to().authority("greeter.test")).await.unwrap(),
        "https://greeter.test/pkg.Service/Method"
    );
    let error = call(to().authority("other.test")).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_safe_to_retry(), "{error:?}");
    assert!(error.to_string().contains("did not prove to be `other.test`"), "{error}");
}

#[cfg(feature = "dns")]
#[tokio::test]
async fn the_name_that_dns_was_asked_for_is_what_the_server_proves() {
    let ca = Ca::new();
    let endpoint = listening(Peer::new(&ca.issue(&["localhost"]))).await;
    let port = endpoint.to_string().rsplit_once(':').unwrap().1.to_owned();
    let target = format!("dns:///localhost:{port}");
    let trusted = Channel::builder(&target).tls(ca.trusted().build().unwrap());
    assert_eq!(call(trusted).await.unwrap(), format!("https://localhost:{port}/pkg.Service/Method"));
    let distrusted = Channel::builder(&target).tls(Ca::new().trusted().build().unwrap());
    let error = call(distrusted).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_safe_to_retry(), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_told_to_the_call() {
    let ca = Ca::new();
    let issued = ca.issue(&["127.0.0.1"]);
    let endpoint = listening(Peer { clients: Some(&ca), ..Peer::new(&issued) }).await;
    let to = || Channel::builder(format!("ipv4:{endpoint}"));
    let error = call(to().tls(ca.trusted().build().unwrap())).await.unwrap_err();
    assert!(error.to_string().contains("requires a client certificate"), "{error}");
    let identity = ca.issue(&["client.test"]).identity();
    call(to().tls(ca.trusted().identity(identity).build().unwrap())).await.unwrap();
}

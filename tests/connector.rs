//! Connections from end to end: dialled, shaken hands with, and used for a call.
#![expect(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use grpc_balance::{
    connect::{Connect, Connection, Connector, Established, Gate, Replay, Worker, dial::Io, http2::Http2},
    endpoint::{Address, Endpoint},
    error::{Error, Phase},
};
use http::{Request, Response, uri::Authority};
use http_body_util::Empty;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpListener,
    time::Instant,
};

/// Answers calls with the URI that it saw.
async fn serve(io: impl Io) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let response = Response::builder().header("uri", request.uri().to_string());
        let _ = respond.send_response(response.body(()).unwrap(), true);
    }
}

async fn listening() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    address.into()
}

/// The URI of a call, as the server sees it.
async fn uri(established: &Established<Http2>) -> String {
    let permit = Arc::new(Gate::unlimited()).try_acquire().unwrap();
    let request = Request::post("/pkg.Service/Method").body(Replay::new(Empty::<Bytes>::new())).unwrap();
    let response = established.connection().send(request, permit).await.unwrap();
    response.headers()["uri"].to_str().unwrap().to_owned()
}

fn target() -> Authority {
    Authority::from_static("greeter.test:50051")
}

fn endpoint(addresses: impl IntoIterator<Item = Address>) -> Arc<Endpoint> {
    Arc::new(Endpoint::with_addresses(addresses).unwrap())
}

fn address(n: u8) -> Address {
    Address::Tcp(([192, 0, 2, n], 1).into())
}

async fn error(connecting: impl Future<Output = Result<Established<Http2>, Error>>) -> Error {
    match connecting.await {
        Ok(_) => panic!("it connected"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn calls_carry_the_authority_of_endpoint_override_or_target() {
    let address = listening().await;
    let plain = Endpoint::new(address);
    let named = plain.clone().with_host_name("pod-0.greeter.test");
    let connector = Connector::builder(target()).build().unwrap();
    let overridden =
        Connector::builder(target()).authority(Authority::from_static("override.test")).build().unwrap();
    for (connector, endpoint, expected) in [
        (&connector, &plain, "http://greeter.test:50051/pkg.Service/Method"),
        (&connector, &named, "http://pod-0.greeter.test:50051/pkg.Service/Method"),
        (&overridden, &plain, "http://override.test/pkg.Service/Method"),
        (&overridden, &named, "http://pod-0.greeter.test/pkg.Service/Method"),
    ] {
        let established = connector.connect(&Arc::new(endpoint.clone())).await.unwrap();
        assert_eq!(uri(&established).await, expected);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn calls_go_over_unix_sockets() {
    let path = std::env::temp_dir().join(format!("grpc-balance-connector-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { serve(listener.accept().await.unwrap().0).await });
    let connector = Connector::builder(Authority::from_static("localhost")).build().unwrap();
    let established = connector.connect(&endpoint([Address::Unix(path.clone())])).await.unwrap();
    assert_eq!(uri(&established).await, "http://localhost/pkg.Service/Method");
    std::fs::remove_file(path).unwrap();
}

/// Pipes whose other ends are kept: a peer that accepts and never speaks.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<Vec<DuplexStream>>>);

impl Silent {
    fn accept(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(1 << 16);
        self.0.lock().unwrap().push(server);
        client
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_never_speaks_loses_the_race_after_the_attempt_delay() {
    let silent = Silent::default();
    let accepting = silent.clone();
    let connector = Connector::builder(target())
        .dial(tower::service_fn(move |to: Address| {
            let silent = accepting.clone();
            async move {
                if to == address(1) {
                    return Ok::<_, io::Error>(silent.accept());
                }
                let (client, server) = tokio::io::duplex(1 << 16);
                tokio::spawn(serve(server));
                Ok(client)
            }
        }))
        .build()
        .unwrap();
    let began = Instant::now();
    let established = connector.connect(&endpoint([address(1), address(2)])).await.unwrap();
    let took = began.elapsed().as_millis();
    assert!((250..255).contains(&took), "{took} ms");
    assert_eq!(uri(&established).await, "http://greeter.test:50051/pkg.Service/Method");

    let mut loser = silent.0.lock().unwrap().pop().unwrap();
    let mut preface = Vec::new();
    loser.read_to_end(&mut preface).await.unwrap();
    assert!(preface.starts_with(b"PRI"), "the loser was closed after its preface");
}

#[tokio::test]
async fn when_all_addresses_fail_each_is_listed_with_its_cause() {
    let connector = Connector::builder(target())
        .dial(tower::service_fn(|to: Address| async move {
            Err::<DuplexStream, _>(io::Error::other(format!("no tunnel to {to}")))
        }))
        .build()
        .unwrap();
    let endpoint = endpoint([address(1), address(2)]);
    let error = error(connector.connect(&endpoint)).await;
    assert!(error.is_unavailable() && error.is_safe_to_retry());
    assert_eq!((error.phase(), error.endpoint()), (Phase::Connect, Some(&endpoint)));
    assert_eq!(
        error.message(),
        "no address could be reached: 192.0.2.1:1: no tunnel to 192.0.2.1:1; 192.0.2.2:1: no tunnel to 192.0.2.2:1"
    );
}

#[tokio::test]
async fn a_refused_connection_is_told_with_endpoint_and_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connector = Connector::builder(target()).build().unwrap();
    let error = error(connector.connect(&endpoint([address.into()]))).await;
    assert_eq!(error.to_string(), format!("connect {address}: Connection refused (os error 111)"));
}

/// What becomes of a connection to a peer that answers with this, or closes when it is nothing.
async fn answered(answer: &'static str) -> Error {
    let connector = Connector::builder(target())
        .dial(tower::service_fn(move |_: Address| async move {
            let (client, mut server) = tokio::io::duplex(1 << 16);
            tokio::spawn(async move {
                if !answer.is_empty() {
                    let _ = server.write_all(answer.as_bytes()).await;
                    let _ = server.read_to_end(&mut Vec::new()).await;
                }
            });
            Ok::<_, io::Error>(client)
        }))
        .build()
        .unwrap();
    error(connector.connect(&endpoint([address(1)]))).await
}

#[tokio::test]
async fn peers_that_do_not_speak_http2_are_recognised() {
    for answer in ["HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
        let error = answered(answer).await;
        assert!(error.is_unavailable(), "{error}");
        assert!(
            error.to_string().starts_with("connect 192.0.2.1:1: the peer does not speak HTTP/2"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_peer_that_closes_before_its_settings_is_an_error() {
    let error = answered("").await;
    assert!(error.is_unavailable() && error.is_safe_to_retry(), "{error}");
    assert!(error.to_string().starts_with("connect 192.0.2.1:1: the "), "{error}");
}

#[tokio::test]
async fn an_endpoint_whose_host_name_is_none_is_an_error_that_names_it() {
    let endpoint = Endpoint::new(address(1)).with_host_name("not a name");
    let connector = Connector::builder(target()).build().unwrap();
    let error = error(connector.connect(&Arc::new(endpoint))).await;
    assert!(error.to_string().contains("`not a name` is no authority"), "{error}");
}

#[test]
fn connections_live_on_their_worker_whoever_waits_for_them() {
    let workers = tokio::runtime::Runtime::new().unwrap();
    let connector =
        Connector::builder(target()).worker(Worker::new(workers.handle().clone())).build().unwrap();
    let address = workers.block_on(listening());
    let elsewhere = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    // A runtime without I/O and time, which is gone when the connection is used.
    let established = elsewhere().block_on(connector.connect(&endpoint([address]))).unwrap();
    assert_eq!(elsewhere().block_on(uri(&established)), "http://greeter.test:50051/pkg.Service/Method");
}

#[test]
fn outside_a_runtime_and_without_a_worker_nothing_is_built() {
    let error = Connector::builder(target()).build().unwrap_err();
    assert!(error.message().contains("no runtime"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_closes_what_it_opened() {
    let silent = Silent::default();
    let accepting = silent.clone();
    let connector = Connector::builder(target())
        .dial(tower::service_fn(move |_: Address| {
            let silent = accepting.clone();
            async move { Ok::<_, io::Error>(silent.accept()) }
        }))
        .build()
        .unwrap();
    let attempt = connector.connect(&endpoint([address(1), address(2), address(3)]));
    assert!(tokio::time::timeout(Duration::from_secs(20), attempt).await.is_err());
    let opened = std::mem::take(&mut *silent.0.lock().unwrap());
    assert_eq!(opened.len(), 3);
    for mut peer in opened {
        let mut preface = Vec::new();
        peer.read_to_end(&mut preface).await.unwrap();
    }
}

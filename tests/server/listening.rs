//! Where a server listens, and how many it lets in.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use grpc_balance::server::Server;
use tokio::net::UnixStream;

use crate::support::{Running, app, http1_works, to_end};

fn socket_path() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    std::env::temp_dir().join(format!("grpc-balance-{}-{number}.sock", std::process::id()))
}

#[tokio::test]
async fn several_listeners_are_one_server() {
    let path = socket_path();
    let server = Server::bind("127.0.0.1:0")
        .and_bind("[::1]:0".to_owned())
        .and_bind(path.clone())
        .linger(Duration::ZERO);
    let bound = server.listen().unwrap();
    let handle = bound.handle();
    let addresses: Vec<_> = bound.local_addrs().collect();
    assert!(addresses[0].is_ipv4() && addresses[1].is_ipv6() && addresses.len() == 2);
    let task = tokio::spawn(bound.serve(app(), std::future::pending()));
    for address in addresses {
        http1_works(&mut tokio::net::TcpStream::connect(address).await.unwrap()).await;
    }
    http1_works(&mut UnixStream::connect(&path).await.unwrap()).await;
    assert_eq!(handle.stats().accepted, 3);
    handle.drain();
    task.await.unwrap();
    assert!(!path.exists(), "the socket's file is gone");
}

#[tokio::test]
async fn a_socket_file_that_nobody_listens_on_is_replaced_and_a_live_one_is_not() {
    let path = socket_path();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let text = format!("unix:{}", path.display());
    let _server = Running::of(Server::bind(&*text), app());
    http1_works(&mut UnixStream::connect(&path).await.unwrap()).await;
    let error = Server::bind(&*text).listen().unwrap_err();
    assert!(error.is_in_use() && error.to_string().contains(&text), "{error}");
    http1_works(&mut UnixStream::connect(&path).await.unwrap()).await;

    let file = socket_path();
    std::fs::write(&file, "precious").unwrap();
    assert!(Server::bind(file.clone()).listen().unwrap_err().is_in_use());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn listeners_that_exist_are_adopted() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = socket_path();
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let server = Running::of(Server::bind(tcp).and_bind(unix), app());
    assert_eq!(server.address, address);
    http1_works(&mut server.dial().await).await;
    http1_works(&mut UnixStream::connect(&path).await.unwrap()).await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::bind(address).listen().unwrap_err();
    assert!(error.is_in_use() && error.to_string().contains(&address.to_string()), "{error}");
    for text in ["localhost:http", "127.0.0.1", "", "unix:"] {
        let error = Server::bind(text).listen().unwrap_err();
        assert!(error.is_config() && error.to_string().contains("expected"), "{text}: {error}");
    }
}

#[test]
fn without_a_runtime_it_says_so() {
    let error = Server::bind("127.0.0.1:0").listen().unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn connections_above_the_limit_are_closed_at_once_and_counted() {
    let server = Running::new(|server| server.connection_limit(2));
    let (mut first, mut second) = (server.dial().await, server.dial().await);
    http1_works(&mut first).await;
    http1_works(&mut second).await;
    for surplus in 1..=3 {
        assert_eq!(to_end(server.dial().await).await, "");
        server.counts(|stats| stats.overflowed == surplus && stats.accepted == 2 && stats.active == 2).await;
    }
    http1_works(&mut first).await;
    drop(second);
    server.counts(|stats| stats.active == 1).await;
    http1_works(&mut server.dial().await).await;
}

#[tokio::test]
async fn dropping_the_future_ends_every_connection_and_listener() {
    let server = Running::new(|server| server);
    let client = server.http2().await;
    let stream = client.get("/forever").await.unwrap();
    let mut idle = server.dial().await;
    http1_works(&mut idle).await;
    server.task.abort();
    assert_eq!(to_end(idle).await, "");
    let _ = client.closed().await;
    drop(stream);
    server.counts(|stats| stats.active == 0).await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    server.handle.reached(grpc_balance::server::Phase::Ended).await;
}

#[tokio::test]
async fn a_listener_that_fails_is_tried_again_with_growing_pauses() {
    let broken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    broken.bind(&address.into()).unwrap();
    let begun = tokio::time::Instant::now();
    // Bound, but it does not listen: accepting fails at once.
    let server = Running::of(Server::bind(TcpListener::from(broken)), app());
    server.counts(|stats| stats.accept_errors >= 7).await;
    // 5 ms, 10, 20, 40, 80 and 160.
    assert!(begun.elapsed() >= Duration::from_millis(315), "{:?}", begun.elapsed());
}

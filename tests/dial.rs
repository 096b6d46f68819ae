//! Dialling real sockets.

use std::{error::Error, io, net::SocketAddr};

use grpc_balance::{
    connect::dial::{Dial, Sockets},
    endpoint::Address,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::{Service, ServiceExt};

/// Sends a word through a dialler to a server that echoes.
async fn echoed(dial: impl Dial, address: Address) -> io::Result<String> {
    let mut dial = dial;
    let dial = dial.ready().await.map_err(|error| io::Error::other(error.into()))?;
    let mut stream = dial.call(address).await.map_err(|error| io::Error::other(error.into()))?;
    stream.write_all(b"word").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn echo(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
    let _ = writer.shutdown().await;
}

#[tokio::test]
async fn reaches_tcp() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    assert_eq!(echoed(Sockets::new(), address.into()).await?, "word");
    server.await?;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn reaches_a_unix_path() -> io::Result<()> {
    let path = std::env::temp_dir().join(format!("grpc-balance-dial-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path)?;
    let server = tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    assert_eq!(echoed(Sockets::new(), Address::Unix(path.clone())).await?, "word");
    server.await?;
    std::fs::remove_file(path)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn reaches_an_abstract_unix_socket() -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt, unix::net};

    let name = format!("grpc-balance-dial-{}", std::process::id()).into_bytes();
    let listener = net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(&name)?)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let server = tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    assert_eq!(echoed(Sockets::new(), Address::UnixAbstract(name)).await?, "word");
    server.await?;
    Ok(())
}

#[tokio::test]
async fn reaches_whatever_a_custom_dialler_makes() -> io::Result<()> {
    let dial = tower::service_fn(|address: Address| async move {
        assert_eq!(address.to_string(), "192.0.2.1:1");
        let (client, server) = tokio::io::duplex(64);
        tokio::spawn(echo(server));
        Ok::<_, io::Error>(client)
    });
    assert_eq!(echoed(dial, Address::Tcp(([192, 0, 2, 1], 1).into())).await?, "word");
    Ok(())
}

#[tokio::test]
async fn a_refused_address_is_named_with_its_cause() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address: SocketAddr = listener.local_addr()?;
    drop(listener);
    let error = Sockets::new().oneshot(address.into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no connection to {address}"));
    assert_eq!(error.address(), &Address::Tcp(address));
    assert_eq!(error.cause().kind(), io::ErrorKind::ConnectionRefused);
    assert!(error.source().unwrap().to_string().contains("refused"));
    assert!(!error.is_unsupported());
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn impossible_socket_paths_are_errors() {
    let long = "x".repeat(200);
    for path in ["/nonexistent/socket", "", "\0abstract", "in\0side", &long] {
        let error = Sockets::new().oneshot(Address::Unix(path.into())).await.unwrap_err();
        assert!(error.to_string().starts_with("no connection to unix:"), "{error}");
    }
    let error = Sockets::new().oneshot(Address::UnixAbstract(long.into_bytes())).await.unwrap_err();
    assert!(error.to_string().starts_with("no connection to unix-abstract:"), "{error}");
}

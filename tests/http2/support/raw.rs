//! A peer that is scripted frame by frame.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200` in HPACK.
pub(crate) const STATUS_200: &[u8] = &[0x88];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Bytes,
}

impl RawFrame {
    pub(crate) fn is(&self, kind: u8) -> bool {
        self.kind == kind
    }

    pub(crate) fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

pub(crate) struct Peer {
    pub(crate) io: DuplexStream,
}

impl Peer {
    /// A peer and the client's end of the pipe to it.
    pub(crate) fn new() -> (DuplexStream, Self) {
        let (near, far) = tokio::io::duplex(1 << 20);
        (near, Self { io: far })
    }

    pub(crate) async fn read_preface(&mut self) {
        let mut preface = [0; 24];
        self.io.read_exact(&mut preface).await.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    }

    /// Reads the preface, and says SETTINGS with the given stream limit.
    pub(crate) async fn greet(&mut self, max_streams: Option<u32>) {
        self.read_preface().await;
        self.settings(max_streams).await;
    }

    pub(crate) async fn settings(&mut self, max_streams: Option<u32>) {
        let mut payload = BytesMut::new();
        if let Some(max) = max_streams {
            payload.put_u16(3);
            payload.put_u32(max);
        }
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    pub(crate) async fn go_away(&mut self, last: u32, reason: u32, debug: &[u8]) {
        let mut payload = BytesMut::new();
        payload.put_u32(last);
        payload.put_u32(reason);
        payload.put_slice(debug);
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    pub(crate) async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        self.io.write_all(&frame).await.unwrap();
    }

    /// The next frame, or `None` at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(RawFrame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: payload.into(),
        })
    }

    /// The next frame of a kind; others are skipped.
    pub(crate) async fn expect(&mut self, kind: u8) -> RawFrame {
        loop {
            let frame = self.read().await.expect("the connection is open");
            if frame.is(kind) {
                return frame;
            }
        }
    }

    /// The frames of one stream, to the one with END_STREAM or to its reset.
    pub(crate) async fn read_stream(&mut self, stream: u32) -> Vec<RawFrame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.read().await.expect("the connection is open");
            if frame.stream != stream {
                continue;
            }
            let done = frame.is(RST_STREAM) || frame.ends_stream();
            frames.push(frame);
            if done {
                return frames;
            }
        }
    }
}

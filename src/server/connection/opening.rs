use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's first bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Not HTTP/2's connection preface, and so HTTP/1: RFC 9113, 3.4 chose the preface to be told apart.
    Http1(Bytes),
    /// The whole of the preface, and nothing after it.
    Http2(Bytes),
    /// The peer went away first.
    Closed,
}

/// Reads as many bytes as it takes to know. The caller bounds the time.
pub(super) async fn read<I: AsyncRead + Unpin>(io: &mut I) -> Opening {
    let mut bytes = [0; PREFACE.len()];
    let mut have = 0;
    loop {
        let Some(free) = bytes.get_mut(have..) else { return Opening::Closed };
        let read = match io.read(free).await {
            Ok(0) | Err(_) => return Opening::Closed,
            Ok(read) => read,
        };
        have += read;
        let so_far = bytes.get(..have).unwrap_or_default();
        if !PREFACE.starts_with(so_far) {
            return Opening::Http1(Bytes::copy_from_slice(so_far));
        }
        if have == PREFACE.len() {
            return Opening::Http2(Bytes::from_static(PREFACE));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::io::Builder;

    use super::*;

    #[tokio::test]
    async fn the_preface_is_told_from_http_1_however_it_is_cut() {
        for cut in 1..PREFACE.len() {
            let (first, second) = PREFACE.split_at(cut);
            let mut io = Builder::new().read(first).read(second).build();
            assert_eq!(read(&mut io).await, Opening::Http2(PREFACE.into()));
        }
        for (bytes, cut) in
            [(&b"GET / HTTP/1.1\r\n"[..], 1), (b"POST / HTTP/1.0", 1), (b"PRI * HTTP/1.1\r\n\r\n", 7)]
        {
            let mut io = Builder::new().read(&bytes[..cut]).read(&bytes[cut..]).build();
            let Opening::Http1(mut seen) = read(&mut io).await else { panic!("HTTP/1") };
            if seen.len() == cut {
                seen = [&seen[..], &bytes[cut..]].concat().into();
                let _ = io.read(&mut [0; 32]).await;
            }
            assert_eq!(seen, bytes);
        }
    }

    #[tokio::test]
    async fn a_peer_that_goes_away_first_has_closed() {
        assert_eq!(read(&mut Builder::new().build()).await, Opening::Closed);
        assert_eq!(read(&mut Builder::new().read(b"PRI * HT").build()).await, Opening::Closed);
    }
}

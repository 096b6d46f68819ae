//! gRPC's messages in a body, and the trailers that gRPC-Web puts behind them.

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;

/// The flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;
/// A flag, and the length in four bytes.
const HEADER: usize = 5;

/// Follows the messages of a body as it passes by: where it stands, without keeping anything.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// How much of the current header was seen.
    seen: usize,
    length: u32,
    /// How much of the current message is to come.
    left: u32,
}

/// A frame of trailers begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrailersBegin;

impl Messages {
    /// Follows the next bytes, up to the first frame that is no message.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), TrailersBegin> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let part = bytes.len().min(self.left as usize);
                self.left -= part as u32;
                bytes = bytes.get(part..).unwrap_or_default();
                continue;
            }
            if self.seen == 0 {
                if byte & TRAILERS != 0 {
                    return Err(TrailersBegin);
                }
                self.length = 0;
            } else {
                self.length = self.length << 8 | u32::from(byte);
            }
            self.seen += 1;
            if self.seen == HEADER {
                (self.seen, self.left) = (0, self.length);
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Whether a frame could begin here: no message is cut short.
    pub(super) fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }
}

/// The last frame of a response: `name:value` lines, without a blank one, as Envoy writes them.
///
/// `None` for trailers of 4 GiB.
pub(super) fn trailers(trailers: &HeaderMap) -> Option<Bytes> {
    let length: usize =
        trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + ":\r\n".len()).sum();
    let mut frame = BytesMut::with_capacity(HEADER + length);
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(length).ok()?);
    for (name, value) in trailers {
        frame.put_slice(name.as_str().as_bytes());
        frame.put_u8(b':');
        frame.put_slice(value.as_bytes());
        frame.put_slice(b"\r\n");
    }
    Some(frame.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn message(length: usize) -> Vec<u8> {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        frame.resize(HEADER + length, 0xff);
        frame
    }

    #[test]
    fn trailers_are_lower_case_lines_in_their_order_with_duplicates() {
        let mut map = HeaderMap::new();
        map.append("Grpc-Status", HeaderValue::from_static("0"));
        map.append("grpc-message", HeaderValue::from_static(""));
        map.append("x-two", HeaderValue::from_static("a"));
        map.append("x-two", HeaderValue::from_static("b"));
        let text = b"grpc-status:0\r\ngrpc-message:\r\nx-two:a\r\nx-two:b\r\n";
        let frame = trailers(&map).unwrap();
        assert_eq!(frame[..HEADER], [0x80, 0, 0, 0, text.len() as u8]);
        assert_eq!(frame[HEADER..], *text);
    }

    #[test]
    fn a_message_of_four_gigabytes_is_followed_without_being_held() {
        let mut messages = Messages::default();
        messages.follow(&[0, 0xff, 0xff, 0xff, 0xff]).unwrap();
        let chunk = vec![0x80; 1 << 20];
        for _ in 0..4095 {
            messages.follow(&chunk).unwrap();
        }
        messages.follow(&chunk[1..]).unwrap();
        assert!(messages.is_between());
    }

    proptest! {
        #[test]
        fn it_knows_where_messages_end_however_the_bytes_are_cut(
            lengths in prop::collection::vec(0..20usize, 1..8),
            step in 1..30usize,
            cut in 0..200usize,
        ) {
            let whole = lengths.iter().flat_map(|&length| message(length)).collect::<Vec<_>>();
            let mut ends = vec![0];
            for length in &lengths {
                ends.push(ends.last().unwrap() + HEADER + length);
            }
            let cut = cut.min(whole.len());
            let mut messages = Messages::default();
            for chunk in whole[..cut].chunks(step) {
                prop_assert_eq!(messages.follow(chunk), Ok(()));
            }
            prop_assert_eq!(messages.is_between(), ends.contains(&cut));
            if cut == whole.len() {
                prop_assert_eq!(messages.follow(&[0x80]), Err(TrailersBegin));
            }
        }
    }
}

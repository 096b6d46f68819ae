//! The one message of a request, out of its length-prefixed frame (PROTOCOL-HTTP2, "Requests").

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::{grpc::Code, health_service::refusal::Refusal};

/// A name of a service is nowhere near as long.
const MAX_MESSAGE: usize = 4096;

const PREFIX: usize = 5;

/// Takes in a request's data piece by piece. It never holds more than one message of the greatest size.
#[derive(Debug, Default)]
pub(super) struct OneMessage(BytesMut);

impl OneMessage {
    /// Takes in a piece; refuses as soon as it is clear that the whole cannot be right.
    pub(super) fn push(&mut self, mut piece: impl Buf) -> Result<(), Refusal> {
        while piece.has_remaining() {
            let missing = match self.message_len()? {
                None => PREFIX - self.0.len(),
                Some(len) => (PREFIX + len) - self.0.len(),
            };
            if missing == 0 {
                return Err(Refusal::new(Code::Unimplemented, "the request has more than one message"));
            }
            let taken = missing.min(piece.remaining());
            self.0.put((&mut piece).take(taken));
        }
        self.message_len().map(drop)
    }

    /// The message, once the request has ended.
    pub(super) fn finish<M: Message + Default>(self) -> Result<M, Refusal> {
        match self.message_len()? {
            None if self.0.is_empty() => Err(Refusal::new(Code::Unimplemented, "the request has no message")),
            Some(len) if self.0.len() == PREFIX + len => {
                let message = self.0.freeze().split_off(PREFIX);
                M::decode(message).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
            }
            _ => Err(Refusal::new(Code::Internal, "the request ends within a message")),
        }
    }

    /// The length that the prefix says, once it is there.
    fn message_len(&self) -> Result<Option<usize>, Refusal> {
        let Some((prefix, _)) = self.0.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [flag, length @ ..] = *prefix;
        match flag {
            0 => {}
            1 => return Err(Refusal::new(Code::Unimplemented, "no compression is supported")),
            _ => return Err(Refusal::new(Code::Internal, format!("{flag} is no compressed flag"))),
        }
        match usize::try_from(u32::from_be_bytes(length)) {
            Ok(len) if len <= MAX_MESSAGE => Ok(Some(len)),
            _ => {
                let message = format!("a health request has {MAX_MESSAGE} bytes at most");
                Err(Refusal::new(Code::ResourceExhausted, message))
            }
        }
    }
}

/// Writes a message in its frame.
///
/// The answers are small: of a list the service bounds the number of names, and names are the program's own.
pub(super) fn encode(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::proto::HealthCheckRequest;

    fn read(pieces: &[&[u8]]) -> Result<String, Code> {
        let mut message = OneMessage::default();
        for piece in pieces {
            message.push(*piece).map_err(|refusal| refusal.code)?;
        }
        message.finish::<HealthCheckRequest>().map(|request| request.service).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_is_not_exactly_one_message_is_refused_as_grpc_says() {
        let whole = b"\0\0\0\0\x05\x0a\x03a.B";
        for (what, pieces, expected) in [
            ("a message", &[whole.as_slice()][..], Ok("a.B".to_owned())),
            ("an empty message", &[b"\0\0\0\0\0"], Ok(String::new())),
            ("an empty piece", &[b"", whole, b""], Ok("a.B".to_owned())),
            ("nothing", &[], Err(Code::Unimplemented)),
            ("two messages", &[whole, whole], Err(Code::Unimplemented)),
            ("a byte too many", &[whole, b"\0"], Err(Code::Unimplemented)),
            ("half a prefix", &[&whole[..3]], Err(Code::Internal)),
            ("half a message", &[&whole[..7]], Err(Code::Internal)),
            ("a compressed message", &[b"\x01\0\0\0\x05\x0a\x03a.B"], Err(Code::Unimplemented)),
            ("a bad flag", &[b"\x02\0\0\0\0"], Err(Code::Internal)),
            ("4097 bytes", &[b"\0\0\0\x10\x01"], Err(Code::ResourceExhausted)),
            ("4 GiB", &[b"\0\xff\xff\xff\xff"], Err(Code::ResourceExhausted)),
            ("no protobuf", &[b"\0\0\0\0\x01\x0a"], Err(Code::Internal)),
            ("no UTF-8", &[b"\0\0\0\0\x03\x0a\x01\xff"], Err(Code::Internal)),
        ] {
            assert_eq!(read(pieces), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn a_message_is_read_however_it_is_cut(service in "[a-zA-Z.]{0,200}", cuts: Vec<prop::sample::Index>) {
            let frame = encode(&HealthCheckRequest { service: service.clone() });
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(frame.len())).collect();
            cuts.extend([0, frame.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &frame[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok(service));
        }

        #[test]
        fn any_bytes_are_read_or_refused_and_little_of_them_is_kept(pieces: Vec<Vec<u8>>) {
            let mut message = OneMessage::default();
            for piece in &pieces {
                let read = message.push(piece.as_slice());
                prop_assert!(message.0.len() <= PREFIX + MAX_MESSAGE);
                if read.is_err() {
                    return Ok(());
                }
            }
            let _ = message.finish::<HealthCheckRequest>();
        }
    }
}

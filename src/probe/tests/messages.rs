use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use proptest::prelude::*;

use super::answers::status;
use crate::{
    error::Error,
    grpc::Code,
    probe::messages::{Messages, Next},
};

/// What is read of a response that arrives in these pieces: messages and the code, or an error.
fn read(pieces: &[Bytes]) -> (Vec<Bytes>, Option<Code>) {
    let frames = pieces.iter().cloned().map(Frame::data).chain([Frame::trailers(status(Code::Ok))]);
    let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Error>).collect::<Vec<_>>()));
    let mut messages = Messages::new(Response::new(body.boxed_unsync()));
    let mut read = Vec::new();
    loop {
        match messages.next().now_or_never().expect("everything has arrived") {
            Ok(Next::Message(message)) => read.push(message),
            Ok(Next::End(end)) => return (read, Some(end.code)),
            Err(_) => return (read, None),
        }
    }
}

fn cut(bytes: &Bytes, at: &[usize]) -> Vec<Bytes> {
    let mut at: Vec<usize> = at.iter().map(|at| at % (bytes.len() + 1)).collect();
    at.sort_unstable();
    let ends = at.iter().copied().chain([bytes.len()]);
    ends.scan(0, |start, end| Some(bytes.slice(std::mem::replace(start, end)..end))).collect()
}

proptest! {
    #[test]
    fn messages_are_the_same_however_they_are_cut(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        at in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = BytesMut::new();
        for message in &messages {
            bytes.put_u8(0);
            bytes.put_u32(message.len() as u32);
            bytes.extend_from_slice(message);
        }
        let (read, code) = read(&cut(&bytes.freeze(), &at));
        prop_assert_eq!(code, Some(Code::Ok));
        prop_assert_eq!(read, messages.into_iter().map(Bytes::from).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic_or_go_on_for_ever(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        at in prop::collection::vec(any::<usize>(), 0..5),
    ) {
        let (messages, _) = read(&cut(&bytes.into(), &at));
        prop_assert!(messages.len() <= 20);
    }
}

use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use tokio_test::{assert_pending, assert_ready, task};

use super::*;
use crate::web::base64::encode;

fn chunks(chunks: Vec<Bytes>) -> impl Body<Data = Bytes, Error = BoxError> {
    StreamBody::new(futures_util::stream::iter(chunks.into_iter().map(|data| Ok(Frame::data(data)))))
}

fn translated<B>(inner: B, encoding: Encoding) -> (RequestBody<B>, Arc<Fault>) {
    let fault = Arc::new(Fault::default());
    (RequestBody::translated(inner, encoding, fault.clone()), fault)
}

/// What the inner service reads, and with what it ends.
fn read(
    text: &[u8],
    step: usize,
    encoding: Encoding,
) -> (Vec<u8>, Option<RequestError>, Option<RequestError>) {
    let parts = text.chunks(step).map(Bytes::copy_from_slice).collect();
    let (body, fault) = translated(Box::pin(chunks(parts)), encoding);
    let mut body = task::spawn(body);
    let mut bytes = Vec::new();
    loop {
        match assert_ready!(body.enter(|cx, body| body.poll_frame(cx))) {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap();
                assert!(!data.is_empty(), "an empty frame says nothing");
                bytes.extend_from_slice(&data);
            }
            Some(Err(error)) => {
                assert!(body.is_end_stream());
                assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).is_none());
                return (bytes, error.downcast_ref().copied(), fault.found());
            }
            None => return (bytes, None, fault.found()),
        }
    }
}

fn message(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn text_is_decoded_in_chunks_of_any_size() {
    // Two texts, each padded by itself: `AAE=` and `AAEC`, as a message of five bytes and an empty one.
    let whole = [message(&[0, 1, 0, 1, 2]), message(&[])].concat();
    let text = [encode(&whole[..7]), encode(&whole[7..])].concat();
    assert!(text.iter().position(|&byte| byte == b'=').unwrap() < text.len() - 4);
    for step in 1..=text.len() {
        assert_eq!(read(&text, step, Encoding::Text), (whole.clone(), None, None), "chunks of {step}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_to_both_sides() {
    let good = encode(&message(b"good"));
    for (text, encoding, error) in [
        (b"AAAAAA!=".as_slice(), Encoding::Text, RequestError::INVALID),
        (b"AAAAA", Encoding::Text, RequestError::INCOMPLETE),
        (b"AAA", Encoding::Text, RequestError::INCOMPLETE),
        (b"gAAAAAA=", Encoding::Text, RequestError::TRAILERS),
        (&[0x80, 0, 0, 0, 0], Encoding::Binary, RequestError::TRAILERS),
        (&[0, 0, 0, 0, 1, 7, 0x81], Encoding::Binary, RequestError::TRAILERS),
    ] {
        for step in [1, 3, 100] {
            let (_, seen, told) = read(text, step, encoding);
            assert_eq!((seen, told), (Some(error), Some(error)), "{}", text.escape_ascii());
        }
        assert!(error.to_string().starts_with("bad gRPC-Web request: "));
        assert_eq!(error.is_base64(), error != RequestError::TRAILERS);
    }
    let (bytes, seen, _) = read(&[&good[..], b"????"].concat(), good.len(), Encoding::Text);
    assert_eq!(
        (bytes, seen),
        (message(b"good"), Some(RequestError::INVALID)),
        "what came before is passed on"
    );
}

#[test]
fn a_big_chunk_of_text_is_decoded_bit_by_bit() {
    let whole = message(&vec![7; 1 << 20]);
    let (body, _) = translated(Full::new(encode(&whole)), Encoding::Text);
    let mut body = task::spawn(body);
    let mut bytes = Vec::new();
    while let Some(frame) = assert_ready!(body.enter(|cx, body| body.poll_frame(cx))) {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= DECODE_STEP);
        bytes.extend_from_slice(&data);
    }
    assert_eq!(bytes, whole);
}

#[test]
fn binary_passes_without_being_copied_and_other_bodies_untouched() {
    let whole = Bytes::from(message(b"same"));
    let (web, _) = translated(Full::new(whole.clone()), Encoding::Binary);
    let native = RequestBody::untouched(Full::new(Bytes::from_static(b"\x80")));
    assert_eq!((web.size_hint().exact(), native.size_hint().exact()), (Some(9), Some(1)));
    let mut web = task::spawn(web);
    let data =
        assert_ready!(web.enter(|cx, body| body.poll_frame(cx))).unwrap().unwrap().into_data().unwrap();
    assert_eq!(data.as_ptr(), whole.as_ptr());
    assert!(web.is_end_stream());
    let mut native = task::spawn(native.collect());
    assert_eq!(
        assert_ready!(native.poll()).unwrap().to_bytes(),
        "\u{80}".chars().map(|c| c as u8).collect::<Vec<_>>()
    );
}

#[test]
fn it_has_not_ended_while_something_waits_to_be_said() {
    // All has arrived at once: two bytes, and half a group that is an error to come.
    let (body, _) = translated(Full::new(Bytes::from_static(b"AAE=AA")), Encoding::Text);
    let mut body = task::spawn(body);
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).unwrap().is_ok());
    assert!(!body.is_end_stream());
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).unwrap().is_err());
    assert!(body.is_end_stream());
}

#[test]
fn nothing_more_is_read_than_is_asked_for() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let stream = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let (body, _) = translated(stream, Encoding::Text);
    let mut body = task::spawn(body);
    sender.try_send(Ok(Frame::data(encode(&message(b"abc"))))).unwrap();
    assert!(sender.try_send(Ok(Frame::data(encode(&message(b"abc"))))).is_err(), "held up by the reader");
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).unwrap().is_ok());
    sender.try_send(Ok(Frame::data(Bytes::from_static(b"AA")))).unwrap();
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    drop(sender);
    assert!(!body.is_end_stream(), "half a group is an error to come");
    assert!(assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).unwrap().is_err());
}

proptest! {
    #[test]
    fn messages_survive_any_flushes_and_cuts_within_the_bounds_that_are_told(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6),
        flush in 1..40usize,
        step in 1..40usize,
    ) {
        let whole = payloads.iter().flat_map(|payload| message(payload)).collect::<Vec<_>>();
        let text = whole.chunks(flush).flat_map(|bytes| encode(bytes).to_vec()).collect::<Vec<_>>();
        let hint = translated(Full::new(Bytes::from(text.clone())), Encoding::Text).0.size_hint();
        let length = whole.len() as u64;
        prop_assert!(hint.lower() <= length && length <= hint.upper().unwrap());
        prop_assert_eq!(read(&text, step, Encoding::Text), (whole.clone(), None, None));
        prop_assert_eq!(read(&whole, step, Encoding::Binary), (whole, None, None));
    }

    #[test]
    fn no_input_makes_it_panic(text: Vec<u8>, step in 1..9usize) {
        read(&text, step, Encoding::Text);
        read(&text, step, Encoding::Binary);
    }
}

use std::{io, sync::Arc};

use ::base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Version};
use http_body::Body as _;
use http_body_util::{Full, StreamBody};
use proptest::prelude::*;
use tokio_test::{assert_pending, assert_ready, task};

use super::*;

type Frames = Vec<Result<Frame<Bytes>, BoxError>>;

fn translated<R>(inner: R, reply: Encoding, status: HeaderMap) -> Body<R> {
    let content_type = HeaderValue::from_static("application/grpc-web+proto");
    let call = Call { reply, content_type, version: Version::HTTP_11, fault: Arc::default() };
    Body::translated(inner, call, status)
}

/// The chunks that the caller reads, and the error at the end.
fn read(frames: Frames, reply: Encoding) -> (Vec<Bytes>, Option<BoxError>) {
    let body = translated(StreamBody::new(futures_util::stream::iter(frames)), reply, HeaderMap::new());
    let mut body = task::spawn(body);
    let mut chunks = Vec::new();
    let mut failure = None;
    while let Some(frame) = assert_ready!(body.enter(|cx, body| body.poll_frame(cx))) {
        assert!(failure.is_none(), "nothing follows a failure");
        match frame {
            Ok(frame) => chunks.push(frame.into_data().expect("a browser reads data only")),
            Err(error) => failure = Some(error),
        }
    }
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    (chunks, failure)
}

fn data(bytes: impl Into<Bytes>) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(bytes.into()))
}

fn trailers(code: Code) -> Result<Frame<Bytes>, BoxError> {
    let status = HeaderValue::from(code.number());
    Ok(Frame::trailers(HeaderMap::from_iter([(STATUS_HEADER, status)])))
}

const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";
const OK: &[u8] = b"\x80\0\0\0\x0fgrpc-status:0\r\n";

fn lines(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x80);
    assert_eq!(u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize, frame.len() - 5);
    std::str::from_utf8(&frame[5..]).unwrap()
}

#[test]
fn the_trailers_are_the_last_frame_even_of_an_empty_ok() {
    let (chunks, failure) = read(vec![data(MESSAGE), trailers(Code::Ok)], Encoding::Binary);
    assert!(failure.is_none());
    assert_eq!(chunks, [MESSAGE, OK]);
    assert_eq!(read(vec![trailers(Code::Ok)], Encoding::Binary).0, [OK]);
    let (chunks, _) = read(vec![data(MESSAGE), trailers(Code::NotFound)], Encoding::Binary);
    assert_eq!(lines(&chunks[1]), "grpc-status:5\r\n");
}

#[test]
fn each_part_of_a_text_reply_is_base64_of_its_own() {
    let (chunks, _) = read(vec![data(MESSAGE), data(""), data(MESSAGE), trailers(Code::Ok)], Encoding::Text);
    let decoded = chunks.iter().map(|chunk| BASE64_STANDARD.decode(chunk).unwrap()).collect::<Vec<_>>();
    assert_eq!(decoded, [MESSAGE, MESSAGE, OK]);
    assert!(chunks[0].ends_with(b"="), "{:?}", chunks[0]);
}

#[test]
fn a_big_chunk_is_written_as_text_bit_by_bit() {
    let mut whole = vec![0, 0, 0x20, 0, 0];
    whole.resize(5 + 0x20_0000, 7);
    let (chunks, _) = read(vec![data(whole.clone()), trailers(Code::Ok)], Encoding::Text);
    assert!(chunks.iter().all(|chunk| chunk.len() <= ENCODE_STEP / 3 * 4));
    let text = chunks[..chunks.len() - 1].concat();
    assert_eq!(BASE64_STANDARD.decode(text).unwrap(), whole, "padding at the end only");
}

#[test]
fn a_failure_between_messages_is_the_status_of_the_last_frame() {
    for (error, expected) in [
        (
            Error::new(Code::Unavailable, Phase::Stream, "the connection was lost").into(),
            "grpc-status:14\r\ngrpc-message:stream: the connection was lost\r\n",
        ),
        (
            BoxError::from(io::Error::new(io::ErrorKind::ConnectionReset, "reset")),
            "grpc-status:14\r\ngrpc-message:the response broke off: reset\r\n",
        ),
        (
            BoxError::from("who\r\nknows"),
            "grpc-status:2\r\ngrpc-message:the response broke off: who%0D%0Aknows\r\n",
        ),
    ] {
        let (chunks, failure) = read(vec![data(MESSAGE), Err(error)], Encoding::Binary);
        assert!(failure.is_none());
        assert_eq!(chunks[0], MESSAGE);
        assert_eq!(lines(&chunks[1]), expected);
    }
}

#[test]
fn a_response_without_a_status_is_never_ok() {
    let (chunks, _) = read(vec![data(MESSAGE)], Encoding::Binary);
    assert_eq!(lines(&chunks[1]), "grpc-status:2\r\ngrpc-message:the response ended without grpc-status\r\n");
    let frames = vec![Ok(Frame::trailers(HeaderMap::from_iter([(
        "x-more".parse().unwrap(),
        HeaderValue::from_static("kept"),
    )])))];
    let (chunks, _) = read(frames, Encoding::Binary);
    assert!(lines(&chunks[0]).starts_with("x-more:kept\r\ngrpc-status:2\r\n"));
}

#[test]
fn no_frame_is_put_where_it_would_be_read_as_the_rest_of_a_message() {
    let cut = &MESSAGE[..6];
    let broken = || Err(Error::new(Code::Aborted, Phase::Stream, "broken").into());
    for (last, code) in [
        (Some(broken()), Code::Aborted),
        (Some(trailers(Code::Unavailable)), Code::Unavailable),
        (Some(trailers(Code::Ok)), Code::Internal),
        (None, Code::Unknown),
    ] {
        let frames = [data(MESSAGE), data(cut)].into_iter().chain(last).collect();
        let (chunks, failure) = read(frames, Encoding::Binary);
        assert_eq!(chunks, [MESSAGE, cut]);
        assert_eq!(failure.unwrap().downcast_ref::<Error>().unwrap().code(), code);
    }
}

#[test]
fn chunks_are_passed_on_as_they_come_and_without_being_copied() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
    let stream = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let mut body = task::spawn(translated(stream, Encoding::Binary, HeaderMap::new()));
    for _ in 0..3 {
        assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
        let sent = Bytes::from_static(MESSAGE);
        sender.try_send(data(sent.clone())).unwrap();
        let frame = assert_ready!(body.enter(|cx, body| body.poll_frame(cx))).unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap().as_ptr(), sent.as_ptr());
        assert!(!body.is_end_stream(), "the trailers are to come");
    }
}

#[test]
fn other_bodies_pass_untouched_and_an_empty_one_has_ended() {
    let native = Body::untouched(Full::new(Bytes::from_static(b"page")));
    assert_eq!(native.size_hint().exact(), Some(4));
    let empty = Body::<Full<Bytes>>::empty();
    assert!(empty.is_end_stream());
    assert_eq!(empty.size_hint().exact(), Some(0));
}

proptest! {
    #[test]
    fn what_the_caller_reads_is_what_was_sent_however_it_was_cut(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..6),
        step in 1..40usize,
    ) {
        let whole = payloads.iter().flat_map(|payload| {
            [&[0][..], &u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
        }).collect::<Vec<_>>();
        let frames = || whole.chunks(step).map(|chunk| data(chunk.to_vec())).chain([trailers(Code::Ok)]).collect();
        let expected = [&whole[..], OK].concat();
        prop_assert_eq!(read(frames(), Encoding::Binary).0.concat(), expected.clone());
        let text = read(frames(), Encoding::Text).0;
        let decoded = text.iter().flat_map(|chunk| BASE64_STANDARD.decode(chunk).unwrap()).collect::<Vec<_>>();
        prop_assert_eq!(decoded, expected);
    }
}

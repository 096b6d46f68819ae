use std::{collections::VecDeque, convert::Infallible};

use http_body_util::{BodyExt, Empty, Full, StreamBody};
use proptest::prelude::*;
use tokio_test::block_on;

use super::*;

type Frames = VecDeque<Frame<Bytes>>;

/// A body of the given frames.
fn body(frames: Frames) -> impl Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok)))
}

fn data(len: usize) -> Frame<Bytes> {
    Frame::data(vec![7; len].into())
}

fn trailers() -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    Frame::trailers(trailers)
}

/// What a frame is, to compare it with another.
fn shape(frame: &Frame<Bytes>) -> Option<usize> {
    frame.data_ref().map(Bytes::len)
}

async fn pull<B: Body<Data = Bytes, Error = Infallible>>(
    body: &mut Replay<B>,
    count: usize,
) -> Vec<Option<usize>> {
    let mut shapes = Vec::new();
    while shapes.len() < count
        && let Some(Ok(frame)) = body.frame().await
    {
        shapes.push(shape(&frame));
    }
    shapes
}

#[test]
fn it_starts_over_with_the_same_frames_and_trailers() {
    let mut body = Replay::new(body([data(1), data(2), trailers()].into()));
    for _ in 0..3 {
        assert_eq!(block_on(pull(&mut body, 9)), [Some(1), Some(2), None]);
        assert!(body.is_end_stream());
        assert!(body.rewind());
        assert!(!body.is_end_stream());
    }
}

#[test]
fn it_starts_over_from_the_middle() {
    let mut body = Replay::new(body([data(1), data(2), data(3)].into()));
    assert_eq!(block_on(pull(&mut body, 2)), [Some(1), Some(2)]);
    assert!(body.rewind());
    assert_eq!(block_on(pull(&mut body, 1)), [Some(1)]);
    assert!(body.rewind());
    assert_eq!(block_on(pull(&mut body, 9)), [Some(1), Some(2), Some(3)]);
}

#[test]
fn sixty_four_kibibytes_are_kept_and_a_byte_more_is_not() {
    let mut exact = Replay::new(Full::new(Bytes::from(vec![7; KEEP_LIMIT])));
    assert_eq!(block_on(pull(&mut exact, 9)), [Some(KEEP_LIMIT)]);
    assert!(exact.rewind());
    let mut more = Replay::new(Full::new(Bytes::from(vec![7; KEEP_LIMIT + 1])));
    assert_eq!(block_on(pull(&mut more, 9)), [Some(KEEP_LIMIT + 1)]);
    assert!(!more.rewind());
}

#[test]
fn a_body_of_tiny_frames_is_bounded_by_their_number() {
    let mut body = Replay::new(body((0..10_000).map(|_| data(1)).collect()));
    assert_eq!(block_on(pull(&mut body, 10_000)).len(), 10_000);
    assert!(!body.can_rewind());
    assert!(body.kept.is_empty());
}

#[test]
fn once_committed_it_keeps_nothing_and_loses_nothing() {
    let mut body = Replay::new(body([data(1), data(2), data(3), trailers()].into()));
    assert_eq!(block_on(pull(&mut body, 2)), [Some(1), Some(2)]);
    assert!(body.rewind());
    assert_eq!(block_on(pull(&mut body, 1)), [Some(1)]);
    body.commit();
    assert!(!body.rewind());
    assert_eq!(block_on(pull(&mut body, 9)), [Some(2), Some(3), None]);
    assert!(body.is_end_stream() && body.kept.is_empty() && body.trailers.is_none());
}

#[test]
fn a_body_that_failed_cannot_start_over() {
    let frames = [Ok(data(1)), Err("torn")];
    let mut body = Replay::new(StreamBody::new(futures_util::stream::iter(frames)));
    block_on(async {
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "torn");
        assert!(!body.rewind());
        assert!(body.frame().await.is_none());
    });
}

#[test]
fn size_and_end_are_those_of_what_is_left() {
    assert!(Replay::new(Empty::<Bytes>::new()).is_end_stream());
    let mut body = Replay::new(Full::new(Bytes::from("hello")));
    assert_eq!(body.size_hint().exact(), Some(5));
    block_on(pull(&mut body, 1));
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
    assert!(body.rewind());
    assert_eq!(body.size_hint().exact(), Some(5));
}

proptest! {
    #[test]
    fn every_attempt_sees_the_whole_body(
        lens in proptest::collection::vec(0..20_000usize, 0..12),
        with_trailers in any::<bool>(),
        pulls in proptest::collection::vec(0..14usize, 0..4),
        commit_after in 0..14usize,
    ) {
        let mut frames: Frames = lens.iter().map(|len| data(*len)).collect();
        if with_trailers {
            frames.push_back(trailers());
        }
        let all: Vec<_> = frames.iter().map(shape).collect();
        let mut body = Replay::new(body(frames));
        block_on(async {
            let mut seen = Vec::new();
            for count in pulls {
                seen.extend(pull(&mut body, count).await);
                prop_assert_eq!(&seen[..], &all[..seen.len()]);
                if body.rewind() {
                    seen.clear();
                } else {
                    prop_assert!(lens.iter().sum::<usize>() + lens.len() * size_of::<Bytes>() > KEEP_LIMIT);
                }
            }
            seen.extend(pull(&mut body, commit_after).await);
            body.commit();
            seen.extend(pull(&mut body, 99).await);
            prop_assert_eq!(seen, all);
            prop_assert!(body.is_end_stream());
            Ok(())
        })?;
    }
}

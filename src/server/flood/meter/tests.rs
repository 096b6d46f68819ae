use std::time::Duration;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
    let length = u32::try_from(payload).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    bytes.resize(9 + payload, 0);
    bytes
}

fn greeted() -> Meter {
    let mut meter = Meter::new(&FloodLimits::new(), 100, Instant::now());
    meter.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert!(meter.is_owed(), "the first frame");
    assert!(meter.read(&frame(SETTINGS, 0, 0)).unwrap());
    assert!(!meter.is_owed());
    meter
}

fn after(meter: &mut Meter, bytes: &[u8]) -> Option<(usize, Flood)> {
    (0..100_000).find_map(|i| meter.read(bytes).err().map(|flood| (i, flood)))
}

#[tokio::test(start_paused = true)]
async fn floods_of_frames_that_carry_nothing_are_cut_off() {
    for (bytes, most) in [
        (frame(PING, 0, 8), 1_000),
        (frame(PING, 1, 8), 1_000),
        (frame(SETTINGS, 0, 6), 100),
        (frame(WINDOW_UPDATE, 0, 4), 1_000),
        (frame(DATA, 0, 0), 1_000),
        (frame(0xfe, 0, 3), 1_000),
    ] {
        let (count, flood) = after(&mut greeted(), &bytes).expect("cut off");
        assert!(count <= most && flood == Flood::Control, "{bytes:?}: {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_cancels_all_its_streams_is_cut_off_and_one_that_cancels_a_third_is_not() {
    let all = [frame(HEADERS, END_HEADERS, 5), frame(RST_STREAM, 0, 4)].concat();
    let (count, flood) = after(&mut greeted(), &all).expect("cut off");
    assert!((1_000..=2_100).contains(&count) && flood == Flood::Resets, "{count}");

    let third = [frame(HEADERS, END_HEADERS, 5).repeat(3), frame(RST_STREAM, 0, 4)].concat();
    assert_eq!(after(&mut greeted(), &third), None);
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_open_may_be_cancelled_at_once() {
    let mut meter = greeted();
    assert_eq!(meter.read(&frame(HEADERS, END_HEADERS, 5).repeat(100)), Ok(true));
    assert_eq!(meter.read(&frame(RST_STREAM, 0, 4).repeat(100)), Ok(true));
}

#[tokio::test(start_paused = true)]
async fn who_receives_data_may_ping_and_widen_windows() {
    let mut meter = greeted();
    for _ in 0..10_000 {
        meter.wrote(&frame(DATA, 0, 16_384));
        for bytes in [frame(PING, 0, 8), frame(WINDOW_UPDATE, 0, 4).repeat(6)] {
            meter.read(&bytes).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_trickle_of_pings_is_no_flood() {
    let mut meter = greeted();
    for _ in 0..5_000 {
        meter.read(&frame(PING, 0, 8)).unwrap();
        advance(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_block_of_headers_is_owed_and_unfinished_data_is_not() {
    let mut meter = greeted();
    assert!(!meter.read(&frame(HEADERS, 0, 5)).unwrap());
    assert!(meter.is_owed(), "no END_HEADERS yet");
    assert!(!meter.read(&frame(CONTINUATION, 0, 5)).unwrap());
    assert!(meter.is_owed());
    assert!(meter.read(&frame(CONTINUATION, END_HEADERS, 5)).unwrap());
    assert!(!meter.is_owed());
    let headers = frame(HEADERS, END_HEADERS, 5);
    assert!(!meter.read(&headers[..12]).unwrap());
    assert!(meter.is_owed(), "half a payload");
    assert!(meter.read(&headers[12..]).unwrap());
    assert!(!meter.read(&frame(DATA, 0, 100)[..50]).unwrap());
    assert!(!meter.is_owed(), "data may take its time");
}

proptest! {
    #[test]
    fn frames_are_found_however_the_bytes_are_cut(
        frames in proptest::collection::vec((0..12u8, any::<u8>(), 0..200usize), 0..30),
        cuts in proptest::collection::vec(1..50usize, 1..100),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, len)| frame(*kind, *flags, *len)).collect();
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        let mut one = Frames::of_server();
        one.feed(&bytes, |frame| whole.push(frame));
        let mut other = Frames::of_server();
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            other.feed(piece, |frame| pieces.push(frame));
            rest = later;
        }
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(whole.len(), frames.len());
        prop_assert_eq!(one.is_owed(), other.is_owed());
    }
}

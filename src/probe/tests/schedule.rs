use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio::time::Instant;

use super::scripted::{dials, probing, run, start};
use crate::{
    health::{Thresholds, proto::ServingStatus::*},
    probe::{Grpc, Probe, schedule::Moment},
    random::Random,
};

const STEADY: Moment = Moment { first: false, failing: false, traffic: true };

fn probe() -> Probe {
    Grpc::new("").into()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn pauses_are_the_interval_plus_a_share_of_the_jitter_after_each_check() {
    let mut bench = start(probe());
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(Serving);
    let (mut answered, mut pauses) = (None::<Instant>, Vec::new());
    for _ in 0..200 {
        let call = peer.call().await;
        if let Some(answered) = answered {
            pauses.push((call.at - answered).as_secs_f64());
        }
        // A slow answer does not shorten the pause after it.
        tokio::time::sleep(Duration::from_millis(700)).await;
        answered = Some(Instant::now());
        call.say(Serving);
    }
    let (low, high) = pauses.iter().fold((f64::MAX, f64::MIN), |(l, h), &p| (l.min(p), h.max(p)));
    // The clock has milliseconds.
    assert!((5.0..5.05).contains(&low) && (5.95..=6.002).contains(&high), "{low}..{high}");
}

/// 10 000 endpoints that come together are asked at once, and from then on evenly.
#[test]
fn second_checks_are_spread_over_the_interval() {
    let (random, probe) = (Random::seeded(3), probe());
    assert_eq!(probe.before_first(&random), Duration::ZERO);
    let mut counts = [0u32; 50];
    for _ in 0..10_000 {
        let pause = probe.pause(Moment { first: true, ..STEADY }, &random);
        assert!(pause < seconds(5), "{pause:?}");
        counts[(pause.as_secs_f64() * 10.0) as usize] += 1;
    }
    let expected = 10_000.0 / counts.len() as f64;
    let chi_square: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    // 49 degrees of freedom: 85.4 is exceeded by chance once in a thousand times.
    assert!(chi_square < 85.4, "{chi_square}");
}

#[test]
fn the_first_check_is_put_off_only_when_asked_to() {
    let (random, probe) = (Random::seeded(3), probe().initial_jitter(seconds(5)));
    let delays: Vec<f64> = (0..1_000).map(|_| probe.before_first(&random).as_secs_f64()).collect();
    let (low, high) = delays.iter().fold((f64::MAX, f64::MIN), |(l, h), &p| (l.min(p), h.max(p)));
    assert!(low < 0.1 && (4.9..=5.0).contains(&high), "{low}..{high}");
}

#[test]
fn each_state_has_its_own_interval() {
    let probe = probe()
        .interval(seconds(10))
        .jitter(Duration::ZERO)
        .interval_without_traffic(seconds(60))
        .interval_while_unhealthy(seconds(2));
    let random = Random::seeded(1);
    let failing = Moment { failing: true, ..STEADY };
    assert_eq!(probe.pause(STEADY, &random), seconds(10));
    assert_eq!(probe.pause(failing, &random), seconds(2));
    assert_eq!(probe.pause(Moment { traffic: false, ..STEADY }, &random), seconds(60));
    assert_eq!(probe.pause(Moment { traffic: false, ..failing }, &random), seconds(2));
}

#[tokio::test(start_paused = true)]
async fn traffic_ends_a_pause_that_was_long_for_want_of_it() {
    let mut bench = start(probe().interval_without_traffic(seconds(60)).jitter(Duration::ZERO));
    bench.traffic.store(false, SeqCst);
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(Serving);
    let call = peer.call().await;
    let last = call.at;
    call.say(Serving);
    let call = peer.call().await;
    assert_eq!(call.at - last, seconds(60));
    call.say(Serving);
    tokio::time::sleep(seconds(12)).await;
    bench.traffic.store(true, SeqCst);
    let next = peer.call().await;
    assert_eq!(next.at - (last + seconds(60)), seconds(15), "at the next multiple of the interval");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_comes_back_by_its_own_interval() {
    let probe = probe().interval_while_unhealthy(seconds(1)).jitter(Duration::ZERO);
    let mut bench = start(probe.thresholds(Thresholds::new(3, 1)));
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(NotServing);
    assert_eq!(bench.verdict().await, "failing: NOT_SERVING");
    let call = peer.call().await;
    let begun = call.at;
    call.say(Serving);
    peer.call().await.say(Serving);
    peer.call().await.say(Serving);
    assert_eq!(bench.verdict().await, "passing");
    assert_eq!(begun.elapsed(), seconds(2));
}

#[tokio::test(start_paused = true)]
async fn no_setting_panics_or_spins() {
    for duration in [Duration::ZERO, Duration::MAX] {
        let probe = probe()
            .interval(duration)
            .jitter(duration)
            .timeout(duration)
            .interval_without_traffic(duration)
            .interval_while_unhealthy(duration);
        let mut bench = start(probe);
        bench.traffic.store(false, SeqCst);
        let mut peer = bench.dial().await.accept();
        peer.call().await.say(Serving);
        let begun = Instant::now();
        assert_eq!(bench.verdict().await, "passing");
        let mut asked = 0;
        while let Ok(call) = tokio::time::timeout(seconds(1), peer.call()).await {
            call.say(Serving);
            asked += 1;
            if begun.elapsed() >= seconds(1) {
                break;
            }
        }
        assert!(asked <= 1_001, "asked {asked} times");
    }
}

/// A first dial waits for its turn, no timeout runs meanwhile, and one that hangs holds nobody up for long.
#[tokio::test(start_paused = true)]
async fn first_connections_are_opened_by_and_by() {
    let (open, mut dialled) = dials();
    let probing = probing(probe(), open);
    let begun = Instant::now();
    let mut benches: Vec<_> =
        (0..200).map(|_| run(&probing, tokio::sync::mpsc::unbounded_channel().1, None)).collect();
    let mut waves = Vec::new();
    for _ in 0..200 {
        let dial = dialled.recv().await.expect("a dial");
        waves.push((dial.at - begun).as_millis());
        // Nobody answers.
        std::mem::forget(dial.answer);
    }
    for (count, wave) in [(64, 0), (64, 250), (64, 500), (8, 750)] {
        // A timer ends on the next millisecond.
        let n = waves.iter().filter(|&&at| at.abs_diff(wave) <= 3).count();
        assert_eq!(n, count, "{wave} ms: {waves:?}");
    }
    for bench in &mut benches {
        assert_eq!(bench.verdict().await, "failing: no answer within 1s");
    }
}

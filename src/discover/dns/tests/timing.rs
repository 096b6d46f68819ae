//! When it asks.

use std::{pin::Pin, task::Poll, time::Duration};

use tokio::time::Instant;

use super::{Fake, Says, all_within, config, key, next, poller, secs, show};
use crate::discover::{
    Feedback, Resolve,
    dns::{lookup::Family, poller::Poller},
};

#[tokio::test(start_paused = true)]
async fn polls_by_ttl_between_floor_and_cap_with_up_to_ten_percent_of_jitter() {
    for (ttl, least) in [(0, 1.0), (5, 5.0), (3600, 30.0)] {
        let (fake, mut poller) = poller(config(), &[]);
        fake.v4(Says::Ips(&["10.0.0.1"], ttl));
        assert_eq!(all_within(&mut poller, secs(1200)).await.len(), 1, "the same set is yielded once");
        let gaps = fake.gaps();
        assert!(gaps.iter().all(|gap| (least..=least * 1.1 + 0.002).contains(gap)), "TTL {ttl}: {gaps:?}");
        let spread = gaps.iter().copied().fold(0.0, f64::max) - gaps.iter().copied().fold(f64::MAX, f64::min);
        assert!(spread > least * 0.05, "TTL {ttl}: there is no jitter in {gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_from_one_second_by_1_6_up_to_the_cap_and_start_over_after_a_success() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Fails);
    let items = all_within(&mut poller, secs(200)).await;
    assert!(items.iter().all(|(_, item)| item.is_err()));
    let expected = [1.0, 1.6, 2.56, 4.096, 6.5536, 10.486, 16.777, 26.844, 30.0, 30.0];
    for (gap, expected) in fake.gaps().iter().zip(expected) {
        assert!(
            (expected * 0.8 - 0.002..=expected * 1.2 + 0.002).contains(gap),
            "{gap} instead of {expected}"
        );
    }
    fake.v4(Says::Ips(&["10.0.0.1"], 1));
    assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
    fake.v4(Says::Fails);
    assert!(next(&mut poller).await.is_err());
    let failed_at = Instant::now();
    assert!(next(&mut poller).await.is_err());
    assert!(failed_at.elapsed() < Duration::from_millis(1202), "{:?}", failed_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_family_that_keeps_failing_is_asked_by_backoff_and_not_each_second() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1"], 30));
    fake.say("greeter.", Family::V6, Says::Fails);
    assert_eq!(all_within(&mut poller, secs(600)).await.len(), 1);
    assert!(fake.times().len() < 40, "{}", fake.times().len());
    assert!(poller.status().unwrap().last_error().is_some());
    assert_eq!(poller.status().unwrap().failures(), 0);
}

#[tokio::test(start_paused = true)]
async fn failed_connections_refresh_at_once_within_a_budget_and_what_exceeds_it_is_put_off() {
    let (fake, mut poller) = poller(config().refresh_budget(2, secs(10)), &[]);
    fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 3600));
    next(&mut poller).await.unwrap();
    let start = Instant::now();
    // Two endpoints that fail ten times a second for nine seconds.
    for _ in 0..90 {
        for address in ["10.0.0.1:80", "10.0.0.2:80"] {
            Pin::new(&mut poller).feedback(Feedback::Failed(key(address)));
        }
        assert!(all_within(&mut poller, Duration::from_millis(100)).await.is_empty());
    }
    let refreshes = |from: Instant| fake.times().iter().filter(|t| **t >= from).count() - 1;
    assert_eq!(refreshes(start), 2, "the burst, and each of them serves both endpoints");
    assert!(all_within(&mut poller, secs(2)).await.is_empty());
    assert_eq!(refreshes(start), 3, "what came too early is served when the budget allows");
    assert!(all_within(&mut poller, secs(15)).await.is_empty());
    assert_eq!(refreshes(start), 3, "and served once");
}

#[tokio::test(start_paused = true)]
async fn feedback_wakes_a_resolver_that_sleeps() {
    let (fake, poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1"], 3600));
    let mut task = tokio_test::task::spawn(poller);
    let poll =
        |task: &mut tokio_test::task::Spawn<Poller<Fake>>| task.enter(|cx, poller| poller.poll_resolve(cx));
    assert!(poll(&mut task).is_ready());
    assert!(poll(&mut task).is_pending());
    assert!(!task.is_woken());
    task.enter(|_, poller| poller.feedback(Feedback::Failed(key("10.0.0.9:80"))));
    assert!(!task.is_woken(), "an endpoint that nobody knows is nobody's concern");
    task.enter(|_, poller| poller.feedback(Feedback::Failed(key("10.0.0.1:80"))));
    assert!(task.is_woken());
    assert!(matches!(poll(&mut task), Poll::Pending));
    assert_eq!(fake.times().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_family_costs_the_delay_and_its_late_answer_is_no_loss() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Never);
    fake.say("greeter.", Family::V6, Says::Ips(&["fd00::1"], 60));
    let started = Instant::now();
    assert_eq!(show(&next(&mut poller).await), "[fd00::1]:80");
    assert!((50..60).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    fake.v4(Says::Ips(&["10.0.0.1"], 60));
    fake.say("greeter.", Family::V6, Says::Never);
    assert_eq!(
        show(&next(&mut poller).await),
        "[fd00::1]:80 10.0.0.1:80",
        "a silent family keeps what it had"
    );
}

#[tokio::test(start_paused = true)]
async fn settings_beyond_reason_neither_panic_nor_spin() {
    let config = config()
        .deadline(Duration::MAX)
        .min_interval(Duration::MAX)
        .backoff(Duration::MAX, Duration::MAX)
        .empty_grace(Duration::MAX)
        .refresh_budget(u32::MAX, Duration::MAX)
        .family_delay(Duration::MAX)
        .jitter(f64::NAN);
    let (fake, mut poller) = poller(config, &[]);
    fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 1));
    next(&mut poller).await.unwrap();
    for says in [Says::Ips(&["10.0.0.1"], 1), Says::Empty, Says::Fails] {
        fake.v4(says);
        Pin::new(&mut poller).feedback(Feedback::Failed(key("10.0.0.1:80")));
        all_within(&mut poller, secs(5)).await;
    }
    assert!(fake.times().len() < 10, "{}", fake.times().len());
}

//! What it believes.

use std::{pin::Pin, time::Duration};

use tokio::time::Instant;

use super::{Says, all_within, config, key, next, poller, secs, show};
use crate::discover::{Feedback, Resolve, dns::lookup::Family};

#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_honoured_after_thirty_seconds_and_not_before() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1"], 1));
    next(&mut poller).await.unwrap();
    fake.v4(Says::Empty);
    let mut items = all_within(&mut poller, secs(60)).await.into_iter();
    let (first_empty, error) = items.next().unwrap();
    assert!(show(&error).contains("NXDOMAIN"));
    let (honoured, _) = items.find(|(_, item)| item.is_ok()).expect("the grace is over");
    let held = honoured - first_empty;
    assert!((secs(30)..secs(31)).contains(&held), "{held:?}");
    assert!(items.all(|(_, item)| item.is_err()), "empty once is empty");
}

#[tokio::test(start_paused = true)]
async fn an_address_within_the_grace_forgets_that_there_was_none() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1"], 1));
    next(&mut poller).await.unwrap();
    for _ in 0..4 {
        fake.v4(Says::Empty);
        assert!(all_within(&mut poller, secs(20)).await.iter().all(|(_, item)| item.is_err()));
        fake.v4(Says::Ips(&["10.0.0.1"], 1));
        assert!(all_within(&mut poller, secs(31)).await.iter().all(|(_, item)| item.is_err()));
    }
}

#[tokio::test(start_paused = true)]
async fn before_anything_was_found_an_empty_answer_is_an_error_at_once() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Empty);
    let started = Instant::now();
    assert!(next(&mut poller).await.unwrap_err().is_unavailable());
    assert!(started.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_missing_address_is_dropped_when_it_is_missing_again_after_the_floor() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 10));
    next(&mut poller).await.unwrap();
    fake.v4(Says::Ips(&["10.0.0.1"], 10));
    assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
    let gaps = fake.gaps();
    assert_eq!(gaps.len(), 2);
    assert!((0.99..1.01).contains(&gaps[1]), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_missing_once_stays_and_is_the_same_endpoint() {
    let (fake, mut poller) = poller(config(), &[]);
    fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 10));
    next(&mut poller).await.unwrap();
    fake.v4(Says::Ips(&["10.0.0.1"], 10));
    assert!(all_within(&mut poller, Duration::from_millis(11_050)).await.is_empty());
    fake.v4(Says::Ips(&["10.0.0.2", "10.0.0.1"], 10));
    assert!(all_within(&mut poller, secs(60)).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_confirmation_a_missing_address_is_dropped_at_once() {
    let (fake, mut poller) = poller(config().confirm_removals(false), &[]);
    fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 10));
    next(&mut poller).await.unwrap();
    fake.v4(Says::Ips(&["10.0.0.1"], 10));
    assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
    assert_eq!(fake.times().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_goes_away_is_dropped_by_one_answer_unless_it_came_back() {
    for (came_back, polls) in [(false, 2), (true, 3)] {
        let (fake, mut poller) = poller(config(), &[]);
        fake.v4(Says::Ips(&["10.0.0.1", "10.0.0.2"], 30));
        next(&mut poller).await.unwrap();
        fake.v4(Says::Ips(&["10.0.0.1"], 30));
        Pin::new(&mut poller).feedback(Feedback::GoingAway(key("10.0.0.2:80")));
        if came_back {
            Pin::new(&mut poller).feedback(Feedback::Connected(key("10.0.0.2:80")));
        }
        assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
        assert_eq!(fake.times().len(), polls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_namesake_further_down_the_search_list_does_not_replace_what_failed() {
    let (fake, mut poller) = poller(config(), &["ns.", "corp."]);
    fake.say("greeter.ns.", Family::V4, Says::Ips(&["10.0.0.1"], 1));
    fake.say("greeter.corp.", Family::V4, Says::Ips(&["192.0.2.1"], 1));
    assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
    for family in Family::BOTH {
        fake.say("greeter.ns.", family, Says::Fails);
    }
    let items = all_within(&mut poller, secs(60)).await;
    assert!(!items.is_empty() && items.iter().all(|(_, item)| item.is_err()), "{items:?}");
}

#[tokio::test(start_paused = true)]
async fn a_namesake_found_behind_a_failure_gives_way_to_the_name_itself() {
    let (fake, mut poller) = poller(config().confirm_removals(false), &["ns.", "corp."]);
    for family in Family::BOTH {
        fake.say("greeter.ns.", family, Says::Fails);
    }
    fake.say("greeter.corp.", Family::V4, Says::Ips(&["192.0.2.1"], 1));
    assert_eq!(show(&next(&mut poller).await), "192.0.2.1:80");
    fake.say("greeter.ns.", Family::V4, Says::Ips(&["10.0.0.1"], 1));
    fake.say("greeter.ns.", Family::V6, Says::Empty);
    assert_eq!(show(&next(&mut poller).await), "10.0.0.1:80");
}

//! The resolver as a whole, under a paused clock, against DNS as a function of name and family.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    DnsConfig,
    lookup::{Answer, Failure, Family, Lookup, Reply, Service},
    poller::{Place, Poller},
    unavailable,
};
use crate::{
    Error,
    discover::{Feedback, Resolve},
    endpoint::{EndpointKey, EndpointSet},
    random::Random,
};

type Item = Result<Arc<EndpointSet>, Error>;

/// What one question gets, and how long that takes.
#[derive(Clone, Debug)]
enum Says {
    Ips(&'static [&'static str], u64),
    Empty,
    Fails,
    Never,
}

#[derive(Debug, Default)]
struct Fake {
    says: Mutex<HashMap<(String, Family), Says>>,
    asked: Mutex<Vec<(Instant, String, Family)>>,
}

impl Fake {
    fn say(&self, name: &str, family: Family, says: Says) {
        self.says.lock().unwrap().insert((name.to_owned(), family), says);
    }

    /// Both families at once: IPv4 as given, IPv6 empty or failing along.
    fn v4(&self, says: Says) {
        let v6 = match says {
            Says::Ips(..) => Says::Empty,
            ref other => other.clone(),
        };
        self.say("greeter.", Family::V4, says);
        self.say("greeter.", Family::V6, v6);
    }

    /// When IPv4 was asked for.
    fn times(&self) -> Vec<Instant> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, _, family)| *family == Family::V4)
            .map(|(t, ..)| *t)
            .collect()
    }

    fn gaps(&self) -> Vec<f64> {
        self.times().windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

impl Lookup for Fake {
    fn addresses(&self, name: &str, family: Family, deadline: Instant) -> Reply<IpAddr> {
        self.asked.lock().unwrap().push((Instant::now(), name.to_owned(), family));
        let says = self.says.lock().unwrap().get(&(name.to_owned(), family)).cloned().unwrap_or(Says::Empty);
        let name = name.to_owned();
        Box::pin(async move {
            match says {
                Says::Ips(ips, ttl) => Ok(Answer {
                    records: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                    ttl: Duration::from_secs(ttl),
                }),
                Says::Empty => {
                    Err(Failure::Empty { error: unavailable(format!("{name} NXDOMAIN")), ttl: None })
                }
                Says::Fails => Err(Failure::Unknown(unavailable(format!("{name} SERVFAIL")))),
                Says::Never => {
                    sleep_until(deadline).await;
                    Err(Failure::Unknown(unavailable(format!("{name} silence"))))
                }
            }
        })
    }

    fn services(&self, name: &str, _: Instant) -> Reply<Service> {
        let error = unavailable(format!("{name} SERVFAIL"));
        Box::pin(async move { Err(Failure::Unknown(error)) })
    }

    fn has_route(&self, _: SocketAddr) -> bool {
        true
    }
}

fn config() -> DnsConfig {
    DnsConfig::new().random(Arc::new(Random::seeded(7)))
}

fn poller(config: DnsConfig, search: &[&str]) -> (Arc<Fake>, Poller<Fake>) {
    let fake = Arc::new(Fake::default());
    let search: Vec<String> = search.iter().map(|s| (*s).to_owned()).collect();
    let lookup = fake.clone();
    let locate = move || Ok(Place { lookup: lookup.clone(), search: search.clone(), ndots: 5 });
    (fake, Poller::new("greeter", 80, config, Box::new(locate)))
}

async fn next(poller: &mut Poller<Fake>) -> Item {
    poll_fn(|cx| Pin::new(&mut *poller).poll_resolve(cx)).await.expect("it never ends")
}

/// What is yielded within this time.
async fn all_within(poller: &mut Poller<Fake>, time: Duration) -> Vec<(Instant, Item)> {
    let mut items = Vec::new();
    let _ = timeout(time, async {
        loop {
            let item = next(poller).await;
            items.push((Instant::now(), item));
        }
    })
    .await;
    items
}

fn show(item: &Item) -> String {
    match item {
        Ok(set) => set.endpoints().iter().map(|e| e.to_string()).collect::<Vec<_>>().join(" "),
        Err(error) => error.message().to_owned(),
    }
}

fn key(address: &str) -> EndpointKey {
    address.parse::<crate::endpoint::Endpoint>().unwrap().key().clone()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

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

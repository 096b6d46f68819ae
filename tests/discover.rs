//! Discovery by DNS against a real server.

#[allow(dead_code, unreachable_pub, reason = "each test crate uses a part")]
mod support;

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use grpc_balance::{
    Error,
    discover::{Dns, DnsConfig, Feedback, Resolve, for_target_with_dns},
    endpoint::EndpointSet,
    target::Target,
};
use hickory_server::proto::rr::RecordType;

use self::support::dns::{DnsServer, Reply, Service};

const NAME: &str = "greeter.test";
const PATIENCE: Duration = Duration::from_secs(30);

/// Short times, as far as a busy machine can tell them from nothing.
fn quick(server: &DnsServer) -> DnsConfig {
    DnsConfig::new()
        .servers([server.address()])
        .min_interval(Duration::from_millis(50))
        .backoff(Duration::from_millis(50), Duration::from_millis(200))
        .attempt_timeout(Duration::from_secs(5))
        .family_delay(Duration::from_secs(5))
        .attempts(1)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn dns(server: &DnsServer) -> Dns {
    Dns::with_config(NAME, 50051, quick(server)).unwrap()
}

async fn next<R: Resolve + Unpin>(resolver: &mut R) -> Result<Arc<EndpointSet>, Error> {
    let next = poll_fn(|cx| Pin::new(&mut *resolver).poll_resolve(cx));
    tokio::time::timeout(PATIENCE, next).await.expect("the resolver is silent").expect("the resolver ended")
}

/// The next set, whatever fails before it.
async fn next_set<R: Resolve + Unpin>(resolver: &mut R) -> Arc<EndpointSet> {
    loop {
        if let Ok(set) = next(resolver).await {
            return set;
        }
    }
}

/// Drives the resolver until something has happened elsewhere; it must not yield anything meanwhile.
async fn quiet_until<R: Resolve + Unpin>(resolver: &mut R, event: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        item = next(resolver) => panic!("unexpected: {item:?}"),
        () = event => {}
    }
}

fn addresses(set: &Arc<EndpointSet>) -> Vec<String> {
    let mut all: Vec<_> = set.endpoints().iter().map(|endpoint| endpoint.to_string()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn both_families_of_a_name_are_found_and_followed() {
    let server = DnsServer::start().await;
    server.set(NAME, 0, ips(&["10.0.0.1", "fd00::1"]));
    let mut resolver = dns(&server);
    let first = next_set(&mut resolver).await;
    assert_eq!(addresses(&first), ["10.0.0.1:50051", "[fd00::1]:50051"]);

    server.set(NAME, 0, ips(&["10.0.0.1", "10.0.0.2", "fd00::1"]));
    let second = next_set(&mut resolver).await;
    assert_eq!(addresses(&second), ["10.0.0.1:50051", "10.0.0.2:50051", "[fd00::1]:50051"]);
    assert!(second.generation() > first.generation());
    for kept in first.endpoints() {
        assert!(
            second.endpoints().iter().any(|endpoint| Arc::ptr_eq(endpoint, kept)),
            "{kept} was made anew"
        );
    }
}

#[tokio::test]
async fn the_same_answer_is_not_yielded_again_but_its_age_is_refreshed() {
    let server = DnsServer::start().await;
    server.set(NAME, 0, ips(&["10.0.0.1", "10.0.0.2"]));
    let mut resolver = dns(&server);
    next_set(&mut resolver).await;
    let status = resolver.status().unwrap();
    let (resolved_at, attempts) = (status.resolved_at().unwrap(), status.attempts());
    // Shuffled, as servers do.
    server.set(NAME, 0, ips(&["10.0.0.2", "10.0.0.1"]));
    quiet_until(&mut resolver, server.asked(NAME, RecordType::AAAA, 5)).await;
    assert!(status.resolved_at().unwrap() > resolved_at);
    assert!(status.attempts() > attempts);
    assert!(status.last_error().is_none());
}

#[tokio::test]
async fn one_familys_failure_hides_neither_the_others_answer_nor_its_own_last_one() {
    let server = DnsServer::start().await;
    server.set(NAME, 0, ips(&["10.0.0.1", "fd00::1"]));
    let mut resolver = dns(&server);
    next_set(&mut resolver).await;

    server.reply(NAME, RecordType::AAAA, Reply::ServFail);
    server.reply(NAME, RecordType::A, Reply::Addresses { ips: ips(&["10.0.0.1", "10.0.0.2"]), ttl: 0 });
    let set = next_set(&mut resolver).await;
    assert_eq!(addresses(&set), ["10.0.0.1:50051", "10.0.0.2:50051", "[fd00::1]:50051"]);
    let error = resolver.status().unwrap().last_error().unwrap();
    assert!(error.message().contains("AAAA") && error.message().contains("SERVFAIL"), "{error}");
}

#[tokio::test]
async fn a_family_that_is_not_answered_does_not_hold_the_other_up() {
    let server = DnsServer::start().await;
    server.reply(NAME, RecordType::A, Reply::Addresses { ips: ips(&["10.0.0.1"]), ttl: 30 });
    server.reply(NAME, RecordType::AAAA, Reply::Drop);
    let config =
        quick(&server).attempt_timeout(PATIENCE).deadline(PATIENCE).family_delay(Duration::from_millis(1));
    let mut resolver = Dns::with_config(NAME, 50051, config).unwrap();
    // Were it held up, `next` would lose its patience.
    assert_eq!(addresses(&next(&mut resolver).await.unwrap()), ["10.0.0.1:50051"]);
}

#[tokio::test]
async fn an_unknown_name_is_reported_at_once_with_name_server_and_answer() {
    let server = DnsServer::start().await;
    let error = next(&mut dns(&server)).await.unwrap_err();
    assert!(error.is_unavailable());
    let text = error.to_string();
    for part in [NAME, "NXDOMAIN", &server.address().to_string(), "resolve"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_failure_keeps_the_endpoints_and_recovery_is_found() {
    let server = DnsServer::start().await;
    server.set(NAME, 0, ips(&["10.0.0.1"]));
    let mut resolver = dns(&server);
    next_set(&mut resolver).await;
    server.fail_with(Reply::ServFail);
    for _ in 0..3 {
        let error = next(&mut resolver).await.expect_err("a failure must not yield a set");
        assert!(error.message().contains("SERVFAIL"), "{error}");
    }
    server.set(NAME, 0, ips(&["10.0.0.1", "10.0.0.2"]));
    server.mend();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:50051", "10.0.0.2:50051"]);
    assert!(resolver.status().unwrap().last_error().is_none());
}

#[tokio::test]
async fn an_empty_answer_is_honoured_only_after_the_grace() {
    let server = DnsServer::start().await;
    server.set(NAME, 0, ips(&["10.0.0.1"]));
    let grace = Duration::from_millis(400);
    let mut resolver = Dns::with_config(NAME, 50051, quick(&server).empty_grace(grace)).unwrap();
    next_set(&mut resolver).await;
    server.remove(NAME);
    let mut first_empty = None;
    loop {
        match next(&mut resolver).await {
            Err(error) => {
                assert!(error.message().contains("NXDOMAIN"), "{error}");
                first_empty.get_or_insert_with(tokio::time::Instant::now);
            }
            Ok(set) => {
                assert!(set.is_empty());
                // The answer was there a moment before we saw it.
                let held = first_empty.expect("an error comes first").elapsed();
                assert!(held >= grace - Duration::from_millis(100), "{held:?}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_missing_address_is_asked_for_again_before_it_is_dropped() {
    let server = DnsServer::start().await;
    server.set(NAME, 30, ips(&["10.0.0.1", "10.0.0.2"]));
    let config =
        quick(&server).min_interval(Duration::from_millis(200)).max_interval(Duration::from_millis(200));
    let mut resolver = Dns::with_config(NAME, 50051, config).unwrap();
    next_set(&mut resolver).await;
    let asked = server.count(NAME, RecordType::A);
    server.set(NAME, 30, ips(&["10.0.0.1"]));
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:50051"]);
    assert!(server.count(NAME, RecordType::A) >= asked + 2, "one answer was enough");
}

#[tokio::test]
async fn an_address_whose_connection_failed_is_dropped_by_the_refresh_that_this_asks_for() {
    let server = DnsServer::start().await;
    server.set(NAME, 30, ips(&["10.0.0.1", "10.0.0.2"]));
    // Left to itself, it would not ask again before the test loses its patience.
    let config = quick(&server).min_interval(PATIENCE).max_interval(PATIENCE);
    let mut resolver = Dns::with_config(NAME, 50051, config).unwrap();
    let set = next_set(&mut resolver).await;
    let gone = set.endpoints().iter().find(|e| e.to_string().starts_with("10.0.0.2")).unwrap();
    server.set(NAME, 30, ips(&["10.0.0.1", "10.0.0.3"]));
    Pin::new(&mut resolver).feedback(Feedback::Failed(gone.key().clone()));
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:50051", "10.0.0.3:50051"]);
    assert_eq!(server.count(NAME, RecordType::A), 2);
}

#[tokio::test]
async fn truncated_answers_are_fetched_over_tcp() {
    let server = DnsServer::start().await;
    let many: Vec<IpAddr> = (0..200).map(|i| IpAddr::from([10, 1, 0, i])).collect();
    server.set(NAME, 30, many.clone());
    let whole = Reply::Addresses { ips: many, ttl: 30 };
    server.reply(NAME, RecordType::A, Reply::Truncated(Box::new(whole)));
    let mut resolver = dns(&server);
    assert_eq!(next_set(&mut resolver).await.len(), 200);
    assert!(server.queries().iter().any(|query| query.tcp));
}

#[tokio::test]
async fn a_silent_server_is_passed_over_and_not_asked_first_again() {
    let (silent, sound) = (DnsServer::start().await, DnsServer::start().await);
    silent.fail_with(Reply::Drop);
    sound.set(NAME, 0, ips(&["10.0.0.1"]));
    let config =
        quick(&sound).servers([silent.address(), sound.address()]).attempt_timeout(Duration::from_secs(1));
    let mut resolver = Dns::with_config(NAME, 50051, config).unwrap();
    assert_eq!(next_set(&mut resolver).await.len(), 1);
    let asked = silent.queries().len();
    quiet_until(&mut resolver, sound.asked(NAME, RecordType::A, 5)).await;
    assert_eq!(silent.queries().len(), asked);
}

#[tokio::test]
async fn a_server_that_fails_is_passed_over() {
    let (broken, sound) = (DnsServer::start().await, DnsServer::start().await);
    broken.fail_with(Reply::Refused);
    sound.set(NAME, 0, ips(&["10.0.0.1"]));
    let config = quick(&sound).servers([broken.address(), sound.address()]);
    assert_eq!(next(&mut Dns::with_config(NAME, 50051, config).unwrap()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_black_hole_fails_within_the_deadline() {
    let server = DnsServer::start().await;
    server.fail_with(Reply::Drop);
    let config = quick(&server).attempt_timeout(PATIENCE).deadline(Duration::from_millis(300)).attempts(5);
    let started = tokio::time::Instant::now();
    let error = next(&mut Dns::with_config(NAME, 50051, config).unwrap()).await.unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2);
    assert!(error.message().contains("no answer in time"), "{error}");
}

#[tokio::test]
async fn names_are_looked_for_along_the_search_list_and_then_where_they_were_found() {
    let server = DnsServer::start().await;
    server.set("greeter.svc.test", 0, ips(&["10.0.0.1"]));
    let config = quick(&server).search(["ns.svc.test", "svc.test"]).ndots(5);
    let mut resolver = Dns::with_config("greeter", 50051, config).unwrap();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:50051"]);
    quiet_until(&mut resolver, server.asked("greeter.svc.test", RecordType::A, 3)).await;
    assert_eq!(server.count("greeter.ns.svc.test", RecordType::A), 1);
    assert_eq!(server.count("greeter", RecordType::A), 0);
}

#[tokio::test]
async fn a_failure_on_one_candidate_is_not_turned_into_no_such_name_by_the_next() {
    let server = DnsServer::start().await;
    server.reply("greeter.svc.test", RecordType::A, Reply::ServFail);
    server.reply("greeter.svc.test", RecordType::AAAA, Reply::ServFail);
    let config = quick(&server).search(["svc.test"]).ndots(5);
    let error = next(&mut Dns::with_config("greeter", 50051, config).unwrap()).await.unwrap_err();
    assert!(error.message().contains("SERVFAIL") && error.message().contains("greeter.svc.test"), "{error}");
}

#[tokio::test]
async fn resolv_conf_says_whom_to_ask_and_a_missing_one_is_named() {
    let error =
        next(&mut Dns::with_config(NAME, 1, DnsConfig::new().resolv_conf_path("/no/such/file")).unwrap())
            .await
            .unwrap_err();
    assert!(error.message().contains("/no/such/file"), "{error}");
    let server = DnsServer::start().await;
    server.set("greeter.svc.test", 30, ips(&["10.0.0.1"]));
    let config = quick(&server).resolv_conf_text("search svc.test\noptions ndots:3\n");
    assert_eq!(next_set(&mut Dns::with_config("greeter", 1, config).unwrap()).await.len(), 1);
}

#[tokio::test]
async fn srv_records_give_port_weight_and_host_name() {
    let server = DnsServer::start().await;
    let service =
        |priority, weight, port, target: &str| Service { priority, weight, port, target: target.into() };
    let records = vec![
        service(1, 10, 1001, "one.test"),
        service(1, 0, 1002, "two.test"),
        service(2, 10, 1003, "backup.test"),
    ];
    server.reply("_grpc._tcp.greeter.test", RecordType::SRV, Reply::Services { records, ttl: 30 });
    server.set("one.test", 30, ips(&["10.0.0.1"]));
    server.set("two.test", 30, ips(&["10.0.0.2"]));
    server.set("backup.test", 30, ips(&["10.0.0.3"]));
    let config = quick(&server).srv(true);
    let mut resolver = Dns::with_config("_grpc._tcp.greeter.test", 50051, config).unwrap();
    let set = next_set(&mut resolver).await;
    let found: Vec<_> = set
        .endpoints()
        .iter()
        .map(|e| (e.to_string(), e.weight(), e.host_name().unwrap().to_owned()))
        .collect();
    let expected = [("10.0.0.1:1001", 10, "one.test"), ("10.0.0.2:1002", 1, "two.test")]
        .map(|(a, w, h)| (a.into(), w, h.into()));
    assert_eq!(found, expected);
    assert_eq!(server.count("backup.test", RecordType::A), 0);
}

#[tokio::test]
async fn aliases_are_followed_and_their_ttl_counts() {
    let server = DnsServer::start().await;
    let alias = Reply::Alias { of: "real.test".into(), alias_ttl: 0, ips: ips(&["10.0.0.1"]), ttl: 3600 };
    server.reply(NAME, RecordType::A, alias);
    let config = quick(&server).max_interval(PATIENCE);
    let mut resolver = Dns::with_config(NAME, 1, config).unwrap();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:1"]);
    quiet_until(&mut resolver, server.asked(NAME, RecordType::A, 3)).await;
}

#[tokio::test]
async fn a_targets_own_server_is_asked_and_literals_ask_nobody() {
    let server = DnsServer::start().await;
    server.set(NAME, 30, ips(&["10.0.0.1"]));
    let elsewhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let config = quick(&server).servers([elsewhere]);
    let target: Target = format!("dns://{}/{NAME}:80", server.address()).parse().unwrap();
    let mut resolver = for_target_with_dns(&target, &config).unwrap();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:80"]);

    let asked = server.queries().len();
    for (text, expected) in [
        ("dns:///10.9.9.9:80", "10.9.9.9:80"),
        ("[::1]:80", "[::1]:80"),
        ("localhost:80", "127.0.0.1:80,[::1]:80"),
        ("api.localhost:80", "127.0.0.1:80,[::1]:80"),
    ] {
        let config = quick(&server).search(["test"]).ndots(9);
        let mut resolver = for_target_with_dns(&text.parse().unwrap(), &config).unwrap();
        assert_eq!(addresses(&next_set(&mut resolver).await), [expected]);
        let end = poll_fn(|cx| resolver.as_mut().poll_resolve(cx)).await;
        assert!(end.is_none(), "{text} is answered once");
    }
    assert_eq!(server.queries().len(), asked);
}

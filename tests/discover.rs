//! What discovery by DNS believes of a real server's answers.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{pin::Pin, sync::Arc, time::Duration};

use grpc_balance::discover::{Dns, Feedback, Resolve};
use hickory_server::proto::rr::RecordType;

use self::support::{
    dns::{DnsServer, Reply},
    resolve::{PATIENCE, addresses, ips, next, next_set, quick, quiet_until},
};

const NAME: &str = "greeter.test";

fn dns(server: &DnsServer) -> Dns {
    Dns::with_config(NAME, 50051, quick(server)).unwrap()
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
    let config = quick(&server)
        .attempt_timeout(PATIENCE * 9)
        .deadline(PATIENCE * 9)
        .family_delay(Duration::from_millis(1));
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
    let error = next(&mut resolver).await.expect_err("the endpoints must not be dropped at once");
    assert!(error.message().contains("NXDOMAIN"), "{error}");
    let first_empty = tokio::time::Instant::now();
    let emptied =
        tokio::time::timeout(PATIENCE, next_set(&mut resolver)).await.expect("it is never honoured");
    assert!(emptied.is_empty());
    // The first answer was there a moment before we saw it.
    assert!(first_empty.elapsed() >= grace - Duration::from_millis(100), "{:?}", first_empty.elapsed());
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
async fn nothing_is_left_behind_by_a_resolver_that_was_dropped_while_it_asked() {
    let server = DnsServer::start().await;
    let whole = Reply::Addresses { ips: ips(&["10.0.0.1"]), ttl: 0 };
    server.reply(NAME, RecordType::A, Reply::Truncated(Box::new(whole)));
    server.reply(NAME, RecordType::AAAA, Reply::NoData { negative_ttl: 0 });
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut resolver = dns(&server);
    // Over TCP, which leaves a connection with a task of its own.
    next_set(&mut resolver).await;
    server.fail_with(Reply::Drop);
    let asked = server.count(NAME, RecordType::A);
    quiet_until(&mut resolver, server.asked(NAME, RecordType::A, asked + 1)).await;
    drop(resolver);
    let gone = async {
        // The server has a task per connection too: both ends are gone.
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("a task has outlived its resolver");
}

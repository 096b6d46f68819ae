//! What discovery by DNS asks, and whom, against real servers.
#![cfg(feature = "dns")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use grpc_balance::{
    discover::{Dns, DnsConfig, for_target_with_dns},
    target::Target,
};
use hickory_server::proto::rr::RecordType;

use self::support::{
    dns::{DnsServer, Reply, Service},
    resolve::{PATIENCE, addresses, ips, next, next_set, quick, quiet_until},
};

const NAME: &str = "greeter.test";

#[tokio::test]
async fn truncated_answers_are_fetched_over_tcp() {
    let server = DnsServer::start().await;
    let many: Vec<IpAddr> = (0..200).map(|i| IpAddr::from([10, 1, 0, i])).collect();
    server.set(NAME, 30, many.clone());
    let whole = Reply::Addresses { ips: many, ttl: 30 };
    server.reply(NAME, RecordType::A, Reply::Truncated(Box::new(whole)));
    let mut resolver = Dns::with_config(NAME, 50051, quick(&server)).unwrap();
    assert_eq!(next_set(&mut resolver).await.len(), 200);
    assert!(server.queries().iter().any(|query| query.tcp));
}

#[tokio::test]
async fn a_silent_server_is_passed_over_and_not_asked_first_again() {
    let (silent, sound) = (DnsServer::start().await, DnsServer::start().await);
    silent.fail_with(Reply::Drop);
    sound.set(NAME, 0, ips(&["10.0.0.1"]));
    let config =
        quick(&sound).servers([silent.address(), sound.address()]).attempt_timeout(Duration::from_secs(2));
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
async fn the_hosts_file_settles_names_and_is_read_again() {
    let server = DnsServer::start().await;
    let path = std::env::temp_dir().join(format!("grpc-balance-hosts-{}", std::process::id()));
    std::fs::write(&path, "10.0.0.1 greeter.test\n").unwrap();
    let config = quick(&server).hosts_path(&path).max_interval(Duration::from_millis(50));
    let mut resolver = Dns::with_config(NAME, 1, config).unwrap();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:1"]);
    assert!(server.queries().is_empty());
    std::fs::write(&path, "10.0.0.1 greeter.test\nfd00::1 greeter.test\n").unwrap();
    assert_eq!(addresses(&next_set(&mut resolver).await), ["10.0.0.1:1", "[fd00::1]:1"]);
    std::fs::remove_file(&path).unwrap();
    server.set(NAME, 30, ips(&["10.0.0.3"]));
    // Each of the old ones is asked for once more, so that they may leave one by one.
    let found = async { while addresses(&next_set(&mut resolver).await) != ["10.0.0.3:1"] {} };
    tokio::time::timeout(PATIENCE, found).await.expect("DNS is not asked");
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
    let resolver = |config| Dns::with_config("_grpc._tcp.greeter.test", 50051, config).unwrap();
    let plain = next_set(&mut resolver(quick(&server).srv(true))).await;
    assert!(plain.endpoints().iter().all(|e| e.host_name().is_none()), "DNS does not decide who is trusted");
    let set = next_set(&mut resolver(quick(&server).srv(true).srv_host_names(true))).await;
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
async fn a_host_of_an_srv_name_that_fails_keeps_its_endpoint_while_the_others_change() {
    let server = DnsServer::start().await;
    let service = |port, target: &str| Service { priority: 0, weight: 1, port, target: target.into() };
    let records = vec![service(1001, "one.test"), service(1002, "two.test"), service(1003, "two.test")];
    server.reply(NAME, RecordType::SRV, Reply::Services { records, ttl: 0 });
    server.set("one.test", 0, ips(&["10.0.0.1"]));
    server.set("two.test", 0, ips(&["10.0.0.2"]));
    let mut resolver = Dns::with_config(NAME, 1, quick(&server).srv(true)).unwrap();
    assert_eq!(
        addresses(&next_set(&mut resolver).await),
        ["10.0.0.1:1001", "10.0.0.2:1002", "10.0.0.2:1003"]
    );
    let polls = server.count(NAME, RecordType::SRV);
    assert_eq!(
        server.count("two.test", RecordType::A),
        polls,
        "a host is asked for once, whatever its ports"
    );

    server.reply("one.test", RecordType::A, Reply::ServFail);
    server.reply("one.test", RecordType::AAAA, Reply::ServFail);
    server.set("two.test", 0, ips(&["10.0.0.3"]));
    let settled = async {
        while addresses(&next_set(&mut resolver).await) != ["10.0.0.1:1001", "10.0.0.3:1002", "10.0.0.3:1003"]
        {
        }
    };
    tokio::time::timeout(PATIENCE, settled)
        .await
        .expect("one failing host holds the others up, or is dropped");
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

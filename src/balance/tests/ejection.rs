//! Endpoints that serve worse than the others get no calls for a while.

use std::{collections::HashMap, time::Duration};

use futures_util::poll;
use tower_service::Service as _;

use super::scripted::{Call, Dialled, Peer, Received, Scripted, endpoint, pushed, request, settle};
use crate::{
    balance::Balance,
    eject::{Eject, SuccessRate},
    grpc::Code,
    health::Panic,
    policy::RoundRobin,
};

struct Set {
    balance: Balance<Scripted>,
    dialled: Dialled,
    peers: HashMap<u16, Peer>,
}

impl Set {
    async fn of(endpoints: u16, eject: Eject) -> Self {
        let (handle, builder, dialled) = pushed();
        let builder = builder.policy(RoundRobin::seeded(3)).eject(eject).panic(Panic::fail_fast());
        let balance = builder.build().expect("in a runtime");
        let mut set = Self { balance, dialled, peers: HashMap::new() };
        for number in 1..=endpoints {
            handle.insert(endpoint(number));
            let peer = set.dialled.accept().await;
            set.peers.insert(number, peer);
        }
        settle().await;
        // The set stays as it is without its handle.
        set
    }

    /// Sends a call: to whom, and what arrived.
    async fn send(&mut self) -> (u16, Received, std::pin::Pin<Box<Call>>) {
        let mut call = Box::pin(self.balance.call(request()));
        assert!(poll!(&mut call).is_pending(), "the call is sent, and not answered yet");
        let arrived = |(number, peer): (&u16, &mut Peer)| Some((*number, peer.received()?));
        let (number, received) = self.peers.iter_mut().find_map(arrived).expect("the call was sent");
        (number, received, call)
    }

    /// Makes calls, and counts who gets them. Those to the bad one end with this status.
    async fn calls(&mut self, calls: usize, bad: u16, code: Code) -> HashMap<u16, usize> {
        let mut counts = HashMap::new();
        for _ in 0..calls {
            let (number, received, call) = self.send().await;
            received.status(if number == bad { code } else { Code::Ok });
            call.await.expect("it is answered");
            *counts.entry(number).or_default() += 1;
        }
        settle().await;
        counts
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn gateway_errors_in_a_row_eject_at_once_and_the_connection_stays() {
    let mut set = Set::of(3, Eject::new()).await;
    let before = set.calls(15, 2, Code::Unavailable).await;
    assert_eq!(before.values().sum::<usize>(), 15);
    assert_eq!(before[&2], 5, "{before:?}");
    let health = set.balance.health().now();
    assert_eq!((health.ejected_count(), health.healthy_count(), health.ready_count()), (1, 2, 3));
    assert_eq!(health.unfit_endpoints().len(), 1);
    assert!(health.unfit_endpoints()[0].1.starts_with("ejected: "), "{:?}", health.unfit_endpoints());
    assert_eq!(set.calls(30, 2, Code::Unavailable).await.get(&2), None);
    assert!(!set.peers[&2].is_let_go().await, "its connection stays");
    assert_eq!(set.balance.stats().endpoints[1].ejections, 1);
    // Another one in a row as bad as that stays: a tenth of the set may be ejected, and one always.
    set.calls(30, 3, Code::Unavailable).await;
    assert_eq!(set.balance.health().now().ejected_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_returns_by_one_call_at_a_time_and_relapses_last_longer() {
    let mut set = Set::of(3, Eject::new()).await;
    set.calls(15, 2, Code::Unavailable).await;
    assert_eq!(set.balance.health().now().ejected_count(), 1);
    set.pass(29).await;
    assert_eq!(set.calls(30, 2, Code::Ok).await.get(&2), None, "not before the base time");
    set.pass(12).await;
    assert_eq!(set.balance.health().now().ejected_count(), 0);
    // One call at a time: while it is under way the others go elsewhere.
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(set.send().await);
    }
    let on_trial: Vec<_> = open.iter().filter(|(number, ..)| *number == 2).collect();
    assert_eq!(on_trial.len(), 1);
    for (number, received, call) in open {
        received.status(if number == 2 { Code::Unavailable } else { Code::Ok });
        call.await.expect("it is answered");
    }
    settle().await;
    assert_eq!(set.balance.health().now().ejected_count(), 1, "the trial failed");
    set.pass(41).await;
    assert_eq!(set.balance.health().now().ejected_count(), 1, "twice the base time now");
    set.pass(31).await;
    assert_eq!(set.balance.health().now().ejected_count(), 0);
    // A trial that its caller gives up says nothing, and the next call is the trial.
    loop {
        let (number, received, call) = set.send().await;
        if number == 2 {
            drop(call);
            break;
        }
        received.status(Code::Ok);
        call.await.expect("it is answered");
    }
    let after = set.calls(60, 0, Code::Ok).await;
    assert!((18..=22).contains(&after[&2]), "it is like any other again: {after:?}");
}

#[tokio::test(start_paused = true)]
async fn with_nobody_else_to_go_to_a_trial_makes_no_call_wait() {
    let mut set = Set::of(1, Eject::new()).await;
    set.calls(5, 1, Code::Unavailable).await;
    let error = set.balance.call(request()).await.expect_err("the only one is ejected");
    assert!(error.to_string().contains("ejected: "), "{error}");
    set.pass(41).await;
    let (first, second) = (set.send().await, set.send().await);
    assert_eq!((first.0, second.0), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a50_compares_success_rates_at_each_sweep() {
    let rule = SuccessRate::a50().volume(10);
    let mut set = Set::of(5, Eject::a50().success_rate(rule)).await;
    set.calls(100, 4, Code::NotFound).await;
    assert_eq!(set.balance.health().now().ejected_count(), 0, "not before the sweep");
    set.pass(11).await;
    assert_eq!(set.balance.health().now().ejected_count(), 1, "every status but OK is a failure to A50");
    assert_eq!(set.calls(100, 4, Code::NotFound).await.get(&4), None);
    // The sweep after the base time: without a trial it is like any other at once.
    set.pass(31).await;
    assert_eq!(set.calls(50, 0, Code::Ok).await[&4], 10);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_is_no_ok_to_a50() {
    let rule = SuccessRate::a50().volume(10);
    let mut set = Set::of(5, Eject::a50().success_rate(rule)).await;
    for _ in 0..100 {
        let mut request = request();
        request.headers_mut().insert("grpc-timeout", "50m".parse().expect("a value"));
        let mut call = Box::pin(set.balance.call(request));
        assert!(poll!(&mut call).is_pending());
        let arrived = |(number, peer): (&u16, &mut Peer)| Some((*number, peer.received()?));
        let (number, received) = set.peers.iter_mut().find_map(arrived).expect("the call was sent");
        if number == 4 {
            assert_eq!(call.await.expect_err("nobody answers").code(), Code::DeadlineExceeded);
        } else {
            received.status(Code::Ok);
            call.await.expect("it is answered");
        }
    }
    set.pass(11).await;
    assert_eq!(set.balance.health().now().ejected_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn broken_connections_count_as_failures_of_local_origin() {
    let mut set = Set::of(3, Eject::new()).await;
    for _ in 0..15 {
        let (number, received, call) = set.send().await;
        if number == 2 {
            drop(received);
            call.await.expect_err("the pipe broke");
        } else {
            received.status(Code::Ok);
            call.await.expect("it is answered");
        }
    }
    settle().await;
    assert_eq!(set.balance.health().now().ejected_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_setting_out_of_range_is_named_at_build() {
    let (_handle, builder, _dialled) = pushed();
    let error = builder.eject(Eject::new().max_percent(101)).build().expect_err("no such share");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains("max_percent"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_goaway_left_unprocessed_are_no_errors_in_a_row() {
    let mut set = Set::of(3, Eject::new()).await;
    for _ in 0..30 {
        let (number, received, call) = set.send().await;
        if number != 2 {
            received.status(Code::Ok);
            call.await.expect("it is answered");
            continue;
        }
        received.refuse(true);
        let mut call = call;
        loop {
            assert!(poll!(&mut call).is_pending(), "it goes elsewhere");
            let arrived = |(number, peer): (&u16, &mut Peer)| Some((*number, peer.received()?));
            let (again, received) = set.peers.iter_mut().find_map(arrived).expect("it was sent again");
            if again == 2 {
                received.refuse(true);
                continue;
            }
            received.status(Code::Ok);
            break;
        }
        call.await.expect("it is answered");
    }
    settle().await;
    assert_eq!(set.balance.health().now().ejected_count(), 0, "a graceful restart is no outlier");
}

//! Who gets calls when endpoints are unwell, and what the health handle tells.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::poll;
use tokio::{sync::mpsc, time::Instant};
use tower_service::Service as _;

use super::scripted::{Dialled, Line, Peer, Scripted, endpoint, pushed, request, settle};
use crate::{
    balance::{
        Balance, Builder,
        probing::{Kit, Prepare, Probing, StartProbe, VerdictSender, Ward},
    },
    connect::Connect,
    discover::PushedHandle,
    grpc::Code,
    health::{Panic, Verdict},
    policy::{P2c, PickFirst, Policy, RoundRobin},
    slow_start::SlowStart,
};

/// A balancer whose endpoints the test probes by hand.
struct Probed {
    handle: PushedHandle,
    balance: Balance<Scripted>,
    dialled: Dialled,
    wards: mpsc::UnboundedReceiver<Ward>,
    verdicts: HashMap<u16, VerdictSender>,
    peers: HashMap<u16, Peer>,
    lent: Arc<AtomicUsize>,
}

/// Hands those who are to be probed to the test, and counts the connections that are lent to their probes.
struct ByHand(mpsc::UnboundedSender<Ward>, Arc<AtomicUsize>);

impl Prepare<Scripted> for ByHand {
    fn prepare(self: Box<Self>, _: Kit<'_, Scripted>) -> StartProbe<<Scripted as Connect>::Connection> {
        Arc::new(move |ward: Ward| -> Probing<Line> {
            let endpoint = ward.endpoint.clone();
            self.0.send(ward).expect("the test goes on");
            let lent = self.1.clone();
            Probing::new(tokio::spawn(std::future::pending::<()>()).abort_handle(), endpoint).lend_to(
                move |_| {
                    lent.fetch_add(1, Relaxed);
                },
            )
        })
    }
}

impl Probed {
    fn new(configure: impl FnOnce(Builder<Scripted>) -> Builder<Scripted>) -> Self {
        let (handle, builder, dialled) = pushed();
        let (sender, wards) = mpsc::unbounded_channel();
        let lent = Arc::<AtomicUsize>::default();
        let balance = configure(builder.prepare(ByHand(sender, lent.clone()))).build().expect("in a runtime");
        Self { handle, balance, dialled, wards, verdicts: HashMap::new(), peers: HashMap::new(), lent }
    }

    /// Adds endpoints and accepts the connections to them.
    async fn add(&mut self, numbers: impl IntoIterator<Item = u16>) {
        for number in numbers {
            self.handle.insert(endpoint(number));
            let peer = self.dialled.accept().await;
            self.peers.insert(number, peer);
            let ward = self.wards.try_recv().expect("it is probed");
            assert_eq!(**ward.endpoint.load(), endpoint(number));
            self.verdicts.insert(number, ward.verdicts);
        }
    }

    async fn passes(&self, number: u16) {
        self.verdicts[&number].send(Some(Verdict::passing(Instant::now())));
        settle().await;
    }

    async fn fails(&self, number: u16) {
        self.verdicts[&number].send(Some(Verdict::failing("NOT_SERVING", Instant::now())));
        settle().await;
    }

    /// Makes calls, and counts who gets them.
    async fn spread(&mut self, calls: usize) -> HashMap<u16, usize> {
        let mut counts = HashMap::new();
        for _ in 0..calls {
            let mut call = pin!(self.balance.call(request()));
            assert!(poll!(&mut call).is_pending(), "the call is sent, and not answered yet");
            let (number, received) = self
                .peers
                .iter_mut()
                .find_map(|(number, peer)| Some((*number, peer.received()?)))
                .expect("the call was sent");
            received.status(Code::Ok);
            call.await.expect("it is answered");
            *counts.entry(number).or_default() += 1;
        }
        counts
    }

    async fn who(&mut self) -> Vec<u16> {
        let mut who: Vec<u16> = self.spread(60).await.into_keys().collect();
        who.sort_unstable();
        who
    }
}

#[tokio::test(start_paused = true)]
async fn a_probed_endpoint_gets_no_calls_before_its_first_verdict() {
    let mut probed = Probed::new(|builder| builder);
    probed.add([1, 2]).await;
    let mut balance = probed.balance.clone();
    let mut call = pin!(balance.call(request()));
    assert!(poll!(&mut call).is_pending());
    settle().await;
    assert!(poll!(&mut call).is_pending());
    assert_eq!(
        probed.peers[&1].calls_waiting() + probed.peers[&2].calls_waiting(),
        0,
        "it waits for a verdict"
    );
    assert_eq!(probed.balance.health().now().awaiting_count(), 2);
    probed.passes(2).await;
    assert!(poll!(&mut call).is_pending());
    probed.peers.get_mut(&2).expect("a peer").received().expect("it was sent").status(Code::Ok);
    call.await.expect("it is answered");
    assert_eq!(probed.who().await, [2]);
}

#[tokio::test(start_paused = true)]
async fn an_unfit_endpoint_gets_no_calls_and_keeps_its_connection_and_its_streams() {
    let mut probed = Probed::new(|builder| builder);
    probed.add([1, 2, 3]).await;
    for number in 1..=3 {
        probed.passes(number).await;
    }
    assert_eq!(probed.who().await, [1, 2, 3]);
    // A call that is under way stays.
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(probed.balance.call(request()))).collect();
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    let waiting = probed.peers[&1].calls_waiting();
    probed.fails(1).await;
    assert_eq!(probed.peers[&1].calls_waiting(), waiting, "none was cut");
    assert!(!probed.peers[&1].is_let_go().await);
    drop(calls);
    for peer in probed.peers.values_mut() {
        while peer.received().is_some() {}
    }
    assert_eq!(probed.who().await, [2, 3]);
    probed.passes(1).await;
    assert_eq!(probed.who().await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn strictly_below_the_threshold_health_is_ignored_among_ready_endpoints() {
    let mut probed = Probed::new(|builder| builder);
    probed.add([1, 2, 3, 4]).await;
    for number in 1..=4 {
        probed.passes(number).await;
    }
    probed.fails(1).await;
    probed.fails(2).await;
    assert_eq!(probed.who().await, [3, 4], "exactly half is enough");
    probed.fails(3).await;
    assert_eq!(probed.who().await, [1, 2, 3, 4], "a quarter is not");
    let health = probed.balance.health().now();
    assert!(health.is_in_panic());
    assert_eq!((health.total_count(), health.healthy_count(), health.ready_count()), (4, 1, 4));
    assert_eq!(health.unfit_endpoints().len(), 3);
    // A new endpoint is not called before its first verdict, panic or not.
    probed.add([5]).await;
    assert_eq!(probed.who().await, [1, 2, 3, 4]);
    probed.fails(5).await;
    assert_eq!(probed.who().await, [1, 2, 3, 4, 5]);
    // What is not connected gets nothing in a panic either.
    probed.peers[&2].break_off().await;
    assert_eq!(probed.who().await, [1, 3, 4, 5]);
    assert_eq!(probed.balance.stats().panics, 1);
    for number in [1, 3] {
        probed.passes(number).await;
    }
    assert_eq!(probed.who().await, [1, 3, 4]);
    assert!(!probed.balance.health().now().is_in_panic());
}

#[tokio::test(start_paused = true)]
async fn without_panic_calls_fail_fast_with_the_cause_while_nobody_is_healthy() {
    let mut probed = Probed::new(|builder| builder.panic(Panic::fail_fast()));
    probed.add([1, 2]).await;
    probed.passes(1).await;
    probed.fails(2).await;
    assert_eq!(probed.who().await, [1]);
    probed.fails(1).await;
    let error = probed.balance.call(request()).await.expect_err("nobody is healthy");
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.is_safe_to_retry());
    assert!(error.to_string().contains("no healthy endpoint: 2 of 2"), "{error}");
    assert!(error.to_string().contains("NOT_SERVING"), "{error}");
    assert!(!probed.balance.health().now().is_in_panic());
}

#[tokio::test(start_paused = true)]
async fn an_address_that_comes_back_awaits_a_verdict_again() {
    let mut probed = Probed::new(|builder| builder);
    probed.add([1, 2]).await;
    probed.passes(1).await;
    probed.passes(2).await;
    let stale = probed.verdicts[&2].clone();
    probed.handle.remove(endpoint(2).key());
    settle().await;
    probed.add([2]).await;
    assert_eq!(probed.who().await, [1]);
    stale.send(Some(Verdict::passing(Instant::now())));
    settle().await;
    assert_eq!(probed.who().await, [1], "the verdict was on the endpoint that has left");
    probed.passes(2).await;
    assert_eq!(probed.who().await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_health_handle_counts_and_outlives_the_balancer_as_unhealthy() {
    let mut probed = Probed::new(|builder| builder);
    let health = probed.balance.health();
    let mut watch = health.watch();
    assert!(!health.now().is_resolved());
    probed.add([1, 2, 3]).await;
    probed.passes(1).await;
    probed.fails(2).await;
    let now = watch.wait_for(|now| now.healthy_count() == 1).await.expect("it lives").clone();
    assert_eq!((now.total_count(), now.ready_count(), now.awaiting_count()), (3, 3, 1));
    assert_eq!(now.unfit_endpoints().len(), 2, "one is unwell, one awaits its verdict");
    let mut call = Box::pin(probed.balance.call(request()));
    assert!(poll!(&mut call).is_pending());
    probed.handle.remove(endpoint(1).key());
    settle().await;
    assert_eq!((health.now().draining_count(), health.now().total_count()), (1, 2));
    drop(call);
    settle().await;
    // The connection closes.
    probed.peers.remove(&1);
    settle().await;
    assert_eq!(health.now().draining_count(), 0);
    drop(probed);
    settle().await;
    assert!(health.now().is_over());
    assert_eq!(health.now().healthy_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_an_unfit_endpoint_that_comes_free_keeps_no_call_from_a_fit_one() {
    let mut probed = Probed::new(|builder| builder.policy(RoundRobin::seeded(1)));
    probed.add([1, 2]).await;
    for number in [1, 2] {
        probed.peers[&number].set_max_streams(1).await;
        probed.passes(number).await;
    }
    let mut balance = probed.balance.clone();
    let mut calls = vec![Box::pin(balance.call(request())), Box::pin(balance.call(request()))];
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    probed.fails(2).await;
    let mut waiting = Box::pin(balance.call(request()));
    assert!(poll!(&mut waiting).is_pending());
    for number in [2, 1] {
        probed.peers.get_mut(&number).expect("a peer").received().expect("one each").status(Code::Ok);
        settle().await;
        let mut left = Vec::new();
        for mut call in calls {
            // The one whose answer has come lets go of its stream.
            if poll!(&mut call).is_pending() {
                left.push(call);
            }
        }
        calls = left;
    }
    assert!(calls.is_empty());
    assert!(poll!(&mut waiting).is_pending());
    settle().await;
    assert_eq!((probed.peers[&1].calls_waiting(), probed.peers[&2].calls_waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn pick_first_goes_on_to_the_next_when_its_endpoint_is_unfit() {
    let mut probed = Probed::new(|builder| builder.policy(PickFirst::new()));
    probed.handle.replace([endpoint(1), endpoint(2)]);
    let peer = probed.dialled.accept().await;
    probed.peers.insert(1, peer);
    for number in [1, 2] {
        let ward = probed.wards.try_recv().expect("it is probed");
        probed.verdicts.insert(number, ward.verdicts);
    }
    probed.passes(1).await;
    assert_eq!(probed.who().await, [1]);
    probed.fails(1).await;
    let peer = probed.dialled.accept().await;
    probed.peers.insert(2, peer);
    probed.passes(2).await;
    assert_eq!(probed.who().await, [2]);
    probed.passes(1).await;
    assert_eq!(probed.who().await, [2], "it stays with the one that it has");
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_lent_a_connection_once_whatever_else_changes() {
    let mut probed = Probed::new(|builder| builder);
    probed.add([1]).await;
    probed.passes(1).await;
    let before = probed.lent.load(Relaxed);
    probed.handle.insert(endpoint(1).with_weight(7));
    settle().await;
    assert_eq!(probed.lent.load(Relaxed), before, "a watch would await its verdict anew");
    probed.peers[&1].break_off().await;
    assert_eq!(probed.lent.load(Relaxed), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_out_of_range_is_named_at_build() {
    let (_handle, builder, _dialled) = pushed();
    let error = builder.slow_start(SlowStart::over(Duration::ZERO)).build().expect_err("no window");
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains("`window`"), "{error}");
}

/// The share of a new endpoint beside two old ones, over its window, against Envoy's formula.
async fn the_share_of_a_new_endpoint_follows_the_formula(policy: impl Policy) {
    let window = Duration::from_secs(10);
    let slow_start = SlowStart::over(window);
    let mut probed = Probed::new(|builder| builder.policy(policy).slow_start(slow_start));
    probed.add([1, 2]).await;
    probed.passes(1).await;
    probed.passes(2).await;
    let at_start = probed.spread(600).await;
    assert!(at_start.values().all(|&calls| calls > 240), "when all are new none is slow: {at_start:?}");
    tokio::time::advance(window * 2).await;
    probed.add([3]).await;
    probed.passes(3).await;
    let mut all = 0;
    for quarter in 0..4 {
        // In the middle of each quarter.
        tokio::time::advance(if quarter == 0 { window / 8 } else { window / 4 }).await;
        settle().await;
        let factor = slow_start.factor(window * (2 * quarter + 1) / 8);
        let calls = 6_000;
        let got = probed.spread(calls).await.get(&3).copied().unwrap_or(0);
        let expected = calls as f64 * factor / (2.0 + factor);
        let off = (got as f64 - expected).abs() / expected;
        assert!(off < 0.10, "{got} of {calls} calls at {quarter}/4 of the window, expected {expected:.0}");
        all += got;
    }
    assert!(all > 0);
    tokio::time::advance(window / 8 + Duration::from_millis(1)).await;
    settle().await;
    let after = probed.spread(3_000).await[&3];
    assert!((900..1_100).contains(&after), "{after} of 3000 after the window");
}

#[tokio::test(start_paused = true)]
async fn slow_start_ramps_the_share_under_round_robin() {
    the_share_of_a_new_endpoint_follows_the_formula(RoundRobin::seeded(7)).await;
}

#[tokio::test(start_paused = true)]
async fn slow_start_ramps_the_share_under_p2c() {
    the_share_of_a_new_endpoint_follows_the_formula(P2c::least_pending()).await;
}

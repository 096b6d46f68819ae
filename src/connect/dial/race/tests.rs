use std::{
    cell::{Cell, RefCell},
    future::pending,
    rc::Rc,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn v4(n: u8) -> Address {
    Address::Tcp(([10, 0, 0, n], 1).into())
}

fn v6(n: u16) -> Address {
    Address::Tcp(([0, 0, 0, 0, 0, 0, 0, n], 1).into())
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

/// What an address does when it is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Good(u64),
    Refused(u64),
    BlackHole,
}

use Peer::{BlackHole, Good, Refused};

struct Raced {
    result: Result<Address, Vec<(Address, &'static str)>>,
    took: Duration,
    started: Vec<(Address, Duration)>,
    left_running: usize,
}

async fn raced(peers: &[(Address, Peer)], delay: AttemptDelay) -> Raced {
    let began = Instant::now();
    let started = RefCell::new(Vec::new());
    let running = Rc::new(Cell::new(0));
    struct Running(Rc<Cell<usize>>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }
    let addresses: Vec<Address> = peers.iter().map(|(address, _)| address.clone()).collect();
    let result = race(&addresses, delay, |address| {
        started.borrow_mut().push((address.clone(), began.elapsed()));
        running.set(running.get() + 1);
        let guard = Running(running.clone());
        let peer = peers.iter().find(|(known, _)| *known == address).unwrap().1;
        async move {
            let _guard = guard;
            match peer {
                Good(ms) => {
                    sleep(MS * ms as u32).await;
                    Ok(address)
                }
                Refused(ms) => {
                    sleep(MS * ms as u32).await;
                    Err("refused")
                }
                BlackHole => pending().await,
            }
        }
    })
    .await;
    Raced { result, took: began.elapsed(), started: started.into_inner(), left_running: running.get() }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_costs_one_attempt_delay() {
    let raced = raced(&[(v6(1), BlackHole), (v4(1), Good(1))], AttemptDelay::default()).await;
    assert_eq!(raced.result, Ok(v4(1)));
    assert!((250..=255).contains(&raced.took.as_millis()), "{:?}", raced.took);
    assert_eq!(raced.left_running, 0, "the loser is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_starts_the_next_attempt_at_once() {
    let raced = raced(&[(v6(1), Refused(1)), (v4(1), Good(1))], AttemptDelay::default()).await;
    assert_eq!(raced.result, Ok(v4(1)));
    assert!(raced.took <= MS * 5, "{:?}", raced.took);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_good_and_bad_does_not_matter() {
    let peers = [(v6(1), BlackHole), (v4(1), Refused(1)), (v6(2), Good(1))];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let raced = raced(&order.map(|i| peers[i].clone()), AttemptDelay::default()).await;
        assert_eq!(raced.result, Ok(v6(2)), "{order:?}");
        assert!(raced.took <= MS * 260, "{order:?}: {:?}", raced.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_first_address_still_wins_if_it_is_done_first() {
    let raced = raced(&[(v6(1), Good(300)), (v4(1), Good(200))], AttemptDelay::default()).await;
    assert_eq!(raced.result, Ok(v6(1)), "at 300 ms, before 250 + 200 ms");
    assert_eq!(raced.started.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fast_first_address_is_the_only_one_tried() {
    let raced = raced(&[(v6(1), Good(249)), (v4(1), Good(1))], AttemptDelay::default()).await;
    assert_eq!((raced.result, raced.started.len()), (Ok(v6(1)), 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_address_has_no_timer() {
    let peers = [(v6(1), Refused(1)), (v4(1), Good(60_000))];
    let raced = raced(&peers, AttemptDelay::default()).await;
    assert_eq!(raced.result, Ok(v4(1)));
}

#[tokio::test(start_paused = true)]
async fn families_alternate_and_the_first_one_comes_first() {
    let mut addresses = vec![v6(1), v6(2), v6(3), v4(1), unix("/a"), v4(2)];
    assert_eq!(interleave(&addresses), [v6(1), v4(1), unix("/a"), v6(2), v4(2), v6(3)]);
    addresses.rotate_left(3);
    assert_eq!(interleave(&addresses), [v4(1), unix("/a"), v6(1), v4(2), v6(2), v6(3)]);
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_every_error_is_told_in_the_order_of_the_attempts() {
    let raced = raced(&[(v6(1), Refused(600)), (v4(1), Refused(1))], AttemptDelay::default()).await;
    assert_eq!(raced.result, Err(vec![(v6(1), "refused"), (v4(1), "refused")]));
    assert_eq!(raced.took, MS * 600);
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_held_to_the_limits_of_the_specification() {
    for (set, held) in [(0, 100), (99, 100), (150, 150), (2_000, 2_000), (60_000, 2_000)] {
        let raced = raced(&[(v6(1), BlackHole), (v4(1), Good(0))], AttemptDelay::new(MS * set)).await;
        assert!((held..held + 5).contains(&raced.took.as_millis()), "{set}: {:?}", raced.took);
    }
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![(0..1_000u64).prop_map(Good), (0..1_000u64).prop_map(Refused), Just(BlackHole)]
}

proptest! {
    #[test]
    fn a_good_address_is_found_within_the_delays_before_it(
        peers in prop::collection::vec((peer(), any::<bool>()), 1..8),
    ) {
        let peers: Vec<(Address, Peer)> = (1..)
            .zip(peers)
            .map(|(n, (peer, four))| (if four { v4(n) } else { v6(n.into()) }, peer))
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let bound = MS * 250 * peers.len() as u32 + MS * 1_000;
        let raced = runtime.block_on(async {
            tokio::time::timeout(bound, raced(&peers, AttemptDelay::default())).await
        });
        let good = peers.iter().any(|(_, peer)| matches!(peer, Good(_)));
        let holes = peers.iter().any(|(_, peer)| *peer == BlackHole);
        match raced {
            Ok(raced) => {
                prop_assert_eq!(raced.result.is_ok(), good);
                prop_assert_eq!(raced.left_running, 0);
                for (i, (address, _)) in raced.started.iter().enumerate() {
                    prop_assert!(raced.started[..i].iter().all(|(other, _)| other != address), "tried twice");
                }
            }
            Err(_) => prop_assert!(!good && holes, "a good address was not found in {:?}", bound),
        }
    }
}

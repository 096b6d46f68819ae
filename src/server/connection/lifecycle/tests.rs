use proptest::prelude::*;

use super::*;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn limits() -> Limits {
    Limits { head: Some(secs(10)), idle: Some(secs(60)), age: Some(secs(1_000)), age_grace: Some(secs(30)) }
}

struct Clock {
    start: Instant,
    lifecycle: Lifecycle,
}

impl Clock {
    fn new(limits: Limits) -> Self {
        let start = Instant::now();
        Self { start, lifecycle: Lifecycle::new(limits, start) }
    }

    /// What is seen so many seconds after the start.
    fn seen(&self, at: u64) -> Observation {
        let now = self.start + secs(at);
        Observation { now, active: 0, idle_since: self.start, owed_since: None, written: 0, draining: false }
    }

    fn at(&self, at: u64) -> Step {
        Step::Wait(Some(self.start + secs(at)))
    }
}

#[test]
fn an_idle_connection_leaves_and_a_busy_one_stays() {
    let mut clock = Clock::new(limits());
    assert_eq!(clock.lifecycle.step(clock.seen(0)), clock.at(60));
    let busy = Observation { active: 1, ..clock.seen(100) };
    assert_eq!(clock.lifecycle.step(busy), clock.at(1_000));
    let idle_since = clock.start + secs(110);
    assert_eq!(clock.lifecycle.step(Observation { idle_since, ..clock.seen(111) }), clock.at(170));
    let idle = Observation { idle_since, ..clock.seen(170) };
    assert_eq!(clock.lifecycle.step(idle), Step::Leave(Leave::Idle));
}

#[test]
fn a_head_that_is_not_finished_cuts_the_connection_even_beside_requests() {
    let mut clock = Clock::new(limits());
    let owed_since = Some(clock.start + secs(5));
    let owing = |at: Observation| Observation { owed_since, active: 3, ..at };
    assert_eq!(clock.lifecycle.step(owing(clock.seen(14))), clock.at(15));
    assert_eq!(clock.lifecycle.step(owing(clock.seen(15))), Step::Cut(Cut::Head));
}

#[test]
fn an_old_connection_leaves_and_its_requests_have_the_grace() {
    let mut clock = Clock::new(limits());
    let busy = |at: Observation| Observation { active: 1, ..at };
    assert_eq!(clock.lifecycle.step(busy(clock.seen(1_000))), Step::Leave(Leave::Aged));
    assert_eq!(clock.lifecycle.step(busy(clock.seen(1_001))), clock.at(1_030));
    assert_eq!(clock.lifecycle.step(busy(clock.seen(1_030))), Step::Cut(Cut::Grace));
}

#[test]
fn a_peer_that_does_not_acknowledge_is_cut_when_nothing_is_left_and_nothing_moves() {
    let mut clock = Clock::new(Limits { age_grace: None, ..limits() });
    let draining = |at: Observation| Observation { draining: true, ..at };
    assert_eq!(clock.lifecycle.step(draining(clock.seen(10))), Step::Leave(Leave::Drained));
    let busy = Observation { active: 1, ..clock.seen(100) };
    assert_eq!(clock.lifecycle.step(draining(busy)), Step::Wait(None), "the server has the deadline");
    assert_eq!(clock.lifecycle.step(draining(clock.seen(101))), clock.at(105));
    let moving = Observation { written: 9, ..clock.seen(104) };
    assert_eq!(clock.lifecycle.step(moving), clock.at(109), "its response still flows");
    let quiet = Observation { written: 9, ..clock.seen(109) };
    assert_eq!(clock.lifecycle.step(quiet), Step::Cut(Cut::Unacknowledged));
}

#[test]
fn limits_beyond_the_end_of_time_are_none() {
    let max = Some(Duration::MAX);
    let mut clock = Clock::new(Limits { head: max, idle: max, age: max, age_grace: max });
    let seen = Observation { owed_since: Some(clock.start), ..clock.seen(9) };
    assert_eq!(clock.lifecycle.step(seen), Step::Wait(None));
}

proptest! {
    /// Whatever is seen: it never waits for the past, it asks to leave once at most, and what left is not kept for
    /// ever.
    #[test]
    fn it_never_waits_for_the_past_and_leaves_once(
        seen in proptest::collection::vec((0..40u64, 0..3usize, any::<bool>(), 0..3u64, 0..100u8), 1..200),
    ) {
        let mut clock = Clock::new(limits());
        let (mut at, mut leaves, mut written, mut left_at) = (0, 0, 0, None);
        for (passed, active, owes, bytes, drain) in seen {
            at += passed;
            written += bytes;
            let now = clock.seen(at);
            let observation = Observation {
                active,
                owed_since: owes.then_some(now.now),
                written,
                draining: drain == 0,
                ..now
            };
            match clock.lifecycle.step(observation) {
                Step::Wait(Some(until)) => prop_assert!(until > now.now),
                Step::Wait(None) => prop_assert!(active > 0),
                Step::Leave(why) => {
                    leaves += 1;
                    left_at = (why != Leave::Drained).then_some(at);
                }
                Step::Cut(_) => break,
            }
            if let Some(left_at) = left_at {
                prop_assert!(at < left_at + 30, "the grace holds");
            }
        }
        prop_assert!(leaves <= 1);
    }
}

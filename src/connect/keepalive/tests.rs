use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A connection whose clock the test moves.
struct Sim {
    monitor: Monitor,
    start: Instant,
    now: Instant,
    last_read: Instant,
    reads: u64,
    busy: bool,
    progressed: bool,
}

impl Sim {
    fn new(config: Keepalive) -> Self {
        let start = Instant::now();
        Self {
            monitor: Monitor::new(config),
            start,
            now: start,
            last_read: start,
            reads: 0,
            busy: false,
            progressed: false,
        }
    }

    fn observe(&mut self) -> Action {
        let action = self.monitor.observe(Observation {
            now: self.now,
            last_read: self.last_read,
            reads: self.reads,
            busy: self.busy,
            progressed: std::mem::take(&mut self.progressed),
        });
        assert!(!matches!(action, Action::Wait(then) | Action::Ping(then) if then <= self.now), "it spins");
        action
    }

    fn read(&mut self) {
        self.last_read = self.now;
        self.reads += 1;
    }

    fn seconds(&self) -> u64 {
        (self.now - self.start).as_secs()
    }

    /// Follows the monitor to `end`, answering each ping after `answer`; the times of the pings, and of its giving up.
    fn run(&mut self, end: u64, answer: Option<Duration>) -> (Vec<u64>, Option<u64>) {
        let end = self.start + Duration::from_secs(end);
        let mut pings = Vec::new();
        loop {
            match self.observe() {
                Action::Rest => self.now = end,
                Action::Wait(then) => self.now = then.min(end),
                Action::GiveUp => return (pings, Some(self.seconds())),
                Action::Ping(then) => {
                    pings.push(self.seconds());
                    if let Some(answer) = answer {
                        self.now += answer;
                        self.read();
                    }
                    self.now = self.now.max(then.min(end));
                }
            }
            if self.now >= end {
                return (pings, None);
            }
        }
    }
}

#[test]
fn a_silent_peer_is_pinged_after_10_seconds_and_given_up_5_later() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    assert_eq!(sim.run(3600, None), (vec![10], Some(15)));
}

#[test]
fn silence_counts_from_the_call_not_from_before_it() {
    let mut sim = Sim::new(Keepalive::default());
    sim.now += 30 * SECOND;
    sim.busy = true;
    assert_eq!(sim.run(60, None), (vec![40], Some(45)));
}

#[test]
fn an_idle_connection_is_never_pinged() {
    let mut sim = Sim::new(Keepalive::default());
    assert_eq!(sim.run(100_000, None), (vec![], None));
}

#[test]
fn after_a_minute_of_idleness_the_next_call_comes_with_a_ping() {
    let mut sim = Sim::new(Keepalive::default());
    sim.now += 60 * SECOND;
    sim.busy = true;
    assert_eq!(sim.run(100, None), (vec![60], Some(65)));
}

#[test]
fn a_peer_that_only_answers_pings_is_pinged_twice_and_then_every_five_minutes() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    let (pings, given_up) = sim.run(1000, Some(Duration::ZERO));
    assert_eq!((pings, given_up), (vec![10, 20, 330, 640, 950], None));
}

#[test]
fn headers_or_data_start_a_new_quiet_period() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    assert_eq!(sim.run(100, Some(Duration::ZERO)).0, [10, 20]);
    sim.read();
    sim.progressed = true;
    assert_eq!(sim.run(200, Some(Duration::ZERO)).0, [110, 120]);
}

#[test]
fn a_long_spacing_does_not_hide_a_new_quiet_period() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    assert_eq!(sim.run(25, Some(Duration::ZERO)).0, [10, 20]);
    let Action::Wait(then) = sim.observe() else { panic!("nothing is due") };
    assert!(then <= sim.now + 10 * SECOND);
}

#[test]
fn any_byte_answers_a_ping() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    assert_eq!(sim.run(3600, Some(Duration::from_millis(4999))).1, None);
}

#[test]
fn a_ping_that_waits_for_its_answer_is_not_forgotten_as_the_call_ends() {
    let mut sim = Sim::new(Keepalive::default());
    sim.busy = true;
    assert_eq!(sim.run(11, None), (vec![10], None));
    sim.busy = false;
    assert_eq!(sim.run(20, None), (vec![], Some(15)));
}

#[test]
fn doubling_doubles_silence_and_spacing() {
    let mut sim = Sim::new(Keepalive::default().doubled());
    sim.busy = true;
    assert_eq!(sim.run(700, Some(Duration::ZERO)).0, [20, 40, 660]);
}

#[test]
fn settings_change_each_time() {
    let config = Keepalive::on_suspicion()
        .after_silence(3 * SECOND)
        .timeout(2 * SECOND)
        .burst(1)
        .spacing(60 * SECOND)
        .before_reuse_after(7 * SECOND);
    let mut sim = Sim::new(config.clone());
    sim.busy = true;
    assert_eq!(sim.run(100, Some(Duration::ZERO)).0, [3, 63]);
    let mut sim = Sim::new(config);
    sim.now += 7 * SECOND;
    sim.busy = true;
    assert_eq!(sim.run(100, None), (vec![7], Some(9)));
}

#[test]
fn times_beyond_the_end_of_the_clock_never_come() {
    let mut sim = Sim::new(Keepalive::on_suspicion().after_silence(Duration::MAX).timeout(Duration::MAX));
    sim.busy = true;
    assert_eq!(sim.observe(), Action::Rest);
}

#[derive(Clone, Debug)]
enum Event {
    Pass(u64),
    Read,
    Progress,
    Busy(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..400_000u64).prop_map(Event::Pass),
        Just(Event::Read),
        Just(Event::Progress),
        any::<bool>().prop_map(Event::Busy),
    ]
}

proptest! {
    /// What a server counts as strikes: pings without headers or data in between, less than 5 min apart.
    #[test]
    fn no_server_ever_counts_three_strikes(events in proptest::collection::vec(event(), 0..200)) {
        let mut sim = Sim::new(Keepalive::default());
        let (mut strikes, mut last_ping) = (0, None::<Instant>);
        for event in events {
            match event {
                Event::Pass(millis) => sim.now += Duration::from_millis(millis),
                Event::Read => sim.read(),
                Event::Progress => {
                    sim.read();
                    sim.progressed = true;
                    (strikes, last_ping) = (0, None);
                }
                Event::Busy(busy) => sim.busy = busy,
            }
            match sim.observe() {
                Action::Ping(_) => {
                    prop_assert!(sim.busy, "a ping while idle");
                    if last_ping.is_some_and(|last| sim.now - last < Duration::from_secs(300)) {
                        strikes += 1;
                    }
                    last_ping = Some(sim.now);
                    prop_assert!(strikes <= 2);
                }
                Action::GiveUp => {
                    prop_assert!(sim.now - sim.last_read >= Duration::from_secs(5));
                    sim.read();
                    sim.monitor = Monitor::new(Keepalive::default());
                    (strikes, last_ping) = (0, None);
                }
                Action::Rest | Action::Wait(_) => {}
            }
        }
    }
}

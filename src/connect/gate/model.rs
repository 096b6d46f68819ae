//! The gate and its queue under every interleaving that loom finds:
//! `RUSTFLAGS="--cfg model" cargo test --release --lib model`.
//!
//! The `Arc`s stay those of the standard library: they carry no part of the protocol.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic},
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    sync::atomic::{
        Ordering::{self, SeqCst},
        fence,
    },
    thread,
};

use super::{Gate, Permit, Room, Waiting};

/// loom takes SeqCst accesses for AcqRel ones, but knows SeqCst fences: with one between each write and the next read
/// it sees what the language promises of SeqCst accesses.
pub(super) struct AtomicUsize(loom::sync::atomic::AtomicUsize);

impl AtomicUsize {
    pub(super) fn new(value: usize) -> Self {
        Self(loom::sync::atomic::AtomicUsize::new(value))
    }

    pub(super) fn load(&self, order: Ordering) -> usize {
        fence(SeqCst);
        self.0.load(order)
    }

    pub(super) fn store(&self, value: usize, order: Ordering) {
        self.0.store(value, order);
        fence(SeqCst);
    }

    pub(super) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        let before = self.0.fetch_sub(value, order);
        fence(SeqCst);
        before
    }

    pub(super) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        next: impl FnMut(usize) -> Option<usize>,
    ) -> Result<usize, usize> {
        fence(SeqCst);
        let result = self.0.fetch_update(set, fetch, next);
        fence(SeqCst);
        result
    }
}

#[derive(Default)]
struct Wakes(atomic::AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A gate with one permit, and that permit.
fn full() -> (Arc<Room>, Arc<Gate>, Permit) {
    let room = Arc::new(Room::new());
    let gate = Arc::new(Gate::new(room.clone()));
    gate.set_max(1);
    let permit = gate.try_acquire().unwrap();
    (room, gate, permit)
}

fn poll(waiting: &mut Waiting, wakes: &Arc<Wakes>) -> Poll<Permit> {
    let waker = Waker::from(wakes.clone());
    Pin::new(waiting).poll(&mut Context::from_waker(&waker))
}

/// A call, up to where it would sleep.
enum Call {
    Sent(Permit),
    Asleep(Waiting, Arc<Wakes>),
}

fn call(room: &Arc<Room>, gate: &Arc<Gate>) -> Call {
    if let Some(permit) = gate.try_acquire() {
        return Call::Sent(permit);
    }
    let mut waiting = room.wait();
    if let Some(permit) = gate.try_acquire() {
        return Call::Sent(permit);
    }
    let wakes = Arc::default();
    match poll(&mut waiting, &wakes) {
        Poll::Ready(permit) => Call::Sent(permit),
        Poll::Pending => Call::Asleep(waiting, wakes),
    }
}

impl Call {
    /// Nothing else happens any more: whoever sleeps must have been woken.
    fn finish(self) -> Permit {
        match self {
            Self::Sent(permit) => permit,
            Self::Asleep(mut waiting, wakes) => {
                assert_eq!(wakes.0.load(SeqCst), 1, "a wake-up was lost");
                match poll(&mut waiting, &wakes) {
                    Poll::Ready(permit) => permit,
                    Poll::Pending => panic!("woken for nothing"),
                }
            }
        }
    }
}

fn assert_idle(room: &Room, gate: &Gate) {
    assert_eq!((gate.live(), room.waiting()), (0, 0));
}

#[test]
fn a_permit_that_is_freed_finds_the_call_that_begins_to_wait() {
    loom::model(|| {
        let (room, gate, permit) = full();
        let releaser = thread::spawn(move || drop(permit));
        let call = call(&room, &gate);
        releaser.join().unwrap();
        drop(call.finish());
        assert_idle(&room, &gate);
    });
}

#[test]
fn a_limit_that_is_raised_finds_the_call_that_begins_to_wait() {
    loom::model(|| {
        let room = Arc::new(Room::new());
        let gate = Arc::new(Gate::new(room.clone()));
        let raiser = thread::spawn({
            let gate = gate.clone();
            move || gate.set_max(1)
        });
        let call = call(&room, &gate);
        raiser.join().unwrap();
        drop(call.finish());
        assert_idle(&room, &gate);
    });
}

#[test]
fn a_call_that_leaves_as_it_is_served_leaks_nothing() {
    loom::model(|| {
        let (room, gate, permit) = full();
        let waiting = room.wait();
        let releaser = thread::spawn(move || drop(permit));
        drop(waiting);
        releaser.join().unwrap();
        assert_idle(&room, &gate);
    });
}

#[test]
fn a_permit_given_to_a_call_that_leaves_goes_to_the_next() {
    // Three threads are too many for every interleaving.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (room, gate, permit) = full();
        let leaving = room.wait();
        let releaser = thread::spawn(move || drop(permit));
        let leaver = thread::spawn(move || drop(leaving));
        let call = call(&room, &gate);
        releaser.join().unwrap();
        leaver.join().unwrap();
        drop(call.finish());
        assert_idle(&room, &gate);
    });
}

#[test]
fn two_calls_that_take_turns_both_get_theirs() {
    loom::model(|| {
        let (room, gate, permit) = full();
        let other = thread::spawn({
            let (room, gate) = (room.clone(), gate.clone());
            move || call(&room, &gate)
        });
        drop(permit);
        let mine = call(&room, &gate);
        let theirs = other.join().unwrap();
        // Whoever sleeps does so behind the other.
        match (mine, theirs) {
            (Call::Sent(permit), other) | (other, Call::Sent(permit)) => {
                drop(permit);
                drop(other.finish());
            }
            (first @ Call::Asleep(..), second @ Call::Asleep(..)) => {
                let served = |call: &Call| matches!(call, Call::Asleep(_, wakes) if wakes.0.load(SeqCst) > 0);
                let (served, other) = if served(&first) { (first, second) } else { (second, first) };
                drop(served.finish());
                drop(other.finish());
            }
        }
        assert_idle(&room, &gate);
    });
}

//! The queue of calls that found every connection full.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    Gate, Permit,
    sync::{AtomicUsize, Mutex, MutexGuard, Ordering::SeqCst},
};

/// Where calls wait that found every connection full, in the order in which they came.
///
/// See the [module documentation](crate::connect::gate) for the protocol.
pub struct Room {
    /// The length of the queue, to be read without its lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    next_ticket: u64,
    /// In the order of the tickets.
    waiters: VecDeque<(u64, Arc<Slot>)>,
}

/// Through which a waiter gets its permit.
struct Slot(Mutex<State>);

enum State {
    Empty(Option<Waker>),
    Served(Permit),
    Left,
}

impl Room {
    /// A room in which nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), queue: Mutex::new(Queue::default()) }
    }

    /// Joins the queue, at once rather than at the first poll.
    ///
    /// Look at the gates once more after joining: a permit that was freed just before went to nobody.
    #[must_use = "dropping it leaves the queue"]
    pub fn wait(self: &Arc<Self>) -> Waiting {
        let slot = Arc::new(Slot(Mutex::new(State::Empty(None))));
        let ticket = self.with_queue(|queue| {
            let ticket = queue.next_ticket;
            queue.next_ticket += 1;
            queue.waiters.push_back((ticket, slot.clone()));
            ticket
        });
        Waiting { room: self.clone(), slot, ticket }
    }

    /// How many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Hands what room the gate has to those who wait.
    pub(super) fn serve(&self, gate: &Arc<Gate>) {
        while self.waiting.load(SeqCst) > 0 && !gate.withheld.load(SeqCst) {
            let Some(mut permit) = gate.try_acquire() else { return };
            loop {
                let Some((_, slot)) = self.with_queue(|queue| queue.waiters.pop_front()) else {
                    // Whoever joins after this looks at the gate after this; the outer loop looks once more for
                    // those who joined in between.
                    permit.free();
                    break;
                };
                match slot.hand_over(permit) {
                    Ok(()) => break,
                    Err(refused) => permit = refused,
                }
            }
        }
    }

    fn with_queue<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut queue);
        self.waiting.store(queue.waiters.len(), SeqCst);
        result
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, permit: Permit) -> Result<(), Permit> {
        let mut state = self.lock();
        match mem::replace(&mut *state, State::Left) {
            State::Empty(waker) => {
                *state = State::Served(permit);
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                Ok(())
            }
            // A slot is popped, and so served, at most once.
            State::Served(first) => {
                *state = State::Served(first);
                Err(permit)
            }
            State::Left => Err(permit),
        }
    }
}

/// A place in the queue of a [`Room`]; resolves to a permit of whichever gate had one first.
///
/// Dropping it leaves the queue, and passes on a permit that it has been given already.
#[must_use = "futures do nothing unless polled"]
pub struct Waiting {
    room: Arc<Room>,
    slot: Arc<Slot>,
    ticket: u64,
}

impl Future for Waiting {
    type Output = Permit;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let mut state = self.slot.lock();
        match mem::replace(&mut *state, State::Left) {
            State::Served(permit) => Poll::Ready(permit),
            State::Empty(_) => {
                *state = State::Empty(Some(cx.waker().clone()));
                Poll::Pending
            }
            // Polled after it was ready.
            State::Left => Poll::Pending,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let left = mem::replace(&mut *self.slot.lock(), State::Left);
        match left {
            State::Empty(_) => self.room.with_queue(|queue| {
                if let Ok(place) = queue.waiters.binary_search_by_key(&self.ticket, |(ticket, _)| *ticket) {
                    queue.waiters.remove(place);
                }
            }),
            // The permit's own drop passes it on; no lock is held here.
            State::Served(permit) => drop(permit),
            State::Left => {}
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

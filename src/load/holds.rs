//! Failures that are still held against an endpoint.
//!
//! Each counts as pending until an expiry, so a set of counters that expire is what is needed: without a lock, since
//! calls end on any thread; without a timer, since there may be many; and in fixed space. A few slots do, each one
//! atomic word with an expiry and a count. A slot whose expiry has passed counts nothing and is free.
//!
//! Expiries are rounded up to an eighth of the hold, so that failures that come close together share a slot. Should
//! there still be no slot, counts are merged into the one with the nearest later expiry. Both only lengthen
//! a hold.

use std::sync::atomic::Ordering::Relaxed;

use super::{clock::Micros, sync::AtomicU64};

/// An expiry is rounded up to an eighth of the hold's length, itself rounded down to a power of two, so that steps of
/// different lengths nest. There are up to 16 such steps in a hold, of which 18 slots keep the expiries apart; the
/// other two are for when the length changes.
const STEPS: u64 = 8;
#[cfg(not(all(test, model)))]
const SLOTS: usize = 20;
#[cfg(all(test, model))]
const SLOTS: usize = 2;

/// The count takes the low bits: more failures than this within an eighth of a hold count as this many.
const COUNT_BITS: u32 = 16;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// The expiry takes the rest: almost nine years of microseconds.
const EXPIRY_MAX: u64 = u64::MAX >> COUNT_BITS;

/// Counters that expire. The layout is fixed so that [`until`](Self::until), which every pick reads, can share a
/// cache line with what stands before it, and the slots, which matter only after a failure, need not.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Holds {
    /// Nothing is held from here on.
    until: AtomicU64,
    slots: [AtomicU64; SLOTS],
}

#[derive(Clone, Copy)]
struct Slot {
    expiry: Micros,
    count: u64,
}

impl Slot {
    fn unpack(word: u64) -> Self {
        Self { expiry: word >> COUNT_BITS, count: word & COUNT_MAX }
    }

    fn pack(self) -> u64 {
        self.expiry << COUNT_BITS | self.count.min(COUNT_MAX)
    }
}

impl Holds {
    /// Counts one more from now until `length` after `from`.
    pub(super) fn add(&self, now: Micros, from: Micros, length: Micros) {
        let expiry = expiry(from, length);
        if expiry <= now {
            return;
        }
        loop {
            let (index, seen, slot) = self.place(now, expiry);
            let added = Slot { count: slot.count + 1, ..slot };
            let Some(word) = self.slots.get(index) else { return };
            // A lost race means that another thread has placed its count: look again.
            if word.compare_exchange(seen, added.pack(), Relaxed, Relaxed).is_ok() {
                self.until.fetch_max(slot.expiry, Relaxed);
                return;
            }
        }
    }

    /// Whether nothing was ever held, which spares a pick from working out what time it is.
    pub(super) fn never_held(&self) -> bool {
        self.until.load(Relaxed) == 0
    }

    /// How many count now.
    pub(super) fn count(&self, now: Micros) -> u64 {
        if self.until.load(Relaxed) <= now {
            return 0;
        }
        let slots = self.slots.iter().map(|word| Slot::unpack(word.load(Relaxed)));
        slots.filter(|slot| slot.expiry > now).map(|slot| slot.count).sum()
    }

    /// Chooses the slot for one more count: its index, the word that was seen there, and the slot to add to.
    fn place(&self, now: Micros, expiry: Micros) -> (usize, u64, Slot) {
        let (mut free, mut later, mut earlier) =
            (None, None::<(usize, u64, Slot)>, None::<(usize, u64, Slot)>);
        for (index, word) in self.slots.iter().enumerate() {
            let seen = word.load(Relaxed);
            let slot = Slot::unpack(seen);
            if slot.expiry <= now {
                free = free.or(Some((index, seen, Slot { expiry, count: 0 })));
            } else if slot.expiry == expiry {
                return (index, seen, slot);
            } else if slot.expiry > expiry {
                if later.is_none_or(|(_, _, best)| slot.expiry < best.expiry) {
                    later = Some((index, seen, slot));
                }
            } else if earlier.is_none_or(|(_, _, best)| slot.expiry > best.expiry) {
                earlier = Some((index, seen, Slot { expiry, ..slot }));
            }
        }
        // Every slot is one of the three, so the default is never taken.
        free.or(later).or(earlier).unwrap_or((0, 0, Slot { expiry, count: 0 }))
    }
}

/// When a hold of this length ends, rounded up to the next eighth of the length's power of two.
fn expiry(from: Micros, length: Micros) -> Micros {
    let step = (length.checked_ilog2().map_or(0, |log| 1 << log) / STEPS).max(1);
    // One more for the microsecond that rounding `from` down may have cut off.
    let end = from.saturating_add(length).saturating_add(1);
    end.checked_next_multiple_of(step).unwrap_or(end).min(EXPIRY_MAX)
}

#[cfg(all(test, not(model)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_until_the_expiry_and_not_after() {
        let holds = Holds::default();
        holds.add(1_100, 1_000, 20_000);
        assert_eq!(holds.count(1_100), 1);
        assert_eq!(holds.count(21_000), 1, "held for its whole length");
        assert_eq!(holds.count(21_000 + 20_000 / 8 + 1), 0, "lengthened by no more than an eighth");
    }

    #[test]
    fn a_hold_that_is_over_before_it_begins_counts_nothing() {
        let holds = Holds::default();
        holds.add(50_000, 1_000, 20_000);
        assert_eq!(holds.count(1_000), 0);
    }

    #[test]
    fn holds_of_one_length_never_run_out_of_slots() {
        // One failure per millisecond and a hold of 17 ms: each must expire on its own schedule for ever.
        let holds = Holds::default();
        let (length, longest) = (17_000, 17_000 + 17_000 / 8 + 1);
        for now in (0..1_000_000).step_by(1_000) {
            holds.add(now, now, length);
            let count = holds.count(now);
            assert!((18.min(now / 1_000 + 1)..=longest / 1_000 + 1).contains(&count), "{count} at {now}");
        }
    }

    #[test]
    fn a_full_slot_saturates() {
        let holds = Holds::default();
        for _ in 0..COUNT_MAX + 10 {
            holds.add(0, 0, 1_000);
        }
        assert_eq!(holds.count(0), COUNT_MAX);
        assert_eq!(holds.count(1_200), 0);
    }

    proptest! {
        /// Against a list of exact expiries: never fewer, and none is left once all are over. Time runs forward and
        /// lengths change as they like, so merging takes part.
        #[test]
        fn never_counts_less_than_an_exact_model(
            steps in proptest::collection::vec((0u64..30_000, 1_000u64..1_000_000, 0u64..5_000), 1..300),
        ) {
            let (holds, mut model, mut now) = (Holds::default(), Vec::new(), 0);
            for (wait, length, took) in steps {
                now += wait;
                let from = now.saturating_sub(took);
                holds.add(now, from, length);
                model.push(from + length);
                let exact = model.iter().filter(|&&expiry| expiry > now).count() as u64;
                prop_assert!(holds.count(now) >= exact);
                prop_assert!(holds.count(now) <= model.len() as u64, "nothing is counted twice");
            }
            // The longest hold is a second and an eighth.
            prop_assert_eq!(holds.count(now + 1_130_000), 0);
        }

        /// With one length, as in a steady set, a hold is lengthened by an eighth at most.
        #[test]
        fn lengthens_by_an_eighth_at_most_while_the_length_is_steady(
            length in 1_000u64..1_000_000, waits in proptest::collection::vec(0u64..100_000, 1..300),
        ) {
            let (holds, mut model, mut now) = (Holds::default(), Vec::new(), 0);
            for wait in waits {
                now += wait;
                holds.add(now, now, length);
                model.push(now + length);
                let upper = model.iter().filter(|&&end| end + length / 8 + 1 > now).count() as u64;
                prop_assert!(holds.count(now) <= upper);
            }
        }
    }
}

//! What a pick reads of an endpoint, packed.
//!
//! A policy that compares loads reads two endpoints' numbers at random places. Were they spread over the heap, a pick
//! among 10 000 endpoints would wait for memory most of the time. So a set keeps the few numbers that matter in pages
//! of its own, sixteen bytes for each endpoint, and a ready set knows where they are.
//!
//! Neighbours in a page are written by different calls, which makes cores fight for their cache line. So the first
//! endpoints of a page each have a line of their own, and only a set of more than 64 begins to share lines, by when
//! two calls at the same moment are unlikely to meet in one.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            self,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use super::{
    clock::{Clock, Micros},
    latency::PeakEwma,
    sync::AtomicU32,
};

#[cfg(not(all(test, model)))]
const LINES: u32 = 64;
#[cfg(all(test, model))]
const LINES: u32 = 1;
/// Gauges in a line of 64 bytes.
const PER_LINE: u32 = 4;
const PER_PAGE: u32 = LINES * PER_LINE;

/// One endpoint's numbers.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    in_flight: AtomicU32,
    /// The second, counted from the clock's start, from which on no failure is held.
    held_until: AtomicU32,
    pub(super) latency: PeakEwma,
}

impl Gauge {
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Acquire)
    }

    pub(super) fn start_call(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// Ends a call. Whoever sees that it is gone sees everything that the thread did before.
    pub(super) fn end_call(&self) {
        self.in_flight.fetch_sub(1, Release);
    }

    /// Notes that failures may be held up to this time.
    pub(super) fn hold_until(&self, expiry: Micros) {
        self.held_until.fetch_max(seconds(expiry).saturating_add(1), Relaxed);
    }

    /// Whether no failure was ever held, which spares a pick from working out what time it is.
    pub(super) fn never_held(&self) -> bool {
        self.held_until.load(Relaxed) == 0
    }

    /// Whether failures may be held now. It may say so for a second too long, never too short.
    pub(super) fn may_hold(&self, now: Micros) -> bool {
        self.held_until.load(Relaxed) > seconds(now)
    }

    fn reset(&self) {
        self.in_flight.store(0, Relaxed);
        self.held_until.store(0, Relaxed);
        self.latency.reset();
    }
}

fn seconds(micros: Micros) -> u32 {
    u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX)
}

/// Gauges of up to 256 endpoints of one set.
#[repr(C, align(64))]
pub(super) struct Page {
    gauges: [Gauge; PER_PAGE as usize],
    clock: Clock,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The pages of one set.
#[derive(Debug)]
pub(super) struct Pages {
    /// Tells sets apart.
    id: u32,
    clock: Clock,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    pages: Vec<Arc<Page>>,
    /// Numbers that were given back.
    free: Vec<u32>,
    /// The first number that was never given out.
    next: u32,
}

impl Default for Pages {
    fn default() -> Self {
        static NEXT: atomic::AtomicU32 = atomic::AtomicU32::new(0);
        Self { id: NEXT.fetch_add(1, Relaxed), clock: Clock::start(), seats: Mutex::default() }
    }
}

impl Pages {
    /// Gives an endpoint a gauge. Only the control plane comes here.
    pub(super) fn seat(self: &Arc<Self>) -> Seat {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seats.free.pop().unwrap_or_else(|| {
            let number = seats.next;
            seats.next += 1;
            number
        });
        let page = (number / PER_PAGE) as usize;
        while seats.pages.len() <= page {
            let gauges = std::array::from_fn(|_| Gauge::default());
            seats.pages.push(Arc::new(Page { gauges, clock: self.clock }));
        }
        Seat { page: seats.pages[page].clone(), number, pages: self.clone() }
    }
}

/// One endpoint's place in the pages, for as long as its load lives.
#[derive(Debug)]
pub(super) struct Seat {
    page: Arc<Page>,
    number: u32,
    pages: Arc<Pages>,
}

impl Seat {
    pub(super) fn gauge(&self) -> &Gauge {
        &self.page.gauges[self.index()]
    }

    pub(super) fn clock(&self) -> Clock {
        self.page.clock
    }

    /// Where it is, to be kept beside whatever keeps the load.
    pub(super) fn place(&self) -> Place {
        Place { set: self.pages.id, number: self.number }
    }

    fn index(&self) -> usize {
        index_of(self.number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.gauge().reset();
        let mut seats = self.pages.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.free.push(self.number);
    }
}

/// Where a gauge is: a set, and a number in its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    set: u32,
    number: u32,
}

/// Numbers that follow one another are on different lines.
fn index_of(number: u32) -> usize {
    let number = number % PER_PAGE;
    (number % LINES * PER_LINE + number / LINES) as usize
}

/// Where the gauges of some endpoints are, by their order: what a pick goes by.
///
/// The loads must live as long as this, or their places go to others.
#[derive(Debug, Default)]
pub(super) struct Places {
    pages: Vec<Arc<Page>>,
    /// The page and, in the low byte, the index in it.
    places: Vec<u32>,
}

impl Places {
    /// The places of these gauges. Their loads are not looked at, but for the first of each set: there may be ten
    /// thousand, all over the heap.
    pub(super) fn new<'a, S>(
        gauges: impl IntoIterator<Item = (Place, S)>,
        seat: impl Fn(S) -> &'a Seat,
    ) -> Self {
        let mut places = Self::default();
        // Endpoints that are balanced over are of one set; tests and benches may mix.
        let mut sets: Vec<(u32, u32)> = Vec::new();
        for (place, of) in gauges {
            let first = match sets.iter().rev().find(|(set, _)| *set == place.set) {
                Some((_, first)) => *first,
                None => {
                    let first = places.pages.len() as u32;
                    let pages = &seat(of).pages;
                    let seats = pages.seats.lock().unwrap_or_else(PoisonError::into_inner);
                    places.pages.extend(seats.pages.iter().cloned());
                    sets.push((place.set, first));
                    first
                }
            };
            places.places.push((first + place.number / PER_PAGE) << 8 | index_of(place.number) as u32);
        }
        places
    }

    pub(super) fn gauge(&self, index: usize) -> (&Gauge, Clock) {
        let place = self.places[index];
        let page = &self.pages[(place >> 8) as usize];
        (&page.gauges[(place & 0xff) as usize % PER_PAGE as usize], page.clock)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, mem::size_of};

    use super::*;

    #[test]
    fn a_gauge_takes_sixteen_bytes() {
        assert_eq!(size_of::<Gauge>(), 16);
    }

    #[test]
    fn the_first_endpoints_have_lines_of_their_own() {
        let pages = Arc::new(Pages::default());
        let seats: Vec<_> = (0..LINES).map(|_| pages.seat()).collect();
        let lines: HashSet<_> =
            seats.iter().map(|seat| std::ptr::from_ref(seat.gauge()).addr() / 64).collect();
        assert_eq!(lines.len(), seats.len());
    }

    #[test]
    fn places_are_unique_and_are_given_out_again_as_new() {
        let pages = Arc::new(Pages::default());
        let mut seats: Vec<_> = (0..1_000).map(|_| pages.seat()).collect();
        let places = Places::new(seats.iter().map(|seat| (seat.place(), seat)), |seat| seat);
        for (index, seat) in seats.iter().enumerate() {
            seat.gauge().start_call();
            assert_eq!(places.gauge(index).0.in_flight(), 1, "counted once, and where it is looked for");
        }
        seats.drain(..500);
        seats.extend((0..500).map(|_| pages.seat()));
        assert!(seats[500..].iter().all(|seat| seat.gauge().in_flight() == 0));
        assert!(seats[..500].iter().all(|seat| seat.gauge().in_flight() == 1));
        assert_eq!(pages.seats.lock().unwrap().pages.len(), 4, "nothing was added");
    }

    #[test]
    fn the_check_for_holds_is_never_too_short() {
        let gauge = Gauge::default();
        assert!(gauge.never_held());
        for expiry in [1, 999_999, 1_000_000, 1_500_000] {
            gauge.hold_until(expiry);
            assert!(!gauge.never_held() && gauge.may_hold(expiry - 1));
            assert!(!gauge.may_hold(expiry + 1_000_000));
        }
    }
}

//! Which endpoints are ejected, since when, and how often they were.

use std::{collections::HashMap, hash::Hash};

use tokio::time::Instant;

use crate::{
    eject::{
        Cause, Counts, Eject, InvalidEject, Kind,
        detect::{self, Outlier},
    },
    grpc::Outcome,
    random::Random,
};

/// The endpoints of one set, and which of them are ejected.
///
/// ```text
///              an outlier at a sweep, or too many failures in a row:   multiplier + 1
///            ┌─────────────────────────────────────────────────────────┐
///            │                                                         ▼
///         Serving                                                   Ejected ◄──────────────┐
///  multiplier - 1 per sweep                                            │                   │
///            ▲                                                         │ at a sweep, after │
///            │                                                         │ min(base x multiplier,
///            ├──────────────── without trials ─────────────────────────┤     max(base, max))
///            │                                                         ▼                   │
///            └──────────────── its call succeeded ─────────────────  On trial ─────────────┘
///                                                                        its call failed:
///                                                                        multiplier + 1
/// ```
///
/// Ejections are bounded: when the part of the endpoints that are ejected or on trial has reached the limit, no more
/// are. A removed endpoint is forgotten; a lost connection changes nothing here.
///
/// `K` names an endpoint, cheaply: a slot, an id or an `Arc`. Whoever drives it inserts and removes endpoints as the
/// set changes, calls [`sweep`](Self::sweep) at [`next_wake`](Self::next_wake), and does what the changes say.
#[derive(Clone, Debug)]
pub struct Outliers<K> {
    settings: Eject,
    places: HashMap<K, usize>,
    endpoints: Vec<Watched<K>>,
    /// How many are not [`Standing::Serving`].
    held: usize,
    next: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Watched<K> {
    key: K,
    standing: Standing,
    /// Ejections less sweeps in service: how many times the base time an ejection lasts.
    multiplier: u32,
    /// The counters at the last sweep, and how they grew in the interval before it.
    seen: Counts,
    interval: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Serving,
    Ejected { since: Instant },
    OnTrial,
}

/// What becomes of an endpoint.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change<K> {
    /// It gets no more calls, unless so few endpoints are left that health is ignored.
    #[non_exhaustive]
    Ejected {
        /// The endpoint.
        key: K,
        /// The ejection ends at the first sweep after this.
        until: Instant,
        /// Why.
        cause: Cause,
    },
    /// Its ejection is over. It gets one call at a time, whose end [`Outliers::tried`] is told. Its
    /// [streak](crate::eject::Streak) begins anew.
    #[non_exhaustive]
    OnTrial {
        /// The endpoint.
        key: K,
    },
    /// It is like any other again. Without a trial its [streak](crate::eject::Streak) begins anew.
    #[non_exhaustive]
    Returned {
        /// The endpoint.
        key: K,
    },
}

impl<K: Clone + Eq + Hash> Outliers<K> {
    /// No endpoints yet. The first interval begins now.
    ///
    /// # Errors
    ///
    /// As [`Eject::check`].
    pub fn new(settings: Eject, now: Instant) -> Result<Self, InvalidEject> {
        settings.check()?;
        let next = now.checked_add(settings.interval).filter(|_| settings.is_on());
        Ok(Self { settings, places: HashMap::new(), endpoints: Vec::new(), held: 0, next })
    }

    /// When the next sweep is due; `None` when nothing is switched on.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        self.next
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are no endpoints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Whether this endpoint is ejected. One on trial is not.
    #[must_use]
    pub fn is_ejected(&self, key: &K) -> bool {
        self.get(key).is_some_and(|endpoint| matches!(endpoint.standing, Standing::Ejected { .. }))
    }

    /// Whether this endpoint was ejected and gets one call at a time now.
    #[must_use]
    pub fn is_on_trial(&self, key: &K) -> bool {
        self.get(key).is_some_and(|endpoint| endpoint.standing == Standing::OnTrial)
    }

    /// An endpoint joined the set. Its counters start at zero. One that is there already is left alone.
    pub fn insert(&mut self, key: K) {
        let place = self.endpoints.len();
        if self.places.contains_key(&key) {
            return;
        }
        self.places.insert(key.clone(), place);
        let (seen, interval) = (Counts::default(), Counts::default());
        self.endpoints.push(Watched { key, standing: Standing::Serving, multiplier: 0, seen, interval });
    }

    /// An endpoint left the set: nothing is remembered of it.
    pub fn remove(&mut self, key: &K) {
        let Some(place) = self.places.remove(key) else { return };
        let removed = self.endpoints.swap_remove(place);
        self.held -= usize::from(removed.standing != Standing::Serving);
        if let Some(moved) = self.endpoints.get(place) {
            self.places.insert(moved.key.clone(), place);
        }
    }

    /// Compares what the endpoints did since the last sweep, ejects the outliers, and ends ejections whose time is
    /// over.
    ///
    /// `counts` are running totals; an endpoint that is not mentioned had no calls, and a key that is not in the set
    /// is ignored. The next sweep is due one interval after `now`. It takes time in proportion to the endpoints, a
    /// fraction of a millisecond for 10 000.
    pub fn sweep(
        &mut self,
        now: Instant,
        counts: impl IntoIterator<Item = (K, Counts)>,
        random: &Random,
    ) -> Vec<Change<K>> {
        self.next = now.checked_add(self.settings.interval).filter(|_| self.settings.is_on());
        self.count(counts);
        let mut changes = Vec::new();
        if let Some(rule) = self.settings.success_rate {
            let outliers = detect::success_rate(&rule, self.interval());
            self.enforce(outliers, rule.enforcement, now, random, &mut changes);
        }
        if let Some(rule) = self.settings.failure_percentage {
            let outliers = detect::failure_percentage(&rule, self.interval());
            self.enforce(outliers, rule.enforcement, now, random, &mut changes);
        }
        self.pass_time(now, &mut changes);
        changes
    }

    /// A [streak](crate::eject::Streak) of this kind has reached a length that [trips](Eject::trips).
    #[must_use]
    pub fn consecutive(&mut self, key: &K, kind: Kind, now: Instant) -> Option<Change<K>> {
        let cause = Cause::Consecutive { kind, count: self.settings.consecutive(kind)? };
        let place = *self.places.get(key)?;
        if self.is_full() { None } else { self.eject(place, cause, now) }
    }

    /// A call to an endpoint on trial has ended: it returns, or is ejected again. A call whose outcome says nothing
    /// changes nothing, and the next one is the trial.
    #[must_use]
    pub fn tried(&mut self, key: &K, outcome: Outcome, now: Instant) -> Option<Change<K>> {
        let place = *self.places.get(key)?;
        let endpoint =
            self.endpoints.get_mut(place).filter(|endpoint| endpoint.standing == Standing::OnTrial)?;
        match outcome {
            Outcome::Cancelled => return None,
            Outcome::Success | Outcome::Failure => endpoint.standing = Standing::Serving,
        }
        self.held -= 1;
        match outcome {
            // There is room for it: it has been counted as ejected all the time.
            Outcome::Failure => self.eject(place, Cause::Trial, now),
            _ => Some(Change::Returned { key: key.clone() }),
        }
    }
}

impl<K: Clone + Eq + Hash> Outliers<K> {
    fn get(&self, key: &K) -> Option<&Watched<K>> {
        self.endpoints.get(*self.places.get(key)?)
    }

    /// Takes in the totals: what they grew by is the interval's.
    fn count(&mut self, counts: impl IntoIterator<Item = (K, Counts)>) {
        for endpoint in &mut self.endpoints {
            endpoint.interval = Counts::default();
        }
        for (key, total) in counts {
            let Some(endpoint) = self.places.get(&key).and_then(|&place| self.endpoints.get_mut(place))
            else {
                continue;
            };
            endpoint.interval.add(total.since(endpoint.seen));
            endpoint.seen = total;
        }
    }

    fn interval(&self) -> impl Iterator<Item = (usize, Counts)> {
        self.endpoints.iter().map(|endpoint| endpoint.interval).enumerate()
    }

    fn enforce(
        &mut self,
        outliers: Vec<Outlier>,
        enforcement: u32,
        now: Instant,
        random: &Random,
        changes: &mut Vec<Change<K>>,
    ) {
        for (place, cause) in outliers {
            // "If the percentage of ejected addresses is greater than or equal to max_ejection_percent, stop."
            if self.is_full() {
                return;
            }
            if (random.below(100) as u64) < u64::from(enforcement) {
                changes.extend(self.eject(place, cause, now));
            }
        }
    }

    fn is_full(&self) -> bool {
        self.held as u128 * 100 >= u128::from(self.settings.max_percent) * self.endpoints.len() as u128
    }

    /// Ejects an endpoint that serves. Others are left alone: A50 does not say so, but one sweep, or one burst of
    /// errors that comes in late, must not count as a relapse.
    fn eject(&mut self, place: usize, cause: Cause, now: Instant) -> Option<Change<K>> {
        let endpoint =
            self.endpoints.get_mut(place).filter(|endpoint| endpoint.standing == Standing::Serving)?;
        endpoint.standing = Standing::Ejected { since: now };
        endpoint.multiplier = endpoint.multiplier.saturating_add(1);
        self.held += 1;
        let until = now.checked_add(self.settings.lasts(endpoint.multiplier)).unwrap_or(now);
        Some(Change::Ejected { key: endpoint.key.clone(), until, cause })
    }

    /// The end of a sweep: good conduct counts, and ejections end.
    fn pass_time(&mut self, now: Instant, changes: &mut Vec<Change<K>>) {
        for endpoint in &mut self.endpoints {
            match endpoint.standing {
                Standing::Serving => endpoint.multiplier = endpoint.multiplier.saturating_sub(1),
                Standing::Ejected { since }
                    if now.saturating_duration_since(since) > self.settings.lasts(endpoint.multiplier) =>
                {
                    let key = endpoint.key.clone();
                    if self.settings.trial {
                        endpoint.standing = Standing::OnTrial;
                        changes.push(Change::OnTrial { key });
                    } else {
                        endpoint.standing = Standing::Serving;
                        self.held -= 1;
                        changes.push(Change::Returned { key });
                    }
                }
                Standing::Ejected { .. } | Standing::OnTrial => {}
            }
        }
    }
}

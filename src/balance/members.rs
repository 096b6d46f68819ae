//! The endpoints of the current set, kept by identity from one set to the next.

use std::{collections::HashMap, ops::Range, sync::Arc};

use crate::endpoint::{Endpoint, EndpointKey, EndpointSet};

/// Members of a set in its order, reconciled by key.
///
/// Slots are stable for a member's life, so that reports find it without a look-up by address.
pub(crate) struct Members<M> {
    slots: Vec<Option<Member<M>>>,
    free: Vec<usize>,
    /// Slots in the order of the set.
    order: Vec<usize>,
}

pub(crate) struct Member<M> {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) state: M,
}

/// What a new set changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciled {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) updated: usize,
}

impl<M> Members<M> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), order: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The members in the order of the set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member<M>> {
        self.order.iter().filter_map(|&slot| self.slots[slot].as_ref())
    }

    /// Visits the members in the order of the set.
    pub(crate) fn for_each_mut(&mut self, mut visit: impl FnMut(usize, &mut Member<M>)) {
        for (index, &slot) in self.order.iter().enumerate() {
            if let Some(member) = &mut self.slots[slot] {
                visit(index, member);
            }
        }
    }

    /// The member at this place in the set's order.
    pub(crate) fn at(&self, index: usize) -> Option<&Member<M>> {
        self.slots.get(*self.order.get(index)?)?.as_ref()
    }

    /// The member in this slot.
    pub(crate) fn slot_mut(&mut self, slot: usize) -> Option<&mut Member<M>> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Makes the members those of `set`. Only what differs from the last set is looked at closely: a set that shares
    /// all but one `Arc` with it costs one comparison of pointers per endpoint.
    pub(crate) fn reconcile(
        &mut self,
        set: &EndpointSet,
        mut add: impl FnMut(usize, &Arc<Endpoint>) -> M,
        mut update: impl FnMut(&mut M, &Arc<Endpoint>),
        mut remove: impl FnMut(Member<M>),
    ) -> Reconciled {
        let new = set.endpoints();
        let (before, after) = changed_ranges(self.len(), new.len(), |old, i| {
            let old = self.at(old).map(|member| &member.endpoint);
            old.is_some_and(|old| Arc::ptr_eq(old, &new[i]) || *old == new[i])
        });
        let mut reconciled = Reconciled::default();
        let mut old: HashMap<EndpointKey, usize> = HashMap::with_capacity(before.len());
        for &slot in &self.order[before.clone()] {
            if let Some(member) = &self.slots[slot] {
                old.insert(member.endpoint.key().clone(), slot);
            }
        }
        let mut middle = Vec::with_capacity(after.len());
        for endpoint in &new[after] {
            let kept = old.remove(endpoint.key());
            let slot = match kept {
                Some(slot) => slot,
                None => self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    self.slots.len() - 1
                }),
            };
            match &mut self.slots[slot] {
                Some(member) => {
                    if member.endpoint != *endpoint {
                        update(&mut member.state, endpoint);
                        reconciled.updated += 1;
                    }
                    member.endpoint = endpoint.clone();
                }
                vacant => {
                    *vacant = Some(Member { endpoint: endpoint.clone(), state: add(slot, endpoint) });
                    reconciled.added += 1;
                }
            }
            middle.push(slot);
        }
        for slot in old.into_values() {
            if let Some(member) = self.slots[slot].take() {
                self.free.push(slot);
                reconciled.removed += 1;
                remove(member);
            }
        }
        self.order.splice(before, middle);
        reconciled
    }
}

/// What is left of an old and of a new list without the same beginning and the same end. `same` compares by indices.
pub(crate) fn changed_ranges(
    old: usize,
    new: usize,
    same: impl Fn(usize, usize) -> bool,
) -> (Range<usize>, Range<usize>) {
    let shorter = old.min(new);
    let start = (0..shorter).take_while(|&i| same(i, i)).count();
    let end = (1..=shorter - start).take_while(|&i| same(old - i, new - i)).count();
    (start..old - end, start..new - end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(port: u16, weight: u32) -> Arc<Endpoint> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        Arc::new(Endpoint::new(address).with_weight(weight))
    }

    /// Reconciles and returns what was added and removed, by port order of events.
    fn reconcile(members: &mut Members<u32>, set: &EndpointSet) -> Reconciled {
        members.reconcile(
            set,
            |_, endpoint| endpoint.weight(),
            |state, endpoint| *state = endpoint.weight(),
            drop,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_weight_updates_a_member_and_keeps_its_slot() {
        let mut members = Members::new();
        reconcile(&mut members, &EndpointSet::new([endpoint(1, 1), endpoint(2, 1)], 1));
        let slots = members.order.clone();
        let reconciled = reconcile(&mut members, &EndpointSet::new([endpoint(1, 1), endpoint(2, 7)], 2));
        assert_eq!(reconciled, Reconciled { added: 0, removed: 0, updated: 1 });
        assert_eq!(members.order, slots);
        assert_eq!(members.at(1).map(|member| member.state), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn one_insertion_among_many_leaves_the_others_alone() {
        let mut members = Members::new();
        let many: Vec<_> = (1..=1000).map(|port| endpoint(port, 1)).collect();
        reconcile(&mut members, &EndpointSet::new(many.clone(), 1));
        let mut more = many.clone();
        more.insert(500, endpoint(5000, 1));
        let set = EndpointSet::new(more, 2);
        assert_eq!(reconcile(&mut members, &set), Reconciled { added: 1, removed: 0, updated: 0 });
    }

    #[test]
    fn only_what_differs_is_a_changed_range() {
        let ranges = |old: &str, new: &str| {
            let (before, after) =
                changed_ranges(old.len(), new.len(), |i, j| old.as_bytes()[i] == new.as_bytes()[j]);
            (old[before].to_owned(), new[after].to_owned())
        };
        for (old, new, before, after) in [
            ("", "", "", ""),
            ("abc", "abc", "", ""),
            ("", "abc", "", "abc"),
            ("abcd", "abd", "c", ""),
            ("abd", "abcd", "", "c"),
            ("aaa", "aa", "a", ""),
            ("abcd", "axyd", "bc", "xy"),
        ] {
            assert_eq!(ranges(old, new), (before.to_owned(), after.to_owned()), "{old} {new}");
        }
    }

    proptest! {
        #[test]
        fn members_always_mirror_the_set(sets in prop::collection::vec(
            prop::collection::vec((1u16..12, 1u32..3), 0..12), 1..12,
        )) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let _guard = runtime.enter();
            let mut members = Members::new();
            let mut slots: HashMap<EndpointKey, usize> = HashMap::new();
            for (generation, set) in sets.into_iter().enumerate() {
                let set = EndpointSet::new(set.into_iter().map(|(p, w)| endpoint(p, w)), generation as u64);
                reconcile(&mut members, &set);
                let mirrored: Vec<_> = members.iter().map(|member| member.endpoint.clone()).collect();
                prop_assert_eq!(&mirrored[..], set.endpoints());
                prop_assert!(members.iter().all(|member| member.state == member.endpoint.weight()));
                let now: HashMap<_, _> =
                    members.iter().map(|m| m.endpoint.key().clone()).zip(members.order.iter().copied()).collect();
                for (key, slot) in &now {
                    if let Some(before) = slots.get(key) {
                        prop_assert_eq!(before, slot, "a kept member keeps its slot");
                    }
                }
                slots = now;
            }
        }
    }
}

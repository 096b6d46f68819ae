//! Snapshots that were replaced, until no call reads them any more.
//!
//! The control plane frees them, so that no call pays for it, and keeps the list of ready endpoints of one of them as
//! a spare. The spare follows every change, so it keeps no connection open that the current snapshot does not; and the
//! next snapshot is made of it. So a change among ten thousand endpoints compares pointers, and touches the reference
//! counts of those alone that have changed.

use std::{mem, sync::Arc};

use crate::{
    balance::{
        members::{Members, changed_ranges},
        plane::Held,
        snapshot::Snapshot,
    },
    policy::{ReadyEndpoint, ReadySet},
};

pub(crate) struct Retired<C> {
    snapshots: Vec<Arc<Snapshot<C>>>,
    spare: Option<Vec<ReadyEndpoint>>,
}

impl<C> Retired<C> {
    pub(crate) fn new() -> Self {
        Self { snapshots: Vec::new(), spare: None }
    }

    /// Whether every snapshot has been freed.
    pub(crate) fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    pub(crate) fn push(&mut self, snapshot: Arc<Snapshot<C>>) {
        self.snapshots.push(snapshot);
    }

    /// The members that are admitted, as a set for the next snapshot.
    pub(crate) fn next(&mut self, members: &Members<Held<C>>) -> ReadySet {
        let mut list = self.spare.take().unwrap_or_default();
        follow(&mut list, members);
        list.into()
    }

    /// Frees the snapshots that no call reads.
    pub(crate) fn reap(&mut self, members: &Members<Held<C>>) {
        for snapshot in mem::take(&mut self.snapshots) {
            let Snapshot { ready, choice, .. } = match Arc::try_unwrap(snapshot) {
                Ok(snapshot) => snapshot,
                Err(still_read) => {
                    self.snapshots.push(still_read);
                    continue;
                }
            };
            // The picker holds the set as well.
            drop(choice);
            if let (None, Some(mut list)) = (&self.spare, ready.reclaim()) {
                follow(&mut list, members);
                self.spare = Some(list);
            }
        }
    }
}

/// Makes the list that of the members that are admitted.
fn follow<C>(list: &mut Vec<ReadyEndpoint>, members: &Members<Held<C>>) {
    let ready: Vec<&ReadyEndpoint> = members.iter().filter_map(|member| member.state.admitted()).collect();
    let (before, after) = changed_ranges(list.len(), ready.len(), |old, new| list[old].is(ready[new]));
    list.splice(before, ready[after].iter().map(|&ready| ready.clone()));
}

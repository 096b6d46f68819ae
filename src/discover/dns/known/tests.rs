//! Answers of all kinds against a model.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{Emptied, Known, Part};
use crate::discover::dns::lookup::Family;

const FLOOR: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(30);

/// What a name server might say next.
#[derive(Clone, Debug)]
enum Step {
    /// Addresses of either family; `None` for no answer. Both empty is no address at all.
    Answer(Option<BTreeSet<u8>>, Option<BTreeSet<u8>>),
    Suspect(u8),
}

fn ips() -> impl Strategy<Value = Option<BTreeSet<u8>>> {
    prop::option::weighted(0.8, prop::collection::btree_set(0u8..6, 0..6))
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let step = prop_oneof![
        4 => (ips(), ips()).prop_map(|(v4, v6)| Step::Answer(v4, v6)),
        1 => (0u8..6).prop_map(Step::Suspect),
    ];
    (0u64..2500, step)
}

fn ip(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => [10, 0, 0, number].into(),
        Family::V6 => [0xfd00, 0, 0, 0, 0, 0, 0, number.into()].into(),
    }
}

fn part(family: Family, numbers: Option<&BTreeSet<u8>>) -> Part {
    let ips = numbers.map(|numbers| numbers.iter().map(|n| ip(family, *n)).collect());
    Part { host: "greeter.".into(), family, port: 80, weight: 1, host_name: None, ips }
}

proptest! {
    /// Whatever is answered: what was answered is there, what was not asked or not answered stays, what is
    /// missing is dropped exactly if it was missing before for the floor or is suspect, and nothing but the
    /// grace empties a set.
    #[test]
    fn every_answer_is_taken_in_as_promised(steps in prop::collection::vec(step(), 1..40)) {
        let mut known = Known::new(Some(FLOOR), GRACE);
        // Address, and since when it is missing and whether it is suspect.
        let mut model: BTreeMap<IpAddr, (Option<Instant>, bool)> = BTreeMap::new();
        let mut now = Instant::now();
        let mut empty_since = None;
        for (millis, step) in steps {
            now += Duration::from_millis(millis);
            let (v4, v6) = match step {
                Step::Suspect(number) => {
                    let ip = ip(Family::V4, number);
                    let key = crate::endpoint::Endpoint::new(std::net::SocketAddr::new(ip, 80));
                    prop_assert_eq!(known.suspect(key.key(), true), model.contains_key(&ip));
                    model.entry(ip).and_modify(|entry| entry.1 = true);
                    continue;
                }
                Step::Answer(v4, v6) => (v4, v6),
            };
            let positive = v4.iter().chain(&v6).any(|numbers| !numbers.is_empty());
            if positive {
                empty_since = None;
                known.answered(now, &[part(Family::V4, v4.as_ref()), part(Family::V6, v6.as_ref())], |f| f as u8);
                for (family, numbers) in [(Family::V4, v4), (Family::V6, v6)] {
                    let Some(numbers) = numbers else { continue };
                    let there: BTreeSet<_> = numbers.iter().map(|n| ip(family, *n)).collect();
                    model.retain(|address, (missing_since, suspect)| {
                        if Family::of(*address) != family || there.contains(address) {
                            return true;
                        }
                        now < *missing_since.get_or_insert(now) + FLOOR && !*suspect
                    });
                    for address in there {
                        model.entry(address).or_default().0 = None;
                    }
                }
            } else if v4.is_some() && v6.is_some() {
                let held_since = *empty_since.get_or_insert(now);
                match known.empty(now) {
                    Emptied::NothingKnown => {
                        prop_assert!(model.is_empty());
                        empty_since = None;
                    }
                    Emptied::Held { until } => {
                        prop_assert!(now < until);
                        prop_assert_eq!(until, held_since + GRACE);
                    }
                    Emptied::Honoured => {
                        prop_assert!(now >= held_since + GRACE);
                        model.clear();
                        empty_since = None;
                    }
                }
            }
            let found: Vec<IpAddr> = known.endpoints().map(|e| address_of(e)).collect();
            prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), model.keys().copied().collect());
            prop_assert_eq!(found.len(), model.len());
            prop_assert!(found.is_sorted_by_key(|ip| Family::of(*ip) as u8));
        }
    }
}

fn address_of(endpoint: &super::Endpoint) -> IpAddr {
    match endpoint.addresses() {
        [super::Address::Tcp(address)] => address.ip(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn changed_attributes_make_a_new_endpoint_in_the_old_place_and_nothing_else_does() {
    let mut known = Known::new(Some(FLOOR), GRACE);
    let numbers = BTreeSet::from([1, 2]);
    let now = Instant::now();
    let mut answer = part(Family::V4, Some(&numbers));
    known.answered(now, &[answer.clone()], |_| 0);
    let before: Vec<_> = known.endpoints().cloned().collect();
    answer.ips.as_mut().unwrap().reverse();
    known.answered(now, &[answer.clone()], |_| 0);
    assert!(known.endpoints().zip(&before).all(|(new, old)| std::sync::Arc::ptr_eq(new, old)));
    answer.weight = 5;
    answer.host_name = Some("one.test".into());
    known.answered(now, &[answer], |_| 0);
    for (new, old) in known.endpoints().zip(&before) {
        assert_eq!((new.key(), new.weight(), new.host_name()), (old.key(), 5, Some("one.test")));
    }
}

use proptest::prelude::*;

use super::{chi_square::assert_distributed, *};

#[test]
fn an_excluded_endpoint_passes_its_share_to_all_others() {
    for policy in spreading_policies() {
        for (weights, expected) in [([1, 1, 1, 1, 1], [1, 0, 1, 1, 1]), ([1, 2, 3, 4, 5], [1, 0, 3, 4, 5])] {
            let (caller, ready) = (Caller::new(2), ready(&weights));
            let (picker, excluded) = (policy.build(&ready), [ready.endpoints()[1].load().id()]);
            let mut counts = [0; 5];
            for _ in 0..20_000 {
                counts[caller.pick_at(&*picker, &excluded, Instant::now()).unwrap()] += 1;
            }
            // After four draws that hit it the rest are looked at evenly: with two of fifteen, hardly ever.
            assert_distributed(&counts, &expected, policy.name());
        }
    }
}

#[test]
fn the_last_one_that_is_not_excluded_is_found_among_ten_thousand() {
    let ready = ready(&[1; 10_000]);
    let excluded: Vec<_> = ready.endpoints()[..100].iter().map(|e| e.load().id()).collect();
    let few: ReadySet = ready.endpoints()[..101].iter().cloned().collect();
    for policy in every_policy() {
        let picker = policy.build(&few);
        for seed in 0..100 {
            assert_eq!(
                Caller::new(seed).pick_at(&*picker, &excluded, Instant::now()),
                Some(100),
                "{}",
                policy.name()
            );
        }
    }
}

proptest! {
    /// Whatever the weights and the exclusions: an endpoint is picked if one is eligible, and only such a one.
    #[test]
    fn picks_an_eligible_endpoint_if_there_is_one(
        endpoints in proptest::collection::vec((prop_oneof![Just(0), 1u32..5, any::<u32>()], any::<bool>()), 0..20),
        seed: u64,
    ) {
        let weights: Vec<u32> = endpoints.iter().map(|&(weight, _)| weight).collect();
        let ready = ready(&weights);
        let excluded: Vec<_> = ready.endpoints().iter().zip(&endpoints)
            .filter(|(_, (_, excluded))| *excluded).map(|(e, _)| e.load().id()).collect();
        let least = u32::from(weights.iter().any(|&weight| weight > 0));
        let eligible: Vec<usize> =
            (0..endpoints.len()).filter(|&i| endpoints[i].0 >= least && !endpoints[i].1).collect();
        for policy in every_policy() {
            let (picker, caller) = (policy.build(&ready), Caller::new(seed));
            for _ in 0..20 {
                match caller.pick_at(&*picker, &excluded, Instant::now()) {
                    Some(index) => prop_assert!(eligible.contains(&index), "{}: {index}", policy.name()),
                    None => prop_assert!(eligible.is_empty(), "{}: {eligible:?}", policy.name()),
                }
            }
        }
    }
}

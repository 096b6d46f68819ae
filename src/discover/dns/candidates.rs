//! Which names to ask for, in which order.

/// The absolute names that `name` may stand for, most likely first (resolv.conf(5)).
///
/// A name with a final dot is absolute. One with at least `ndots` dots is first asked for as it stands; any other is
/// first tried below each domain of the search list.
pub(super) fn candidates(name: &str, search: &[String], ndots: usize) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let absolute = format!("{name}.");
    let mut names: Vec<String> = search
        .iter()
        .map(|domain| match domain.trim_matches('.') {
            "" => absolute.clone(),
            domain => format!("{name}.{domain}."),
        })
        // RFC 1035: 253 characters and the final dot.
        .filter(|name| name.len() <= 254)
        .collect();
    let dots = name.bytes().filter(|b| *b == b'.').count();
    let place = if dots >= ndots { 0 } else { names.len() };
    names.insert(place, absolute);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_ascii_lowercase()));
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::candidates;

    fn of(name: &str, search: &[&str], ndots: usize) -> Vec<String> {
        candidates(name, &search.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), ndots)
    }

    #[test]
    fn a_final_dot_is_the_last_word() {
        assert_eq!(of("greeter.", &["a", "b"], 5), ["greeter."]);
    }

    #[test]
    fn too_few_dots_put_the_search_list_first() {
        assert_eq!(
            of("greeter.shop", &["default.svc.cluster.local", "svc.cluster.local."], 5),
            ["greeter.shop.default.svc.cluster.local.", "greeter.shop.svc.cluster.local.", "greeter.shop."]
        );
    }

    #[test]
    fn enough_dots_put_the_name_itself_first() {
        assert_eq!(of("api.example.com", &["corp"], 2), ["api.example.com.", "api.example.com.corp."]);
        assert_eq!(of("greeter", &["corp"], 0), ["greeter.", "greeter.corp."]);
    }

    #[test]
    fn nothing_is_asked_twice_and_nothing_that_is_too_long() {
        assert_eq!(of("greeter", &["a", "A.", ".", "a"], 1), ["greeter.a.", "greeter."]);
        let long = "a".repeat(250);
        assert_eq!(of("greeter", &[&long], 1), ["greeter."]);
    }

    proptest! {
        #[test]
        fn every_candidate_is_absolute_distinct_and_the_name_is_among_them(
            name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,5}\\.?",
            search in prop::collection::vec("[a-z]{0,8}(\\.[a-z]{1,8}){0,3}\\.?", 0..6),
            ndots in 0usize..7,
        ) {
            let names = candidates(&name, &search, ndots);
            prop_assert!(names.iter().all(|n| n.ends_with('.') && !n.ends_with("..")));
            let absolute = format!("{}.", name.trim_end_matches('.'));
            prop_assert_eq!(names.iter().filter(|n| **n == absolute).count(), 1);
            let dots = name.matches('.').count();
            if name.ends_with('.') {
                prop_assert_eq!(names.len(), 1);
            } else if dots >= ndots {
                prop_assert_eq!(&names[0], &absolute);
            }
        }
    }
}

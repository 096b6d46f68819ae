//! The hosts file: names that the host's owner has settled.

use std::{collections::HashMap, net::IpAddr};

/// What a hosts file says (hosts(5)).
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(HashMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Lines that make no sense are passed over, as the C library does.
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(ip) = words.next().and_then(|ip| ip.parse::<IpAddr>().ok()) else { continue };
            for name in words {
                let ips = hosts.0.entry(normal(name)).or_default();
                if !ips.contains(&ip) {
                    ips.push(ip);
                }
            }
        }
        hosts
    }

    pub(super) fn get(&self, name: &str) -> Option<&[IpAddr]> {
        self.0.get(&normal(name)).map(Vec::as_slice)
    }
}

fn normal(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Hosts;

    #[test]
    fn names_aliases_and_both_families_are_found() {
        let hosts = Hosts::parse(
            "# ours\n10.0.0.1\tGreeter.test greeter # first\nfd00::1 greeter\nhere greeter\n10.0.0.1 greeter",
        );
        let ips = |name| hosts.get(name).map(|ips| ips.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(ips("greeter").unwrap(), ["10.0.0.1", "fd00::1"]);
        assert_eq!(ips("GREETER.test.").unwrap(), ["10.0.0.1"]);
        assert_eq!(ips("first"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ \\n\\t#0-9a-z.:]{0,80}") {
            let _ = Hosts::parse(&text).get("a");
        }
    }
}

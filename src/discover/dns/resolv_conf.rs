//! resolv.conf: whom the system asks, and how.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What resolv.conf(5) says; everything that is not said or not understood stays at its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) attempts: Option<usize>,
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|ip| ip.parse::<IpAddr>().ok());
                    conf.servers.extend(server.map(|ip| SocketAddr::new(ip, 53)));
                }
                // The last of these lines counts.
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {}
            }
        }
        conf.search.retain(|domain| is_domain(domain));
        conf
    }

    /// The limits are glibc's.
    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = Some(value.min(15) as usize),
            "timeout" => self.timeout = Some(Duration::from_secs(value.clamp(1, 30).into())),
            "attempts" => self.attempts = Some(value.clamp(1, 5) as usize),
            _ => {}
        }
    }
}

/// NetworkManager and others write `--` and the like where they know no domain.
fn is_domain(text: &str) -> bool {
    text == "."
        || text.split('.').any(|label| label.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::ResolvConf;

    #[test]
    fn a_pods_resolv_conf_is_understood() {
        let conf = ResolvConf::parse(
            "search default.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver 10.96.0.10 # CoreDNS\n\
             nameserver fd00::10\n\
             options ndots:5 timeout:1 attempts:3 rotate\n",
        );
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap(), "[fd00::10]:53".parse().unwrap()]);
        assert_eq!(conf.search, ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!((conf.ndots, conf.attempts), (Some(5), Some(3)));
        assert_eq!(conf.timeout, Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_last_of_search_and_domain_counts() {
        assert_eq!(ResolvConf::parse("search a b\ndomain c d").search, ["c"]);
        assert_eq!(ResolvConf::parse("domain c\nsearch a -- b").search, ["a", "b"]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        let conf =
            ResolvConf::parse("nameserver\nnameserver here\noptions ndots ndots: ndots:x timeout:0\n; x\n");
        assert_eq!(conf, ResolvConf { timeout: Some(Duration::from_secs(1)), ..ResolvConf::default() });
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(nameserver|search|options|ndots:|[ \\n0-9a-z.:#-]){0,40}") {
            let _ = ResolvConf::parse(&text);
        }
    }
}

use std::net::SocketAddr;

use proptest::prelude::*;

use super::{Source, Target};
use crate::endpoint::Address;

fn dns(server: Option<&str>, host: &str, port: u16) -> Source {
    Source::Dns { server: server.map(|s| s.parse().unwrap()), host: host.to_owned(), port }
}

fn tcp(addresses: &[&str]) -> Source {
    Source::Addresses(addresses.iter().map(|a| Address::Tcp(a.parse().unwrap())).collect())
}

fn unix(path: &str) -> Source {
    Source::Addresses(vec![Address::Unix(path.into())])
}

fn named(name: &str) -> Source {
    Source::Addresses(vec![Address::UnixAbstract(name.as_bytes().to_vec())])
}

#[test]
fn targets_resolve_and_are_called_as_grpc_says() {
    let table = [
        // dns, with and without server
        ("dns:greeter", dns(None, "greeter", 443), "greeter"),
        ("dns:greeter:50051", dns(None, "greeter", 50051), "greeter:50051"),
        ("dns:/greeter:50051", dns(None, "greeter", 50051), "greeter:50051"),
        ("dns:///greeter:50051", dns(None, "greeter", 50051), "greeter:50051"),
        ("dns:///greeter.default.svc.", dns(None, "greeter.default.svc.", 443), "greeter.default.svc."),
        ("dns:///_grpc._tcp.greeter:0", dns(None, "_grpc._tcp.greeter", 0), "_grpc._tcp.greeter:0"),
        ("dns://8.8.8.8/foo", dns(Some("8.8.8.8:53"), "foo", 443), "foo"),
        ("dns://8.8.8.8:5353/foo:80", dns(Some("8.8.8.8:5353"), "foo", 80), "foo:80"),
        ("dns://[2001:db8::1]/foo", dns(Some("[2001:db8::1]:53"), "foo", 443), "foo"),
        ("dns://[2001:db8::1]:54/foo", dns(Some("[2001:db8::1]:54"), "foo", 443), "foo"),
        ("dns://localhost:5353/foo", dns(Some("127.0.0.1:5353"), "foo", 443), "foo"),
        ("dns:///1.2.3.4:80", dns(None, "1.2.3.4", 80), "1.2.3.4:80"),
        ("dns:///[::1]:80", dns(None, "::1", 80), "[::1]:80"),
        ("dns:///[fe80::1%251]:80", dns(None, "fe80::1%1", 80), "[fe80::1%251]:80"),
        ("dns:///:80", dns(None, "localhost", 80), "localhost:80"),
        // the scheme's case does not matter
        ("DNS:///greeter:1", dns(None, "greeter", 1), "greeter:1"),
        ("IPv4:1.2.3.4:5", tcp(&["1.2.3.4:5"]), "1.2.3.4:5"),
        // no URI, or a scheme nobody knows
        ("greeter", dns(None, "greeter", 443), "greeter"),
        ("localhost:50051", dns(None, "localhost", 50051), "localhost:50051"),
        ("foo.bar:80", dns(None, "foo.bar", 80), "foo.bar:80"),
        ("http:80", dns(None, "http", 80), "http:80"),
        ("my_host:80", dns(None, "my_host", 80), "my_host:80"),
        ("127.0.0.1:50051", dns(None, "127.0.0.1", 50051), "127.0.0.1:50051"),
        ("127.0.0.1", dns(None, "127.0.0.1", 443), "127.0.0.1"),
        ("[::1]:50051", dns(None, "::1", 50051), "[::1]:50051"),
        ("[::1]", dns(None, "::1", 443), "[::1]"),
        ("::1", dns(None, "::1", 443), "[::1]"),
        (":80", dns(None, "localhost", 80), "localhost:80"),
        ("/greeter:80", dns(None, "greeter", 80), "greeter:80"),
        // addresses
        ("ipv4:1.2.3.4", tcp(&["1.2.3.4:443"]), "1.2.3.4"),
        ("ipv4:1.2.3.4:5,6.7.8.9", tcp(&["1.2.3.4:5", "6.7.8.9:443"]), "1.2.3.4:5"),
        ("ipv4:///1.2.3.4:5", tcp(&["1.2.3.4:5"]), "1.2.3.4:5"),
        ("ipv6:[::1]:443", tcp(&["[::1]:443"]), "[::1]:443"),
        ("ipv6:[::1]:1,[::2]:2", tcp(&["[::1]:1", "[::2]:2"]), "[::1]:1"),
        ("ipv6:::1,::2", tcp(&["[::1]:443", "[::2]:443"]), "[::1]"),
        ("ipv6:::1", tcp(&["[::1]:443"]), "[::1]"),
        ("ipv6:[fe80::1%257]:8", tcp(&["[fe80::1%7]:8"]), "[fe80::1%257]:8"),
        // unix sockets
        ("unix:run/greeter.sock", unix("run/greeter.sock"), "localhost"),
        ("unix:/run/greeter.sock", unix("/run/greeter.sock"), "localhost"),
        ("unix:///run/greeter.sock", unix("/run/greeter.sock"), "localhost"),
        ("unix:/run/a%20b", unix("/run/a b"), "localhost"),
        ("unix-abstract:greeter", named("greeter"), "localhost"),
        ("unix-abstract:a%00b", named("a\0b"), "localhost"),
    ];
    for (text, source, authority) in table {
        let target: Target = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(target.source(), &source, "{text}");
        assert_eq!(target.authority(), authority, "{text}");
        assert_eq!(target.as_str(), text);
        http::uri::Authority::try_from(authority).unwrap();
    }
}

#[test]
fn what_is_no_target_is_named_with_what_was_expected() {
    let table = [
        ("", "empty"),
        ("dns:", "host is missing"),
        ("dns:///", "host is missing"),
        ("dns://8.8.8.8", "host is missing"),
        ("dns://resolver.example/foo", "no IP address"),
        ("dns:///foo:", "port after the colon is missing"),
        ("[::1]:", "port after the colon is missing"),
        ("[::1]x", "expected `:port`"),
        ("[::1", "does not close"),
        ("[greeter]:80", "no IPv6 address"),
        ("foo:http", "the port `http`"),
        ("foo:65536", "the port `65536`"),
        ("foo:+1", "the port `+1`"),
        ("dns:///foo:1:2", "too many colons"),
        ("dns:///foo/bar", "contains `/`"),
        ("dns:///foo bar", "contains ` `"),
        ("dns:///foo?x=y", "query"),
        ("dns:///foo..bar", "empty label"),
        ("dns:///grüßer", "xn--"),
        ("[fe80::1%eth0]:80", "%25"),
        ("[fe80::1%25eth0]:80", "interface index"),
        ("xds:///greeter", "`xds` is not served"),
        ("https://greeter:443", "`https` is not served"),
        ("vsock:3:1024", "`vsock` is not served"),
        ("ipv4:", "no IPv4 address"),
        ("ipv4:greeter:80", "no IPv4 address"),
        ("ipv4:1.2.3.4,", "no IPv4 address"),
        ("ipv4://1.2.3.4/5.6.7.8", "takes no server"),
        ("ipv6:[::1]:443,1.2.3.4", "no IPv6 address"),
        ("unix:", "path of the socket"),
        ("unix://run/greeter.sock", "takes no server"),
        ("unix-abstract:", "name of the socket"),
        ("unix-abstract://host/name", "takes no server"),
    ];
    for (text, expected) in table {
        let error = text.parse::<Target>().expect_err(text);
        assert_eq!(error.text(), text);
        let message = error.to_string();
        assert!(message.contains(&format!("`{text}`")) && message.contains(expected), "{message}");
    }
}

#[test]
fn long_labels_and_names_are_refused() {
    let label = "a".repeat(63);
    assert!(format!("dns:///{label}").parse::<Target>().is_ok());
    assert!(format!("dns:///{label}a").parse::<Target>().is_err());
    assert!(format!("dns:///{label}.{label}.{label}.{label}").parse::<Target>().is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC*") {
        let _ = text.parse::<Target>();
    }

    #[test]
    fn text_out_of_a_targets_pieces_does_not_either(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "dns", "unix", "ipv4", "ipv6", "://", ":", "/", "[", "]", "::1", "1.2.3.4", "%25", "%", ",", "a",
                "80", ".", "-", "?",
            ]),
            0..12,
        )
    ) {
        let text: String = pieces.concat();
        if let Ok(target) = text.parse::<Target>() {
            prop_assert!(http::uri::Authority::try_from(target.authority()).is_ok(), "{}", target.authority());
            prop_assert_eq!(target.as_str(), text);
        }
    }

    #[test]
    fn every_socket_address_is_a_target(address: SocketAddr) {
        prop_assume!(!matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0));
        let target: Target = address.to_string().parse().unwrap();
        let expected = dns(None, &address.ip().to_string(), address.port());
        prop_assert_eq!(target.source(), &expected);
        prop_assert_eq!(target.authority(), address.to_string());
    }
}

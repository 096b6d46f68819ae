//! The grammar of targets.

use std::{
    borrow::Cow,
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::PathBuf,
};

use percent_encoding::percent_decode_str;

use crate::{
    endpoint::Address,
    target::{DEFAULT_PORT, Source},
};

/// What was expected instead; the caller names the target.
type Expected = String;

const DNS_PORT: u16 = 53;

/// Schemes that a user of gRPC or of HTTP may mean, and that are not served here: falling back to DNS, as for any
/// other unknown scheme, would only hide the reason.
const FOREIGN: [&str; 7] = ["xds", "vsock", "google-c2p", "http", "https", "grpc", "grpcs"];

pub(super) fn target(text: &str) -> Result<(Source, String), Expected> {
    if text.is_empty() {
        return Err("it is empty; expected for example `dns:///host:port`".into());
    }
    let Some(uri) = Uri::split(text) else { return dns(Uri::of_path(text)) };
    match uri.scheme.to_ascii_lowercase().as_str() {
        "dns" => dns(uri),
        "ipv4" => addresses(&uri, "ipv4", ipv4),
        "ipv6" => addresses(&uri, "ipv6", ipv6),
        "unix" => unix(&uri),
        "unix-abstract" => unix_abstract(&uri),
        foreign if FOREIGN.contains(&foreign) && is_meant_as_scheme(foreign, &uri) => Err(format!(
            "the scheme `{foreign}` is not served; expected `dns`, `ipv4`, `ipv6`, `unix`, `unix-abstract` or a \
             bare `host:port`"
        )),
        // "localhost:50051" has the shape of a URI whose scheme is "localhost".
        _ => dns(Uri::of_path(text)),
    }
}

/// Whether `http:80` is the scheme or a host called `http`.
fn is_meant_as_scheme(scheme: &str, uri: &Uri<'_>) -> bool {
    uri.server.is_some() || (scheme == "vsock" && uri.path.contains(':'))
}

/// The parts of a URI that targets use (RFC 3986, section 3).
struct Uri<'a> {
    scheme: &'a str,
    /// RFC 3986 calls it the authority; in a target it names the server to ask, not the one to call.
    server: Option<&'a str>,
    path: &'a str,
}

impl<'a> Uri<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|b| b.is_ascii_alphabetic())
            && letters.all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        if !is_scheme {
            return None;
        }
        Some(match rest.strip_prefix("//") {
            None => Self { scheme, server: None, path: rest },
            Some(rest) => {
                let (server, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                Self { scheme, server: Some(server), path }
            }
        })
    }

    /// `dns:///` and the path.
    fn of_path(path: &'a str) -> Self {
        Self { scheme: "dns", server: None, path }
    }

    fn named_server(&self) -> Option<&'a str> {
        self.server.filter(|server| !server.is_empty())
    }

    fn decoded_path(&self) -> Result<String, Expected> {
        if self.path.contains(['?', '#']) {
            return Err("a query or a fragment means nothing here; percent-encode `?` and `#`".into());
        }
        decode(self.path)
    }
}

fn decode(text: &str) -> Result<String, Expected> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escape = byte == b'%';
        if escape && !(0..2).all(|_| bytes.next().is_some_and(|b| b.is_ascii_hexdigit())) {
            return Err(
                "`%` begins an escape of two hex digits; write a literal one, as in the zone of an IPv6 \
                        address, as `%25`"
                    .into(),
            );
        }
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| "its percent-encoded bytes are not UTF-8".into())
}

/// The path as an authority: everything but RFC 3986's unreserved characters, sub-delimiters and `:[]@` encoded.
fn authority(path: &str) -> String {
    let mut authority = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]@".contains(&byte) {
            authority.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(authority, "%{byte:02X}");
        }
    }
    authority
}

/// An IPv6 address without brackets gets them: RFC 3986 knows no authority without.
fn bracketed(text: &str) -> Cow<'_, str> {
    match zoned(text) {
        Ok(_) => format!("[{text}]").into(),
        Err(_) => text.into(),
    }
}

fn dns(uri: Uri<'_>) -> Result<(Source, String), Expected> {
    let server = uri.named_server().map(dns_server).transpose()?;
    let path = uri.decoded_path()?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    if path.is_empty() {
        return Err("the host is missing; expected `dns:///host:port`".into());
    }
    let (host, port) = host_port(path)?;
    if host.is_empty() {
        return Ok((dns_source(server, "localhost", port), authority(&format!("localhost{path}"))));
    }
    if zoned(host).is_err() && host.parse::<IpAddr>().is_err() {
        check_name(host)?;
    }
    Ok((dns_source(server, host, port), authority(&bracketed(path))))
}

fn dns_source(server: Option<SocketAddr>, host: &str, port: Option<u16>) -> Source {
    Source::Dns { server, host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) }
}

fn dns_server(text: &str) -> Result<SocketAddr, Expected> {
    let text = decode(text)?;
    let (host, port) = host_port(&text)?;
    let port = port.unwrap_or(DNS_PORT);
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(SocketAddr::from((address, port)));
    }
    zoned(host).map(|(ip, zone)| SocketAddrV6::new(ip, port, 0, zone).into()).map_err(|_| {
        format!("the DNS server `{text}` is no IP address; expected `dns://IP[:port]/host`, or three slashes")
    })
}

/// `host`, `host:port`, `1.2.3.4:port`, `[v6]:port`, `[v6]` or `v6`; the brackets are taken off.
fn host_port(text: &str) -> Result<(&str, Option<u16>), Expected> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) =
            rest.split_once(']').ok_or_else(|| format!("`{text}` opens a bracket and does not close it"))?;
        zoned(host)?;
        return match rest {
            "" => Ok((host, None)),
            _ => match rest.strip_prefix(':') {
                Some(digits) => Ok((host, Some(port(digits)?))),
                None => Err(format!("`{rest}` after the bracket; expected `:port`")),
            },
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, rest)) if rest.contains(':') => match zoned(text) {
            Ok(_) => Ok((text, None)),
            Err(_) => Err(format!("`{text}` has too many colons; expected `host:port` or `[IPv6]:port`")),
        },
        Some((host, digits)) => Ok((host, Some(port(digits)?))),
    }
}

fn port(digits: &str) -> Result<u16, Expected> {
    let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
    port.ok_or_else(|| match digits {
        "" => "the port after the colon is missing".into(),
        _ => format!("the port `{digits}` is no number from 0 to 65535"),
    })
}

/// An IPv6 address and its zone, 0 if there is none.
fn zoned(text: &str) -> Result<(Ipv6Addr, u32), Expected> {
    let (address, zone) = match text.split_once('%') {
        None => (text, 0),
        // Interface names cannot be looked up without calls that std does not offer.
        Some((address, zone)) => (
            address,
            zone.parse()
                .map_err(|_| format!("the zone `{zone}` is no number: expected an interface index"))?,
        ),
    };
    let address = address.parse().map_err(|_| format!("`{address}` is no IPv6 address"))?;
    Ok((address, zone))
}

/// A name that DNS can be asked for (RFC 1035, section 2.3.4; underscores are common in SRV and in search lists).
fn check_name(host: &str) -> Result<(), Expected> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if let Some(odd) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        return Err(if odd.is_ascii() {
            format!("the host `{host}` contains `{}`", odd.escape_default())
        } else {
            format!("the host `{host}` is not ASCII; expected its `xn--` form")
        });
    }
    if name.len() > 253 {
        return Err("the host is longer than 253 characters".into());
    }
    match name.split('.').find(|label| label.is_empty() || label.len() > 63) {
        None => Ok(()),
        Some("") => Err(format!("the host `{host}` has an empty label")),
        Some(label) => Err(format!("the label `{label}` is longer than 63 characters")),
    }
}

fn no_server(uri: &Uri<'_>, scheme: &str) -> Result<(), Expected> {
    match uri.named_server() {
        None => Ok(()),
        Some(server) => Err(format!("`{scheme}` takes no server: expected nothing instead of `//{server}`")),
    }
}

fn addresses(
    uri: &Uri<'_>,
    scheme: &str,
    parse: fn(&str) -> Result<SocketAddr, Expected>,
) -> Result<(Source, String), Expected> {
    no_server(uri, scheme)?;
    let path = uri.decoded_path()?;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let addresses: Vec<_> =
        path.split(',').map(|text| parse(text).map(Address::Tcp)).collect::<Result<_, _>>()?;
    // gRPC takes the whole list, which HTTP/2 libraries refuse: an authority (RFC 3986, section 3.2) has one host.
    let first = path.split(',').next().unwrap_or(path);
    Ok((Source::Addresses(addresses), authority(&bracketed(first))))
}

fn ipv4(text: &str) -> Result<SocketAddr, Expected> {
    let (host, port) = host_port(text)?;
    let address: Ipv4Addr = host.parse().map_err(|_| format!("`{host}` is no IPv4 address"))?;
    Ok(SocketAddr::from((address, port.unwrap_or(DEFAULT_PORT))))
}

fn ipv6(text: &str) -> Result<SocketAddr, Expected> {
    let (host, port) = host_port(text)?;
    let (address, zone) = zoned(host)?;
    Ok(SocketAddrV6::new(address, port.unwrap_or(DEFAULT_PORT), 0, zone).into())
}

fn unix(uri: &Uri<'_>) -> Result<(Source, String), Expected> {
    no_server(uri, "unix")?;
    let path = uri.decoded_path()?;
    match path.as_str() {
        "" => Err("the path of the socket is missing".into()),
        _ if path.contains('\0') => Err("the path of the socket contains NUL".into()),
        _ => Ok((Source::Addresses(vec![Address::Unix(PathBuf::from(path))]), "localhost".into())),
    }
}

fn unix_abstract(uri: &Uri<'_>) -> Result<(Source, String), Expected> {
    no_server(uri, "unix-abstract")?;
    match uri.decoded_path()? {
        name if name.is_empty() => Err("the name of the socket is missing".into()),
        name => Ok((Source::Addresses(vec![Address::UnixAbstract(name.into_bytes())]), "localhost".into())),
    }
}

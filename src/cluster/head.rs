//! The head of a request, made fit for the next hop.

use std::{fmt::Write as _, net::SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme, Uri},
};

use crate::{connect::hop::strip_hop_by_hop, random::Random, server::ConnectInfo};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a cluster does to requests.
#[derive(Debug)]
pub(super) struct Rules {
    /// Instead of the caller's.
    pub(super) authority: Option<Authority>,
    pub(super) forwarded_for: bool,
    pub(super) refuse_unprocessed: bool,
    pub(super) random: Random,
}

impl Rules {
    /// Whether a request that nobody processed is refused. HTTP/1 has no word for it.
    pub(super) fn refuses<B>(&self, request: &Request<B>) -> bool {
        self.refuse_unprocessed && request.version() == Version::HTTP_2
    }

    /// Why this is no request that can be forwarded, if it is none.
    pub(super) fn objects<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
        if request.method() == Method::CONNECT {
            // Its success would be taken for a tunnel (RFC 9110, 9.3.6).
            return Some((StatusCode::NOT_IMPLEMENTED, "there are no tunnels through this proxy"));
        }
        if request.version() >= Version::HTTP_2 || request.version() < Version::HTTP_11 {
            return None;
        }
        // RFC 9112, 3.2: "a server MUST respond with a 400 status code" to no host, several, or an invalid one. Proxies
        // that choose differently among several could be played off against each other.
        let mut hosts = request.headers().get_all(HOST).iter();
        let valid = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.is_empty() || authority(host).is_some(),
            _ => false,
        };
        (!valid).then_some((StatusCode::BAD_REQUEST, "expected one `host` header: HOST or HOST:PORT"))
    }

    pub(super) fn apply<B>(&self, request: &mut Request<B>) {
        // First, so that a caller cannot name in `connection` what is added here, and have it removed again.
        strip_hop_by_hop(request.headers_mut());
        if let Some(authority) = self.authority.clone().or_else(|| host(request.uri(), request.headers())) {
            *request.uri_mut() = with_authority(request.uri(), authority);
        }
        request.headers_mut().remove(HOST);
        let info = request.extensions().get::<ConnectInfo>();
        let secure = info.is_some_and(|info| info.tls().is_some());
        let peer = if self.forwarded_for { info.and_then(ConnectInfo::peer_addr) } else { None };
        let headers = request.headers_mut();
        headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(if secure {
            "https"
        } else {
            "http"
        }));
        headers.entry(REQUEST_ID).or_insert_with(|| request_id(&self.random));
        if let Some(peer) = peer {
            forwarded_for(headers, peer);
        }
    }
}

/// What HTTP/1 says in `host`, HTTP/2 and absolute targets say in the URI.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if uri.authority().is_some() {
        return None;
    }
    authority(headers.get(HOST)?)
}

/// A host and perhaps a port; `user@` belongs to neither.
fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

fn with_authority(uri: &Uri, authority: Authority) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    // A scheme, an authority and a path make a URI, whatever they are.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Appends the peer's address to what proxies before this one have said.
fn forwarded_for(headers: &mut HeaderMap, peer: SocketAddr) {
    let mut all: Vec<u8> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        all.extend_from_slice(value.as_bytes());
        all.extend_from_slice(b",");
    }
    all.extend_from_slice(peer.ip().to_string().as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&all) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// A random UUID (RFC 9562, version 4).
fn request_id(random: &Random) -> HeaderValue {
    let (high, low) = (random.next(), random.next());
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    let mut id = String::with_capacity(36);
    let _ = write!(
        id,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { authority: None, forwarded_for: false, refuse_unprocessed: false, random: Random::seeded(1) }
    }

    fn applied(rules: &Rules, request: http::request::Builder) -> Request<()> {
        let mut request = request.body(()).unwrap();
        rules.apply(&mut request);
        request
    }

    #[test]
    fn the_host_of_http1_becomes_the_authority_and_one_in_the_target_goes_before() {
        let request = applied(&rules(), Request::get("/a?b").header("host", "own.example:81"));
        assert_eq!(request.uri(), "http://own.example:81/a?b");
        assert!(!request.headers().contains_key("host"));
        let request = applied(&rules(), Request::get("http://target.example/").header("host", "other"));
        assert_eq!(request.uri(), "http://target.example/");
        assert_eq!(applied(&rules(), Request::get("/a")).uri(), "/a", "the connection's own is used");
    }

    #[test]
    fn tunnels_and_unclear_hosts_are_objected_to() {
        let objected = |request: http::request::Builder| {
            Rules::objects(&request.body(()).unwrap()).map_or(0, |(status, _)| status.as_u16())
        };
        assert_eq!(objected(Request::connect("a:1").header("host", "a:1")), 501);
        assert_eq!(objected(Request::connect("a:1").version(Version::HTTP_2)), 501);
        assert_eq!(objected(Request::get("/").header("host", "own.example:81")), 0);
        assert_eq!(objected(Request::get("/").header("host", "[::1]:81")), 0);
        assert_eq!(objected(Request::get("/").version(Version::HTTP_10)), 0);
        assert_eq!(objected(Request::get("/").version(Version::HTTP_2)), 0);
        assert_eq!(objected(Request::get("/")), 400);
        assert_eq!(objected(Request::get("/").header("host", "a").header("host", "b")), 400);
        for host in ["a b", "user@a", "a b@@[["] {
            assert_eq!(objected(Request::get("/").header("host", host)), 400, "{host}");
        }
    }

    #[test]
    fn the_authority_can_be_rewritten() {
        let rules = Rules { authority: Some(Authority::from_static("inner:1")), ..rules() };
        assert_eq!(applied(&rules, Request::get("/a").header("host", "outer")).uri(), "http://inner:1/a");
    }

    #[test]
    fn a_request_id_is_added_once_and_is_a_uuid() {
        let request = applied(&rules(), Request::get("/"));
        let id = request.headers()["x-request-id"].to_str().unwrap().to_owned();
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        let kept = applied(&rules(), Request::get("/").header("x-request-id", "mine"));
        assert_eq!(kept.headers()["x-request-id"], "mine");
    }

    #[test]
    fn the_protocol_is_told_unless_somebody_told_it_before() {
        assert_eq!(applied(&rules(), Request::get("/")).headers()["x-forwarded-proto"], "http");
        let told = applied(&rules(), Request::get("/").header("x-forwarded-proto", "https"));
        assert_eq!(told.headers()["x-forwarded-proto"], "https");
    }

    #[test]
    fn a_caller_cannot_have_removed_what_is_added() {
        let request =
            applied(&rules(), Request::get("/").header("connection", "x-request-id, x-forwarded-for, close"));
        assert!(!request.headers().contains_key("connection"), "the next hop would remove what it names");
        assert!(request.headers().contains_key("x-request-id"));
    }

    #[test]
    fn forwarded_for_is_extended() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_FOR, HeaderValue::from_static("10.0.0.1"));
        headers.append(FORWARDED_FOR, HeaderValue::from_static("10.0.0.2"));
        forwarded_for(&mut headers, "[::1]:5".parse().unwrap());
        assert_eq!(headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>(), ["10.0.0.1,10.0.0.2,::1"]);
    }
}

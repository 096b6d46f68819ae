//! The head of a request as HTTP/2 has it.

use http::{
    Request, Uri, Version,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::connect::hop::strip_hop_by_hop;

/// The head to send for a request: the connection's scheme, the request's own authority or else the connection's, and
/// no header that speaks of an HTTP/1 connection. The request keeps its head, for another attempt.
pub(super) fn outgoing<B>(request: &Request<B>, scheme: &Scheme, authority: &Authority) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = absolute(request.uri(), scheme, authority);
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = request.headers().clone();
    strip_hop_by_hop(head.headers_mut());
    head
}

fn absolute(uri: &Uri, scheme: &Scheme, authority: &Authority) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(uri.authority().unwrap_or(authority).clone());
    parts.path_and_query =
        Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    // A scheme, an authority and a path make a URI whatever they are; the request's own is a fallback in name only.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(request: Request<()>) -> Request<()> {
        outgoing(&request, &Scheme::HTTPS, &Authority::from_static("endpoint:443"))
    }

    #[test]
    fn a_request_without_an_authority_gets_the_connections() {
        let head = sent(Request::new(()));
        assert_eq!(head.uri(), "https://endpoint:443/");
    }

    #[test]
    fn a_requests_own_authority_stays_and_its_scheme_does_not() {
        let head = sent(Request::get("http://own.example/a/b?c").body(()).unwrap());
        assert_eq!(head.uri(), "https://own.example/a/b?c");
    }

    #[test]
    fn headers_keep_their_order_and_their_duplicates() {
        let request =
            Request::get("/").header("a", "1").header("b-bin", "AA").header("a", "2").body(()).unwrap();
        let head = sent(request);
        assert_eq!(head.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(head.headers()["b-bin"], "AA");
    }

    #[test]
    fn headers_of_an_http1_connection_are_left_out() {
        let request = Request::get("/")
            .header("connection", "x-hop, te, close")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "close")
            .header("transfer-encoding", "chunked")
            .header("upgrade", "h2c")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let head = sent(request);
        assert_eq!(head.headers().len(), 1);
        assert_eq!(head.headers()["te"], "trailers");
    }

    #[test]
    fn of_te_only_trailers_stays() {
        let te = |value: &str| {
            let head = sent(Request::get("/").header("te", value).body(()).unwrap());
            head.headers().get("te").cloned()
        };
        assert_eq!(te("gzip, Trailers").unwrap(), "trailers");
        assert_eq!(te("gzip"), None);
    }
}

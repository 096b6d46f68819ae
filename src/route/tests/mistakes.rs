use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use super::*;

#[test]
fn mistakes_are_errors_that_name_the_routes() {
    let (name, value) = header("x-a", "1");
    let twice = Route::any().header(name.clone(), value.clone()).header(name.clone(), value.clone());
    for (routes, error) in [
        (vec![], "no route: every request would be refused"),
        (
            vec![Route::prefix("/a"), Route::any(), Route::prefix("/a")],
            "route by prefix `/a`: declared twice",
        ),
        (
            vec![Route::text_prefix("/a.B/"), Route::service("a.B")],
            "route by service `a.B`: never reached, because the route by textual prefix `/a.B/`, declared before, \
             takes the same requests",
        ),
        (
            vec![Route::method("a.B/C"), Route::exact("/a.B/C")],
            "route by path `/a.B/C`: never reached, because the route by method `a.B/C`, declared before, takes the \
             same requests",
        ),
        (
            vec![twice, Route::any().header(name.clone(), value.clone())],
            "route by any path with `x-a: 1`: never reached, because the route by any path with `x-a: 1` with \
             `x-a: 1`, declared before, takes the same requests",
        ),
        (
            vec![Route::prefix("/a").host("A.example"), Route::prefix("/a").host("a.example.")],
            "route by prefix `/a` on host `a.example.`: never reached, because the route by prefix `/a` on host \
             `A.example`, declared before, takes the same requests",
        ),
        (
            vec![
                Route::service("a.B"),
                Route::prefix("/a.B").header(name.clone(), value.clone()),
                Route::exact("/a.B").header(name.clone(), value.clone()),
            ],
            "route by prefix `/a.B` with `x-a: 1`: never reached, because the routes by path `/a.B` with `x-a: 1` \
             and by service `a.B` take the same requests",
        ),
        (vec![Route::prefix("a")], "route by prefix `a`: expected a path that begins with `/`"),
        (vec![Route::prefix("")], "route by prefix ``: expected a path that begins with `/`"),
        (
            vec![Route::exact("/a?b")],
            "route by path `/a?b`: expected a path without query and fragment, which are never compared",
        ),
        (
            vec![Route::text_prefix("/a b")],
            "route by textual prefix `/a b`: expected a path as it is sent, with spaces and what is not ASCII \
             percent-encoded",
        ),
        (
            vec![Route::service("/a.B")],
            "route by service `/a.B`: expected a gRPC service as `package.Service`",
        ),
        (
            vec![Route::method("a.B")],
            "route by method `a.B`: expected a gRPC method as `package.Service/Method`",
        ),
        (
            vec![Route::any().host("a.example:80")],
            "route by any path on host `a.example:80`: expected a host without scheme and port, such as \
             `shop.example` or `*.example`",
        ),
        (
            vec![Route::any().timeout(Duration::ZERO)],
            "route by any path: a timeout of 0 lets nothing through: expected more, or none",
        ),
    ] {
        assert_eq!(table(routes).unwrap_err().to_string(), error);
    }
    for host in ["", "*", "*.", "*.*.a", "a b", "http://a", "a/b", "u@a", "a*b"] {
        assert!(table([Route::any().host(host)]).unwrap_err().is_invalid(), "{host}");
    }
    assert!(table([Route::any(), Route::any()]).unwrap_err().is_duplicate());
    assert!(table([Route::service("a"), Route::text_prefix("/a/")]).unwrap_err().is_shadowed());
}

#[test]
fn weights_that_share_nothing_are_errors_that_name_the_route() {
    for (weights, error) in [
        (vec![], "route by prefix `/a`: its weights add up to 0: expected at least one above 0"),
        (vec![0, 0], "route by prefix `/a`: its weights add up to 0: expected at least one above 0"),
        (vec![u32::MAX, 1], "route by prefix `/a`: its weights add up to more than 4294967295"),
    ] {
        let weighted = Weighted::new(weights.into_iter().map(|weight| ((), weight)));
        let built = Router::builder().split(Route::prefix("/a"), weighted).build();
        assert_eq!(built.unwrap_err().to_string(), error);
    }
}

/// Routes over few paths, hosts and headers, so that they collide often.
fn any_route() -> impl Strategy<Value = Route> {
    let path = prop::sample::select(vec!["/a", "/a/", "/a/b", "/ab", "/"]);
    let kind = 0..6;
    let host = prop::option::of(prop::sample::select(vec!["x.example", "*.example", "*.x.example"]));
    let headers = prop::collection::vec(prop::sample::select(vec!["1", "2"]), 0..3);
    (path, kind, host, headers).prop_map(|(path, kind, host, headers)| {
        let mut route = match kind {
            0 => Route::any(),
            1 => Route::prefix(path),
            2 => Route::text_prefix(path),
            3 => Route::exact(path),
            4 => Route::service("a"),
            _ => Route::method("a/b"),
        };
        if let Some(host) = host {
            route = route.host(host);
        }
        headers.into_iter().fold(route, |route, value| {
            route.header(HeaderName::from_static("x-h"), HeaderValue::from_static(value))
        })
    })
}

proptest! {
    /// Whatever is built has no hidden route: some request goes to each.
    #[test]
    fn every_route_of_a_table_that_was_built_takes_some_request(routes in prop::collection::vec(any_route(), 1..8)) {
        let Ok(router) = table(routes) else { return Ok(()) };
        let mut reached = std::collections::HashSet::new();
        for path in ["*", "/", "/a", "/a/", "/a/b", "/a/bc", "/a/c", "/a/b/c", "/ab", "/ab/c", "/abc", "/acd", "/c"] {
            for host in [None, Some("x.example"), Some("y.example"), Some("y.x.example")] {
                for headers in [&[][..], &["1"], &["2"], &["1", "2"]] {
                    let mut request = Request::get(path);
                    if let Some(host) = host {
                        request = request.header("host", host);
                    }
                    let request = headers.iter().fold(request, |request, value| request.header("x-h", *value));
                    reached.insert(taken(&router, &request.body(()).unwrap()));
                }
            }
        }
        for route in router.routes() {
            prop_assert!(reached.contains(&route.to_string()), "{route} takes nothing in {router:?}");
        }
    }

    #[test]
    fn no_route_and_no_request_panics(path: String, host: String, asked in "[!-~]{0,20}", sent: Vec<u8>) {
        let routes = [Route::prefix(&path), Route::service(&path), Route::method(&path), Route::any().host(&host)];
        for route in routes {
            let Ok(router) = table([route]) else { continue };
            let mut request = Request::new(());
            if let Ok(uri) = asked.parse() {
                *request.uri_mut() = uri;
            }
            if let Ok(host) = HeaderValue::from_bytes(&sent) {
                request.headers_mut().insert("host", host);
            }
            let _ = router.matching(&request);
        }
    }
}

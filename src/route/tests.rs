use std::{convert::Infallible, future::ready, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Version, header::CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::*;
use crate::deadline::Cap;

type Named = BoxCloneSyncService<Request<()>, Response<Full<Bytes>>, Infallible>;

/// A service that answers with its name and the cap that it found.
fn named(name: &'static str) -> Named {
    Named::new(service_fn(move |request: Request<()>| {
        let cap = request.extensions().get::<Cap>().map(|cap| format!(" {:?}", cap.0));
        ready(Ok(Response::new(Full::from(format!("{name}{}", cap.unwrap_or_default())))))
    }))
}

fn post(uri: &str) -> Request<()> {
    Request::post(uri).body(()).unwrap()
}

/// The route that takes a request, as it was written.
fn taken<S>(router: &Router<S>, request: &Request<()>) -> String {
    router.matching(request).map_or_else(|| "-".to_owned(), ToString::to_string)
}

fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

fn table(routes: impl IntoIterator<Item = Route>) -> Result<Router<()>, BuildError> {
    routes.into_iter().fold(Router::builder(), |builder, route| builder.route(route, ())).build()
}

#[test]
fn a_mapped_router_has_the_same_routes_to_other_services() {
    let router = Router::builder().prefix("/a", 1).prefix("/b", 2).build().expect("valid").map(|n| n * 10);
    let request = |path: &str| http::Request::get(path).body(()).expect("a request");
    assert!(router.matching(&request("/a/x")).is_some() && router.matching(&request("/c")).is_none());
    assert_eq!(router.routes().count(), 2);
}

#[test]
fn a_prefix_ends_where_a_segment_ends_and_a_textual_one_anywhere() {
    let router = table([Route::prefix("/gateway.AliveService"), Route::text_prefix("/x")]).unwrap();
    for (path, by) in [
        ("/gateway.AliveService", "prefix `/gateway.AliveService`"),
        ("/gateway.AliveService/", "prefix `/gateway.AliveService`"),
        ("/gateway.AliveService/X", "prefix `/gateway.AliveService`"),
        ("/gateway.AliveService/X/Y", "prefix `/gateway.AliveService`"),
        ("/gateway.AliveService?a=/b", "prefix `/gateway.AliveService`"),
        ("/gateway.AliveServiceV2/X", "-"),
        ("/gateway.AliveServic", "-"),
        ("/gateway.aliveService/X", "-"),
        ("/v/gateway.AliveService/X", "-"),
        ("/gateway%2EAliveService/X", "-"),
        ("/x", "textual prefix `/x`"),
        ("/xyz/1", "textual prefix `/x`"),
        ("/y?/x", "-"),
        ("/", "-"),
    ] {
        assert_eq!(taken(&router, &post(path)), by, "{path}");
    }
}

#[test]
fn a_prefix_with_a_slash_at_its_end_takes_only_what_is_below() {
    let router = table([Route::prefix("/router.Router/")]).unwrap();
    assert!(router.matching(&post("/router.Router/Unary")).is_some());
    assert!(router.matching(&post("/router.Router")).is_none());
    let root = table([Route::prefix("/")]).unwrap();
    assert!(root.matching(&post("/")).is_some() && root.matching(&post("/a")).is_some());
}

#[test]
fn the_most_specific_route_wins_however_they_were_declared() {
    let (canary, value) = header("x-canary", "1");
    let (tenant, acme) = header("x-tenant", "acme");
    let sorted = [
        Route::any().host("shop.example"),
        Route::method("a.B/C").host("*.shop.example"),
        Route::any().host("*.shop.example"),
        Route::any().host("*.example"),
        Route::exact("/a.B/C").header(canary.clone(), value.clone()).header(tenant.clone(), acme.clone()),
        Route::exact("/a.B/C").header(canary.clone(), value.clone()),
        Route::exact("/a.B/C").header(tenant, acme),
        Route::exact("/a.B/C"),
        Route::service("a.B"),
        Route::prefix("/a.B"),
        Route::text_prefix("/a.B"),
        Route::prefix("/a"),
        Route::prefix("/"),
        Route::any().header(canary, value),
        Route::any(),
    ];
    let names = |router: &Router<()>| router.routes().map(ToString::to_string).collect::<Vec<_>>();
    let expected = names(&table(sorted.clone()).unwrap());
    assert_eq!(expected, sorted.each_ref().map(ToString::to_string));

    // Only two of them are equally specific, and keep the order of declaration.
    let reversed = names(&table(sorted.into_iter().rev()).unwrap());
    let mut swapped = expected;
    swapped.swap(5, 6);
    assert_eq!(reversed, swapped);
}

#[test]
fn hosts_are_compared_without_case_port_and_last_dot() {
    let router = table([
        Route::any().host("Shop.Example"),
        Route::any().host("*.example"),
        Route::any().host("[::1]"),
    ])
    .unwrap();
    for (authority, by) in [
        ("shop.example", "any path on host `Shop.Example`"),
        ("SHOP.EXAMPLE:8443", "any path on host `Shop.Example`"),
        ("shop.example.", "any path on host `Shop.Example`"),
        ("other.example", "any path on host `*.example`"),
        ("a.b.Example:1", "any path on host `*.example`"),
        ("example", "-"),
        (".example", "-"),
        ("notexample", "-"),
        ("[::1]:80", "any path on host `[::1]`"),
    ] {
        let by_header = Request::get("/a").header("host", authority).body(()).unwrap();
        assert_eq!(taken(&router, &by_header), by, "Host: {authority}");
        if let Ok(request) = Request::get(format!("http://{authority}/a")).body(()) {
            assert_eq!(taken(&router, &request), by, "{authority}");
        }
    }
    assert_eq!(taken(&router, &post("/a")), "-", "no host at all");
}

#[test]
fn the_target_of_a_request_tells_its_host_before_its_header() {
    let router =
        table([Route::prefix("/a").host("a.example"), Route::prefix("/a").host("b.example")]).unwrap();
    let mut request = Request::get("http://a.example/a?q").header("host", "b.example").body(()).unwrap();
    assert_eq!(taken(&router, &request), "prefix `/a` on host `a.example`");

    *request.uri_mut() = "/a".parse().unwrap();
    assert_eq!(taken(&router, &request), "prefix `/a` on host `b.example`");
    request.headers_mut().append("host", HeaderValue::from_static("a.example"));
    assert_eq!(taken(&router, &request), "-", "two hosts are none");
}

#[test]
fn requests_without_a_path_are_taken_by_any_alone() {
    let options = Request::builder().method(Method::OPTIONS).uri("*").body(()).unwrap();
    let connect = Request::builder().method(Method::CONNECT).uri("a.example:443").body(()).unwrap();
    let slash = table([Route::prefix("/"), Route::text_prefix("/a")]).unwrap();
    assert_eq!((taken(&slash, &options), taken(&slash, &connect)), ("-".into(), "-".into()));
    let any = table([Route::any(), Route::prefix("/")]).unwrap();
    assert_eq!((taken(&any, &options), taken(&any, &connect)), ("any path".into(), "any path".into()));
    assert_eq!(taken(&table([Route::exact("*")]).unwrap(), &options), "path `*`");
}

#[test]
fn one_of_a_headers_values_must_be_exactly_the_wanted_one() {
    let (name, value) = header("x-canary", "1");
    let router = table([Route::any().header(name.clone(), value)]).unwrap();
    let with = |values: &[&str]| {
        let request = values.iter().fold(Request::get("/"), |request, value| request.header(&name, *value));
        router.matching(&request.body(()).unwrap()).is_some()
    };
    assert!(with(&["1"]) && with(&["0", "1"]));
    assert!(!with(&[]) && !with(&["11"]) && !with(&["0"]));
}

#[tokio::test]
async fn a_request_that_no_route_takes_is_answered_in_its_callers_language() {
    let router = Router::builder().prefix("/a", named("a")).build().unwrap();
    let response = router.clone().oneshot(post("/b")).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["content-length"].to_str().unwrap()),
        (404, "0")
    );
    assert!(response.body().is_end_stream());

    let mut request = post("/b/C");
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.headers()["grpc-status"].to_str().unwrap()),
        (200, "12")
    );
    assert!(!response.headers().contains_key("grpc-message"));
    assert!(response.body().is_end_stream());
    assert_eq!(response.version(), Version::default());
}

async fn body_of(router: &Router<Named>, uri: &str) -> Bytes {
    router.clone().oneshot(post(uri)).await.unwrap().into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn the_service_of_the_route_answers_and_finds_its_timeout() {
    let router = Router::builder()
        .prefix("/a", named("a"))
        .method("a.B/C", named("method"))
        .route(Route::prefix("/slow").timeout(Duration::from_secs(60)), named("slow"))
        .otherwise(named("rest"))
        .build()
        .unwrap();
    assert_eq!(body_of(&router, "/a/1").await, "a");
    assert_eq!(body_of(&router, "/a.B/C").await, "method");
    assert_eq!(body_of(&router, "/slow").await, "slow 60s");
    assert_eq!(body_of(&router, "/b").await, "rest");
}

#[tokio::test]
async fn a_layer_wraps_every_service_that_is_there_already() {
    #[derive(Clone)]
    struct Halve;
    impl Layer<Named> for Halve {
        type Service = Named;
        fn layer(&self, inner: Named) -> Named {
            Named::new(ServiceExt::<Request<()>>::map_request(inner, |mut request: Request<()>| {
                Cap::tighten(request.extensions_mut(), Duration::from_secs(1));
                request
            }))
        }
    }
    let router = Router::builder()
        .split(Route::prefix("/a"), Weighted::new([(named("a"), 1), (named("b"), 0)]))
        .layer(Halve)
        .prefix("/later", named("later"))
        .build()
        .unwrap();
    assert_eq!(body_of(&router, "/a").await, "a 1s");
    assert_eq!(body_of(&router, "/later").await, "later");
}

#[tokio::test]
async fn weights_share_a_routes_requests() {
    const CALLS: u32 = 10_000;
    let weights = [("stable", 90), ("canary", 7), ("off", 0), ("shadow", 3)];
    let services = weights.map(|(name, weight)| (named(name), weight));
    let router = Router::builder().split(Route::any(), Weighted::new(services)).seed(11).build().unwrap();
    let mut counts = [0u32; 4];
    for _ in 0..CALLS {
        let name = body_of(&router, "/").await;
        counts[weights.iter().position(|(n, _)| name == n).unwrap()] += 1;
    }
    assert_eq!(counts[2], 0, "a weight of 0 is off");
    let chi_square: f64 = weights
        .iter()
        .zip(counts)
        .filter(|((_, weight), _)| *weight > 0)
        .map(|((_, weight), count)| {
            let expected = f64::from(CALLS) * f64::from(*weight) / 100.0;
            (f64::from(count) - expected).powi(2) / expected
        })
        .sum();
    // Two degrees of freedom, p = 0.001.
    assert!(chi_square < 13.82, "{counts:?}: {chi_square}");
}

#[test]
fn a_seed_fixes_the_sequence() {
    let draw = |seed| {
        let weighted = Weighted::new((0..10).map(|n| (n, 1))).checked().unwrap();
        let random = crate::random::Random::seeded(seed);
        (0..20).map(|_| *weighted.pick(&random).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

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
            vec![twice, Route::any().header(name, value)],
            "route by any path with `x-a: 1`: never reached, because the route by any path with `x-a: 1` with \
             `x-a: 1`, declared before, takes the same requests",
        ),
        (
            vec![Route::prefix("/a").host("A.example"), Route::prefix("/a").host("a.example.")],
            "route by prefix `/a` on host `a.example.`: never reached, because the route by prefix `/a` on host \
             `A.example`, declared before, takes the same requests",
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

mod mistakes;
mod serving;

use http::{HeaderName, HeaderValue, Method, Request};

use super::*;

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

#[test]
fn a_mapped_router_has_the_same_routes_to_other_services() {
    let router = Router::builder().prefix("/a", 1).prefix("/b", 2).build().unwrap().map(|n| n * 10);
    assert_eq!(taken(&router, &post("/a/x")), "prefix `/a`");
    assert_eq!(taken(&router, &post("/c")), "-");
    assert_eq!(router.routes().count(), 2);
}

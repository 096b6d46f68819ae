use std::{convert::Infallible, future::ready, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header::CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
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

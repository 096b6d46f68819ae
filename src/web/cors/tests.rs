use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;

fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/a.B/C");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// An answer through CORS in front of a backend that says 418.
async fn through(origins: Origins, request: Request<()>) -> Response<CorsBody<Full<Bytes>>> {
    let backend = service_fn(async |_: Request<()>| {
        let mut response = Response::new(Full::from("teapot"));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        Ok::<_, Infallible>(response)
    });
    cors(origins).layer(backend).oneshot(request).await.unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn listed() -> Origins {
    Origins::list(["https://app.example"]).unwrap()
}

const PREFLIGHT: [(&str, &str); 3] = [
    ("origin", "https://app.example"),
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "content-type,x-grpc-web"),
];

#[tokio::test]
async fn a_preflight_is_answered_as_envoy_does() {
    for origins in [Origins::any(), listed()] {
        let response = through(origins, request(Method::OPTIONS, &PREFLIGHT)).await;
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in [
            ("access-control-allow-origin", "https://app.example"),
            ("access-control-allow-methods", "GET,PUT,DELETE,POST,OPTIONS"),
            (
                "access-control-allow-headers",
                "authorization,deadline,keep-alive,user-agent,cache-control,content-type,content-transfer-encoding,custom-header-1,\
                 x-accept-content-transfer-encoding,x-accept-response-streaming,x-user-agent,x-grpc-web,grpc-timeout",
            ),
            ("access-control-max-age", "1728000"),
            ("access-control-allow-credentials", ""),
        ] {
            assert_eq!(header(&response, name), value, "{name}");
        }
        assert!(response.body().is_end_stream());
    }
}

#[tokio::test]
async fn other_origins_and_other_options_are_forwarded() {
    let other = [("origin", "https://other.example"), ("access-control-request-method", "POST")];
    let allowed = [("origin", "https://app.example")];
    let nobody = [("access-control-request-method", "POST")];
    for headers in [other.as_slice(), &allowed, &nobody, &[]] {
        let response = through(listed(), request(Method::OPTIONS, headers)).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT, "{headers:?}");
        assert_eq!(header(&response, "access-control-allow-methods"), "");
        assert_eq!(response.into_body().size_hint().exact(), Some(6));
    }
}

#[tokio::test]
async fn every_answer_says_who_may_read_it_and_shows_the_status() {
    for (origins, origin, allowed) in [
        (Origins::any(), "https://x.example", "https://x.example"),
        (listed(), "https://app.example", "https://app.example"),
        (listed(), "https://other.example", ""),
    ] {
        let response = through(origins, request(Method::POST, &[("origin", origin)])).await;
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(header(&response, "access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(
            header(&response, "access-control-expose-headers"),
            "custom-header-1,grpc-status,grpc-message,grpc-status-details-bin"
        );
        assert!(header(&response, "vary").contains("origin"), "caches must not mix origins up");
    }
}

/// Never ready: a proxy without endpoints that lets its callers wait.
#[derive(Clone)]
struct Stuck;

impl Service<Request<()>> for Stuck {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _request: Request<()>) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test]
async fn a_preflight_is_answered_while_the_inner_service_is_not_ready() {
    let response = cors(listed()).layer(Stuck).oneshot(request(Method::OPTIONS, &PREFLIGHT)).await.unwrap();
    assert_eq!(header(&response, "access-control-allow-origin"), "https://app.example");
}

#[tokio::test]
async fn what_is_configured_holds_and_the_origins_stay() {
    let layer = cors(listed()).configure(|cors| cors.allow_credentials(true));
    let backend =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
    let response = layer.layer(backend).oneshot(request(Method::OPTIONS, &PREFLIGHT)).await.unwrap();
    assert_eq!(header(&response, "access-control-allow-credentials"), "true");
    assert_eq!(header(&response, "access-control-allow-origin"), "https://app.example");
}

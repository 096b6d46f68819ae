//! What a browser asks first.

use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};

use crate::{
    client::{Client, Mode},
    service::Served,
};

#[tokio::test]
async fn a_preflight_is_answered_over_both_protocols_and_other_options_are_not() {
    let served = Served::echo();
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let client = Client::new(served.address, (version, Mode::Binary));
        let ask = |method: Option<&'static str>| {
            let request = Request::builder()
                .method(Method::OPTIONS)
                .uri(client.uri("/no.Where/AtAll"))
                .header("origin", "https://app.example");
            let request = match method {
                Some(method) => request.header("access-control-request-method", method),
                None => request,
            };
            request.body(Full::default().boxed()).unwrap()
        };
        let answer = client.send(ask(Some("POST"))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
        assert_eq!(answer.headers()["access-control-max-age"], "1728000");
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 0);

        let answer = client.send(ask(None)).await;
        assert!(!answer.headers().contains_key("access-control-max-age"), "tonic answered: {answer:?}");
    }
}

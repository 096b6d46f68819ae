//! What lives how long.

use std::time::Duration;

use futures_util::poll;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::scripted::{endpoint, pushed, request, settle, trailers};
use crate::{discover::Feedback, grpc::Code};

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_every_task_and_connection() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.replace([endpoint(1), endpoint(2)]);
    let peer = dialled.accept().await;
    let attempt = dialled.next().await;
    let clone = balance.clone();
    drop(balance);
    assert!(!dialled.is_over().await && !peer.is_let_go().await);
    drop(clone);
    assert!(dialled.is_over().await && peer.is_let_go().await);
    assert!(attempt.is_given_up());
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_response_is_a_handle() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let mut peer = dialled.accept().await;
    let mut call = Box::pin(balance.clone().call(request()));
    assert!(poll!(&mut call).is_pending());
    let frames = peer.received().expect("the call was sent").stream();
    let mut body = call.await.expect("headers").into_body();
    drop(balance);
    assert!(!dialled.is_over().await);
    frames.send(Ok(trailers(Code::Ok))).expect("the body is read");
    body.frame().await.expect("a frame").expect("trailers");
    assert!(dialled.is_over().await, "a finished response is none");
    drop(body);
}

#[tokio::test(start_paused = true)]
async fn an_idle_balancer_still_reconnects_and_applies_removals() {
    let (handle, builder, mut dialled) = pushed();
    let balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    let peer = dialled.accept().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    peer.break_off().await;
    let peer = dialled.accept().await;
    handle.remove(endpoint(1).key());
    tokio::time::advance(Duration::from_millis(100)).await;
    assert!(peer.is_let_go().await);
    assert_eq!(balance.watch().borrow().endpoints(), 0);
}

#[tokio::test(start_paused = true)]
async fn discovery_hears_of_connections_made_lost_and_refused() {
    struct Ear(crate::discover::Pushed, tokio::sync::mpsc::UnboundedSender<String>);
    impl crate::discover::Resolve for Ear {
        fn poll_resolve(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<std::sync::Arc<crate::endpoint::EndpointSet>, crate::Error>>>
        {
            std::pin::Pin::new(&mut self.0).poll_resolve(cx)
        }
        fn feedback(self: std::pin::Pin<&mut Self>, feedback: Feedback) {
            let said = match feedback {
                Feedback::Connected(_) => "connected",
                Feedback::Failed(_) => "failed",
                Feedback::GoingAway(_) => "going away",
            };
            self.1.send(said.to_owned()).expect("the test listens");
        }
    }
    let (handle, resolver) = crate::discover::Pushed::new();
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let (builder, mut dialled) = super::scripted::over(Ear(resolver, said));
    let _balance = builder.build().expect("in a runtime");
    handle.insert(endpoint(1));
    dialled.next().await.fail("connection refused");
    let peer = dialled.accept().await;
    peer.go_away().await;
    let peer = dialled.accept().await;
    peer.break_off().await;
    settle().await;
    let mut all = Vec::new();
    while let Ok(one) = heard.try_recv() {
        all.push(one);
    }
    assert_eq!(all, ["failed", "connected", "going away", "connected", "failed"]);
}

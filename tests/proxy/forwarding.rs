//! What passes through.

use std::{pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request,
    metadata::{MetadataMap, MetadataValue},
};

use crate::{
    Proxy,
    support::{
        greeter::Greeter,
        pb::echo::{EchoRequest, Status as EchoStatus, echo_client::EchoClient},
    },
};

const SOON: Duration = Duration::from_secs(10);

fn client(proxy: &Proxy) -> EchoClient<grpc_balance::Channel> {
    EchoClient::new(proxy.channel()).max_decoding_message_size(usize::MAX)
}

fn values(metadata: &[crate::support::pb::echo::Metadata], key: &str) -> Vec<Vec<u8>> {
    metadata.iter().filter(|entry| entry.key == key).map(|entry| entry.value.clone()).collect()
}

#[tokio::test]
async fn metadata_passes_both_ways_and_the_proxy_adds_what_it_says() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let mut request = Request::new(EchoRequest::default());
    let metadata: &mut MetadataMap = request.metadata_mut();
    metadata.append("x-own", "1".parse().unwrap());
    metadata.append("x-own", "2".parse().unwrap());
    metadata.append_bin("x-own-bin", MetadataValue::from_bytes(&[0, 255]));
    let response = client(&proxy).unary(request).await.expect("it is answered");
    assert_eq!(response.metadata().get("echo-x-own").unwrap(), "1");
    let seen = response.into_inner().metadata;
    assert_eq!(values(&seen, "x-own"), [b"1", b"2"]);
    assert_eq!(values(&seen, "x-own-bin"), [[0, 255]]);
    assert_eq!(values(&seen, "x-forwarded-proto"), [b"http"]);
    assert_eq!(values(&seen, "x-request-id")[0].len(), 36);
    assert!(values(&seen, "x-forwarded-for").is_empty());
}

#[tokio::test]
async fn the_authority_is_the_callers_unless_it_is_rewritten() {
    let backend = Greeter::start("a").await;
    for (rewrite, expected) in [(None, "client.test:1"), (Some("inner.test:2"), "inner.test:2")] {
        let proxy = Proxy::configured([backend.address()], |builder| match rewrite {
            Some(authority) => builder.rewrite_authority(authority),
            None => builder,
        });
        let channel = grpc_balance::Channel::builder(format!("ipv4:{}", proxy.address));
        let channel = channel.authority("client.test:1").build().expect("a valid channel");
        let reply = EchoClient::new(channel).unary(EchoRequest::default()).await.expect("it is answered");
        assert_eq!(reply.into_inner().authority, expected);
    }
}

#[tokio::test]
async fn a_status_with_details_passes_unchanged() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let status = EchoStatus { code: 9, message: "no: 100 % \u{fc}".into(), details: vec![1, 2, 255] };
    let request = EchoRequest { status: Some(status), ..EchoRequest::default() };
    let status = client(&proxy).unary(request).await.expect_err("as asked");
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "no: 100 % \u{fc}"));
    assert_eq!(status.details(), [1, 2, 255]);
}

#[tokio::test]
async fn forty_megabytes_pass_each_way() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let payload = vec![7; 40 << 20];
    let reply =
        client(&proxy).unary(EchoRequest { payload: payload.clone(), ..EchoRequest::default() }).await;
    assert!(reply.expect("it is answered").into_inner().payload == payload);
}

#[tokio::test]
async fn a_conversation_goes_back_and_forth() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut replies = client(&proxy).chat(requests).await.expect("it starts before it ends").into_inner();
    for turn in 0..50u8 {
        send.send(EchoRequest { payload: vec![turn], ..EchoRequest::default() }).await.expect("it is read");
        let reply =
            timeout(SOON, replies.message()).await.expect("in time").expect("no error").expect("a reply");
        assert_eq!(reply.payload, [turn]);
    }
    drop(send);
    assert!(replies.message().await.expect("no error").is_none());
}

#[tokio::test]
async fn a_call_that_its_caller_gives_up_is_given_up_upstream() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let mut client = client(&proxy);
    let request = EchoRequest { replies: 1_000, pause_ms: 10, ..EchoRequest::default() };
    let mut replies = client.download(request).await.expect("it starts").into_inner();
    replies.message().await.expect("no error").expect("a reply");
    assert_eq!((backend.in_flight(), proxy.cluster.active_requests()), (1, 1));
    drop(replies);
    // Before the headers, too.
    let waiting = EchoRequest { delay_ms: 60_000, ..EchoRequest::default() };
    {
        let mut call = pin!(client.unary(waiting));
        assert!(timeout(Duration::from_millis(100), &mut call).await.is_err());
    }
    let gone = async {
        while backend.in_flight() + proxy.cluster.active_requests() as u64 > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, gone).await.expect("both are given up");
}

#[tokio::test]
async fn calls_of_one_connection_are_spread_over_the_backends() {
    let mut backends = Vec::new();
    for name in ["a", "b", "c"] {
        backends.push(Greeter::start(name).await);
    }
    let proxy = Proxy::configured(backends.iter().map(Greeter::address), |builder| {
        builder.policy(grpc_balance::policy::RoundRobin::new())
    });
    let client = client(&proxy);
    let ready = async {
        while proxy.cluster.health().now().healthy_count() < 3 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, ready).await.expect("all are up");
    let calls = stream::iter(0..300).map(|_| {
        let mut client = client.clone();
        async move { client.unary(EchoRequest::default()).await.expect("it is answered") }
    });
    calls.buffer_unordered(20).collect::<Vec<_>>().await;
    for backend in &backends {
        assert_eq!(backend.calls(), 100);
    }
}

#[tokio::test]
async fn a_deadline_holds_through_the_proxy_and_the_backend_is_told_what_is_left() {
    let backend = Greeter::start("a").await;
    let proxy = Proxy::to([backend.address()]);
    let mut request = Request::new(EchoRequest::default());
    request.set_timeout(Duration::from_secs(5));
    let left = client(&proxy).unary(request).await.expect("it is answered").into_inner().time_left_ms;
    assert!((4_000..=5_000).contains(&left.expect("it is told")), "{left:?}");
    let mut late = Request::new(EchoRequest { delay_ms: 60_000, ..EchoRequest::default() });
    late.set_timeout(Duration::from_millis(200));
    let status = timeout(SOON, client(&proxy).unary(late)).await.expect("in time").expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

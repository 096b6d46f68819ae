//! Calls of every shape, in every way to say them.

use tonic::transport::Endpoint;

use crate::{
    client::{Client, EVERY_WAY},
    pb::echo::{EchoRequest, Status, echo_client::EchoClient},
    service::Served,
};

fn saying(payload: &str) -> EchoRequest {
    EchoRequest { payload: payload.into(), ..EchoRequest::default() }
}

fn failing(code: u32) -> Option<Status> {
    Some(Status { code, message: "caf\u{e9}, 100 %".into(), details: vec![0, 159, 146] })
}

#[tokio::test]
async fn a_unary_call_is_answered_in_every_way() {
    let served = Served::echo();
    for way in EVERY_WAY {
        let client = Client::new(served.address, way);
        for answer in [
            client.call("Unary", &[saying("hello")]).await,
            client.call_in_bits("Unary", &[saying("hello")]).await,
        ] {
            assert_eq!(answer.messages[0].payload, b"hello", "{way:?}");
            assert_eq!((answer.messages.len(), answer.status()), (1, ("0", "")), "{way:?}");
            assert!(answer.trailers.is_some());
        }
    }
}

#[tokio::test]
async fn a_hundred_messages_stream_in_order_in_every_way() {
    let served = Served::echo();
    for way in EVERY_WAY {
        let request = EchoRequest { replies: 100, ..EchoRequest::default() };
        let answer = Client::new(served.address, way).call("Download", &[request]).await;
        let numbers =
            answer.messages.iter().map(|reply| u32::from_be_bytes(reply.payload[..].try_into().unwrap()));
        assert!(numbers.eq(0..100), "{way:?}");
        assert_eq!(answer.status().0, "0");
    }
}

#[tokio::test]
async fn a_stream_without_messages_ends_with_ok_in_a_frame() {
    let served = Served::echo();
    for way in EVERY_WAY {
        let answer = Client::new(served.address, way).call("Download", &[saying("")]).await;
        assert!(answer.messages.is_empty());
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    }
}

#[tokio::test]
async fn client_streams_pass_each_message_padded_by_itself() {
    let served = Served::echo();
    let words = ["a", "bc", "def", "", "ghij"].map(saying);
    for way in EVERY_WAY {
        let client = Client::new(served.address, way);
        assert_eq!(client.call_in_bits("Upload", &words).await.messages[0].payload, b"abcdefghij");
        assert_eq!(client.call("Chat", &words).await.messages.len(), 5);
    }
}

#[tokio::test]
async fn errors_are_told_with_code_message_and_details() {
    let served = Served::echo();
    for way in EVERY_WAY {
        let client = Client::new(served.address, way);
        let at_once = EchoRequest { status: failing(9), ..EchoRequest::default() };
        let answer = client.call("Unary", &[at_once]).await;
        assert_eq!(answer.status(), ("9", "caf%C3%A9,%20100%20%25"));
        assert!(answer.trailers.is_none(), "without a body it stays in the headers");
        assert_eq!(answer.headers["content-length"], "0");
        assert_eq!(answer.headers["grpc-status-details-bin"], "AJ+S");
        assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().contains("grpc-status"));

        let after_data = EchoRequest { replies: 2, status: failing(15), ..EchoRequest::default() };
        let answer = client.call("Download", &[after_data]).await;
        assert_eq!((answer.messages.len(), answer.status()), (2, ("15", "caf%C3%A9,%20100%20%25")));
        assert_eq!(answer.trailers.unwrap()["grpc-status-details-bin"], "AJ+S");
    }
}

#[tokio::test]
async fn big_messages_pass_both_ways() {
    let served = Served::echo();
    for way in EVERY_WAY {
        let request = EchoRequest { payload: vec![3; 5 << 20], ..EchoRequest::default() };
        let answer = Client::new(served.address, way).call("Unary", &[request]).await;
        assert!(answer.messages[0].payload == vec![3; 5 << 20], "{way:?}");
        assert_eq!(answer.status().0, "0");
    }
}

#[tokio::test]
async fn native_grpc_shares_the_port() {
    let served = Served::echo();
    let channel = Endpoint::new(format!("http://{}", served.address)).unwrap().connect().await.unwrap();
    let mut native = EchoClient::new(channel);
    assert_eq!(native.unary(saying("native")).await.unwrap().into_inner().payload, b"native");
    let at_once = EchoRequest { status: failing(9), ..EchoRequest::default() };
    let status = native.unary(at_once).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (tonic::Code::FailedPrecondition, "caf\u{e9}, 100 %"));
    assert_eq!(status.details(), [0, 159, 146]);
    let mut replies =
        native.download(EchoRequest { replies: 100, ..EchoRequest::default() }).await.unwrap().into_inner();
    let mut count = 0;
    while replies.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 100);
}

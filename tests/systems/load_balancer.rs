//! One plaintext port, many backends behind a name.

use grpc_balance::Channel;

use crate::{
    HELLO, Pods, channel,
    program::Program,
    support::pb::{
        echo::{EchoRequest, echo_client::EchoClient},
        helloworld::{HelloRequest, greeter_client::GreeterClient},
    },
    until, warm,
    wire::Http2,
};

async fn start(pods: &Pods, more: &[&str]) -> Program {
    // The name has an underscore, as in the configuration that this takes the place of.
    let target = format!("dns:///local_service:{}", pods.port());
    let dns = pods.dns.address().to_string();
    Program::start("load_balancer", &[&["--upstream", &target, "--dns-server", &dns], more].concat()).await
}

#[tokio::test]
async fn calls_of_many_connections_go_round_the_endpoints_of_a_name() {
    for more in [&[][..], &["--per-core"]] {
        let pods = Pods::start("local_service", 3).await;
        let proxy = start(&pods, more).await;
        let clients: Vec<GreeterClient<Channel>> =
            (0..5).map(|_| GreeterClient::new(channel(proxy.address()))).collect();
        let call = async |i: usize| {
            let mut client = clients[i % clients.len()].clone();
            client.say_hello(HelloRequest::default()).await.expect("it is answered");
        };
        // Every core has connections of its own to make.
        until("all are connected, from every core", async || {
            let before = pods.calls();
            for i in 0..30 {
                call(i).await;
            }
            pods.calls().iter().zip(before).all(|(now, before)| now - before == 10)
        })
        .await;
        let before = pods.calls();
        for i in 0..60 {
            call(i).await;
        }
        let got: Vec<_> = pods.calls().iter().zip(before).map(|(now, before)| now - before).collect();
        assert_eq!(got, [20, 20, 20], "{more:?}");
    }
}

#[tokio::test]
async fn endpoints_come_and_go_with_the_name_and_no_call_fails() {
    let pods = Pods::start("local_service", 3).await;
    let ips: Vec<_> = pods.pods.iter().map(|pod| pod.address().ip()).collect();
    pods.dns.set("local_service", 1, ips[..2].to_vec());
    let proxy = start(&pods, &[]).await;
    let mut client = warm(proxy.address(), 2).await;
    pods.dns.set("local_service", 1, ips[1..].to_vec());
    // The third comes, and the first goes once it has been asked for again.
    let mut last_of_first = (pods.calls()[0], tokio::time::Instant::now());
    until("the first gets no more", async || {
        client.say_hello(HelloRequest::default()).await.expect("no call fails");
        if pods.calls()[0] != last_of_first.0 {
            last_of_first = (pods.calls()[0], tokio::time::Instant::now());
        }
        pods.calls()[2] > 0 && last_of_first.1.elapsed().as_secs() >= 2
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_dies_costs_no_call_that_it_was_not_processing() {
    let mut pods = Pods::start("local_service", 3).await;
    let proxy = start(&pods, &[]).await;
    let mut client = warm(proxy.address(), 3).await;
    pods.pods.remove(0).kill();
    for _ in 0..100 {
        client.say_hello(HelloRequest::default()).await.expect("the others answer");
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let pods = Pods::start("local_service", 1).await;
    let proxy = start(&pods, &[]).await;
    let mut echo = EchoClient::new(channel(proxy.address()))
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    // What the server takes at most is its own affair: 4 MB each, ten of them in one stream.
    let request = EchoRequest { payload: vec![7; 4_000_000], ..Default::default() };
    let requests = tokio_stream::iter(vec![request; 10]);
    let mut replies = echo.chat(requests).await.expect("it is answered").into_inner();
    let mut bytes = 0;
    while let Some(reply) = replies.message().await.expect("no error") {
        bytes += reply.payload.len();
    }
    assert_eq!(bytes, 40_000_000);
}

#[tokio::test]
async fn a_call_is_logged_with_its_status_and_endpoint_unless_the_log_is_off() {
    let pods = Pods::start("local_service", 1).await;
    let pod = pods.pods[0].address().to_string();
    for (format, parts) in [
        (
            "text",
            [
                "\"POST /helloworld.Greeter/SayHello HTTP/2\" 200".to_owned(),
                format!("\"{pod}\" grpc=0 attempts=1"),
            ],
        ),
        ("json", ["/helloworld.Greeter/SayHello".to_owned(), pod.clone()]),
    ] {
        let mut proxy = start(&pods, &["--access-log", format]).await;
        let mut client = GreeterClient::new(channel(proxy.address()));
        client.say_hello(HelloRequest::default()).await.expect("it is answered");
        let line = proxy.line_with("/helloworld.Greeter/SayHello").await;
        for part in parts {
            assert!(line.contains(&part), "{part} in {line}");
        }
    }
    let proxy = start(&pods, &["--access-log", "off"]).await;
    assert_eq!(Http2::connect(proxy.address()).await.call(HELLO).await.status(), 200);
}

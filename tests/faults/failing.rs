//! An endpoint that fails at once beside four that work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use grpc_balance::{Channel, discover::Fixed, eject::Eject, endpoint::Endpoint};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::support::{
    greeter::{Action, Greeter},
    pb::helloworld::{HelloRequest, greeter_client::GreeterClient},
};

const CALLERS: usize = 50;

struct Set {
    failing: Greeter,
    _working: Vec<Greeter>,
    channel: Channel,
}

impl Set {
    async fn start(eject: Option<Eject>) -> Self {
        let unavailable = |_: &http::request::Parts| Action::Fail(tonic::Status::unavailable("overloaded"));
        let failing =
            Greeter::builder("failing").delay(Duration::from_micros(100)).hook(unavailable).start().await;
        let mut working = Vec::new();
        for name in ["a", "b", "c", "d"] {
            working.push(Greeter::builder(name).delay(Duration::from_millis(5)).start().await);
        }
        let addresses = working.iter().map(Greeter::address).chain([failing.address()]);
        let builder = Channel::builder("test").resolver(Fixed::new(addresses.map(Endpoint::new)));
        let builder = match eject {
            Some(eject) => builder.eject(eject),
            None => builder,
        };
        let channel = builder.build().expect("a valid channel");
        channel.ready(5, Duration::from_secs(10)).await.expect("all are up");
        Self { failing, _working: working, channel }
    }

    /// Calls for a while: how many were made, and how many failed.
    async fn calls(&self, time: Duration) -> (u64, u64) {
        let (made, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let until = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let mut client = GreeterClient::new(self.channel.clone());
            let (made, failed) = (made.clone(), failed.clone());
            tasks.spawn(async move {
                while Instant::now() < until {
                    let result = client.say_hello(HelloRequest { name: "you".to_owned() }).await;
                    made.fetch_add(1, SeqCst);
                    failed.fetch_add(u64::from(result.is_err()), SeqCst);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("callers do not panic");
        }
        (made.load(SeqCst), failed.load(SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_fails_at_once_is_ejected_and_fails_no_hundredth_of_the_calls() {
    let interval = Duration::from_secs(1);
    // Whatever finds it out: the streak of errors, or the sweep alone.
    let sweep_alone = Eject::new().consecutive_gateway_errors(None);
    for eject in [Eject::new(), sweep_alone] {
        let set = Set::start(Some(eject.interval(interval))).await;
        set.calls(interval + Duration::from_millis(200)).await;
        assert_eq!(set.channel.health().now().ejected_count(), 1);
        let (made, failed) = set.calls(Duration::from_secs(2)).await;
        assert!(failed * 100 < made, "{failed} of {made} calls failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ejection_it_gets_no_more_than_its_share() {
    let set = Set::start(None).await;
    let (made, _) = set.calls(Duration::from_secs(3)).await;
    // What was made counts the calls that callers saw the end of, and so does the server.
    sleep(Duration::from_millis(50)).await;
    let even = made / 5;
    assert!(made > 1_000, "{made} calls were made");
    assert!(set.failing.calls() * 10 <= even * 11, "{} of an even share of {even}", set.failing.calls());
}

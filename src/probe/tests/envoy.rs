//! Envoy 1.40's health checking as observed, row by row, with the settings of a deployment that uses it: timeout 1 s,
//! interval 5 s, jitter 0 to 1 s, healthy after 3, unhealthy after 1 or 3.

use std::time::Duration;

use super::{
    answers::{answer, http_404, trailers_only},
    scripted::{dials, error, probing, run, start},
};
use crate::{
    connect::ConnectionState,
    grpc::{Code, timeout},
    health::{Thresholds, proto::ServingStatus::*},
    probe::{Grpc, Probe},
    stats::Disconnect,
};

fn probe(unhealthy: u32) -> Probe {
    Probe::from(Grpc::new("route.Router")).thresholds(Thresholds::new(3, unhealthy))
}

/// Envoy: `POST /grpc.health.v1.Health/Check`, user-agent `Envoy/HC`, authority = cluster name, `grpc-timeout` = timeout.
///
/// Different here: the user agent is our own, and the authority is that of calls to the endpoint unless another is set,
/// since a server behind SNI or a virtual host knows no cluster names. The timeout is the same, in a finer unit.
#[tokio::test(start_paused = true)]
async fn the_request() {
    let mut bench = start(probe(1));
    let mut peer = bench.dial().await.accept();
    let call = peer.call().await;
    let request = &call.request;
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "/grpc.health.v1.Health/Check", "the connection adds its authority");
    let headers = request.headers();
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["te"], "trailers");
    assert!(headers["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("grpc-balance/")));
    assert_eq!(timeout::parse(&headers["grpc-timeout"]), Ok(Duration::from_secs(1)));
    assert_eq!(call.service().await.0, "route.Router");
}

/// The same with a name and headers of the user's.
#[tokio::test(start_paused = true)]
async fn the_request_as_the_user_wants_it() {
    let header = |name, value| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value));
    let mut check = Grpc::new("a.B").authority(http::uri::Authority::from_static("user"));
    for (name, value) in [
        header("user-agent", "Envoy/HC"),
        header("authorization", "Bearer x"),
        header("content-type", "text/html"),
        header("grpc-timeout", "1H"),
    ] {
        check = check.metadata(name, value);
    }
    let mut bench = start(check);
    let call = bench.dial().await.accept().call().await;
    assert_eq!(call.request.uri().authority().map(|authority| authority.as_str()), Some("user"));
    let headers = call.request.headers();
    assert_eq!(headers["user-agent"], "Envoy/HC");
    assert_eq!(headers["authorization"], "Bearer x");
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(timeout::parse(&headers["grpc-timeout"]), Ok(Duration::from_secs(1)));
    assert_eq!(headers.get_all("grpc-timeout").iter().count(), 1);
}

/// Envoy: own reused connection; intervals 5.01 to 6.00 s, jitter added, uniform.
///
/// Different here: the pause after an endpoint's *first* check is a random share of the interval, so that endpoints
/// which came together are spread over it. Envoy's `initial_jitter` would delay the first verdict instead.
#[tokio::test(start_paused = true)]
async fn the_connection_and_the_intervals() {
    let mut bench = start(probe(1));
    let mut peer = bench.dial().await.accept();
    let mut last = None;
    for check in 0..50 {
        let call = peer.call().await;
        if let Some(last) = last.replace(call.at) {
            let gap = (call.at - last).as_secs_f64();
            let bounds = if check == 1 { 0.0..=5.001 } else { 5.0..=6.002 };
            assert!(bounds.contains(&gap), "check {check} came after {gap} s");
        }
        call.say(Serving);
    }
    assert!(bench.dials.try_recv().is_err(), "one connection");
}

/// Envoy: the first round takes at most the timeout (0.93 s when hung); a new host gets no traffic before its first
/// check. (That nobody calls an endpoint without a verdict is the balancer's part.)
#[tokio::test(start_paused = true)]
async fn the_first_check_comes_at_once_and_ends_within_the_timeout() {
    let begun = tokio::time::Instant::now();
    let mut bench = start(probe(1));
    let dial = bench.dial().await;
    assert_eq!(dial.at, begun);
    assert_eq!(bench.told(), None);
    assert_eq!(bench.verdict().await, "failing: no answer within 1s");
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
}

/// Envoy: first pass -> healthy at once; first fail -> then needs 3 passes. p: SERVING, n: NOT_SERVING, u:
/// SERVICE_UNKNOWN, r: refused, t: timeout, f: NOT_FOUND, i: UNIMPLEMENTED, h: HTTP 404.
///
/// Different here: NOT_FOUND is the server's own word, as SERVICE_UNKNOWN is, and counts at once. Envoy's is one more
/// failed call.
#[tokio::test(start_paused = true)]
async fn the_state_machine() {
    for (unhealthy, script, expected) in [
        (1, "p", "+"),
        (1, "nppp", "---+"),
        (1, "rppp", "---+"),
        (1, "nppnppp", "------+"),
        // A served verdict ignores the unhealthy threshold.
        (3, "pn", "+-"),
        (3, "pu", "+-"),
        (3, "pf", "+-"),
        // A refusal, a timeout and any other failed call go through it.
        (3, "prrr", "+++-"),
        (3, "pttt", "+++-"),
        (3, "piii", "+++-"),
        (3, "phhh", "+++-"),
        (3, "prtprti", "++++++-"),
        (1, "pr", "+-"),
        (1, "pt", "+-"),
    ] {
        let (open, mut dialled) = dials();
        let probing = probing(probe(unhealthy), open);
        let mut bench = run(&probing, tokio::sync::mpsc::unbounded_channel().1, None);
        let (mut peer, mut verdicts, mut passing) = (None::<super::scripted::Peer>, String::new(), ' ');
        for step in script.chars() {
            if step == 'r' {
                // Whoever refuses has closed what was open.
                if let Some(peer) = peer.take() {
                    peer.lose();
                }
                dialled.recv().await.expect("a dial").refuse();
            } else {
                let call = match &mut peer {
                    Some(open) => open.call().await,
                    None => {
                        let open = peer.insert(dialled.recv().await.expect("a dial").accept());
                        open.call().await
                    }
                };
                match step {
                    'p' => call.say(Serving),
                    'n' => call.say(NotServing),
                    'u' => call.answer(answer(ServiceUnknown)),
                    'f' => call.answer(trailers_only(Code::NotFound)),
                    'i' => call.answer(trailers_only(Code::Unimplemented)),
                    'h' => call.answer(http_404()),
                    _ => {
                        let mut call = call;
                        call.cancelled().await;
                        // The next check comes on a new connection.
                        peer = None;
                    }
                }
            }
            // Less than any pause but the first, which this can only shorten for the script.
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            while let Some(verdict) = bench.told() {
                passing = if verdict == "passing" { '+' } else { '-' };
            }
            verdicts.push(passing);
        }
        assert_eq!(verdicts, expected, "unhealthy after {unhealthy}: {script}");
    }
}

/// Envoy: the interval restarts after completion; a timeout cycle is timeout + interval.
#[tokio::test(start_paused = true)]
async fn a_timeout_cycle() {
    let mut bench = start(probe(1).jitter(Duration::ZERO));
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(bench.dial().await.at);
    }
    let cycles: Vec<Duration> = begun.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(cycles, [Duration::from_secs(6); 2]);
}

/// Envoy: death is not noticed early (about 4 s until the next check).
///
/// Different here: the loss of the probe's own connection brings the next check forward, once. A GOAWAY does not.
#[tokio::test(start_paused = true)]
async fn a_death() {
    let mut bench = start(probe(1).jitter(Duration::ZERO));
    let mut peer = bench.dial().await.accept();
    peer.call().await.say(Serving);
    peer.call().await.say(Serving);
    // A peer that closes right after its GOAWAY.
    peer.state.send_replace(ConnectionState::Closed {
        reason: Disconnect::GoAway,
        too_many_pings: false,
        cause: error("going away"),
    });
    let went = tokio::time::Instant::now();
    let mut peer = bench.dial().await.accept();
    assert_eq!(went.elapsed(), Duration::from_secs(5));
    peer.call().await.say(Serving);
    tokio::time::sleep(Duration::from_secs(1)).await;
    peer.lose();
    let lost = tokio::time::Instant::now();
    let mut peer = bench.dial().await.accept();
    assert_eq!(lost.elapsed(), Duration::ZERO);
    peer.call().await.say(Serving);
    // A peer that ends every connection after its answer is not asked in a circle.
    peer.lose();
    let dial = bench.dial().await;
    assert_eq!(lost.elapsed(), Duration::from_secs(5));
    dial.refuse();
    assert_eq!(bench.verdict().await, "passing");
    assert_eq!(bench.verdict().await, "failing: connect: connection refused");
}

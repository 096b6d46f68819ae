//! A call through the balancer, with outlier detection and without.

use std::hint::black_box;

use grpc_balance::{Balance, eject::Eject};
use http::Uri;
use tokio::time::Instant;
use tower::{Service as _, ServiceExt as _};

use crate::at_once::{AtOnce, balanced, request};

const ENDPOINTS: u16 = 3;
const ROUNDS: usize = 201;
const CALLS: u32 = 2_000;

async fn measure(service: &mut Balance<AtOnce>) -> f64 {
    let uri = Uri::from_static("/greeter.Greeter/SayHello");
    let start = Instant::now();
    for _ in 0..CALLS {
        let call = service.ready().await.expect("it is ready").call(request(&uri));
        black_box(call.await.expect("it answers"));
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

pub(crate) async fn report() {
    let mut untracked = balanced(ENDPOINTS, |builder| builder).await;
    let mut tracked = balanced(ENDPOINTS, |builder| builder.eject(Eject::new())).await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(measure(&mut untracked).await);
        with.push(measure(&mut tracked).await);
    }
    for (name, rounds) in [("untracked", &mut without), ("tracked", &mut with)] {
        rounds.sort_by(f64::total_cmp);
        println!("RESULT health.call.{name} {:.1} ns", rounds[ROUNDS / 2]);
    }
    println!("RESULT health.call.tracked_to_untracked {:.2} times", with[ROUNDS / 2] / without[ROUNDS / 2]);
}

//! A whole call over connections that answer at once: what the balancer itself costs.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::Pin,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use http::{Request, Response, Uri};
use tokio::time::Instant;
use tower::{
    Service, ServiceExt as _,
    balance::p2c,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
};

use super::{
    ALLOCATIONS,
    at_once::{RequestBody, balanced, request},
};

const ENDPOINTS: u16 = 3;
const ROUNDS: usize = 201;
/// Few enough for a round to end within a time slice.
const CALLS: u32 = 2_000;

#[derive(Clone, Debug)]
struct Mock;

impl Service<Request<RequestBody>> for Mock {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(())))
    }
}

/// What one call costs in nanoseconds, and how many allocations it makes.
async fn measure<S>(service: &mut S) -> (f64, f64)
where
    S: Service<Request<RequestBody>>,
    S::Error: std::fmt::Debug,
{
    let uri = Uri::from_static("/greeter.Greeter/SayHello");
    let (allocations, start) = (ALLOCATIONS.load(Relaxed), Instant::now());
    for _ in 0..CALLS {
        let call = service.ready().await.expect("it is ready").call(request(&uri));
        black_box(call.await.expect("it answers"));
    }
    let nanos = start.elapsed().as_nanos() as f64 / f64::from(CALLS);
    (nanos, (ALLOCATIONS.load(Relaxed) - allocations) as f64 / f64::from(CALLS))
}

/// The comparison as a task of a runtime with several threads.
struct OnWorker<F>(Pin<Box<F>>);

// SAFETY: all that it holds can be sent; the compiler cannot see it through the function pointers in tower's types
// ("implementation of `From` is not general enough").
unsafe impl<F> Send for OnWorker<F> {}

impl<F: Future> Future for OnWorker<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(cx)
    }
}

/// Measures in tokio's default runtime, which is what applications have, and in one of a single thread, which spares
/// tower's buffer the passing of messages between threads.
pub(crate) fn report() {
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    many.block_on(async { tokio::spawn(OnWorker(Box::pin(compare("")))).await.expect("no panic") });
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    single.block_on(compare(".current_thread"));
}

async fn compare(suffix: &str) {
    let mut balance = balanced(ENDPOINTS, |builder| builder).await;
    let services = (0..ENDPOINTS).map(|_| PendingRequests::new(Mock, CompleteOnResponse::default()));
    let mut tower = Buffer::new(p2c::Balance::new(ServiceList::new(services)), 1024);
    let (mut ours, mut theirs, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(measure(&mut balance).await);
        theirs.push(measure(&mut tower).await);
        bare.push(measure(&mut Mock).await);
    }
    for (name, mut rounds) in [("balance", ours), ("tower_buffer_p2c", theirs), ("mock", bare)] {
        rounds.sort_by(|a, b| f64::total_cmp(&a.0, &b.0));
        let (nanos, allocations) = rounds[ROUNDS / 2];
        println!("RESULT call_overhead.{name}{suffix} {nanos:.1} ns");
        println!("RESULT call_overhead.{name}{suffix}.allocs {allocations:.2} per_call");
    }
}

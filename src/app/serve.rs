//! Serving in step with what health checks say.

use std::{convert::Infallible, future::pending};

use bytes::Bytes;
use http_body::Body;
use tower_layer::Layer;

use crate::{
    connect::Worker,
    error::BoxError,
    health_service::HealthServiceLayer,
    server::{Bound, Handle, HttpService, ListenError, Phase},
    serving::{Drain, Registry},
    shim::{HealthShimLayer, Match, Source},
};

/// Serves until `shutdown` completes or `drain` starts, and then does the dance of a rolling deploy:
///
/// 1. `drain` starts: everything that follows it is NOT_SERVING, or 503, at once. New calls are still taken.
/// 2. After the server's [linger](crate::server::Server::linger) the listeners close, connections are told to go
///    (GOAWAY), and `drain` [closes](Drain::close), so that no health Watch keeps one of them open.
/// 3. Calls in flight finish, within the server's [grace](crate::server::Server::grace).
///
/// Several servers can share one switch. Dropping the future ends everything at once.
pub async fn serve<S: HttpService>(
    listening: Bound,
    service: S,
    drain: Drain,
    shutdown: impl Future<Output = ()>,
) {
    let handle = listening.handle();
    in_step(handle, &drain, listening.serve(service, stop(&drain, shutdown))).await;
}

/// The same with a runtime per core; see [`Server::per_core`](crate::server::Server::per_core).
///
/// # Errors
///
/// When a thread or a runtime cannot be had.
pub async fn serve_per_core<F, S>(
    listening: Bound,
    factory: F,
    drain: Drain,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError>
where
    F: FnMut(&Worker) -> S,
    S: HttpService,
{
    let handle = listening.handle();
    in_step(handle, &drain, listening.per_core(factory).serve(stop(&drain, shutdown))).await
}

async fn stop(drain: &Drain, shutdown: impl Future<Output = ()>) {
    tokio::select! {
        () = shutdown => {}
        () = drain.started() => {}
    }
    // Before the server lingers, so that the whole linger is there to be noticed in.
    drain.start();
}

/// Drives a server, and sees to it that what health checks say keeps step with it.
async fn in_step<T>(handle: Handle, drain: &Drain, serving: impl Future<Output = T>) -> T {
    let follow = async {
        // The server's own handle may have begun it.
        handle.reached(Phase::Lingering).await;
        drain.start();
        handle.reached(Phase::Closing).await;
        drain.close();
        pending::<Infallible>().await
    };
    let served = tokio::select! {
        served = serving => served,
        never = follow => match never {},
    };
    drain.close();
    served
}

/// Serves with health checks beside the service, and drains as [`serve`] does, by the registry's switch.
///
/// | asked by | answered from |
/// |---|---|
/// | `GET` or `HEAD` of `/healthz` and `/readyz`, and of `/` when GKE's or AWS's balancer asks | the registry's `""`: 200 or 503 |
/// | `GET` or `HEAD` of `/livez` | 200 while the process runs, draining or not, so that a kubelet does not kill what is about to finish |
/// | `grpc.health.v1.Health` | the registry |
///
/// Everything else goes to the service. The health checks tell no causes: the port may be open to the world.
pub async fn serve_app<S, B>(
    listening: Bound,
    service: S,
    registry: Registry,
    shutdown: impl Future<Output = ()>,
) where
    S: HttpService<ResponseBody = B>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let drain = registry.drain().clone();
    let live = HealthShimLayer::new(Source::ask(|| true)).path("/livez");
    let ready = HealthShimLayer::new(registry.clone())
        .matching(Match::paths(["/healthz", "/readyz"]))
        .matching(Match::gke())
        .matching(Match::alb())
        .json(false);
    let service = live.layer(ready.layer(HealthServiceLayer::new(registry).layer(service)));
    serve(listening, service, drain, shutdown).await;
}

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::health::{Health, Summary};

/// Whether nothing comes, however long one waits: the clock is paused.
async fn is_silent(watch: &mut Watch) -> bool {
    timeout(Duration::from_secs(3600), watch.next()).await.is_err()
}

#[test]
fn a_cluster_counts_by_its_healthy_endpoints_once_it_is_resolved() {
    let of = |total| Summary::of(total).ready(total);
    let panics = |healthy| of(4).healthy(healthy).in_panic(true);
    type Condition = fn(Clusters) -> Clusters;
    let (one, two): (Condition, Condition) = (|clusters| clusters, |clusters| clusters.at_least(2));
    let (half, none, panic): (Condition, Condition, Condition) = (
        |clusters| clusters.percent(50),
        |clusters| clusters.percent(0),
        |clusters| clusters.panic_counts(true),
    );
    for (what, condition, summary, met) in [
        ("unresolved", one, Summary::default(), false),
        ("unresolved, panic counts", panic, Summary::default(), false),
        ("resolved and empty", one, of(0), false),
        ("none of 3", one, of(3), false),
        ("1 of 3", one, of(3).healthy(1), true),
        ("1 of 3, 2 wanted", two, of(3).healthy(1), false),
        ("2 of 3, 2 wanted", two, of(3).healthy(2), true),
        ("0 wanted are 1", |clusters| clusters.at_least(0), of(3), false),
        ("1 of 3, half wanted", half, of(3).healthy(1), false),
        ("2 of 3, half wanted", half, of(3).healthy(2), true),
        ("2 of 4, half wanted", half, of(4).healthy(2), true),
        ("empty, half wanted", half, of(0), false),
        ("0 % are 1", none, of(4), false),
        ("a share above 100", |clusters| clusters.percent(200), of(2).healthy(2), true),
        ("none, in panic", one, panics(0), false),
        ("1 of 4, in panic", one, panics(1), true),
        ("none, in panic, which counts", panic, panics(0), true),
        ("none, not in panic, which would count", panic, of(4), false),
        ("none ready, in panic, which counts", panic, panics(0).ready(0), false),
        ("ended", one, of(3).healthy(3).ended(), false),
        ("ended in panic, which counts", panic, panics(4).ended(), false),
    ] {
        let (reporter, health) = Health::new("a");
        reporter.report(summary);
        assert_eq!(condition(health.into()).is_met(), met, "{what}");
    }
}

#[test]
fn any_wants_one_cluster_and_all_wants_every_one() {
    let ((a, health_a), (b, health_b)) = (Health::new("a"), Health::new("b"));
    let both = [health_a, health_b];
    let (any, all) = (Clusters::any(both.clone()), Clusters::all(both));
    assert_eq!((any.is_met(), all.is_met()), (false, false));
    a.report(Summary::of(1).healthy(1));
    assert_eq!((any.is_met(), all.is_met()), (true, false));
    b.report(Summary::of(1).healthy(1));
    assert_eq!((any.is_met(), all.is_met()), (true, true));
    drop(a);
    assert_eq!((any.is_met(), all.is_met()), (true, false), "nobody reports on a any more");
    assert!(!Clusters::any([]).is_met() && !Clusters::all([]).is_met());
}

#[test]
fn after_the_drain_everything_known_is_not_serving_for_good() {
    let registry = Registry::new();
    let (reporter, health) = Health::new("a");
    reporter.report(Summary::of(1).healthy(1));
    registry.follow("a", health.clone());
    assert_eq!(registry.status("a"), Status::Serving);

    registry.drain().start();
    registry.drain().start();
    registry.set("", Status::Serving);
    registry.set("late", Status::Serving);
    registry.set("a", Status::Unknown);
    registry.follow("a", health);
    assert!(registry.list().values().eq([&Status::NotServing; 2]), "{:?}", registry.list());
    assert_eq!(registry.status("late"), Status::Unknown);
}

#[tokio::test(start_paused = true)]
async fn the_switch_goes_one_way_in_two_steps() {
    let drain = Drain::new();
    let (started, closing) = (drain.started(), drain.closing());
    assert!(!drain.is_started());
    drain.start();
    started.await;
    assert!(timeout(Duration::from_secs(3600), drain.closing()).await.is_err());
    drain.close();
    closing.await;
    drain.start();
    drain.closing().await;

    let at_once = Drain::new();
    at_once.close();
    assert!(at_once.is_started());
    at_once.started().await;

    let forgotten = Drain::new().started();
    assert!(timeout(Duration::from_secs(3600), forgotten).await.is_err(), "nobody can pull it, nobody did");
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_at_once_then_each_change_then_the_end() {
    let registry = Registry::new();
    let mut watch = registry.watch("a.B");
    assert_eq!(watch.next().await, Some(Status::Unknown));
    assert!(is_silent(&mut watch).await, "an unknown name may come");
    registry.set("another", Status::Serving);
    assert!(is_silent(&mut watch).await);

    registry.set("a.B", Status::Serving);
    assert_eq!(watch.next().await, Some(Status::Serving));
    registry.set("a.B", Status::Serving);
    assert!(is_silent(&mut watch).await, "nothing has changed");

    registry.drain().start();
    assert_eq!(watch.next().await, Some(Status::NotServing));
    assert!(is_silent(&mut watch).await, "it goes on while the server lingers");
    registry.drain().close();
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_closed_registry_still_tells_the_last_status() {
    let registry = Registry::new();
    registry.drain().close();
    let mut watch = registry.watch("");
    assert_eq!((watch.next().await, watch.next().await), (Some(Status::NotServing), None));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_latest_and_nothing_twice() {
    let registry = Registry::new();
    let mut watch = registry.watch("");
    assert_eq!(watch.next().await, Some(Status::Serving));
    registry.set("", Status::NotServing);
    registry.set("", Status::Serving);
    assert!(is_silent(&mut watch).await, "it is again what it was");
    registry.set("", Status::NotServing);
    registry.set("", Status::Unknown);
    assert_eq!(watch.next().await, Some(Status::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_watch_follows_the_clusters_of_its_service_and_what_replaces_them() {
    let registry = Registry::new();
    let ((a, health_a), (b, health_b)) = (Health::new("a"), Health::new("b"));
    registry.follow("x", Clusters::all([health_a, health_b]));
    let mut watch = registry.watch("x");
    assert_eq!(watch.next().await, Some(Status::NotServing));
    a.report(Summary::of(3).healthy(1));
    assert!(is_silent(&mut watch).await);

    // It wakes whoever waits already, too.
    let waits = tokio::spawn(async move { (watch.next().await, watch) });
    tokio::task::yield_now().await;
    b.report(Summary::of(3).healthy(3));
    let (status, mut watch) = waits.await.expect("no panic");
    assert_eq!(status, Some(Status::Serving));
    b.report(Summary::of(3).healthy(2));
    assert!(is_silent(&mut watch).await, "a count is no status");
    drop(b);
    assert_eq!(watch.next().await, Some(Status::NotServing));
    assert!(is_silent(&mut watch).await, "an ended cluster is no reason to spin");

    registry.set("x", Status::Serving);
    assert_eq!(watch.next().await, Some(Status::Serving));
    drop(a);
    assert!(is_silent(&mut watch).await, "it follows nothing any more");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_was_not_returned_is_not_lost() {
    let registry = Registry::new();
    let mut watch = registry.watch("");
    watch.next().await;
    for _ in 0..10 {
        // Dropped after one poll, with the change still to come or just there.
        let _ = futures_util::poll!(Box::pin(watch.next()));
    }
    registry.set("", Status::NotServing);
    assert_eq!(watch.next().await, Some(Status::NotServing));
}
